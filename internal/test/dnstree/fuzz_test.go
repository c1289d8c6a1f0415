package dnstree

import (
	"testing"

	"github.com/miekg/dns"
)

// For any query, the reply can be packed and its denials verify.
func FuzzExchange(f *testing.F) {
	tree := newTestTree()
	for name, qtype := range map[string]uint16{
		".": dns.TypeNS, "test.": dns.TypeDS, "mx.nsec.test.": dns.TypeA, `we\.ird\000\255.nsec3.test.`: dns.TypeA,
		"a.b.c.dname.optout.test.": dns.TypeTXT, "*.x.wild.nsec3.test.": dns.TypeANY,
	} {
		wire, err := question(name, qtype, 1232, true).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		q := new(dns.Msg)
		if q.Unpack(wire) != nil {
			return
		}
		reply := tree.Exchange(q)
		if _, err := reply.Pack(); err != nil {
			t.Fatalf("%v: %v", q, err)
		}
		for _, rr := range denials(reply.Ns) {
			// Queries for their type or ANY get these records too (RFC 4035 section 3.2.1).
			isAsked := q.Question[0].Qtype == dns.TypeANY || q.Question[0].Qtype == rr.Header().Rrtype
			if (q.IsEdns0() == nil || !q.IsEdns0().Do()) && !isAsked {
				t.Errorf("%s without DO", rr)
			}
		}
		if opt := q.IsEdns0(); opt != nil && opt.Do() {
			verify(t, tree, reply.Ns)
		}
	})
}
