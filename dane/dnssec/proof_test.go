package dnssec

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// P1, SEC-4, SEC-6: the AD bit of a reply says nothing to a Validator. With it, every answer
// and every failure is what it is without it: what is not signed stays insecure, and what is
// wrongly signed or not signed at all stays bogus.
func TestP1ADRaisesNothing(t *testing.T) {
	t.Parallel()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.77 listed.plain.com listed.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type bend = func(w *world, m *dns.Msg)
	forge := func(text string) bend {
		return func(_ *world, m *dns.Msg) {
			if q := m.Question[0]; q.Qtype == dns.TypeA || q.Qtype == dns.TypeTLSA {
				forged := dnsdata.RR(t, q.Name+" 300 IN "+text)
				if forged.Header().Rrtype == q.Qtype {
					m.Answer, m.Ns, m.Rcode = []dns.RR{forged}, nil, dns.RcodeSuccess
				}
			}
		}
	}
	for what, change := range map[string]bend{
		"honest":         func(*world, *dns.Msg) {},
		"stripped":       func(_ *world, m *dns.Msg) { strip(m) },
		"forged address": forge("A 192.0.2.66"),
		"forged TLSA":    forge("TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
		"nothing":        func(_ *world, m *dns.Msg) { m.Answer, m.Ns = nil, nil },
		"NXDOMAIN":       func(_ *world, m *dns.Msg) { m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError },
		"expired": func(w *world, m *dns.Msg) {
			eachSignature(m, func(s *dns.RRSIG) { s.Expiration = uint32(w.now.Unix()) - 60 })
		},
		"by an unknown key": func(_ *world, m *dns.Msg) { eachSignature(m, func(s *dns.RRSIG) { s.KeyTag++ }) },
		"SERVFAIL":          func(_ *world, m *dns.Msg) { m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure },
	} {
		for _, chain := range []string{"NSEC", "NSEC3", "opt-out", "costly"} {
			t.Run(what+" "+chain, func(t *testing.T) {
				t.Parallel()
				w := mail(t)
				for _, z := range w.zones {
					z.nsec3, z.optOut = chain != "NSEC", chain == "opt-out"
					if chain == "costly" {
						z.iter = 101
					}
				}
				edit := func(c *Config) {
					c.PrivateZones, c.HostsFile, c.NAT64 = []PrivateZone{{Zone: "priv.example.com"}}, hosts, netip.MustParsePrefix("64:ff9b::/96")
				}
				for _, q := range []question{
					{"mx.example.com.", dns.TypeA}, {"mx.example.com.", dns.TypeAAAA}, {"none.example.com.", dns.TypeA}, {"_25._tcp.mx.example.com.", dns.TypeTLSA},
					{"_25._tcp.mx.plain.com.", dns.TypeTLSA}, {"mx.plain.com.", dns.TypeA}, {"mx.plain.com.", dns.TypeTXT}, {"none.plain.com.", dns.TypeA},
					{"away.example.com.", dns.TypeA}, {"back.plain.com.", dns.TypeA}, {"alias.example.com.", dns.TypeA}, {"mx.old.example.com.", dns.TypeA},
					{"x.wild.example.com.", dns.TypeA}, {"plain.com.", dns.TypeDS}, {"example.com.", dns.TypeDS}, {"example.com.", dns.TypeDNSKEY},
					{"host.priv.example.com.", dns.TypeA}, {"listed.example.com.", dns.TypeA}, {"localhost.", dns.TypeA}, {"x.invalid.", dns.TypeA}, {"none.test.", dns.TypeA},
				} {
					result := func(ad bool) string {
						w.settle()
						w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
							if m.Question[0].Name != "." || m.Question[0].Qtype != dns.TypeDNSKEY { // or nothing is ever known
								change(w, m)
							}
							m.AuthenticatedData = ad
							return m
						}
						a, err := w.lookup(q.name, q.rtype, edit)
						if err != nil {
							e := asError(q, err)
							return fmt.Sprintf("%v: %v", e.Status, e.Reason)
						}
						return fmt.Sprintf("%+v", *a)
					}
					if without, with := result(false), result(true); without != with {
						t.Errorf("%s %s: %s without AD, %s with AD", q.name, dns.Type(q.rtype), without, with)
					}
				}
			})
		}
	}
}

// P11, RFC 2308 section 5: the absence of records, and that of a delegation, is known for the
// smallest of the TTLs of the proof and of the SOA record, and its MINIMUM.
func TestP11AbsenceExpires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		soaTTL, minimum, nsecTTL uint32
		want                     time.Duration
	}{
		{3600, 900, 900, 900}, {3600, 60, 900, 60}, {70, 900, 900, 70}, {3600, 900, 80, 80}, {3600, 0, 900, 0},
	} {
		for _, chain := range []string{"NSEC", "NSEC3"} {
			w := mail(t)
			for _, z := range w.zones {
				z.nsec3 = chain == "NSEC3"
				if soa := z.records[z.name][0].(*dns.SOA); z.name != "plain.com." {
					soa.Hdr.Ttl, soa.Minttl = tt.soaTTL, tt.minimum
				}
			}
			w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
				for _, rr := range m.Ns {
					if isType(dns.TypeNSEC, dns.TypeNSEC3)(rr) || isCovering(dns.TypeNSEC)(rr) || isCovering(dns.TypeNSEC3)(rr) {
						rr.Header().Ttl = tt.nsecTTL
					}
				}
				return m
			}
			for _, q := range []question{
				{"mx.example.com.", dns.TypeTXT}, {"none.example.com.", dns.TypeTXT}, {"plain.com.", dns.TypeDS}, {"mx.plain.com.", dns.TypeTXT}, {"none.plain.com.", dns.TypeTXT},
			} {
				want := tt.want // of plain.com because the delegation is known no longer than its proof
				a, err := w.lookup(q.name, q.rtype)
				if err != nil {
					t.Errorf("%+v, %s %s: %v", tt, q.name, dns.Type(q.rtype), err)
				} else if got := a.Expires.Sub(w.now); got != want*time.Second {
					t.Errorf("%+v, %s, %s %s: known for %v, want %d s", tt, chain, q.name, dns.Type(q.rtype), got, want)
				}
			}
			validating(w, func(dns.Question) bool { return true })
			for _, name := range []string{"none.example.com.", "mx.example.com."} {
				want := time.Duration(min(tt.soaTTL, tt.minimum)) * time.Second
				if a, err := w.trusting(t).Lookup(t.Context(), name, TypeTXT); err != nil || a.Expires.Sub(w.now) != want {
					t.Errorf("%+v, %s: a Trusting knows it for %v, want %v (%v)", tt, name, a.Expires.Sub(w.now), want, err)
				}
			}
		}
	}
}

// P12: a reply is shared by the lookups that asked for it. Verifying what it holds does not
// change it, so all get the same octets.
func TestP12AnswersAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.zone("com.")
	w.zone("example.com.", "example.com. 300 IN MX 10 Mail.Example.COM.", "_sip._tcp.example.com. 300 IN SRV 1 2 25 Mail.Example.COM.", "alias.example.com. 300 IN CNAME Mail.Example.COM.", "mail.example.com. 300 IN A 192.0.2.1")
	v := w.validator()
	for _, q := range []question{{"example.com.", dns.TypeMX}, {"_sip._tcp.example.com.", dns.TypeSRV}, {"alias.example.com.", dns.TypeCNAME}} {
		a, err := v.Lookup(t.Context(), q.name, Type(q.rtype))
		if err != nil || a.Status != Secure || len(a.Records) != 1 {
			t.Fatalf("%s: %+v, %v", q.name, a, err)
		}
		published := w.zones["example.com."].records[q.name][slices.IndexFunc(w.zones["example.com."].records[q.name], isType(q.rtype))]
		wire := make([]byte, 512)
		n, err := dns.PackRR(dns.Copy(published), wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Records[0].Data; !slices.Equal(got, wire[n-len(got):n]) {
			t.Errorf("%s %s: %q instead of %q", q.name, dns.Type(q.rtype), got, wire[n-len(got):n])
		}
	}
}
