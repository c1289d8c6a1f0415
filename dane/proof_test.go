package dane

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/internal/test/testpki"
)

var names1 = []string{"mx.example.org"}

// of makes a record of a kind such as "2 0 1".
func of(t *testing.T, kind string, e *testpki.Entity) Record {
	t.Helper()
	shape, err := ParseRecord(kind + " 00")
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRecord(e.Cert, shape.Usage, shape.Selector, shape.MatchingType)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with returns r with other data.
func with(r Record, data []byte) Record {
	r.Data = data
	return r
}

// faults returns why each record does not match, or nil if one of them does.
func faults(t *testing.T, v Verifier, sent []*x509.Certificate, records ...Record) []*fault {
	t.Helper()
	_, err := v.Verify(sent, records, names1, testpki.Now)
	if err == nil {
		return nil
	}
	mismatch := new(Error)
	if !errors.As(err, &mismatch) {
		t.Fatalf("%T: %v", err, err)
	}
	var list []*fault
	for _, attempt := range mismatch.Attempts {
		list = append(list, attempt.Err.(*fault))
	}
	return list
}

// expectFaults compares the reasons. None means that the server is authenticated.
func expectFaults(t *testing.T, what string, got []*fault, want ...reason) {
	t.Helper()
	var reasons []reason
	for _, f := range got {
		reasons = append(reasons, f.reason)
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("%s: reasons %v, want %v: %v", what, reasons, want, got)
	}
}

// P7, OPS-28, OPS-30, DANE-82: digest agility holds in Verify for both usages, also if the
// caller has not called Select. What is malformed is no digest.
func TestP7DigestAgilityInVerify(t *testing.T) {
	t.Parallel()
	root, stranger := testpki.Root(t, "Root"), testpki.Root(t, "Stranger")
	leaf := root.Server(t, names1)
	sent := testpki.Chain(leaf, root)
	for _, tt := range []struct {
		usage string
		right *testpki.Entity
		other reason // of a record that matches nothing
	}{{"2", root, noTrustAnchor}, {"3", leaf, noMatch}} {
		for _, selector := range []string{" 0", " 1"} {
			kind := tt.usage + selector
			weak, strong, strange := of(t, kind+" 1", tt.right), of(t, kind+" 2", tt.right), of(t, kind+" 2", stranger)
			expectFaults(t, kind+": a weaker digest beside a stronger one of another", faults(t, Verifier{}, sent, weak, strange), weakerDigest, tt.other)
			expectFaults(t, kind+": the same in the other order", faults(t, Verifier{}, sent, strange, weak), tt.other, weakerDigest)
			expectFaults(t, kind+": both right", faults(t, Verifier{}, sent, weak, strong))
			expectFaults(t, kind+": a stronger digest that is too short", faults(t, Verifier{}, sent, weak, with(strong, strong.Data[:63])))
			expectFaults(t, kind+": a stronger digest that is too long", faults(t, Verifier{}, sent, weak, with(strong, append(slices.Clone(strong.Data), 0))))
			expectFaults(t, kind+": type Full beside a stronger digest", faults(t, Verifier{}, sent, of(t, kind+" 0", tt.right), strange))
			// Another selector, and another usage, is another group.
			apart := of(t, tt.usage+map[string]string{" 0": " 1", " 1": " 0"}[selector]+" 2", stranger)
			expectFaults(t, kind+": a stronger digest of another selector", faults(t, Verifier{}, sent, weak, apart))
			apart = of(t, map[string]string{"2": "3", "3": "2"}[tt.usage]+selector+" 2", stranger)
			expectFaults(t, kind+": a stronger digest of another usage", faults(t, Verifier{}, sent, weak, apart))
			// Usages and selectors that mail does not use are in no group.
			unused := strange
			unused.Usage = PKIXEE
			expectFaults(t, kind+": a stronger digest of usage 1", faults(t, Verifier{}, sent, weak, unused))
			for _, s := range []Selector{2, 3, 255} {
				unknown := with(strange, strong.Data)
				unknown.Selector = s
				expectFaults(t, kind+": an unknown selector", faults(t, Verifier{}, sent, unknown), unusable)
				expectFaults(t, kind+": a stronger digest with an unknown selector", faults(t, Verifier{}, sent, weak, unknown))
			}
		}
	}
}

// P7, OPS-25, OPS-26: the same under a local policy.
func TestP7LocalDigestPolicy(t *testing.T) {
	t.Parallel()
	leaf, stranger := testpki.SelfSigned(t, names1), testpki.SelfSigned(t, names1)
	sent := testpki.Chain(leaf)
	right256, right512 := of(t, "3 1 1", leaf), of(t, "3 1 2", leaf)
	h := crypto.SHA3_256.New()
	h.Write(leaf.Cert.RawSubjectPublicKeyInfo)
	right3 := Record{DANEEE, SPKI, 200, h.Sum(nil)}
	sha3 := Verifier{Digests: []Digest{{200, crypto.SHA3_256}, {SHA256, crypto.SHA256}}}
	expectFaults(t, "SHA3", faults(t, sha3, sent, right3))
	expectFaults(t, "SHA3 of another", faults(t, sha3, sent, with(right3, make([]byte, 32))), noMatch)
	expectFaults(t, "SHA3 first", faults(t, sha3, sent, right256, with(right3, make([]byte, 32))), weakerDigest, noMatch)
	expectFaults(t, "not accepted", faults(t, sha3, sent, right512), unusable)
	expectFaults(t, "not accepted and of another", faults(t, sha3, sent, of(t, "3 1 2", stranger), right256), nil...)
	// Full is no digest, whatever the policy says.
	absurd := Verifier{Digests: []Digest{{Full, crypto.SHA256}, {SHA256, crypto.SHA256}}}
	expectFaults(t, "Full as a digest", faults(t, absurd, sent, with(of(t, "3 1 0", leaf), make([]byte, 32)), right256))
	// No length of data makes an unknown digest usable.
	for n := range 130 {
		if got := sha3.Select([]Record{{DANEEE, SPKI, 77, make([]byte, n)}}); got != nil {
			t.Errorf("%d octets of an unknown matching type are usable", n)
		}
	}
}

// P8, RFC 5280 section 6.1.3 (a) (4): the name of an issuer is that which the certificate
// below it names, whatever its key is.
func TestP8IssuersAreChainedByName(t *testing.T) {
	t.Parallel()
	key := testpki.NewKey(t)
	root, renamed := testpki.WithKey(t, "Root", key), testpki.WithKey(t, "Renamed", key)
	leaf := root.Server(t, names1)
	for _, kind := range []string{"2 0 0", "2 0 1", "2 0 2", "2 1 0", "2 1 1", "2 1 2"} {
		expectFaults(t, kind+" of the issuer", faults(t, Verifier{}, testpki.Chain(leaf, root), of(t, kind, root)))
		expectFaults(t, kind+" of an authority with the key and another name", faults(t, Verifier{}, testpki.Chain(leaf, renamed), of(t, kind, renamed)), notIssuer)
	}
	// Two authorities with one key are not one authority.
	below := testpki.WithKey(t, "Below", key)
	below = root.Again(t, below)
	leaf = below.Server(t, names1)
	expectFaults(t, "two authorities with one key", faults(t, Verifier{}, testpki.Chain(leaf, below, root), of(t, "2 0 1", root)))
}

// P8, RFC 7671 section 5.2.2: the certificates that a chain may use are those of the
// handshake, and those in full in records of usage DANE-TA. No other record adds one.
func TestP8WhatMayJoinTheChain(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	inter := root.Authority(t, "Intermediate")
	leaf := inter.Server(t, names1)
	sent, anchor := testpki.Chain(leaf, root), of(t, "2 0 1", root)
	expectFaults(t, "not sent", faults(t, Verifier{}, sent, anchor), notIssuer)
	expectFaults(t, "sent", faults(t, Verifier{}, testpki.Chain(leaf, root, inter), anchor))
	expectFaults(t, "in a record", faults(t, Verifier{}, sent, anchor, of(t, "2 0 0", inter)))
	for what, tt := range map[string]struct {
		record Record
		why    []reason
	}{
		"usage 3":          {of(t, "3 0 0", inter), []reason{notIssuer, noMatch}},
		"usage 1":          {Record{PKIXEE, Cert, Full, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"usage 0":          {Record{PKIXTA, Cert, Full, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"usage 4":          {Record{4, Cert, Full, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"selector 1":       {Record{DANETA, SPKI, Full, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"matching type 1":  {Record{DANETA, Cert, SHA256, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"matching type 2":  {Record{DANETA, Cert, SHA512, inter.Cert.Raw}, []reason{notIssuer, unusable}},
		"a digest":         {of(t, "2 0 2", inter), []reason{weakerDigest, noTrustAnchor}},
		"octets behind it": {Record{DANETA, Cert, Full, append(slices.Clone(inter.Cert.Raw), 0)}, []reason{notIssuer, unusable}},
		"something else":   {Record{DANETA, Cert, Full, []byte("certificate")}, []reason{notIssuer, unusable}},
		"the server's own": {of(t, "2 0 0", leaf), []reason{notIssuer, noTrustAnchor}},
		"the key alone":    {of(t, "2 1 0", inter), nil}, // it is an anchor itself
	} {
		expectFaults(t, "in a record with "+what, faults(t, Verifier{}, sent, anchor, tt.record), tt.why...)
	}
	expectFaults(t, "missing certificates", faults(t, Verifier{}, []*x509.Certificate{leaf.Cert, nil, inter.Cert, nil, root.Cert}, anchor))
}

// P8: the bounds on the work of one call are what they say.
func TestP8BoundsOfTheSearch(t *testing.T) {
	t.Parallel()
	top := testpki.Root(t, "Top")
	issuer := top.Authority(t, "Issuer")
	leaf := issuer.Server(t, names1)
	var namesakes, strangers []*testpki.Entity // of the issuer; of nobody
	for i := range maxPool {
		namesakes = append(namesakes, testpki.Root(t, "Issuer"))
		strangers = append(strangers, testpki.Root(t, fmt.Sprintf("Stranger %d", i)))
	}
	anchor := of(t, "2 0 1", issuer)
	chain := func(lists ...[]*testpki.Entity) []*x509.Certificate {
		return testpki.Chain(slices.Concat(lists...)...)
	}
	first, last := []*testpki.Entity{leaf}, []*testpki.Entity{issuer}

	expectFaults(t, "the last certificate that is used", faults(t, Verifier{}, chain(first, strangers[:maxSent-2], last), anchor))
	expectFaults(t, "one too many", faults(t, Verifier{}, chain(first, strangers[:maxSent-1], last), anchor), noTrustAnchor)

	// The rest of the pool comes from records.
	inRecords := func(n int) (records []Record, reasons []reason) {
		for _, e := range strangers[maxSent-1:][:n] {
			records, reasons = append(records, of(t, "2 0 0", e)), append(reasons, notIssuer)
		}
		return append(records, of(t, "2 0 0", issuer)), reasons
	}
	records, _ := inRecords(maxPool - maxSent)
	expectFaults(t, "the last certificate in the pool", faults(t, Verifier{}, chain(first, strangers[:maxSent-1]), records...))
	records, reasons := inRecords(maxPool - maxSent + 1)
	expectFaults(t, "one too many in the pool", faults(t, Verifier{}, chain(first, strangers[:maxSent-1]), records...), append(reasons, noTrustAnchor)...)

	// Each record of a stranger costs a search with one signature for each authority that
	// has the name of the issuer.
	search := func(authorities, searches int) []*fault {
		var records []Record
		for _, e := range strangers[:searches-1] {
			records = append(records, of(t, "2 0 1", e))
		}
		return faults(t, Verifier{}, chain(first, namesakes[:authorities-1], last, strangers[:searches-1]), append(records, anchor)...)
	}
	expectFaults(t, "64 signatures", search(16, 4))
	if got := search(13, 5); len(got) != 5 || got[4].reason != tooMuchWork {
		t.Errorf("65 signatures: %v", got)
	}

	// A certificate that is sent several times costs nothing.
	repeated := slices.Repeat(namesakes[:1], 25)
	expectFaults(t, "repeated", faults(t, Verifier{}, chain(first, repeated, last, strangers[:3]),
		of(t, "2 0 1", strangers[0]), of(t, "2 0 1", strangers[1]), of(t, "2 0 1", strangers[2]), anchor))
}

// P8: the size of a key that comes from DNS is bounded.
func TestP8KeySizeIsBounded(t *testing.T) {
	t.Parallel()
	leaf := testpki.SelfSigned(t, names1)
	for bits, want := range map[uint]reason{maxRSABits: badSignature, maxRSABits + 1: tooMuchWork} {
		modulus := new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1)
		der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: modulus, E: 65537})
		if err != nil {
			t.Fatal(err)
		}
		expectFaults(t, fmt.Sprintf("%d bits", bits), faults(t, Verifier{}, testpki.Chain(leaf), Record{DANETA, SPKI, Full, der}), want)
	}
}

// P8: each check of a chain gives its own reason, and the certificate at fault.
func TestP8ReasonOfEachCheck(t *testing.T) {
	t.Parallel()
	type changes = []testpki.Change
	add := func(change func(*x509.Certificate)) changes { return changes{change} }
	unknownUsage := add(func(c *x509.Certificate) {
		c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 32473, 2}}
	})
	onlyCN := func(name string) changes {
		return add(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, name })
	}
	const end, middle, top = 0, 1, 2 // which certificate is at fault
	const ok = reason(255)
	for _, tt := range []struct {
		what                          string
		onRoot, onIntermediate, onEnd changes
		why                           reason
		at                            int
	}{
		{"nothing special", nil, nil, nil, ok, 0},
		{"intermediate no authority", nil, changes{testpki.NotCA}, nil, notAuthority, middle},
		{"intermediate without basic constraints", nil, changes{testpki.NoBasicConstraints}, nil, notAuthority, middle},
		{"intermediate for signatures only", nil, changes{testpki.KeyUsage(x509.KeyUsageDigitalSignature)}, nil, notAuthority, middle},
		{"intermediate for revocation only", nil, changes{testpki.KeyUsage(x509.KeyUsageCRLSign)}, nil, notAuthority, middle},
		{"root no authority", changes{testpki.NotCA}, nil, nil, notAuthority, top},
		{"root for signatures only", changes{testpki.KeyUsage(x509.KeyUsageDigitalSignature)}, nil, nil, notAuthority, top},
		{"unknown critical extension", nil, nil, changes{testpki.Critical}, unknownCritical, end},
		{"unknown critical extension of an authority", nil, changes{testpki.Critical}, nil, unknownCritical, middle},
		{"for clients", nil, nil, changes{testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)}, wrongPurpose, end},
		{"for an unknown purpose only", nil, nil, unknownUsage, wrongPurpose, end},
		{"intermediate for an unknown purpose only", nil, unknownUsage, nil, wrongPurpose, middle},
		{"key that cannot do TLS", nil, nil, changes{testpki.KeyUsage(x509.KeyUsageCRLSign)}, wrongPurpose, end},
		{"key usage left out", nil, nil, changes{testpki.KeyUsage(0)}, ok, 0},
		{"key for encipherment", nil, nil, changes{testpki.KeyUsage(x509.KeyUsageKeyEncipherment)}, ok, 0},
		{"key for agreement", nil, nil, changes{testpki.KeyUsage(x509.KeyUsageKeyAgreement)}, ok, 0},
		{"not yet valid", nil, nil, changes{testpki.NotYetValid}, notYetValid, end},
		{"expired", nil, changes{testpki.Expired}, nil, expired, middle},
		{"path length", changes{testpki.PathLen(0)}, nil, nil, pathTooLong, top},
		{"names not permitted", changes{testpki.Permit("example.net")}, nil, nil, constrainedName, top},
		{"names not permitted by the intermediate", nil, changes{testpki.Permit("example.net")}, nil, constrainedName, middle},
		{"wrong name", nil, nil, add(func(c *x509.Certificate) { c.DNSNames = []string{"other.example.org"} }), wrongName, end},
		// The common name stands in for alternative names. Nothing else in the subject does.
		{"common name", nil, nil, onlyCN("mx.example.org"), ok, 0},
		{"wrong common name", nil, nil, onlyCN("example.org"), wrongName, end},
		{"organization", nil, nil, add(func(c *x509.Certificate) { c.DNSNames, c.Subject.Organization = nil, []string{"mx.example.org"} }), wrongName, end},
		{"serial number", nil, nil, add(func(c *x509.Certificate) { c.DNSNames, c.Subject.SerialNumber = nil, "mx.example.org" }), wrongName, end},
		{"common name excluded", changes{testpki.Exclude("mx.example.org")}, nil, onlyCN("mx.example.org"), constrainedName, top},
		{"common name excluded by the intermediate", nil, changes{testpki.Exclude("mx.example.org")}, onlyCN("mx.example.org"), constrainedName, middle},
		{"common name not permitted by the intermediate", nil, changes{testpki.Permit("example.net")}, onlyCN("mx.example.org"), constrainedName, middle},
		{"common name permitted", nil, changes{testpki.Permit("example.net", "example.org")}, onlyCN("mx.example.org"), ok, 0},
		{"all names permitted", changes{testpki.Permit("")}, nil, onlyCN("mx.example.org"), ok, 0},
		{"all names excluded", changes{testpki.Exclude("")}, nil, onlyCN("mx.example.org"), constrainedName, top},
		{"names below permitted", changes{testpki.Permit(".example.org")}, nil, onlyCN("mx.example.org"), ok, 0},
		{"names below permitted, not the name itself", changes{testpki.Permit(".mx.example.org")}, nil, onlyCN("mx.example.org"), constrainedName, top},
		{"a suffix that is no domain", changes{testpki.Permit("ample.org")}, nil, onlyCN("mx.example.org"), constrainedName, top},
	} {
		root := testpki.Root(t, "Root", tt.onRoot...)
		inter := root.Authority(t, "Intermediate", tt.onIntermediate...)
		leaf := inter.Server(t, names1, tt.onEnd...)
		sent := testpki.Chain(leaf, inter, root)
		got := faults(t, Verifier{}, sent, of(t, "2 0 1", root))
		switch {
		case tt.why == ok:
			expectFaults(t, tt.what, got)
		case len(got) != 1 || got[0].reason != tt.why || got[0].cert != sent[tt.at]:
			t.Errorf("%s: %v, want reason %d at certificate %d", tt.what, got, tt.why, tt.at)
		}
	}
	expectFaults(t, "no certificate", faults(t, Verifier{}, nil, Record{}), noCertificate)

	// A signature that does not verify: the authority has the name only.
	root := testpki.Root(t, "Root")
	leaf := root.Server(t, names1)
	expectFaults(t, "a namesake", faults(t, Verifier{}, testpki.Chain(leaf, testpki.Root(t, "Root")), of(t, "2 0 1", testpki.Root(t, "Root"))), noTrustAnchor)
	namesake := testpki.Root(t, "Root")
	got := faults(t, Verifier{}, testpki.Chain(leaf, namesake), of(t, "2 0 1", namesake))
	if len(got) != 1 || got[0].reason != badSignature || got[0].cert != leaf.Cert {
		t.Errorf("a namesake as anchor: %v", got)
	}
}

// P8, RFC 5280 section 4.2.1.9: path lengths greater than 0.
func TestP8PathLengthAboveZero(t *testing.T) {
	t.Parallel()
	for limit, good := range map[int]bool{0: false, 1: false, 2: true, 3: true} {
		root := testpki.Root(t, "Root", testpki.PathLen(limit))
		upper := root.Authority(t, "Upper")
		lower := upper.Authority(t, "Lower")
		leaf := lower.Server(t, names1)
		var want []reason
		if !good {
			want = []reason{pathTooLong}
		}
		expectFaults(t, fmt.Sprintf("length %d", limit), faults(t, Verifier{}, testpki.Chain(leaf, lower, upper, root), of(t, "2 0 1", root)), want...)
	}
}

// P8: the dates of an anchor that another authority issued do not count, before its time and
// after it. A self-issued certificate of version 1 is an authority only as the anchor.
func TestP8IssuedAnchorsHaveNoDates(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	for what, change := range map[string]testpki.Change{"early": testpki.NotYetValid, "late": testpki.Expired} {
		inter := root.Authority(t, "Intermediate", change)
		leaf := inter.Server(t, names1)
		expectFaults(t, what, faults(t, Verifier{}, testpki.Chain(leaf, inter, root), of(t, "2 0 1", inter)))
	}
	newer := root.Rollover(t)
	ancient := newer.Version1(t, root)
	leaf := newer.Server(t, names1)
	expectFaults(t, "version 1, the anchor", faults(t, Verifier{}, testpki.Chain(leaf, ancient, root), of(t, "2 0 1", ancient)))
	got := faults(t, Verifier{}, testpki.Chain(leaf, ancient, root), of(t, "2 0 1", root))
	if len(got) != 1 || got[0].reason != notAuthority || got[0].cert != ancient.Cert {
		t.Errorf("version 1, below the anchor: %v", got)
	}
}

// P8: the digest of one certificate is not taken for that of the next.
func TestP8EachCertificateHasItsDigests(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	inter := root.Authority(t, "Intermediate")
	leaf := inter.Server(t, names1)
	for _, kind := range []string{"2 0 1", "2 0 2", "2 1 1", "2 1 2"} {
		for depth, e := range []*testpki.Entity{1: inter, 2: root} {
			if e == nil {
				continue
			}
			match, err := Verify(testpki.Chain(leaf, root, inter), []Record{with(of(t, kind, e), make([]byte, len(of(t, kind, e).Data))), of(t, kind, e)}, names1, testpki.Now)
			if err != nil || match.Depth != depth {
				t.Errorf("%s at depth %d: %+v, %v", kind, depth, match, err)
			}
		}
	}
	sum := sha256.Sum256(nil)
	expectFaults(t, "the digest of nothing", faults(t, Verifier{}, testpki.Chain(leaf, inter), Record{DANETA, Cert, SHA256, sum[:]}), noTrustAnchor)
}
