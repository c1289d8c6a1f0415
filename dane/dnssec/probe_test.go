package dnssec

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

// Probe reports which server has which fault, and nothing about a server without
// faults.
func TestProbeFindsFaultsOfServers(t *testing.T) {
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
		}, []string{"does not support EDNS", "no RRSIG records"}},
		{"no signatures", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer = without(m.Answer, rrsig)
			return m
		}, []string{"strips the signatures", "let it return DNSSEC records"}},
		{"AD only", func(_ string, m *dns.Msg) *dns.Msg {
			strip(m)
			m.AuthenticatedData = true
			return m
		}, []string{"only the AD bit"}},
		{"no keys", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer = without(m.Answer, dnskey)
			return m
		}, []string{`does not return the keys of "."`}},
		{"no denials", func(_ string, m *dns.Msg) *dns.Msg {
			m.Ns = without(m.Ns, isType(dns.TypeNSEC))
			return m
		}, []string{"no valid NSEC or NSEC3 records", "let it return DNSSEC records"}},
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
		}, []string{"does not answer over UDP: timeout", "open port 53"}},
		{"truncated over TCP", func(network string, m *dns.Msg) *dns.Msg {
			m.Truncated = true
			return m
		}, []string{"truncates replies over TCP"}},
		{"no recursion", func(_ string, m *dns.Msg) *dns.Msg {
			m.RecursionAvailable = false
			return m
		}, []string{"does not offer recursion", "turn recursion on"}},
		{"refused", func(_ string, m *dns.Msg) *dns.Msg {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeRefused
			return m
		}, []string{`answers REFUSED to the question for the keys of "."`, "allow the address of this host"}},
		{"no TLSA", func(_ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Qtype == dns.TypeTLSA {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNotImplemented
			}
			return m
		}, []string{"fails to answer for TLSA of", "NOTIMP", "see the log of the DNS server"}},
		{"refused, with the reason", func(_ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Name == "plain.com." {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeRefused
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited, ExtraText: "go away\n"}}
			}
			return m
		}, []string{`SOA of "plain.com."`, "Prohibited", "go away?", "allow the address of this host"}},
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

// SEC-28: the anchors do not match the root that is asked.
func TestProbeFindsOtherRoot(t *testing.T) {
	t.Parallel()
	w := mail(t)
	v := w.validator(func(c *Config) { c.Anchors = "" })
	err := v.Probe(t.Context())
	w.settle()
	var e *Error
	if !errors.As(err, &e) || e.Reason != AnchorMismatch {
		t.Errorf("error is %v", err)
	}
	mentions(t, err, "has other keys than the trust anchors")
	for _, question := range []string{". DNSKEY", ". SOA", "com. DS", "bb. DS"} {
		if w.asked[question] == 0 {
			t.Errorf("%s was not asked", question)
		}
	}
}

// D5: systemd-resolved does not ask for addresses of names with one label, and works.
func TestD5ProbeNeedsNoSingleLabels(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		if q := m.Question[0]; dns.CountLabel(q.Name) < 2 && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA) {
			m.Rcode, m.Answer, m.Ns = dns.RcodeRefused, nil, nil
		}
		return m
	}
	if err := w.validator().Probe(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
	w.settle()
}

// D5: a forwarder that drops the proofs of wildcards from answers with records is found
// by a wildcard.
func TestD5ProbeFindsDroppedWildcardProofs(t *testing.T) {
	t.Parallel()
	honest := func(_, _ string, m *dns.Msg) *dns.Msg { return m }
	drops := func(_, _ string, m *dns.Msg) *dns.Msg {
		if len(m.Answer) > 0 {
			m.Ns = nil
		}
		return m
	}
	for _, tt := range []struct {
		what   string
		mangle func(_, _ string, m *dns.Msg) *dns.Msg
		names  []string
		says   string // empty if there is no fault
	}{
		{"proofs, no wildcard", honest, nil, ""},
		{"proofs", honest, []string{"*.wild.example.com"}, ""},
		{"no proofs, no wildcard", drops, nil, ""},
		{"no proofs", drops, []string{"*.wild.example.com"}, "no valid NSEC or NSEC3 records"},
		{"not a wildcard", honest, []string{"*.ent.example.com"}, `no signed records for the wildcard "*.ent.example.com"`},
		{"an unsigned zone", honest, []string{"*.plain.com"}, "no signed records"},
	} {
		w := mail(t)
		w.zones["plain.com."].add(t, "*.plain.com. 60 IN A 192.0.2.1")
		w.mangle = tt.mangle
		err := w.validator().Probe(t.Context(), tt.names...)
		w.settle()
		switch {
		case tt.says == "" && err != nil, tt.says != "" && err == nil:
			t.Errorf("D5 %s: %v", tt.what, err)
		case tt.says != "":
			mentions(t, err, tt.says)
		}
	}
}

// D2, D5: the Probe of a Trusting says for each server whether it validates.
func TestD5ProbeSaysWhichServerValidates(t *testing.T) {
	t.Parallel()
	all := func(dns.Question) bool { return true }
	for _, tt := range []struct {
		what   string
		secure func(q dns.Question) bool
		bend   func(network string, m *dns.Msg) *dns.Msg
		names  []string
		says   []string
	}{
		{what: "validates", secure: all},
		{what: "validates, with names", secure: all, names: []string{"example.com", "*.wild.example.com"}},
		{what: "no AD bit", secure: all, bend: func(_ string, m *dns.Msg) *dns.Msg {
			m.AuthenticatedData = false
			return m
		}, says: []string{"does not validate", "enable validation"}},
		{what: "no AD bit in denials", secure: func(q dns.Question) bool { return q.Name == "." }, says: []string{"does not validate", "enable validation"}},
		{what: "a name that fails", secure: all, names: []string{"example.com"}, bend: func(_ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Name == "example.com." {
				m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil
			}
			return m
		}, says: []string{`SOA of "example.com."`}},
		{what: "no signed wildcard", secure: func(q dns.Question) bool { return dns.CountLabel(q.Name) < 2 }, names: []string{"*.wild.example.com"}, says: []string{"no signed records"}},
		{what: "no TCP", secure: all, bend: func(network string, m *dns.Msg) *dns.Msg {
			if network == "tcp" {
				return nil
			}
			return m
		}, says: []string{"does not answer over TCP"}},
	} {
		t.Run("D5 "+tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				validating(w, tt.secure)
				honest := w.mangle
				w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
					if m = honest(server, network, m); tt.bend != nil {
						m = tt.bend(network, m)
					}
					return m
				}
				err := w.trusting(t).Probe(t.Context(), tt.names...)
				w.settle()
				if len(tt.says) == 0 && err != nil || len(tt.says) > 0 && err == nil {
					t.Errorf("error is %v", err)
				}
				for _, text := range tt.says {
					mentions(t, err, "127.0.0.1:53", text)
				}
			})
		})
	}
}
