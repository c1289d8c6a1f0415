package mtasts_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// STS-25, STS-50, STS-91: the request, and that no HTTP cache is used.
func TestRequestAsksNoCache(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var requests []*http.Request
		var states []tls.ConnectionState
		w.setSite(w.good(), func(conn *tls.Conn, req *http.Request) {
			requests = append(requests, req)
			states = append(states, conn.ConnectionState())
			respond(200, "text/plain", strings.Replace(enforce, "86400", "60", 1), "Cache-Control: max-age=31536000",
				`ETag: "1"`, "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT", "Expires: Fri, 01 Jan 2100 00:00:00 GMT",
				"Set-Cookie: a=b")(conn, req)
		})
		c := w.client(t)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		time.Sleep(time.Hour)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if len(requests) != 2 {
			t.Fatalf("%d requests, want 2", len(requests))
		}
		for i, req := range requests {
			if req.Method != "GET" || req.RequestURI != "/.well-known/mta-sts.txt" || req.Host != policyHost {
				t.Errorf("%s %s at %s", req.Method, req.RequestURI, req.Host)
			}
			if s := states[i]; s.ServerName != policyHost || s.NegotiatedProtocol != "http/1.1" {
				t.Errorf("SNI %q, ALPN %q", s.ServerName, s.NegotiatedProtocol)
			}
			for _, field := range []string{"Cookie", "If-None-Match", "If-Modified-Since", "Authorization", "Referer"} {
				if v := req.Header.Get(field); v != "" {
					t.Errorf("request %d has %s: %s", i, field, v)
				}
			}
			if coding, media := req.Header.Values("Accept-Encoding"), req.Header.Values("Accept"); !slices.Equal(coding, []string{"identity"}) || !slices.Equal(media, []string{"text/plain"}) {
				t.Errorf("M15: the request accepts %q in %q", media, coding)
			}
			if req.Header.Get("Connection") != "close" {
				t.Error("the connection is kept")
			}
		}
	})
}

// M15: a policy host that compresses unless it is asked not to.
func TestM15CompressingHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setSite(w.good(), func(conn *tls.Conn, req *http.Request) {
			if req.Header.Get("Accept-Encoding") == "" {
				respond(200, "text/plain", "\x1f\x8b", "Content-Encoding: gzip")(conn, req)
				return
			}
			respond(200, "text/plain", enforce)(conn, req)
		})
		wantMode(t, lookup(t, w.client(t)), mtasts.Enforce)
	})
}

// The answers with status 200 that are accepted.
func TestResponsesThatAreAccepted(t *testing.T) {
	page := func(contentType string) func(*world) site {
		return func(*world) site { return respond(200, contentType, enforce) }
	}
	status := func(code int, header ...string) func(*world) site {
		return func(*world) site { return respond(code, "text/plain", enforce, header...) }
	}
	raw := func(text string) func(*world) site {
		return func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) { io.WriteString(conn, text) }
		}
	}
	full := enforce + strings.Repeat("a: "+strings.Repeat("b", 60)+"\n", mtasts.MaxPolicySize)
	full = full[:strings.LastIndexByte(full[:mtasts.MaxPolicySize-66], '\n')+1]
	full += "a: " + strings.Repeat("b", mtasts.MaxPolicySize-len(full)-3)
	for name, test := range map[string]struct {
		site   func(*world) site
		kind   mtasts.Kind
		reason string // "" if the policy is accepted
	}{
		"STS-26 text/plain":                {page("text/plain"), "", ""},
		"STS-26 case":                      {page("Text/PLAIN"), "", ""},
		"STS-26 text/html":                 {page("text/html"), mtasts.KindFetch, "http-media-type"},
		"STS-26 text/plainer":              {page("text/plainer"), mtasts.KindFetch, "http-media-type"},
		"STS-26 octet-stream":              {page("application/octet-stream"), mtasts.KindFetch, "http-media-type"},
		"STS-26, field note 49: none":      {page(""), mtasts.KindFetch, "http-media-type"},
		"STS-27 charset":                   {page("text/plain; charset=utf-8"), "", ""},
		"STS-27 other charset":             {page("text/plain;charset=iso-8859-1"), "", ""},
		"STS-27 malformed parameters":      {page("text/plain ; ; x;y=\""), "", ""},
		"STS-48 204":                       {raw("HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n"), mtasts.KindFetch, "http-status-204"},
		"STS-48 201":                       {status(201), mtasts.KindFetch, "http-status-201"},
		"STS-48 203":                       {status(203), mtasts.KindFetch, "http-status-203"},
		"STS-48 206":                       {status(206), mtasts.KindFetch, "http-status-206"},
		"STS-48 304":                       {raw("HTTP/1.1 304 Not Modified\r\n\r\n"), mtasts.KindFetch, "http-status-304"},
		"STS-48 404":                       {status(404), mtasts.KindFetch, "http-status-404"},
		"STS-48 500":                       {status(500), mtasts.KindFetch, "http-status-500"},
		"STS-48 101":                       {raw("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), mtasts.KindFetch, "http-status-101"},
		"STS-49 301":                       {status(301, "Location: https://www.example.com/"), mtasts.KindFetch, "http-redirect"},
		"STS-49 302, same URL":             {status(302, "Location: /.well-known/mta-sts.txt"), mtasts.KindFetch, "http-redirect"},
		"STS-49 303":                       {status(303, "Location: /x"), mtasts.KindFetch, "http-redirect"},
		"STS-49 307":                       {status(307, "Location: /x"), mtasts.KindFetch, "http-redirect"},
		"STS-49 308":                       {status(308, "Location: /x"), mtasts.KindFetch, "http-redirect"},
		"STS-49 redirect without location": {status(302), mtasts.KindFetch, "http-redirect"},
		"STS-49 refresh":                   {status(200, "Refresh: 0; url=http://127.0.0.1/"), "", ""},
		"STS-53 64 KiB":                    {func(*world) site { return respond(200, "text/plain", full) }, "", ""},
		"STS-53 one more": {func(*world) site { return respond(200, "text/plain", full+"b") },
			mtasts.KindFetch, "http-too-large"},
		"STS-53, field note 49: the end cut off would be fine": {func(*world) site {
			return respond(200, "text/plain", full+"\nmx: *.example.net\n")
		}, mtasts.KindFetch, "http-too-large"},
		"STS-53 never-ending body": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"+enforce)
				for err := error(nil); err == nil; {
					_, err = io.WriteString(conn, "a: b\n")
				}
			}
		}, mtasts.KindFetch, "http-too-large"},
		"never-ending chunks": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
				for err := error(nil); err == nil; {
					_, err = io.WriteString(conn, "5\r\na: b\n\r\n")
				}
			}
		}, mtasts.KindFetch, "http-too-large"},
		"STS-52 one octet at a time": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
				for i := 0; i < len(enforce); i++ {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, enforce[i:i+1]); err != nil {
						return
					}
				}
			}
		}, mtasts.KindFetch, "http-timeout"},
		"STS-52 silence": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) { time.Sleep(10 * time.Minute) }
		}, mtasts.KindFetch, "http-timeout"},
		"a header of a megabyte": {func(*world) site {
			return respond(200, "text/plain", enforce, "X: "+strings.Repeat("x", 1<<20))
		}, mtasts.KindFetch, "http-error"},
		"a header without end": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				for err := error(nil); err == nil; {
					_, err = io.WriteString(conn, "X: y\r\n")
				}
			}
		}, mtasts.KindFetch, "http-error"},
		"interim responses without end": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				for err := error(nil); err == nil; {
					_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
				}
			}
		}, mtasts.KindFetch, "http-error"},
		"no HTTP":           {raw("220 mail.example.com ESMTP\r\n"), mtasts.KindFetch, "http-error"},
		"nothing":           {raw(""), mtasts.KindFetch, "http-truncated"},
		"cut off by length": {raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + enforce), mtasts.KindFetch, "http-truncated"},
		"cut off without the end of TLS": {raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + enforce),
			mtasts.KindFetch, "http-truncated"},
		"ended by the end of TLS": {func(*world) site {
			return func(conn *tls.Conn, _ *http.Request) {
				io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"+enforce)
				conn.CloseWrite()
			}
		}, "", ""},
		"two lengths":         {raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), mtasts.KindFetch, "http-error"},
		"gzip, not asked for": {func(*world) site { return respond(200, "text/plain", gzipped(enforce), "Content-Encoding: gzip") }, mtasts.KindFetch, "http-content-encoding"},
		"gzip bomb": {func(*world) site {
			return respond(200, "text/plain", gzipped(strings.Repeat("\n", 10<<20)), "Content-Encoding: gzip")
		}, mtasts.KindFetch, "http-content-encoding"},
		"field note 42: invalid policy": {func(*world) site { return respond(200, "text/plain", "<html>") }, mtasts.KindPolicy, "policy-syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setSite(w.good(), test.site(w))
				start := time.Now()
				r := lookup(t, w.client(t, waits))
				if time.Since(start) > time.Minute {
					t.Errorf("took %v", time.Since(start))
				}
				if _, dials := w.counts(); dials != 1 {
					t.Errorf("%d connections, want 1", dials)
				}
				if test.reason == "" {
					wantMode(t, r, mtasts.Enforce)
					return
				}
				wantMode(t, r, "")
				wantError(t, r, test.kind, test.reason)
				checkParseError(t, r.Err, test.kind)
			})
		})
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

// STS-44 to STS-47, STS-59: the certificate of the policy host.
func TestCertificateOfPolicyHost(t *testing.T) {
	past := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC) // a bubble begins in 2000
	future := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		template x509.Certificate
		reason   string // "" if accepted
	}{
		"STS-44 good":               {x509.Certificate{DNSNames: []string{"x.example", policyHost}}, ""},
		"STS-44 case":               {x509.Certificate{DNSNames: []string{"MTA-STS.Example.COM"}}, ""},
		"STS-44 policy domain":      {x509.Certificate{DNSNames: []string{domain}}, "name-not-in-certificate"},
		"STS-59 policy delegate":    {x509.Certificate{DNSNames: []string{"mta-sts.provider.example"}}, "name-not-in-certificate"},
		"STS-44 address":            {x509.Certificate{IPAddresses: []net.IP{net.IPv4(11, 0, 0, 1)}}, "name-not-in-certificate"},
		"STS-45 expired":            {x509.Certificate{DNSNames: []string{policyHost}, NotAfter: past}, "leaf-expired"},
		"STS-45 not yet valid":      {x509.Certificate{DNSNames: []string{policyHost}, NotBefore: future}, "not-yet-valid"},
		"STS-45 for mail only":      {x509.Certificate{DNSNames: []string{policyHost}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}, "key-usage"},
		"STS-46 only a CN":          {x509.Certificate{Subject: pkix.Name{CommonName: policyHost}}, "name-not-in-certificate"},
		"STS-46 CN beside a DNS-ID": {x509.Certificate{Subject: pkix.Name{CommonName: policyHost}, DNSNames: []string{"x.example"}}, "name-not-in-certificate"},
		"STS-47 wildcard":           {x509.Certificate{DNSNames: []string{"*.example.com"}}, ""},
		"STS-47 part of a label":    {x509.Certificate{DNSNames: []string{"m*.example.com"}}, "name-not-in-certificate"},
		"STS-47 two labels":         {x509.Certificate{DNSNames: []string{"*.*.com"}}, "name-not-in-certificate"},
		"STS-47 wildcard above":     {x509.Certificate{DNSNames: []string{"*.com"}}, "name-not-in-certificate"},
		"names to flood a log":      {x509.Certificate{DNSNames: []string{strings.Repeat("a\n", 10000)}}, "name-not-in-certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setSite(issue(t, w.ca, &test.template), respond(200, "text/plain", enforce))
				r := lookup(t, w.client(t))
				if test.reason == "" {
					wantMode(t, r, mtasts.Enforce)
					return
				}
				wantMode(t, r, "")
				wantError(t, r, mtasts.KindCertificate, test.reason)
				checkParseError(t, r.Err, mtasts.KindCertificate)
				var failed *mtasts.Error
				if !errors.As(r.Err, &failed) {
					t.Fatalf("the error is %v", r.Err)
				}
				if resultType, _ := failed.TLSReport(); resultType != "sts-webpki-invalid" {
					t.Errorf("reported as %q", resultType)
				}
			})
		})
	}
	t.Run("STS-45 unknown authority", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.setSite(issue(t, newAuthority(t), &x509.Certificate{DNSNames: []string{policyHost}}), respond(200, "text/plain", enforce))
			wantError(t, lookup(t, w.client(t)), mtasts.KindCertificate, "unknown-authority")
		})
	})
}

// STS-93: TLS 1.2 and 1.3 are accepted, older versions and other protocols are not.
func TestTLSVersions(t *testing.T) {
	for version, accepted := range map[uint16]bool{
		tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
	} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setTLS(&tls.Config{Certificates: []tls.Certificate{w.good()}, MinVersion: version, MaxVersion: version},
					respond(200, "text/plain", enforce))
				r := lookup(t, w.client(t))
				if accepted {
					wantMode(t, r, mtasts.Enforce)
				} else {
					wantError(t, r, mtasts.KindFetch, "http-tls-handshake")
				}
			})
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.setHost(func(conn net.Conn) {
				conn.Read(make([]byte, 1<<14))
				io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			})
			wantError(t, lookup(t, w.client(t)), mtasts.KindFetch, "http-tls-handshake")
		})
	})
	t.Run("silence", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.setHost(func(conn net.Conn) { io.Copy(io.Discard, conn) })
			wantError(t, lookup(t, w.client(t, waits)), mtasts.KindFetch, "http-timeout")
		})
	})
}

// The decision on SSRF, field note 50: special-purpose addresses are not dialed, and
// the dialed address is the one that was checked.
func TestSpecialAddressesAreNotDialed(t *testing.T) {
	for name, test := range map[string]struct {
		addrs  []string
		allow  func(netip.Addr) bool
		dials  string
		reason string
	}{
		"loopback":                {[]string{"127.0.0.1"}, nil, "", "http-address-refused"},
		"loopback by IPv6":        {[]string{"::1", "::ffff:127.0.0.1"}, nil, "", "http-address-refused"},
		"rebinding to one of two": {[]string{"127.0.0.1", "11.0.0.2"}, nil, "tcp 11.0.0.2:443", ""},
		"mapped":                  {[]string{"::ffff:11.0.0.2"}, nil, "tcp 11.0.0.2:443", ""},
		"IPv6":                    {[]string{"2606:4700::1"}, nil, "tcp [2606:4700::1]:443", ""},
		"allowed":                 {[]string{"127.0.0.1"}, netip.Addr.IsLoopback, "tcp 127.0.0.1:443", ""},
		"allowed, another":        {[]string{"10.0.0.1"}, netip.Addr.IsLoopback, "", "http-address-refused"},
		"allowed, mapped":         {[]string{"::ffff:127.0.0.1"}, netip.Addr.Is4, "tcp 127.0.0.1:443", ""},
		"none":                    {nil, nil, "", "dns-not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setAddrs(test.addrs...)
				r := lookup(t, w.client(t, func(config *mtasts.Config) { config.AllowPolicyHost = test.allow }))
				if got := strings.Join(w.dials, ", "); got != test.dials {
					t.Errorf("dialed %q, want %q", got, test.dials)
				}
				if test.reason != "" {
					wantError(t, r, mtasts.KindFetch, test.reason)
				} else {
					wantMode(t, r, mtasts.Enforce)
				}
			})
		})
	}
}

// Several addresses are tried, but not all, and each for a limited time.
func TestSomeAddressesAreTried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var addrs []string
		for i := range 50 {
			addrs = append(addrs, fmt.Sprintf("2606:4700::%x", i+1))
		}
		for i := range 50 {
			addrs = append(addrs, fmt.Sprintf("11.0.0.%d", i+1))
		}
		w.setAddrs(addrs...)
		dial := w.Dial
		c := w.client(t, func(config *mtasts.Config) {
			config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				if addr == "11.0.0.4:443" {
					return conn, err
				}
				if err == nil {
					conn.Close()
				}
				if addr == "[2606:4700::1]:443" {
					<-ctx.Done()
				}
				return nil, fmt.Errorf("no route to %s", addr)
			}
		})
		start := time.Now()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if len(w.dials) != 8 || time.Since(start) > 10*time.Second {
			t.Errorf("%v, dialed %q", time.Since(start), w.dials)
		}
	})
}

// STS-57, STS-96: a policy that cannot be refreshed is logged, unless its mode is
// none. Hostile text stays on its line.
func TestFailedRefreshIsLogged(t *testing.T) {
	for mode, level := range map[string]string{"enforce": "WARN", "testing": "WARN", "none": ""} {
		t.Run(mode, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", policyWith("mode: "+mode))
				var log bytes.Buffer
				c := w.client(t, func(config *mtasts.Config) { config.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				lookup(t, c)
				if !strings.Contains(log.String(), `msg="MTA-STS policy found" domain=example.com id=1 mode=`+mode) {
					t.Errorf("log %q", log.String())
				}
				log.Reset()
				w.setID("2")
				w.setSite(w.good(), respond(302, "text/plain", "", "Location: \x1b[31m\tlevel=ERROR"))
				time.Sleep(5 * time.Minute)
				lookup(t, c)
				if level == "" && log.Len() > 0 || !strings.Contains(log.String(), level) || strings.Count(log.String(), "\n") > 1 {
					t.Errorf("log %q", log.String())
				}
				if strings.ContainsAny(log.String(), "\x1b\t") {
					t.Errorf("log %q", log.String())
				}
			})
		})
	}
}
