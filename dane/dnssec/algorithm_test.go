package dnssec

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// SEC-79, SEC-80, SEC-81, SEC-84: zones signed with each algorithm.
func TestEachAlgorithmHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []uint8{
		dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519,
		dns.RSASHA1, dns.RSASHA1NSEC3SHA1,
	} {
		w := mail(t)
		z := w.zones["example.com."]
		z.keys = []*testKey{newKey(t, z.name, algorithm, 257)}
		want := Secure
		if algorithm == dns.RSASHA1 || algorithm == dns.RSASHA1NSEC3SHA1 {
			want = Insecure
			w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.SHA1 = true })
		}
		w.expect(t, "mx.example.com", dns.TypeA, want)
		w.expect(t, "none.example.com", dns.TypeA, want)
	}
	for _, algorithm := range []uint8{0, dns.RSAMD5, dns.DH, dns.DSA, dns.DSANSEC3SHA1, dns.ECCGOST, dns.ED448, dns.PRIVATEDNS, dns.PRIVATEOID, 255} {
		if proof.SupportsAlgorithm(algorithm, true) {
			t.Errorf("algorithm %d is supported", algorithm)
		}
	}
}

// SEC-83: an unknown algorithm among the keys and signatures of a zone with a
// supported DS is ignored. If there is no other, the zone is bogus, not insecure.
func TestUnknownAlgorithmIsNeverInsecure(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	unknown := dns.Copy(z.keys[0].record).(*dns.DNSKEY)
	unknown.Algorithm = 99
	z.keys = append(z.keys, &testKey{record: unknown, silent: true})
	z.ds = []dns.RR{z.keys[0].record.ToDS(dns.SHA256)}
	relabel := func(s *dns.RRSIG) { s.Algorithm, s.KeyTag = 99, unknown.KeyTag() }
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		other := dns.Copy(m.Answer[1]).(*dns.RRSIG)
		relabel(other)
		m.Answer = append(m.Answer, other)
	})
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { eachSignature(m, relabel) })
	w.expectError(t, "mx.example.com", dns.TypeA, KeyMissing)
}
