package mtasts_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// P15, STS-35: while no policy is in force, policies of three ids may be fetched in five
// minutes, and one of each id. While one is in force, only one may be fetched, whatever ids
// DNS returns.
func TestP15FetchesWithoutAPolicy(t *testing.T) {
	for what, tt := range map[string]struct {
		inForce bool
		ids     int // that DNS returns in turns, another one each minute
		most    int // fetches in five minutes
	}{
		"none in force, ever new ids": {false, 1000, 3},
		"none in force, four ids":     {false, 4, 3},
		"none in force, two ids":      {false, 2, 3},
		"none in force, one id":       {false, 1, 3},
		"one in force, ever new ids":  {true, 1000, 1},
		"one in force, two ids":       {true, 2, 1},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t, waits)
				if tt.inForce {
					lookup(t, c)
					time.Sleep(10 * time.Minute)
				}
				w.setSite(w.good(), respond(404, "", ""))
				var want, fetched []int // minutes
				last := make(map[int]int)
				for minute := range 40 {
					id := minute % tt.ids
					at, known := last[id]
					if full := len(want) >= tt.most && minute-want[len(want)-tt.most] < 5; !full && (!known || minute-at >= 5) {
						want, last[id] = append(want, minute), minute
					}

					w.setTXT(txtAnswer{txts: []string{fmt.Sprintf("v=STSv1; id=new%d;", id)}, ttl: time.Minute})
					_, before := w.counts()
					r := lookup(t, c)
					if tt.inForce {
						wantMode(t, r, mtasts.Enforce)
					} else {
						wantMode(t, r, "")
					}
					if _, dials := w.counts(); dials > before {
						fetched = append(fetched, minute)
					}
					time.Sleep(time.Minute)
				}
				if !slices.Equal(fetched, want) {
					t.Errorf("fetched in minutes %v, want %v", fetched, want)
				}
			})
		})
	}
}

// P16, STS-45: the certificates of policy hosts are judged by the clock of the configuration.
func TestP16ClockForCertificates(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	for what, tt := range map[string]struct {
		ahead    time.Duration
		from, to time.Duration // from the start
		reason   string        // or "" if the certificate is accepted
	}{
		"the same clock":                     {0, -time.Hour, time.Hour, ""},
		"valid by the system's clock only":   {365 * 24 * time.Hour, -time.Hour, time.Hour, "leaf-expired"},
		"valid by the configured clock only": {365 * 24 * time.Hour, 364 * 24 * time.Hour, 366 * 24 * time.Hour, ""},
		"a clock in the past":                {-365 * 24 * time.Hour, -366 * 24 * time.Hour, -364 * 24 * time.Hour, ""},
		"not yet valid by that clock":        {-365 * 24 * time.Hour, -time.Hour, time.Hour, "not-yet-valid"},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				cert := issue(t, w.ca, &x509.Certificate{DNSNames: []string{policyHost}, NotBefore: start.Add(tt.from), NotAfter: start.Add(tt.to)})
				w.setSite(cert, respond(200, "text/plain", enforce))
				r := lookup(t, w.client(t, waits, func(c *mtasts.Config) {
					c.Now = func() time.Time { return time.Now().Add(tt.ahead) }
				}))
				if tt.reason != "" {
					wantMode(t, r, "")
					wantError(t, r, mtasts.KindCertificate, tt.reason)
					return
				}
				wantMode(t, r, mtasts.Enforce)
			})
		})
	}
}

// aliased is a resolver for which the policy host is an alias of a provider's name.
type aliased struct {
	*world
	asked []string
}

func (a *aliased) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	a.asked = append(a.asked, host)
	return a.world.LookupNetIP(ctx, network, "sts.provider.example.")
}

// STS-59: a policy host that is an alias of a provider's name is still called by its own name,
// in SNI, in the certificate and in the request. A certificate for the provider is refused.
func TestSTS59Delegation(t *testing.T) {
	for names, want := range map[string]string{
		policyHost: "", "sts.provider.example": "name-not-in-certificate", "*.provider.example": "name-not-in-certificate", "*.example.com": "",
	} {
		t.Run(names, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.addrs = map[string][]netip.Addr{"sts.provider.example.": {netip.MustParseAddr("11.0.0.7")}}
				cert := issue(t, w.ca, &x509.Certificate{DNSNames: []string{names}})
				var sni, host string
				w.setHost(func(conn net.Conn) {
					server := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
						sni = hello.ServerName
						return &cert, nil
					}})
					if server.Handshake() != nil {
						return
					}
					if req, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
						host = req.Host
						respond(200, "text/plain", enforce)(server, req)
					}
				})
				resolver := &aliased{world: w}
				r := lookup(t, w.client(t, waits, func(c *mtasts.Config) { c.Resolver = resolver }))
				if sni != policyHost || len(resolver.asked) != 1 || resolver.asked[0] != policyHost+"." {
					t.Errorf("SNI is %q, asked for %q", sni, resolver.asked)
				}
				if want != "" {
					wantMode(t, r, "")
					wantError(t, r, mtasts.KindCertificate, want)
					if host != "" {
						t.Errorf("a request was sent to %s", host)
					}
					return
				}
				wantMode(t, r, mtasts.Enforce)
				if host != policyHost {
					t.Errorf("the request is for %q", host)
				}
			})
		})
	}
}

// RPT-61, RPT-62, RPT-63: what TLS reports say about policies that their hosts do not give,
// and about what is no policy.
func TestRPT61FetchFailuresAreReported(t *testing.T) {
	serve := func(s site) func(*world) { return func(w *world) { w.setSite(w.good(), s) } }
	expired := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)
	for what, tt := range map[string]struct {
		change func(*world)
		want   tlsrpt.ResultType
		code   string
	}{
		"RPT-61 no address":      {func(w *world) { w.addrs = nil }, tlsrpt.STSPolicyFetchError, ""},
		"RPT-61 no connection":   {func(w *world) { w.host = nil }, tlsrpt.STSPolicyFetchError, ""},
		"RPT-61 silence":         {func(w *world) { w.setHost(func(c net.Conn) { io.Copy(io.Discard, c) }) }, tlsrpt.STSPolicyFetchError, "http-timeout"},
		"RPT-61 hang-up":         {func(w *world) { w.setHost(func(c net.Conn) { c.Close() }) }, tlsrpt.STSPolicyFetchError, ""},
		"RPT-61 not found":       {serve(respond(404, "text/plain", enforce)), tlsrpt.STSPolicyFetchError, "http-status-404"},
		"RPT-61 error":           {serve(respond(503, "text/plain", enforce)), tlsrpt.STSPolicyFetchError, "http-status-503"},
		"RPT-61 redirect":        {serve(respond(301, "text/plain", enforce, "Location: https://www.example.com/")), tlsrpt.STSPolicyFetchError, "http-redirect"},
		"RPT-61 media type":      {serve(respond(200, "text/html", enforce)), tlsrpt.STSPolicyFetchError, "http-media-type"},
		"RPT-61 too large":       {serve(respond(200, "text/plain", enforce+strings.Repeat("x: y\n", 1<<15))), tlsrpt.STSPolicyFetchError, "http-too-large"},
		"RPT-61 special address": {func(w *world) { w.setAddrs("127.0.0.1") }, tlsrpt.STSPolicyFetchError, "http-address-refused"},
		"RPT-62 empty":           {serve(respond(200, "text/plain", "")), tlsrpt.STSPolicyInvalid, ""},
		"RPT-62 no mode":         {serve(respond(200, "text/plain", "version: STSv1\nmx: a.example\nmax_age: 86400\n")), tlsrpt.STSPolicyInvalid, ""},
		"RPT-62 no host":         {serve(respond(200, "text/plain", "version: STSv1\nmode: enforce\nmax_age: 86400\n")), tlsrpt.STSPolicyInvalid, ""},
		"RPT-62 another version": {serve(respond(200, "text/plain", strings.Replace(enforce, "STSv1", "STSv2", 1))), tlsrpt.STSPolicyInvalid, ""},
		"RPT-63 expired": {func(w *world) {
			w.setSite(issue(t, w.ca, &x509.Certificate{DNSNames: []string{policyHost}, NotAfter: expired}), respond(200, "text/plain", enforce))
		}, tlsrpt.STSWebPKIInvalid, "leaf-expired"},
		"RPT-63 another name": {func(w *world) {
			w.setSite(issue(t, w.ca, &x509.Certificate{DNSNames: []string{domain}}), respond(200, "text/plain", enforce))
		}, tlsrpt.STSWebPKIInvalid, "name-not-in-certificate"},
		"RPT-63 unknown to roots": {func(w *world) {
			w.setSite(issue(t, newAuthority(t), &x509.Certificate{DNSNames: []string{policyHost}}), respond(200, "text/plain", enforce))
		}, tlsrpt.STSWebPKIInvalid, "unknown-authority"},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				tt.change(w)
				r := lookup(t, w.client(t, waits))
				wantMode(t, r, "")
				got := tlsrpt.Classify(r.Err)
				if got.Type != tt.want || got.ReasonCode == "" || tt.code != "" && got.ReasonCode != tt.code {
					t.Errorf("reported as %+v, want %s %s (%v)", got, tt.want, tt.code, r.Err)
				}
				if wrapped := tlsrpt.Classify(fmt.Errorf("policy: %w", errors.Join(r.Err))); wrapped != got {
					t.Errorf("wrapped, it is reported as %+v", wrapped)
				}
			})
		})
	}
}
