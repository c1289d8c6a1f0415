package dnssec

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

// Probe says which server does what wrong, and nothing about one that is fine.
func TestProbe(t *testing.T) {
	t.Parallel()
	rrsig, dnskey := isType(dns.TypeRRSIG), isType(dns.TypeDNSKEY)
	for _, tt := range []struct {
		what string
		bend func(network string, m *dns.Msg) *dns.Msg
		says []string
	}{
		{"fine", func(_ string, m *dns.Msg) *dns.Msg { return m }, nil},
		{"large replies over TCP", func(network string, m *dns.Msg) *dns.Msg {
			m.Truncated = network == "udp"
			return m
		}, nil},
		{"no EDNS", func(_ string, m *dns.Msg) *dns.Msg {
			m.Extra, m.Answer, m.Ns = nil, without(m.Answer, rrsig), without(m.Ns, isType(dns.TypeRRSIG, dns.TypeNSEC))
			return m
		}, []string{"does not speak EDNS", "no RRSIG records"}},
		{"no signatures", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer = without(m.Answer, rrsig)
			return m
		}, []string{"strips the signatures"}},
		{"AD only", func(_ string, m *dns.Msg) *dns.Msg {
			strip(m)
			m.AuthenticatedData = true
			return m
		}, []string{"the AD bit instead"}},
		{"no keys", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer = without(m.Answer, dnskey)
			return m
		}, []string{`does not pass on the keys of "."`}},
		{"no denials", func(_ string, m *dns.Msg) *dns.Msg {
			m.Ns = without(m.Ns, isType(dns.TypeNSEC))
			return m
		}, []string{"no good NSEC or NSEC3 records"}},
		{"no TCP", func(network string, m *dns.Msg) *dns.Msg {
			if network == "tcp" {
				return nil
			}
			return m
		}, []string{"does not answer over TCP: timeout"}},
		{"no UDP", func(network string, m *dns.Msg) *dns.Msg {
			if network == "udp" {
				return nil
			}
			return m
		}, []string{"does not answer over UDP: timeout"}},
		{"truncated over TCP", func(network string, m *dns.Msg) *dns.Msg {
			m.Truncated = true
			return m
		}, []string{"cuts replies short over TCP"}},
		{"no recursion", func(_ string, m *dns.Msg) *dns.Msg {
			m.RecursionAvailable = false
			return m
		}, []string{"does not offer recursion"}},
		{"refused", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeRefused
			return m
		}, []string{`answers REFUSED to the question for the keys of "."`}},
		{"one broken name", func(_ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Name == "plain.com." {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure
			}
			return m
		}, []string{`SOA of "plain.com.": servfail`}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
					if server == "192.0.2.1:53" {
						return tt.bend(network, m)
					}
					return m
				}
				v := w.validator(func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} })
				err := v.Probe(t.Context(), "example.com", "plain.com")
				w.settle()
				if tt.says == nil {
					if err != nil {
						t.Error(err)
					}
					return
				}
				var probe *ProbeError
				if !errors.As(err, &probe) || probe.Server != "192.0.2.1:53" || len(probe.Faults) == 0 {
					t.Fatalf("error is %v", err)
				}
				t.Log(err)
				mentions(t, err, append(tt.says, "192.0.2.1:53")...)
				if strings.Contains(err.Error(), "192.0.2.2:53") {
					t.Errorf("the good server is blamed: %v", err)
				}
			})
		})
	}
}

// SEC-28: anchors that are not those of the root that is asked.
func TestProbeAnchors(t *testing.T) {
	t.Parallel()
	w := mail(t)
	v := w.validator(func(c *Config) { c.Anchors = nil })
	err := v.Probe(t.Context())
	w.settle()
	var e *Error
	if !errors.As(err, &e) || e.Reason != AnchorMismatch {
		t.Errorf("error is %v", err)
	}
	mentions(t, err, "has other keys than the trust anchors")
}

// RFC 6761 sections 6.3 and 6.4, RFC 7686: names that are answered without a
// server, unless there are anchors of another root than IANA's.
func TestLocalNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name  string
		qtype uint16
		rcode int
		data  string
	}{
		{"localhost", dns.TypeA, 0, "127.0.0.1"},
		{"LOCALHOST.", dns.TypeAAAA, 0, "::1"},
		{"mx.localhost", dns.TypeA, 0, "127.0.0.1"},
		{"localhost", dns.TypeMX, 0, ""},
		{"_25._tcp.localhost", dns.TypeTLSA, 0, ""},
		{"invalid", dns.TypeMX, dns.RcodeNameError, ""},
		{"mx.example.invalid", dns.TypeA, dns.RcodeNameError, ""},
		{"mail.example.onion", dns.TypeAAAA, dns.RcodeNameError, ""},
	} {
		a := w.expect(t, tt.name, tt.qtype, Insecure, func(c *Config) { c.Anchors = nil })
		data := ""
		for _, addr := range addresses(a) {
			data += addr.String()
		}
		if a.Rcode != tt.rcode || data != tt.data {
			t.Errorf("%s %s: %+v", tt.name, dns.Type(tt.qtype), a)
		}
	}
	if len(w.queries) > 0 {
		t.Errorf("%d queries", len(w.queries))
	}
	for _, name := range []string{"notlocalhost.", "10.in-addr.arpa.", "example.test.", "localhost.example.com."} {
		if a := localAnswer(question{name, dns.TypeA}, w.now); a != nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// A private root gives these names any meaning.
	w.zone("localhost.", "localhost. 60 IN A 10.0.0.1")
	w.zone("invalid.", "mx.invalid. 60 IN A 10.0.0.2")
	for _, name := range []string{"localhost", "mx.invalid"} {
		if a := w.expect(t, name, dns.TypeA, Secure); len(a.Records) != 1 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
