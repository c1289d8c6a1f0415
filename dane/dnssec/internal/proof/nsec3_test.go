package proof

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// SEC-57: the hashes that RFC 5155 appendix A lists.
func TestNSEC3Hash(t *testing.T) {
	t.Parallel()
	names := map[string]string{
		"example.":       "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
		"a.example.":     "35mthgpgcu1qg68fab165klnsnk3dpvl",
		"ai.example.":    "gjeqe526plbf1g8mklp59enfd789njgi",
		"*.w.example.":   "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
		"x.y.w.example.": "2vptu5timamqttgl4luu9kg21e0aor3s",
		"xx.example.":    "t644ebqk9bibcna874givr6joj62mlhv",
		"c.x.w.example.": "0va5bpr2ou0vk0lbqeeljri88laipsfh",
		"*.x.w.example.": "92pqneegtaue7pjatc3l3qnk738c6v5m",
		"ns1.example.":   "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
		"z.w.example.":   "qlu7gtfaeh0ek0c05ksfhdpbcgglbe03",
		"c.example.":     "4g6p9u5gvfshp30pqecj98b3maqbn1ck",
	}
	chain := newNSEC3Chain(&dns.NSEC3{Salt: "aabbccdd", Iterations: 12}, "example.", newBudget())
	for name, want := range names {
		label, ok := newNSEC3(&dns.NSEC3{Hdr: dns.RR_Header{Name: want + ".example."}, Hash: 1, NextDomain: want}, "example.")
		if !ok || !slices.Equal(chain.hash(name), label.owner) {
			t.Errorf("H(%s) = %x, want %x", name, chain.hash(name), label.owner)
		}
	}
}

// SEC-69: a name is hashed once per reply.
func TestNSEC3HashesAreKept(t *testing.T) {
	t.Parallel()
	b := newBudget()
	chain := newNSEC3Chain(&dns.NSEC3{Salt: "AB", Iterations: 5}, "example.", b)
	for range 10 {
		chain.match("a.example.")
		chain.cover("a.example.")
	}
	if b.NSEC3Hashes != 63 {
		t.Errorf("%d hashes left of 64", b.NSEC3Hashes)
	}
}

// SEC-65, SEC-70: a proof above the limit of iterations costs no hash.
func TestCostlyNSEC3CostsNoHash(t *testing.T) {
	t.Parallel()
	b := newBudget()
	chain := newNSEC3Chain(&dns.NSEC3{Iterations: 101}, "com.", b)
	if _, err := chain.deny("x.com.", dns.TypeA, 0); err != nil || b.NSEC3Hashes != 64 {
		t.Errorf("%d hashes left, %v", b.NSEC3Hashes, err)
	}
}

// SEC-58, SEC-69: without a hash left, nothing is proven.
func TestExpansionWithoutHashLeft(t *testing.T) {
	t.Parallel()
	b := newBudget()
	b.NSEC3Hashes = 0
	if proven, _, err := newNSEC3Chain(&dns.NSEC3{}, "example.com.", b).provesExpansion("a.b.wild.example.com.", "wild.example.com."); proven || err == nil {
		t.Errorf("%v without a hash left", proven)
	}
}
