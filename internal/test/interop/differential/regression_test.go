package differential

import (
	"testing"

	"github.com/miekg/dns"
)

// regressions are reduced cases of the differences that were found.
var regressions = []struct {
	name   string
	clause string // which validator is right, and why
	want   [3]status
	scenario
}{
	{
		name:   "opt-out NXDOMAIN",
		clause: "RFC 5155 section 9.2: no AD, and so not secure, for what an opt-out span covers. delv does not look.",
		want:   [3]status{insecure, insecure, secure},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, NSEC3: true, OptOut: true}},
			question: question{"c.beta.", dns.TypeDS},
		},
	},
	{
		name:   "opt-out, stripped",
		clause: "RFC 5155 section 9.2: the name may be in an unsigned delegation, where no proof is due. delv expects one because the SOA record is of the zone above.",
		want:   [3]status{insecure, insecure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, NSEC3: true, OptOut: true}},
			question: question{"b.beta.", dns.TypeA},
			mutation: mutation{"stripped", question{"b.beta.", dns.TypeA}, question{"b.beta.", dns.TypeA}, 0},
		},
	},
	{
		name:   "many iterations, stripped",
		clause: "RFC 9276 section 3.2: the zone above cannot deny a delegation at an acceptable price, so there may be one, unsigned.",
		want:   [3]status{insecure, insecure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, NSEC3: true, Iterations: 400}},
			question: question{"a.a.beta.", dns.TypeA},
			mutation: mutation{"stripped", question{"a.a.beta.", dns.TypeA}, question{"a.a.beta.", dns.TypeA}, 0},
		},
	},
	{
		name:   "insecure zone, denial in the answer section",
		clause: "RFC 4035 section 4.3: below a delegation without usable DS record nothing can be bogus. delv does not read such a message (FORMERR).",
		want:   [3]status{insecure, insecure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: []uint8{200}}},
			question: question{"x.beta.", dns.TypeCNAME},
			mutation: mutation{"denial to answer", question{"x.beta.", dns.TypeCNAME}, question{"x.beta.", dns.TypeA}, 0},
		},
	},
	{
		name:   "insecure zone, denial of its parent",
		clause: "RFC 4035 section 4.3, as before. unbound judges the whole message by the keys of the signer of the first record.",
		want:   [3]status{insecure, failed, insecure},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: []uint8{200}}},
			question: question{"x.beta.", dns.TypeA},
			mutation: mutation{"denials replayed", question{"x.beta.", dns.TypeA}, question{"x.", dns.TypeA}, 0},
		},
	},
	{
		name:   "SHA-1 beside SHA-256",
		clause: "RFC 4509 section 3: DS records with SHA-1 are ignored beside one with SHA-256, though its key is not there. unbound uses both.",
		want:   [3]status{failed, secure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: []uint8{dns.SHA1}, SpareDS: true}},
			question: question{"beta.", dns.TypeSOA},
		},
	},
	{
		name:   "broken signature beside a good one",
		clause: "RFC 4035 section 5.3.3, RFC 6840 section 5.4: one good signature suffices. delv stops at the first that fails, to bound its work.",
		want:   [3]status{secure, secure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, Records: []string{"beta. A 192.0.2.1"}}},
			question: question{"beta.", dns.TypeA},
			mutation: mutation{"broken signature added", question{"beta.", dns.TypeA}, question{"beta.", dns.TypeA}, 0},
		},
	},
	{
		name:   "altered SOA beside a good denial",
		clause: "RFC 4033 section 5: secure means that all signatures of the response verify. delv reports the denial as not validated.",
		want:   [3]status{failed, failed, insecure},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{".", dns.TypeA},
			mutation: mutation{"signature altered", question{".", dns.TypeA}, question{".", dns.TypeA}, 0},
		},
	},
	{
		name:   "NXDOMAIN in the header, proof of no data",
		clause: "The header contradicts the proof; RFC 4035 section 5.4 knows no way to read that. unbound believes the proof.",
		want:   [3]status{failed, secure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{".", dns.TypeA},
			mutation: mutation{"rcode flipped", question{".", dns.TypeA}, question{".", dns.TypeA}, 0},
		},
	},
	{
		name:   "NOERROR in the header, proof of no such name",
		clause: "As before.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{"x.", dns.TypeA},
			mutation: mutation{"rcode flipped", question{"x.", dns.TypeA}, question{"x.", dns.TypeA}, 0},
		},
	},
	{
		name:   "NXDOMAIN in the header, records in the answer",
		clause: "RFC 2308 section 2.1: without aliases, NXDOMAIN has no answer.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{".", dns.TypeSOA},
			mutation: mutation{"rcode flipped", question{".", dns.TypeSOA}, question{".", dns.TypeSOA}, 0},
		},
	},
	{
		name:   "forged records beside a denial",
		clause: "RFC 4033 section 5, as for the SOA record. unbound removes what it has no use for first.",
		want:   [3]status{failed, secure, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{".", dns.TypeA},
			mutation: mutation{"authority forged beside", question{".", dns.TypeA}, question{"x.", dns.TypeA}, 3},
		},
	},
	{
		name:   "forged copy of the answer in the additional section",
		clause: "RFC 2181 section 5.4.1: the additional section is the least to be trusted, and nobody asked for it. unbound merges the two RRsets and their signatures.",
		want:   [3]status{secure, failed, secure},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "alpha.", Algorithms: p256, Digests: sha256,
				Records: []string{"*.a.alpha. TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}},
			question: question{"x.a.alpha.", dns.TypeTLSA},
			mutation: mutation{"additional forged", question{"x.a.alpha.", dns.TypeTLSA}, question{"x.a.alpha.", dns.TypeTLSA}, 2},
		},
	},
	{
		name:   "denial without SOA record, with its signature",
		clause: "RFC 4035 section 3.1.1: a server sends records with their signatures. Signatures that are left behind are the work of somebody else.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot},
			question: question{".", dns.TypeA},
			mutation: mutation{"data removed", question{".", dns.TypeA}, question{".", dns.TypeA}, 0},
		},
	},
	{
		name:   "several CNAME records, one of them signed",
		clause: "RFC 2181 section 10.1: a name has one CNAME record. unbound keeps the first.",
		want:   [3]status{failed, secure, failed},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "alpha.", Algorithms: p256, Digests: sha256,
				Records: []string{"a.alpha. CNAME b.alpha.", "b.alpha. A 192.0.2.1"}}},
			question: question{"a.alpha.", dns.TypeA},
			mutation: mutation{"data added", question{"a.alpha.", dns.TypeA}, question{"a.alpha.", dns.TypeA}, 0},
		},
	},
	{
		name: "several CNAME records, many iterations",
		clause: "RFC 9276 section 3.2 (SEC-65): the signature does not verify for both records, and the zone cannot deny a delegation at an " +
			"acceptable price, so they may be in an unsigned zone. unbound keeps the first, whose signature verifies.",
		want: [3]status{insecure, secure, insecure},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "b.gamma.", Algorithms: p256, Digests: sha256, NSEC3: true, Iterations: 400,
				Records: []string{"_25._tcp.mx.b.gamma. CNAME c.gamma."}}},
			question: question{"_25._tcp.mx.b.gamma.", dns.TypeCNAME},
			mutation: mutation{"data added", question{"_25._tcp.mx.b.gamma.", dns.TypeCNAME}, question{"a.", dns.TypeCNAME}, 20176},
		},
	},
	{
		name:   "expansion whose denial is in the answer section",
		clause: "RFC 4035 section 3.1.3.3 and RFC 5155 section 7.2.6: the denial is in the authority section.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "alpha.", Algorithms: p256, Digests: sha256, Records: []string{"*.alpha. A 192.0.2.1"}}},
			question: question{"a.alpha.", dns.TypeA},
			mutation: mutation{"denial to answer", question{"a.alpha.", dns.TypeA}, question{"a.alpha.", dns.TypeA}, 0},
		},
	},
	{
		name:   "one more denial of the zone",
		clause: "RFC 4035 section 5.4: what is proven stays so. unbound takes the NSEC record of the wildcard for part of the proof and misses the rest.",
		want:   [3]status{secure, failed, secure},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "a.gamma.", Algorithms: p256, Digests: sha256,
				Records: []string{"c.a.gamma. TXT \"\"", "*.a.gamma. TXT \"\""}}},
			question: question{"c.a.gamma.", dns.TypeCNAME},
			mutation: mutation{"denial added", question{"c.a.gamma.", dns.TypeCNAME}, question{"mx.a.gamma.", dns.TypeCNAME}, 0},
		},
	},
	{
		name:   "denial of another zone beside an alias",
		clause: "RFC 4033 section 5, as before: the denial is signed, by a zone that no name of the answer is in.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "c.b.gamma.", Algorithms: p256, Digests: sha256, NSEC3: true,
				Records: []string{"a.c.b.gamma. CNAME d.c.b.c.b.gamma.", "*.c.b.gamma. A 192.0.2.2"}},
				{Name: "b.alpha.", Algorithms: p256, Digests: sha256}},
			question: question{"a.c.b.gamma.", dns.TypeA},
			mutation: mutation{"denial added", question{"d.c.b.c.b.gamma.", dns.TypeA}, question{"b.alpha.", dns.TypeA}, 12550},
		},
	},
	{
		name:   "NSEC records of both sides of a zone cut",
		clause: "RFC 4035 section 2.3: one each of the parent and the child. The others take them for one RRset, which has no good signature.",
		want:   [3]status{secure, failed, failed},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, Records: []string{"*.beta. CNAME x.a.beta."}},
				{Name: "alpha.", Algorithms: p256, Digests: sha256, Records: []string{"a.alpha. CNAME b.beta."}},
				{Name: "a.beta.", Algorithms: p256, Digests: sha256}},
			question: question{"a.alpha.", dns.TypeMX},
		},
	},
	{
		name:   "alias that a DNAME makes, below many iterations",
		clause: "RFC 6672 section 5.3.1: the signature of the DNAME authenticates the CNAME. unbound takes the signer of the CNAME, which has none, and asks for the delegations above its name, which many iterations do not deny (RFC 9276 section 3.2).",
		want:   [3]status{secure, insecure, secure},
		scenario: scenario{
			tree: treeSpec{plainRoot, {Name: "b.gamma.", Algorithms: p256, Digests: sha256, NSEC3: true, Iterations: 400,
				Records: []string{"a.b.b.gamma. DNAME d.c.b."}}},
			question: question{"www.a.b.b.gamma.", dns.TypeCNAME},
		},
	},
	{
		name:   "DS record beside a forged DNAME above it",
		clause: "RFC 6672 section 2.4: nothing is below a DNAME. The DS record is signed and would do, but the reply contradicts itself.",
		want:   [3]status{failed, failed, failed},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "a.alpha.", Algorithms: p256, Digests: sha256}},
			question: question{"*.b.a.alpha.", dns.TypeDNSKEY},
			mutation: mutation{"DNAME forged", question{"a.alpha.", dns.TypeDS}, question{"x.b.alpha.", dns.TypeDS}, 20805},
		},
	},
	{
		name:   "data signed by the zone above",
		clause: "RFC 4035 section 5.3.1 wants the signer to be the zone that has the data. None of the three checks that: the owner of the parent zone's key can take over the zone anyway.",
		want:   [3]status{secure, secure, secure},
		scenario: scenario{
			tree:     treeSpec{plainRoot, {Name: "beta.", Algorithms: p256, Digests: sha256, Records: []string{"a.beta. A 192.0.2.1"}}},
			question: question{"a.beta.", dns.TypeA},
			mutation: mutation{"signature by parent", question{"a.beta.", dns.TypeA}, question{"a.beta.", dns.TypeA}, 0},
		},
	},
}

var (
	p256      = []uint8{dns.ECDSAP256SHA256}
	sha256    = []uint8{dns.SHA256}
	plainRoot = zoneSpec{Name: ".", Algorithms: p256, Digests: sha256}
)

// TestKnownDifferences checks the verdicts on each known difference. It also
// checks those of unbound and delv, so that it shows when a version of them has
// changed.
func TestKnownDifferences(t *testing.T) {
	p := newPanel(t)
	for _, test := range regressions {
		t.Run(test.name, func(t *testing.T) {
			o := p.try(t, &test.scenario)
			switch {
			case o == nil:
				t.Fatal("the mutation does not apply")
			case o.kinds() != test.want:
				t.Errorf("%v, want %v (%s)\n%s", o.statuses(), test.want, test.clause, o.report())
			}
		})
	}
}
