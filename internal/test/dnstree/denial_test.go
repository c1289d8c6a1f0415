package dnstree

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// These are the records that prove a denial (RFC 4035 section 3.1.3, RFC 5155
// section 7.2). Each test lists, for NSEC and NSEC3, the names that the proof
// must match (=) or cover (-). The proof must contain nothing else.
func TestRecordsOfDenials(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	tests := []struct {
		name         string
		qtype        uint16
		nsec, nsec3  string
		optout       string // if it differs from nsec3
		optedOutSpan bool
	}{
		{name: "mx.$", qtype: dns.TypeTXT, nsec: "=mx.$", nsec3: "=mx.$"},                      // SEC-47, SEC-61
		{name: "ent.$", qtype: dns.TypeA, nsec: "-ent.$", nsec3: "=ent.$"},                     // SEC-50
		{name: "nope.$", qtype: dns.TypeA, nsec: "-nope.$ -*.$", nsec3: "=$ -nope.$ -*.$"},     // SEC-48, SEC-60
		{name: "a.nope.$", qtype: dns.TypeA, nsec: "-a.nope.$ -*.$", nsec3: "=$ -nope.$ -*.$"}, // the next closer name
		{name: "x.ent.$", qtype: dns.TypeA, nsec: "-x.ent.$ -*.ent.$", nsec3: "=ent.$ -x.ent.$ -*.ent.$"},
		{name: "x.wild.$", qtype: dns.TypeA, nsec: "-x.wild.$", nsec3: "-x.wild.$"},                              // SEC-52, SEC-58
		{name: "x.y.wild.$", qtype: dns.TypeA, nsec: "-x.y.wild.$", nsec3: "-y.wild.$"},                          // SEC-58
		{name: "x.wild.$", qtype: dns.TypeMX, nsec: "-x.wild.$ =*.wild.$", nsec3: "=wild.$ -x.wild.$ =*.wild.$"}, // SEC-56, SEC-63
		{name: "lame.$", qtype: dns.TypeDS, nsec: "=lame.$", nsec3: "=lame.$", optout: "=$ -lame.$"},             // SEC-20, SEC-21, SEC-62
		{name: "x.lost.$", qtype: dns.TypeDS, nsec: "=x.lost.$", nsec3: "=x.lost.$", optout: "=$ -lost.$"},       // SEC-62
		{name: "lost.$", qtype: dns.TypeA, nsec: "-lost.$", nsec3: "=lost.$", optout: "=$ -lost.$"},              // RFC 5155 section 7.2.4
		{name: "y.lost.$", qtype: dns.TypeA, nsec: "-y.lost.$ -*.lost.$", nsec3: "=lost.$ -y.lost.$ -*.lost.$", optout: "=$ -lost.$ -*.$"},
		{name: "x.wildalias.$", qtype: dns.TypeTXT, nsec: "-x.wildalias.$ =mx.$", nsec3: "-x.wildalias.$ =mx.$"},
	}
	for _, kind := range []string{"nsec", "nsec3", "optout"} {
		zone := kind + ".test."
		for _, test := range tests {
			name := strings.ReplaceAll(test.name, "$", zone)
			want := map[string]string{"nsec": test.nsec, "nsec3": test.nsec3, "optout": test.optout}[kind]
			if want == "" {
				want = test.nsec3
			}
			want = strings.ReplaceAll(want, "$", zone)
			t.Run(name+" "+dns.TypeToString[test.qtype], func(t *testing.T) {
				proof := denials(query(tree, name, test.qtype).Ns)
				used := make(map[dns.RR]bool)
				for _, claim := range strings.Fields(want) {
					i := slices.IndexFunc(proof, func(rr dns.RR) bool { return proves(rr, claim) })
					if i < 0 {
						t.Fatalf("nothing proves %s in %v", claim, proof)
					}
					used[proof[i]] = true
				}
				if len(used) != len(proof) {
					t.Errorf("more than %s in %v", want, proof)
				}
			})
		}
	}
}

func denials(section []dns.RR) []dns.RR {
	return slices.DeleteFunc(slices.Clone(section), func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t != dns.TypeNSEC && t != dns.TypeNSEC3
	})
}

// proves reports whether a denial record matches (=name) or covers (-name).
func proves(rr dns.RR, claim string) bool {
	name, match := claim[1:], claim[0] == '='
	switch rr := rr.(type) {
	case *dns.NSEC:
		if match {
			return rr.Hdr.Name == name
		}
		owner, next, at := sortKey(rr.Hdr.Name), sortKey(rr.NextDomain), sortKey(name)
		return owner < at && (at < next || next <= owner)
	case *dns.NSEC3:
		if match {
			return rr.Match(name)
		}
		return rr.Cover(name) && !rr.Match(name)
	}
	return false
}

// The type bitmaps are those of RFC 4034 section 4.1.2 and RFC 5155 section
// 3.2.1.
func TestBitmapsOfDenials(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	tests := []struct {
		zone, name string
		want       []uint16
	}{
		{"nsec.test.", "nsec.test.", []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY}},
		{"nsec.test.", "lame.nsec.test.", []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}},
		{"test.", "nsec.test.", []uint16{dns.TypeNS, dns.TypeDS, dns.TypeRRSIG, dns.TypeNSEC}},
		{"nsec3.test.", "nsec3.test.", []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeRRSIG, dns.TypeDNSKEY, dns.TypeNSEC3PARAM}},
		{"nsec3.test.", "lame.nsec3.test.", []uint16{dns.TypeNS}},
		{"nsec3.test.", "ent.nsec3.test.", nil}, // SEC-61: an empty bitmap
		{"nsec3.test.", "mx.nsec3.test.", []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeRRSIG}},
	}
	for _, test := range tests {
		zone := tree.zones[test.zone]
		chain := zone.ready().denials
		i := slices.IndexFunc(chain, func(d denial) bool { return d.key == zone.denialKey(test.name) })
		if i < 0 {
			t.Errorf("%s has no record in %s", test.name, test.zone)
			continue
		}
		var got []uint16
		switch rr := chain[i].record.(type) {
		case *dns.NSEC:
			got = rr.TypeBitMap
		case *dns.NSEC3:
			got = rr.TypeBitMap
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s in %s: %v, want %v", test.name, test.zone, got, test.want)
		}
	}
}

// RFC 4034 section 6.1 contains this order.
func TestCanonicalOrder(t *testing.T) {
	t.Parallel()
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	got := slices.Clone(want)
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(sortKey(b), sortKey(a)) })
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(sortKey(a), sortKey(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, pair := range [][2]string{{"a.", `a\000.`}, {`a\000.`, "ab."}, {`b.a.`, `a\000.`}, {"z.a.", `\000.a\000.`}} {
		if sortKey(pair[0]) >= sortKey(pair[1]) {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
}
