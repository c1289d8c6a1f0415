package dnssec

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// validating makes the server of the world set AD and CD like a validating server.
func validating(w *world, secure func(q dns.Question) bool) {
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		strip(m)
		m.AuthenticatedData = isRootSOA(m) || secure(m.Question[0])
		return m
	}
}

// isRootSOA reports whether m is about what every Trusting asks for first.
func isRootSOA(m *dns.Msg) bool {
	return m.Question[0].Name == "." && m.Question[0].Qtype == dns.TypeSOA
}

func (w *world) trusting(t *testing.T) *Trusting {
	t.Helper()
	r, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1"}, Dial: w.dial, Now: func() time.Time { return w.now }, Timeout: w.timeout})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// D1, DANE-11: a file that somebody other than the administrator may have written does
// not make a server trusted.
func TestD1FileOfOthersIsNotTrusted(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"nameserver 127.0.0.1\noptions trust-ad\n":                          true,
		"options edns0 trust-ad\nnameserver ::1\n":                          true,
		"options trust-ad\n":                                                true, // 127.0.0.1, by resolv.conf(5)
		"":                                                                  false,
		"nameserver 127.0.0.1\n":                                            false,
		"nameserver 127.0.0.1\n#options trust-ad\n":                         false,
		"nameserver 127.0.0.11\n":                                           false, // Docker
		"nameserver 127.0.0.11\noptions trust-ad ndots:0\n":                 false,
		"nameserver 127.0.0.53\noptions edns0 trust-ad\n":                   false, // systemd-resolved
		"nameserver 127.0.0.54\noptions trust-ad\n":                         false,
		"nameserver ::ffff:127.0.0.11\noptions trust-ad\n":                  false,
		"nameserver 127.0.0.11:5353\noptions trust-ad\n":                    false,
		"nameserver 127.0.0.1\nnameserver 127.0.0.11\noptions trust-ad\n":   false,
		"nameserver 192.0.2.1\noptions trust-ad\n":                          false,
		"nameserver tls://192.0.2.1#dns.example\noptions trust-ad\n":        false, // DHCP must not name the certificate
		"nameserver 127.0.0.1\nnameserver 192.0.2.1\noptions trust-ad\n":    false,
		"nameserver 127.0.0.2\nnameserver resolver\noptions trust-ad\n":     true,
		"nameserver 127.0.0.2\noptions notrust-ad trust-ad:0 no-trust-ad\n": false,
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := NewTrusting(TrustingConfig{ResolvConf: file})
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(text, "nameserver 127") {
			mentions(t, err, "Validator")
		}
	}
	for _, server := range []string{"127.0.0.11", "127.0.0.53", "127.0.0.54"} {
		if _, err := NewTrusting(TrustingConfig{Servers: []string{server}}); err != nil {
			t.Errorf("%s, named by the administrator: %v", server, err)
		}
	}
}

// D2: a server that does not validate is never used, and the error says so.
func TestD2ServerMustValidate(t *testing.T) {
	t.Parallel()
	for what, bend := range map[string]func(m *dns.Msg){
		"no AD":             func(m *dns.Msg) { m.AuthenticatedData = false },
		"no AD at the root": func(m *dns.Msg) { m.AuthenticatedData = !isRootSOA(m) },
		"AD without the record": func(m *dns.Msg) {
			if m.AuthenticatedData = true; isRootSOA(m) {
				m.Answer = nil
			}
		},
		"NXDOMAIN": func(m *dns.Msg) {
			if m.AuthenticatedData = true; isRootSOA(m) {
				m.Answer, m.Rcode = nil, dns.RcodeNameError
			}
		},
	} {
		w := mail(t)
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			if m.AuthenticatedData = true; server == "127.0.0.1:53" {
				bend(m)
			}
			return m
		}
		_, err := w.trusting(t).Lookup(t.Context(), "mx.example.com", TypeA)
		var e *Error
		if !errors.As(err, &e) || e.Reason != NotValidating || e.Name != "mx.example.com." || e.Server != "127.0.0.1:53" {
			t.Errorf("%s: %v", what, err)
		}
		mentions(t, err, "server-not-validating", "127.0.0.1:53", "enable validation")
		// Another server is used instead, and never this one.
		r, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1", "127.0.0.2"}, Dial: w.dial, Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mx.example.com", "none.example.com", "alias.example.com"} {
			if a, err := r.Lookup(t.Context(), name, TypeA); err != nil || a.Status != Secure {
				t.Errorf("%s, %s: %+v, %v", what, name, a, err)
			}
		}
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			if m.AuthenticatedData = true; server == "127.0.0.1:53" {
				bend(m)
				return m
			}
			return nil
		}
		if a, err := r.Lookup(t.Context(), "mx.example.com", TypeTXT); err == nil {
			t.Errorf("%s: a server that does not validate was the fallback: %+v", what, a)
		}
	}
}

// D2: a server that stops validating is noticed within a minute.
func TestD2EndOfValidationIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		validating(w, func(dns.Question) bool { return true })
		r, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1"}, Dial: w.dial, CacheBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		lookup := func() error {
			_, err := r.Lookup(t.Context(), "mx.example.com", TypeA)
			w.settle()
			return err
		}
		for range 3 {
			if err := lookup(); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.asked[". SOA"]; n != 1 {
			t.Errorf("the root was asked for %d times", n)
		}
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { m.AuthenticatedData = false; return m }
		time.Sleep(time.Minute)
		if err := lookup(); err == nil {
			t.Error("not noticed")
		}
		validating(w, func(dns.Question) bool { return true })
		if err := lookup(); err != nil {
			t.Errorf("after it validates again: %v", err)
		}
	})
}

// DANE-10, DANE-11, TLSA-17, field note 14: the AD bit counts only from a server on
// this host or reached over TLS.
func TestTrustingBelievesOnlySafeServers(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.53:53": true, "[::1]:5353": true, "::ffff:127.0.0.1": true,
		"tls://9.9.9.9#dns.quad9.net": true,
		"9.9.9.9":                     false, "192.168.0.1": false, "10.0.0.1:53": false, "fe80::1%eth0": false, "0.0.0.0": false, "::": false,
	} {
		_, err := NewTrusting(TrustingConfig{Servers: []string{server}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", server, err)
		}
		if err != nil {
			mentions(t, err, "tls://", "Validator")
		}
	}
	if _, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1", "9.9.9.9"}}); err == nil {
		t.Error("one server that can be forged was accepted among others")
	}
	if _, err := NewTrusting(TrustingConfig{ResolvConf: "/nonexistent"}); err == nil {
		t.Error("no server was accepted")
	}
}

func TestTrustingTakesStatusOfServer(t *testing.T) {
	t.Parallel()
	w := mail(t)
	validating(w, func(q dns.Question) bool { return !strings.HasSuffix(q.Name, "plain.com.") })
	for _, tt := range []struct {
		name    string
		qtype   uint16
		status  Status
		rcode   int
		records int
	}{
		{"mx.example.com", dns.TypeA, Secure, 0, 1},
		{"mx.example.com", dns.TypeTXT, Secure, 0, 0},
		{"none.example.com", dns.TypeA, Secure, dns.RcodeNameError, 0},
		{"mx.plain.com", dns.TypeA, Insecure, 0, 1},
		{"alias.example.com", dns.TypeA, Secure, 0, 1},
		{"mx.old.example.com", dns.TypeA, Secure, 0, 1},
	} {
		r := w.trusting(t)
		for range 2 {
			a, err := r.Lookup(t.Context(), tt.name, Type(tt.qtype))
			if err != nil || a.Status != tt.status || rcodeOf(a) != tt.rcode || len(a.Records) != tt.records || !a.Expires.After(w.now) {
				t.Errorf("%s: %+v, %v", tt.name, a, err)
			}
		}
	}
	for question, n := range w.asked {
		if strings.HasSuffix(question, "DNSKEY") {
			t.Errorf("%s asked %d times", question, n)
		}
	}
	for _, m := range w.queries {
		if !m.AuthenticatedData || m.CheckingDisabled || m.IsEdns0().Do() {
			t.Errorf("query is %v", m)
		}
	}
	r := w.trusting(t)
	if txts, err := r.LookupTXT(t.Context(), "mx.example.com"); err == nil {
		t.Errorf("TXT records %q", txts)
	}
	if _, expires, err := r.LookupTXTUntil(t.Context(), "mx.example.com"); err == nil || !expires.After(w.now) {
		t.Errorf("until %v, %v", expires, err)
	}
	if addrs, err := r.LookupNetIP(t.Context(), "ip", "mx.example.com"); err != nil || len(addrs) != 1 {
		t.Errorf("addresses %v, %v", addrs, err)
	}
}

// DANE-24, DANE-25: if an answer with an alias is insecure, the alias is asked for
// separately, because it may be secure.
func TestTrustingAsksForFirstAlias(t *testing.T) {
	t.Parallel()
	for _, firstSecure := range []bool{true, false} {
		w := mail(t)
		validating(w, func(q dns.Question) bool { return q.Qtype == dns.TypeCNAME && firstSecure })
		a, err := w.trusting(t).Lookup(t.Context(), "away.example.com", TypeA)
		if err != nil || a.Status != Insecure || len(a.Aliases) != 1 || (a.Aliases[0].Status == Secure) != firstSecure {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// DANE-21: if the reply ends in an alias, the target is asked for.
func TestTrustingAsksForTarget(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		strip(m)
		q := m.Question[0]
		m.AuthenticatedData = q.Name != "mx.example.com."
		m.Answer = without(m.Answer, func(rr dns.RR) bool { return rr.Header().Name != q.Name })
		return m
	}
	a, err := w.trusting(t).Lookup(t.Context(), "alias.example.com", TypeA)
	if err != nil || a.Status != Insecure || a.Aliases[0].Status != Secure || len(a.Records) != 1 || a.Name != "mx.example.com." {
		t.Errorf("%+v, %v", a, err)
	}
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })
	bend := w.mangle
	w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == "alias.example.com." {
			m.Answer = m.Answer[:1]
		}
		return bend(server, network, m)
	}
	if a, err := w.trusting(t).Lookup(t.Context(), "alias.example.com", TypeA); err == nil {
		t.Errorf("%+v", a)
	}
}

// Field note 13: if one server answers SERVFAIL, which may mean bogus, the answer
// of another server counts if it is authenticated, and not if it is insecure.
func TestTrustingServfailOutweighsInsecure(t *testing.T) {
	t.Parallel()
	for _, authentic := range []bool{true, false} {
		w := mail(t)
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			if server == "127.0.0.1:53" && !isRootSOA(m) {
				m.Rcode = dns.RcodeServerFailure
			}
			m.AuthenticatedData = authentic || isRootSOA(m)
			return m
		}
		r, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1", "127.0.0.2"}, Dial: w.dial, Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Lookup(t.Context(), "mx.example.com", TypeA)
		w.settle()
		var e *Error
		if authentic && (err != nil || a.Status != Secure) || !authentic && (!errors.As(err, &e) || e.Reason != ServerFailure) {
			t.Errorf("authentic is %v: %+v, %v", authentic, a, err)
		}
	}
}

// Field note 14: TLS without verification of the certificate is refused.
func TestTrustingRefusesUnverifiedTLS(t *testing.T) {
	t.Parallel()
	config := TrustingConfig{Servers: []string{"tls://192.0.2.1"}, TLS: &tls.Config{InsecureSkipVerify: true}}
	if _, err := NewTrusting(config); err == nil {
		t.Error("accepted")
	}
	config.TLS.VerifyConnection = func(tls.ConnectionState) error { return nil }
	if _, err := NewTrusting(config); err != nil {
		t.Error(err)
	}
}

// SEC-7, field notes 1 and 39: a Trusting returns errors for failures as well.
func TestTrustingFailuresAreErrors(t *testing.T) {
	t.Parallel()
	for reason, bend := range map[Reason]func(m *dns.Msg){
		ServerFailure: func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure; m.AuthenticatedData = true },
		Refused:       func(m *dns.Msg) { m.Rcode = dns.RcodeRefused },
		Malformed:     func(m *dns.Msg) { m.Truncated, m.AuthenticatedData = true, true; m.Answer = nil },
		AliasInvalid: func(m *dns.Msg) {
			m.Answer = []dns.RR{dnsdata.RR(t, "mx.example.com. A 192.0.2.1"), dnsdata.RR(t, "mx.example.com. CNAME a."), dnsdata.RR(t, "mx.example.com. CNAME b.")}[1:]
		},
		AliasLoop:   func(m *dns.Msg) { m.Answer = []dns.RR{dnsdata.RR(t, "mx.example.com. CNAME mx.example.com.")} },
		NoRecursion: func(m *dns.Msg) { m.Answer, m.Ns = nil, []dns.RR{dnsdata.RR(t, "com. NS a.com.")} },
	} {
		w := mail(t)
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			if m.AuthenticatedData = isRootSOA(m); !isRootSOA(m) {
				bend(m)
			}
			return m
		}
		a, err := w.trusting(t).Lookup(t.Context(), "mx.example.com", TypeA)
		var e *Error
		if !errors.As(err, &e) || e.Reason != reason {
			t.Errorf("%v: %+v, %v", reason, a, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mail(t).trusting(t).Lookup(ctx, "x.example", TypeA); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := mail(t).trusting(t).Lookup(t.Context(), "a..b", TypeA); err == nil {
		t.Error("a bad name was looked up")
	}
}

// A server reached over TLS must have the certificate of its name.
func TestTrustingVerifiesCertificate(t *testing.T) {
	t.Parallel()
	w := mail(t)
	validating(w, func(dns.Question) bool { return true })
	certificate, roots := selfSigned(t, "dns.example")
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network != "tcp" || addr != "192.0.2.53:853" {
			t.Errorf("dialed %s %s", network, addr)
		}
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			c := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}})
			w.serveStream(c, addr)
		}()
		return near, nil
	}
	for name, ok := range map[string]bool{"dns.example": true, "other.example": false} {
		r, err := NewTrusting(TrustingConfig{
			Servers: []string{"tls://192.0.2.53#" + name},
			TLS:     &tls.Config{RootCAs: roots},
			Dial:    dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Lookup(t.Context(), "mx.example.com", TypeA)
		if ok && (err != nil || a.Status != Secure) || !ok && err == nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// RFC 6672 section 3.1: a DNAME without the CNAME that it makes still redirects.
// systemd-resolved answers like this, and the name is not without records. Neither is it
// if the answer has other records instead.
func TestTrustingFollowsDNAMEWithoutCNAME(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what   string
		bend   func(t *testing.T, m *dns.Msg)
		target string // empty if the lookup fails
	}{
		{"complete", func(*testing.T, *dns.Msg) {}, "mx.example.com."},
		{"no CNAME", func(_ *testing.T, m *dns.Msg) { m.Answer = without(m.Answer, isType(dns.TypeCNAME)) }, "mx.example.com."},
		{"another CNAME", func(_ *testing.T, m *dns.Msg) {
			for _, rr := range m.Answer {
				if cname, ok := rr.(*dns.CNAME); ok {
					cname.Target = "mx.plain.com."
				}
			}
		}, ""},
		{"the address of another name", func(t *testing.T, m *dns.Msg) { m.Answer = []dns.RR{dnsdata.RR(t, "mx.plain.com. 60 IN A 192.0.2.9")} }, ""},
	} {
		w := mail(t)
		w.zones["example.com."].add(t, "tree.example.com. 60 IN DNAME example.com.")
		validating(w, func(dns.Question) bool { return true })
		honest := w.mangle
		w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
			if m = honest(server, network, m); m.Question[0].Name == "mx.tree.example.com." {
				tt.bend(t, m)
			}
			return m
		}
		a, err := w.trusting(t).Lookup(t.Context(), "mx.tree.example.com", TypeA)
		w.settle()
		switch {
		case err != nil && tt.target != "", err == nil && tt.target == "":
			t.Errorf("%s: %+v, %v", tt.what, a, err)
		case err == nil && (a.Name != tt.target || len(a.Records) != 1 || len(a.Aliases) != 1 || !a.Aliases[0].DNAME || a.Status != Secure):
			t.Errorf("%s: %+v", tt.what, a)
		}
	}
}
