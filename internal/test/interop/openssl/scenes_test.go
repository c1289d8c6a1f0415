package openssl

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

const mx = "mx.example.org"

var mxNames = []string{mx}

// scene is a server with its certificates, and the certificates that records
// can refer to.
type scene struct {
	name  string
	chain []*testpki.Entity // as sent, leaf first
	// anchors are the authorities from the server's issuer up, sent or not.
	anchors []*testpki.Entity
	base    string // the TLSA base domain; "" means mx
	all     bool   // compare all kinds of records instead of the usual ones
}

func (s scene) host() string {
	if s.base != "" {
		return s.base
	}
	return mx
}

type entities = []*testpki.Entity

// scenes returns all scenes.
func scenes(t *testing.T) []scene {
	var all []scene
	all = append(all, plainScenes(t)...)
	all = append(all, orderScenes(t)...)
	all = append(all, dateScenes(t)...)
	all = append(all, authorityScenes(t)...)
	all = append(all, purposeScenes(t)...)
	all = append(all, nameScenes(t)...)
	all = append(all, constraintScenes(t)...)
	return all
}

func plainScenes(t *testing.T) []scene {
	root := testpki.Root(t, "Root")
	inter := root.Authority(t, "Intermediate")
	low := inter.Authority(t, "Low intermediate")
	direct := root.Server(t, mxNames)
	leaf := inter.Server(t, mxNames)
	deep := low.Server(t, mxNames)
	alone := testpki.SelfSigned(t, mxNames)
	aloneCA := testpki.Root(t, "Lonely", func(c *x509.Certificate) { c.DNSNames = mxNames; c.KeyUsage |= x509.KeyUsageDigitalSignature })
	return []scene{
		{name: "root issues", chain: entities{direct, root}, anchors: entities{root}, all: true},
		{name: "one intermediate", chain: entities{leaf, inter, root}, anchors: entities{inter, root}, all: true},
		{name: "two intermediates", chain: entities{deep, low, inter, root}, anchors: entities{low, inter, root}},
		{name: "root not sent", chain: entities{leaf, inter}, anchors: entities{inter, root}, all: true},
		{name: "only the leaf sent", chain: entities{leaf}, anchors: entities{inter, root}},
		{name: "only the leaf of the root sent", chain: entities{direct}, anchors: entities{root}},
		{name: "two intermediates, root not sent", chain: entities{deep, low, inter}, anchors: entities{low, inter, root}},
		{name: "self-signed leaf", chain: entities{alone}, anchors: entities{alone}, all: true},
		{name: "self-signed leaf twice", chain: entities{alone, alone}, anchors: entities{alone}},
		{name: "self-signed authority as leaf", chain: entities{aloneCA}, anchors: entities{aloneCA}},
		{name: "self-signed leaf and a stranger", chain: entities{alone, root}, anchors: entities{alone, root}},
	}
}

func orderScenes(t *testing.T) []scene {
	root, other := testpki.Root(t, "Root"), testpki.Root(t, "Other root")
	inter := root.Authority(t, "Intermediate")
	low := inter.Authority(t, "Low intermediate")
	leaf, deep := inter.Server(t, mxNames), low.Server(t, mxNames)
	stranger := other.Authority(t, "Stranger")
	namesake := testpki.Root(t, "Intermediate")
	cross := other.Again(t, root)
	renewed := root.Again(t, root, func(c *x509.Certificate) { c.NotBefore = testpki.Now.AddDate(0, -1, 0) })
	return []scene{
		{name: "extra certificates", chain: entities{leaf, stranger, inter, other, root}, anchors: entities{inter, root, other}},
		{name: "extra certificate at the end", chain: entities{leaf, inter, root, stranger}, anchors: entities{inter, root, stranger}},
		{name: "unordered", chain: entities{deep, root, low, inter}, anchors: entities{low, inter, root}},
		{name: "issuer repeated", chain: entities{leaf, inter, inter, root, root}, anchors: entities{inter, root}},
		{name: "namesake of the issuer", chain: entities{leaf, namesake, inter, root}, anchors: entities{inter, root, namesake}},
		{name: "cross-signed root", chain: entities{leaf, inter, cross, other}, anchors: entities{inter, cross, other, root}},
		{name: "cross-signed, both sent", chain: entities{leaf, inter, root, cross, other}, anchors: entities{inter, root, cross, other}},
		{name: "cross-signed, the other way round", chain: entities{leaf, inter, cross, root, other}, anchors: entities{inter, root, cross, other}},
		{name: "two certificates of one root", chain: entities{leaf, inter, renewed, root}, anchors: entities{inter, root, renewed}},
	}
}

func dateScenes(t *testing.T) []scene {
	root := testpki.Root(t, "Root")
	inter := root.Authority(t, "Intermediate")
	oldRoot := testpki.Root(t, "Old root", testpki.Expired)
	belowOld := oldRoot.Authority(t, "Below old root")
	oldInter := root.Authority(t, "Old intermediate", testpki.Expired)
	newInter := root.Again(t, oldInter)
	futureRoot := testpki.Root(t, "Future root", testpki.NotYetValid)
	oldLeaf := inter.Server(t, mxNames, testpki.Expired)
	return []scene{
		{name: "expired leaf", chain: entities{oldLeaf, inter, root}, anchors: entities{inter, root}},
		{name: "expired leaf alone", chain: entities{oldLeaf}, anchors: entities{inter}},
		{name: "leaf not yet valid", chain: entities{inter.Server(t, mxNames, testpki.NotYetValid), inter, root}, anchors: entities{inter, root}},
		{name: "expired intermediate", chain: entities{oldInter.Server(t, mxNames), oldInter, root}, anchors: entities{oldInter, root}},
		{name: "expired intermediate at the top", chain: entities{oldInter.Server(t, mxNames), oldInter}, anchors: entities{oldInter, root}},
		{name: "expired and renewed intermediate", chain: entities{oldInter.Server(t, mxNames), oldInter, newInter, root}, anchors: entities{newInter, root}},
		{name: "expired root", chain: entities{belowOld.Server(t, mxNames), belowOld, oldRoot}, anchors: entities{belowOld, oldRoot}},
		{name: "expired root not sent", chain: entities{belowOld.Server(t, mxNames), belowOld}, anchors: entities{belowOld, oldRoot}},
		{name: "expired root issues", chain: entities{oldRoot.Server(t, mxNames), oldRoot}, anchors: entities{oldRoot}},
		{name: "root not yet valid", chain: entities{futureRoot.Server(t, mxNames), futureRoot}, anchors: entities{futureRoot}},
	}
}

func authorityScenes(t *testing.T) []scene {
	chainOf := func(name string, rootChanges, interChanges []testpki.Change) scene {
		root := testpki.Root(t, "Root", rootChanges...)
		inter := root.Authority(t, "Intermediate", interChanges...)
		return scene{name: name, chain: entities{inter.Server(t, mxNames), inter, root}, anchors: entities{inter, root}}
	}
	change := func(changes ...testpki.Change) []testpki.Change { return changes }
	root := testpki.Root(t, "Root")
	server := root.Server(t, []string{"other.example.org"}, testpki.CommonName("Server that issues"))
	zero := testpki.Root(t, "Root", testpki.PathLen(0))
	own := zero.Rollover(t)
	belowOwn := own.Authority(t, "Below")
	one := testpki.Root(t, "Root one", testpki.PathLen(1))
	high := one.Authority(t, "High")
	low := high.Authority(t, "Low")
	forged := testpki.Root(t, "Root")
	ancient := root.Version1(t, nil)
	ancientInter := root.Authority(t, "Ancient intermediate").Version1(t, root)
	sha1 := testpki.Signature(x509.ECDSAWithSHA1)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaRoot, edRoot := testpki.WithKey(t, "RSA root", rsaKey), testpki.WithKey(t, "Ed25519 root", edKey)
	misled := func(c *x509.Certificate) { c.SubjectKeyId = []byte("another key") }
	unlike := testpki.Root(t, "Unlike", misled)
	likeLeaf := unlike.Server(t, mxNames)
	unlikeTwin := unlike.Again(t, unlike, func(c *x509.Certificate) { c.SubjectKeyId = []byte("and one more") })
	return []scene{
		{name: "root of version 1", chain: entities{root.Server(t, mxNames), ancient}, anchors: entities{ancient}},
		{name: "intermediate of version 1", chain: entities{ancientInter.Server(t, mxNames), ancientInter, root}, anchors: entities{ancientInter, root}},
		chainOf("intermediate signed with SHA-1", nil, change(sha1)),
		chainOf("root signed with SHA-1", change(sha1), nil),
		{name: "leaf signed with SHA-1", chain: entities{root.Server(t, mxNames, sha1), root}, anchors: entities{root}},
		{name: "leaf signed with SHA-1, root not sent", chain: entities{root.Server(t, mxNames, sha1)}, anchors: entities{root}},
		{name: "RSA root", chain: entities{rsaRoot.Server(t, mxNames), rsaRoot}, anchors: entities{rsaRoot}},
		{name: "RSA root not sent", chain: entities{rsaRoot.Server(t, mxNames)}, anchors: entities{rsaRoot}},
		{name: "Ed25519 root", chain: entities{edRoot.Server(t, mxNames), edRoot}, anchors: entities{edRoot}},
		{name: "Ed25519 root not sent", chain: entities{edRoot.Server(t, mxNames)}, anchors: entities{edRoot}},
		{name: "another key identifier", chain: entities{likeLeaf, unlikeTwin}, anchors: entities{unlikeTwin}},
		chainOf("path length of the root kept", change(testpki.PathLen(1)), nil),
		chainOf("path length of the root violated", change(testpki.PathLen(0)), nil),
		chainOf("path length of the intermediate kept", nil, change(testpki.PathLen(0))),
		{name: "path length violated two up", chain: entities{low.Server(t, mxNames), low, high, one}, anchors: entities{low, high, one}},
		{name: "path length and a self-issued authority", chain: entities{own.Server(t, mxNames), own, zero}, anchors: entities{own, zero}},
		{name: "path length violated above a self-issued authority", chain: entities{belowOwn.Server(t, mxNames), belowOwn, own, zero}, anchors: entities{belowOwn, own, zero}},
		chainOf("intermediate is no authority", nil, change(testpki.NotCA)),
		chainOf("intermediate does not say that it is an authority", nil, change(testpki.NoBasicConstraints, testpki.KeyUsage(0))),
		chainOf("intermediate without basic constraints", nil, change(testpki.NoBasicConstraints)),
		chainOf("root is no authority", change(testpki.NotCA), nil),
		chainOf("root without basic constraints", change(testpki.NoBasicConstraints), nil),
		chainOf("root does not say that it is an authority", change(testpki.NoBasicConstraints, testpki.KeyUsage(0)), nil),
		chainOf("intermediate must not sign certificates", nil, change(testpki.KeyUsage(x509.KeyUsageCRLSign))),
		chainOf("root must not sign certificates", change(testpki.KeyUsage(x509.KeyUsageCRLSign)), nil),
		chainOf("authorities without key usage", change(testpki.KeyUsage(0)), change(testpki.KeyUsage(0))),
		{name: "server certificate as issuer", chain: entities{server.Server(t, mxNames), server, root}, anchors: entities{server, root}},
		{name: "issuer's namesake with another key", chain: entities{forged.Server(t, mxNames), root}, anchors: entities{root, forged}},
	}
}

func purposeScenes(t *testing.T) []scene {
	root := testpki.Root(t, "Root")
	leafWith := func(name string, changes ...testpki.Change) scene {
		return scene{name: name, chain: entities{root.Server(t, mxNames, changes...), root}, anchors: entities{root}}
	}
	rootWith := func(name string, changes ...testpki.Change) scene {
		root := testpki.Root(t, "Root", changes...)
		inter := root.Authority(t, "Intermediate")
		return scene{name: name, chain: entities{inter.Server(t, mxNames), inter, root}, anchors: entities{inter, root}}
	}
	interWith := func(name string, changes ...testpki.Change) scene {
		inter := root.Authority(t, "Intermediate", changes...)
		return scene{name: name, chain: entities{inter.Server(t, mxNames), inter, root}, anchors: entities{inter, root}}
	}
	client := testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)
	return []scene{
		leafWith("leaf for clients", client),
		leafWith("leaf for clients and servers", testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)),
		leafWith("leaf for any use", testpki.ExtKeyUsage(x509.ExtKeyUsageAny)),
		leafWith("leaf without extended key usage", testpki.ExtKeyUsage()),
		leafWith("leaf without key usage", testpki.KeyUsage(0)),
		leafWith("leaf that signs only certificates", testpki.KeyUsage(x509.KeyUsageCertSign)),
		leafWith("leaf with key agreement", testpki.KeyUsage(x509.KeyUsageKeyAgreement)),
		leafWith("leaf with an unknown critical extension", testpki.Critical),
		interWith("intermediate for clients", client),
		interWith("intermediate for servers", testpki.ExtKeyUsage(x509.ExtKeyUsageServerAuth)),
		interWith("intermediate for any use", testpki.ExtKeyUsage(x509.ExtKeyUsageAny)),
		interWith("intermediate with an unknown critical extension", testpki.Critical),
		rootWith("root for clients", client),
		rootWith("root for servers", testpki.ExtKeyUsage(x509.ExtKeyUsageServerAuth)),
		rootWith("root for any use", testpki.ExtKeyUsage(x509.ExtKeyUsageAny)),
		rootWith("root with an unknown critical extension", testpki.Critical),
	}
}

func nameScenes(t *testing.T) []scene {
	root := testpki.Root(t, "Root")
	leafFor := func(names []string, base string, changes ...testpki.Change) scene {
		return scene{
			name:    fmt.Sprintf("names %q for %q", names, base),
			chain:   entities{root.Server(t, names, changes...), root},
			anchors: entities{root},
			base:    base,
		}
	}
	withCN := func(names []string, cn, base string) scene {
		s := leafFor(names, base, testpki.CommonName(cn))
		s.name += fmt.Sprintf(" and common name %q", cn)
		return s
	}
	return []scene{
		leafFor([]string{"other.example.org"}, mx),
		leafFor([]string{"other.example.org", "MX.Example.ORG"}, mx),
		leafFor([]string{"example.org"}, mx),
		leafFor([]string{"mx.example.org.evil.example"}, mx),
		leafFor([]string{"*.example.org"}, mx),
		leafFor([]string{"*.example.org"}, "example.org"),
		leafFor([]string{"*.example.org"}, "a.b.example.org"),
		leafFor([]string{"*.EXAMPLE.org"}, mx),
		leafFor([]string{"*.org"}, "example.org"),
		leafFor([]string{"*"}, mx),
		leafFor([]string{"mx.*.org"}, mx),
		leafFor([]string{"*.*.org"}, mx),
		leafFor([]string{"m*.example.org"}, mx),
		leafFor([]string{"*x.example.org"}, mx),
		leafFor([]string{"*mx.example.org"}, mx),
		leafFor([]string{"mx.example.org."}, mx),
		leafFor([]string{"mx.example.org\x00.evil.example"}, mx),
		leafFor([]string{"xn--bcher-kva.example.org"}, "xn--bcher-kva.example.org"),
		leafFor([]string{"*.example.org"}, "xn--bcher-kva.example.org"),
		leafFor([]string{"mx_1.example.org"}, "mx_1.example.org"),
		leafFor([]string{"*.example.org"}, "mx_1.example.org"),
		withCN(nil, mx, mx),
		withCN(nil, "*.example.org", mx),
		withCN(nil, "other.example.org", mx),
		withCN([]string{"other.example.org"}, mx, mx),
		withCN([]string{mx}, "other.example.org", mx),
		withCN(nil, "mx.example.org\x00.evil.example", mx),
	}
}

func constraintScenes(t *testing.T) []scene {
	below := func(name string, names []string, rootChange, interChange testpki.Change, leafChanges ...testpki.Change) scene {
		var rootChanges, interChanges []testpki.Change
		if rootChange != nil {
			rootChanges = append(rootChanges, rootChange)
		}
		if interChange != nil {
			interChanges = append(interChanges, interChange)
		}
		root := testpki.Root(t, "Root", rootChanges...)
		inter := root.Authority(t, "Intermediate", interChanges...)
		leaf := inter.Server(t, names, leafChanges...)
		return scene{name: name, chain: entities{leaf, inter, root}, anchors: entities{inter, root}}
	}
	cn := testpki.CommonName(mx)
	return []scene{
		below("name permitted by the root", mxNames, testpki.Permit("example.org"), nil),
		below("name not permitted by the root", mxNames, testpki.Permit("example.net"), nil),
		below("one of two names not permitted by the root", []string{mx, "mx.example.net"}, testpki.Permit("example.org"), nil),
		below("name excluded by the root", mxNames, testpki.Exclude("example.org"), nil),
		below("other name excluded by the root", mxNames, testpki.Exclude("example.net"), nil),
		below("name permitted by the intermediate", mxNames, nil, testpki.Permit("example.org")),
		below("name not permitted by the intermediate", mxNames, nil, testpki.Permit("example.net")),
		below("constraint with a leading dot", mxNames, nil, testpki.Permit(".example.org")),
		below("wildcard permitted", []string{"*.example.org"}, nil, testpki.Permit("example.org")),
		below("common name permitted", nil, nil, testpki.Permit("example.org"), cn),
		below("common name not permitted", nil, nil, testpki.Permit("example.net"), cn),
		below("common name excluded by the root", nil, testpki.Exclude("example.org"), nil, cn),
	}
}

// recordSet is the TLSA RRset of a server.
type recordSet struct {
	name    string
	records []dane.Record
}

// sets returns the record sets to compare for a scene.
func (s scene) sets(t *testing.T) []recordSet {
	var sets []recordSet
	add := func(name string, records ...dane.Record) {
		sets = append(sets, recordSet{name, records})
	}
	usage3 := []string{"3 1 1"}
	usage2 := []string{"2 0 1", "2 1 1", "2 0 0", "2 1 0"}
	if s.all {
		usage3 = []string{"3 0 0", "3 0 1", "3 0 2", "3 1 0", "3 1 1", "3 1 2"}
		usage2 = []string{"2 0 0", "2 0 1", "2 0 2", "2 1 0", "2 1 1", "2 1 2"}
	}
	for _, kind := range usage3 {
		add(kind+" leaf", record(t, kind, s.chain[0]))
		if s.all {
			for i, anchor := range s.anchors {
				add(fmt.Sprintf("%s anchor %d", kind, i), record(t, kind, anchor))
			}
		}
	}
	for _, kind := range usage2 {
		for i, anchor := range s.anchors {
			add(fmt.Sprintf("%s anchor %d", kind, i), record(t, kind, anchor))
		}
		if s.all {
			add(kind+" leaf", record(t, kind, s.chain[0]))
			add(kind+" stranger", record(t, kind, testpki.Root(t, "Stranger")))
		}
	}
	if s.all {
		sets = append(sets, s.mixedSets(t)...)
	}
	return sets
}

// mixedSets are key rollovers, digest agility, and broken records.
func (s scene) mixedSets(t *testing.T) []recordSet {
	leaf, anchor := s.chain[0], s.anchors[len(s.anchors)-1]
	stranger := testpki.Root(t, "Stranger")
	short := func(r dane.Record) dane.Record {
		r.Data = r.Data[:len(r.Data)-1]
		return r
	}
	good := record(t, "3 1 1", leaf)
	other := func(kind string) dane.Record { return record(t, kind, stranger) }
	unknown := good
	unknown.MatchingType = 7
	return []recordSet{
		{"rollover, old and new", []dane.Record{other("3 1 1"), good}},
		{"agility hides 3 1 1", []dane.Record{good, other("3 1 2")}},
		{"agility does not cross selectors", []dane.Record{good, other("3 0 2")}},
		{"agility does not cross usages", []dane.Record{good, other("2 1 2")}},
		{"agility keeps 3 1 0", []dane.Record{record(t, "3 1 0", leaf), other("3 1 2")}},
		{"agility hides 2 0 1", []dane.Record{record(t, "2 0 1", anchor), other("2 0 2")}},
		{"agility, both good", []dane.Record{good, record(t, "3 1 2", leaf)}},
		{"a short 3 1 2 hides nothing", []dane.Record{good, short(record(t, "3 1 2", leaf))}},
		{"only a short digest", []dane.Record{short(good)}},
		{"unknown matching type alone", []dane.Record{unknown}},
		{"unknown matching type and a good record", []dane.Record{unknown, good}},
		{"unknown selector alone", []dane.Record{{Usage: dane.DANEEE, Selector: 2, MatchingType: dane.SHA256, Data: good.Data}}},
		{"unknown usage alone", []dane.Record{{Usage: 4, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: good.Data}}},
		{"full certificate cut short", []dane.Record{short(record(t, "2 0 0", anchor))}},
		{"full key cut short", []dane.Record{short(record(t, "2 1 0", anchor))}},
		{"full key cut short and a good record", []dane.Record{short(record(t, "3 1 0", leaf)), good}},
		{"usage 3 fails, usage 2 succeeds", []dane.Record{other("3 1 1"), record(t, "2 1 1", anchor)}},
		{"usage 2 fails, usage 3 succeeds", []dane.Record{other("2 1 1"), good}},
		{"everything fails", []dane.Record{other("2 1 1"), other("3 1 1"), other("2 0 0"), other("2 1 0")}},
		{"anchor key in DNS beside a stranger's", []dane.Record{other("2 1 0"), record(t, "2 1 0", anchor)}},
		{"anchor in DNS beside a stranger", []dane.Record{other("2 0 0"), record(t, "2 0 0", anchor)}},
	}
}

// record returns a record of a kind, such as "3 1 1", for a certificate.
func record(t *testing.T, kind string, e *testpki.Entity) dane.Record {
	t.Helper()
	shape, err := dane.ParseRecord(kind + " 00")
	if err != nil {
		t.Fatal(err)
	}
	r, err := dane.NewRecord(e.Cert, shape.Usage, shape.Selector, shape.MatchingType)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
