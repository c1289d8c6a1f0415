package dnssec

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// SEC-26, SEC-28: what the zones above a trust anchor signed about the names below
// it does not count: neither that there are no records, nor that there may be
// unsigned ones, nor what a wildcard there expands to.
func TestZonesAboveAnchorDoNotSpeakForIt(t *testing.T) {
	t.Parallel()
	const name = "_25._tcp.mx.island.org."
	for _, tt := range []struct {
		what  string
		build func(org *testZone)
		reply func(w *world, org *testZone, m *dns.Msg)
	}{
		{"no such name", func(*testZone) {}, func(w *world, org *testZone, m *dns.Msg) {
			m.Rcode = dns.RcodeNameError
			w.deny(m, org, name, "*.org.")
		}},
		{"no such name, NSEC3", func(org *testZone) { org.nsec3 = true }, func(w *world, org *testZone, m *dns.Msg) {
			m.Rcode = dns.RcodeNameError
			w.deny(m, org, name, "*.org.")
		}},
		{"opt-out", func(org *testZone) {
			org.nsec3, org.optOut = true, true
			org.records["island.org."] = []dns.RR{dnsdata.RR(t, "island.org. 60 IN NS ns.invalid.")}
		}, func(w *world, org *testZone, m *dns.Msg) {
			m.Rcode = dns.RcodeNameError
			w.deny(m, org, name, "*.org.")
		}},
		{"iterations", func(org *testZone) { org.nsec3, org.iter = true, 200 }, func(w *world, org *testZone, m *dns.Msg) {
			m.Rcode = dns.RcodeNameError
			w.deny(m, org, "org.")
		}},
		{"wildcard", func(org *testZone) { org.add(t, "*.org. 60 IN TLSA 3 1 1 00") }, func(w *world, org *testZone, m *dns.Msg) {
			m.Answer = w.sign(org, org.set(w, "*.org.", dns.TypeTLSA))
			for _, rr := range m.Answer {
				rr.Header().Name = name
			}
			w.prove(m, org, name)
		}},
		{"wildcard alias", func(org *testZone) { org.add(t, "*.org. 60 IN CNAME mx.plain.com.") }, func(w *world, org *testZone, m *dns.Msg) {
			m.Answer = w.sign(org, org.set(w, "*.org.", dns.TypeCNAME))
			for _, rr := range m.Answer {
				rr.Header().Name = name
			}
			w.prove(m, org, name)
		}},
		{"DNAME", func(org *testZone) { org.add(t, "org. 60 IN DNAME plain.com.") }, func(w *world, org *testZone, m *dns.Msg) {
			m.Answer = w.sign(org, org.set(w, "org.", dns.TypeDNAME))
		}},
	} {
		w := mail(t)
		org := w.zone("org.")
		island := w.zone("island.org.", name+" 60 IN TLSA 3 1 1 ab", "mx.island.org. 60 IN A 192.0.2.7")
		island.noDS = true
		delete(org.records, "island.org.") // w.zone has delegated it
		tt.build(org)
		anchored := func(c *Config) { c.Anchors += island.keys[0].record.ToDS(dns.SHA256).String() }
		w.expect(t, name, dns.TypeTLSA, Secure, anchored)
		w.on(name, dns.TypeTLSA, func(m *dns.Msg) {
			m.Rcode, m.Answer, m.Ns = dns.RcodeSuccess, nil, nil
			tt.reply(w, org, m)
		})
		if a, err := w.lookup(name, dns.TypeTLSA, anchored); err == nil {
			t.Errorf("%s: %v, %+v", tt.what, a.Status, a)
		}
	}
}

// A signed DNAME above a trust anchor makes nothing below it secure, even if the
// zone of the anchor delegates to an unsigned zone.
func TestSignedDNAMEAboveUnsignedZoneOfIsland(t *testing.T) {
	t.Parallel()
	w := mail(t)
	org := w.zone("org.", "org. 60 IN DNAME example.com.")
	island := w.zone("island.org.")
	w.unsignedZone("plain.island.org.", "mx.plain.island.org. 60 IN A 192.0.2.8")
	anchored := func(c *Config) { c.Anchors += island.keys[0].record.ToDS(dns.SHA256).String() }
	w.expect(t, "mx.plain.island.org.", dns.TypeA, Insecure, anchored)
	w.on("mx.plain.island.org.", dns.TypeA, func(m *dns.Msg) {
		m.Answer, m.Ns = w.sign(org, org.set(w, "org.", dns.TypeDNAME)), nil
	})
	a := w.expect(t, "mx.plain.island.org.", dns.TypeA, Insecure, anchored)
	if len(a.Aliases) != 1 || a.Aliases[0].Status != Insecure {
		t.Errorf("%+v", a)
	}
}
