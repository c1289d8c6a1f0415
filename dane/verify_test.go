package dane_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

type entities = []*testpki.Entity

// check verifies and compares the depth at which a record matched, or -1 for a
// mismatch.
func check(t *testing.T, what string, sent entities, records []dane.Record, names []string, depth int) {
	t.Helper()
	match, err := dane.Verify(testpki.Chain(sent...), records, names, testpki.Now)
	switch {
	case depth < 0 && err == nil:
		t.Errorf("%s: accepted: %+v", what, match)
	case depth < 0:
		var mismatch *dane.Error
		if !errors.Is(err, dane.ErrMismatch) || !errors.As(err, &mismatch) || len(mismatch.Attempts) != len(records) {
			t.Errorf("%s: error %v is not about every record", what, err)
		}
	case err != nil:
		t.Errorf("%s: %v", what, err)
	case match.Depth != depth:
		t.Errorf("%s: matched at depth %d, want %d", what, match.Depth, depth)
	}
}

// DANE-75 to DANE-77, DANE-86, DANE-108, OPS-8, OPS-10, OPS-11, TLSA-5, field
// note 21: DANE-EE compares the first certificate and checks nothing else in it.
func TestVerifyDANEEE(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	plain := root.Server(t, mxNames)
	other := root.Server(t, mxNames)
	odd := map[string]*testpki.Entity{
		"plain":                      plain,
		"expired":                    root.Server(t, mxNames, testpki.Expired),
		"not yet valid":              root.Server(t, mxNames, testpki.NotYetValid),
		"another name":               root.Server(t, []string{"other.example.net"}),
		"no name":                    root.Server(t, nil),
		"for clients":                root.Server(t, mxNames, testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)),
		"strange key usage":          root.Server(t, mxNames, testpki.KeyUsage(x509.KeyUsageCRLSign)),
		"unknown critical extension": root.Server(t, mxNames, testpki.Critical),
		"authority":                  root,
		"self-signed":                testpki.SelfSigned(t, mxNames),
	}
	for what, leaf := range odd {
		for _, kind := range []string{"3 0 0", "3 0 1", "3 0 2", "3 1 0", "3 1 1", "3 1 2"} {
			records := []dane.Record{newRecord(t, kind, leaf.Cert)}
			check(t, what+" "+kind, entities{leaf}, records, nil, 0)
			check(t, what+" "+kind+" of another certificate", entities{other}, records, mxNames, -1)
		}
	}
	// DANE-77: never an intermediate or any later certificate.
	check(t, "issuer", entities{plain, root}, []dane.Record{newRecord(t, "3 1 1", root.Cert)}, mxNames, -1)
	check(t, "second certificate", entities{other, plain}, []dane.Record{newRecord(t, "3 0 1", plain.Cert)}, mxNames, -1)
	// The certificate was renewed with the same key: Cert is not matched, SPKI is.
	renewed := &testpki.Entity{Cert: root.Again(t, plain).Cert}
	check(t, "renewed, SPKI", entities{renewed}, []dane.Record{newRecord(t, "3 1 1", plain.Cert)}, nil, 0)
	check(t, "renewed, Cert", entities{renewed}, []dane.Record{newRecord(t, "3 0 1", plain.Cert)}, nil, -1)
}

// DANE-100, OPS-22, OPS-23, TLSA-22, TLSA-23, field note 16: any usable record
// is enough, and records that do not match are ignored.
func TestVerifyAnyRecord(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	leaf, stranger := root.Server(t, mxNames), testpki.Root(t, "Stranger")
	sent := entities{leaf, root}
	ee, ta := newRecord(t, "3 1 1", leaf.Cert), newRecord(t, "2 0 1", root.Cert)
	wrongEE, wrongTA := newRecord(t, "3 1 1", stranger.Cert), newRecord(t, "2 0 1", stranger.Cert)
	check(t, "both usages, only 3 matches", sent, []dane.Record{wrongTA, ee}, mxNames, 0)
	check(t, "both usages, only 2 matches", sent, []dane.Record{wrongEE, ta}, mxNames, 1)
	check(t, "rollover", sent, []dane.Record{wrongEE, ee}, mxNames, 0)
	check(t, "none matches", sent, []dane.Record{wrongEE, wrongTA}, mxNames, -1)
	check(t, "names do not matter to 3 beside 2", sent, []dane.Record{ta, ee}, []string{"other.example"}, 0)

	match, err := dane.Verify(testpki.Chain(sent...), []dane.Record{wrongEE, ta}, []string{"example.org", mx}, testpki.Now)
	if err != nil || match.Record.String() != ta.String() || match.Name != mx {
		t.Errorf("match is %+v, %v", match, err)
	}
}

// Field note 20, OPS-30, DANE-82: what Select would drop does not match in
// Verify either, in case the caller did not call Select.
func TestVerifyOnlyUsable(t *testing.T) {
	t.Parallel()
	leaf := testpki.SelfSigned(t, mxNames)
	sent := entities{leaf}
	good := newRecord(t, "3 1 1", leaf.Cert)
	pkix := good
	pkix.Usage = dane.PKIXEE
	check(t, "usage 1", sent, []dane.Record{pkix}, mxNames, -1)
	check(t, "usage 1 beside a stranger's 3", sent, []dane.Record{pkix, parse(t, digest("3 1 1"))}, mxNames, -1)
	check(t, "weaker digest", sent, []dane.Record{good, parse(t, digest("3 1 2"))}, mxNames, -1)
	check(t, "no record", sent, nil, mxNames, -1)
	check(t, "no data", sent, []dane.Record{{Usage: dane.DANEEE}}, mxNames, -1)
	if _, err := dane.Verify(nil, []dane.Record{good}, mxNames, testpki.Now); err == nil {
		t.Error("no certificate is accepted")
	}
	if _, err := dane.Verify([]*x509.Certificate{nil}, []dane.Record{good}, mxNames, testpki.Now); err == nil {
		t.Error("a nil certificate is accepted")
	}
	if _, err := dane.Verify([]*x509.Certificate{{}}, []dane.Record{{Usage: dane.DANEEE, Selector: dane.SPKI}, {Usage: dane.DANETA}}, mxNames, testpki.Now); err == nil {
		t.Error("an empty certificate is accepted")
	}
}

// DANE-78 to DANE-80, DANE-83, DANE-87, OPS-9, OPS-13 to OPS-15, OPS-16, OPS-17,
// TLSA-4, field notes 17 and 18: where the trust anchor may be. None of these
// authorities is in any public log.
func TestVerifyDANETA(t *testing.T) {
	t.Parallel()
	root, stranger := testpki.Root(t, "Root"), testpki.Root(t, "Stranger")
	inter := root.Authority(t, "Intermediate")
	low := inter.Authority(t, "Low")
	leaf, deep := inter.Server(t, mxNames), low.Server(t, mxNames)
	namesake := testpki.Root(t, "Intermediate") // another key
	alone := testpki.SelfSigned(t, mxNames)
	aloneCA := testpki.Root(t, "Lonely", func(c *x509.Certificate) { c.DNSNames = mxNames })
	other := testpki.Root(t, "Other")
	cross := other.Again(t, root)
	renewed := root.Again(t, root)

	digests := []string{"2 0 1", "2 0 2", "2 1 1", "2 1 2"}
	full := []string{"2 0 0", "2 1 0"}
	always := slices.Concat(digests, full)
	for _, test := range []struct {
		what   string
		sent   entities
		anchor *testpki.Entity
		kinds  []string
		depth  int
	}{
		{"root sent", entities{leaf, inter, root}, root, always, 2},
		{"intermediate", entities{leaf, inter, root}, inter, always, 1},
		{"intermediate, root not sent", entities{leaf, inter}, inter, always, 1},
		{"anchor not sent, digest", entities{leaf, inter}, root, digests, -1}, // DANE-80
		{"anchor not sent, Full", entities{leaf, inter}, root, full, 2},       // OPS-15, OPS-17
		{"only the leaf sent, Full", entities{leaf}, inter, full, 1},
		{"only the leaf sent, anchor two up", entities{leaf}, root, always, -1},
		{"extra certificate last", entities{leaf, inter, root, stranger}, root, always, 2},
		{"extra certificate in between", entities{leaf, stranger, inter, root}, inter, always, 1},
		{"extra certificate is the anchor", entities{leaf, inter, root, stranger}, stranger, always, -1},
		{"unordered", entities{deep, root, low, inter}, root, always, 3},
		{"backwards", entities{deep, root, inter, low}, root, always, 3},
		{"repeated", entities{leaf, leaf, inter, inter, root, root}, root, always, 2},
		{"namesake of the issuer first", entities{leaf, namesake, inter, root}, root, always, 2},
		{"namesake of the issuer as anchor", entities{leaf, namesake, inter}, namesake, always, -1},
		{"cross-signed, one anchor", entities{leaf, inter, root, cross, other}, root, []string{"2 0 1", "2 0 2", "2 0 0"}, 2},
		{"cross-signed, the other", entities{leaf, inter, root, cross, other}, other, always, 3},
		{"cross-signed, key of both", entities{leaf, inter, cross}, root, []string{"2 1 1", "2 1 2", "2 1 0"}, 2},
		{"renewed root before the old one", entities{leaf, inter, renewed, root}, root, always, 2},
		// Field note 23: a leaf is no trust anchor.
		{"leaf", entities{leaf, inter, root}, leaf, always, -1},
		{"self-signed leaf", entities{alone}, alone, always, -1},
		{"self-signed leaf sent twice", entities{alone, alone}, alone, always, -1},
		{"self-signed authority as leaf", entities{aloneCA}, aloneCA, always, -1},
	} {
		for _, kind := range test.kinds {
			check(t, test.what+", "+kind, test.sent, []dane.Record{newRecord(t, kind, test.anchor.Cert)}, mxNames, test.depth)
		}
	}
}

// DANE-83, OPS-13, field note 22: the checks of the path. The results are those of OpenSSL;
// the comparison with it has many more cases.
func TestVerifyChecksPath(t *testing.T) {
	t.Parallel()
	type changes = []testpki.Change
	for _, test := range []struct {
		what                          string
		onRoot, onIntermediate, onEnd changes
		good                          bool
		resultType                    string
	}{
		{"nothing special", nil, nil, nil, true, ""},
		{"expired leaf", nil, nil, changes{testpki.Expired}, false, "certificate-expired"},
		{"leaf not yet valid", nil, nil, changes{testpki.NotYetValid}, false, "certificate-not-trusted"},
		{"expired intermediate", nil, changes{testpki.Expired}, nil, false, "certificate-expired"},
		{"expired root", changes{testpki.Expired}, nil, nil, false, "certificate-expired"},
		{"path length kept", changes{testpki.PathLen(1)}, changes{testpki.PathLen(0)}, nil, true, ""},
		{"path length violated", changes{testpki.PathLen(0)}, nil, nil, false, "certificate-not-trusted"},
		{"intermediate no authority", nil, changes{testpki.NotCA}, nil, false, "certificate-not-trusted"},
		{"root no authority", changes{testpki.NotCA}, nil, nil, false, "certificate-not-trusted"},
		{"intermediate without basic constraints", nil, changes{testpki.NoBasicConstraints}, nil, false, "certificate-not-trusted"},
		{"intermediate without certSign", nil, changes{testpki.KeyUsage(x509.KeyUsageCRLSign)}, nil, false, "certificate-not-trusted"},
		{"root without certSign", changes{testpki.KeyUsage(x509.KeyUsageDigitalSignature)}, nil, nil, false, "certificate-not-trusted"},
		{"authorities without key usage", changes{testpki.KeyUsage(0)}, changes{testpki.KeyUsage(0)}, nil, true, ""},
		{"leaf for clients", nil, nil, changes{testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)}, false, "certificate-not-trusted"},
		{"leaf for any use", nil, nil, changes{testpki.ExtKeyUsage(x509.ExtKeyUsageAny)}, false, "certificate-not-trusted"},
		{"leaf without extended key usage", nil, nil, changes{testpki.ExtKeyUsage()}, true, ""},
		{"leaf that cannot do TLS", nil, nil, changes{testpki.KeyUsage(x509.KeyUsageCertSign)}, false, "certificate-not-trusted"},
		{"intermediate for clients", nil, changes{testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)}, nil, false, "certificate-not-trusted"},
		{"root for clients", changes{testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)}, nil, nil, false, "certificate-not-trusted"},
		{"root for servers", changes{testpki.ExtKeyUsage(x509.ExtKeyUsageServerAuth)}, nil, nil, true, ""},
		{"unknown critical extension", nil, changes{testpki.Critical}, nil, false, "certificate-not-trusted"},
		{"permitted by the root", changes{testpki.Permit("example.org")}, nil, nil, true, ""},
		{"not permitted by the root", changes{testpki.Permit("example.net")}, nil, nil, false, "certificate-not-trusted"},
		{"excluded by the root", changes{testpki.Exclude("example.org")}, nil, nil, false, "certificate-not-trusted"},
		{"not permitted by the intermediate", nil, changes{testpki.Permit("example.net")}, nil, false, "certificate-not-trusted"},
		{"wrong name", nil, nil, changes{func(c *x509.Certificate) { c.DNSNames = []string{"other.example.org"} }}, false, "certificate-host-mismatch"},
	} {
		root := testpki.Root(t, "Root", test.onRoot...)
		inter := root.Authority(t, "Intermediate", test.onIntermediate...)
		leaf := inter.Server(t, mxNames, test.onEnd...)
		for _, kind := range []string{"2 0 1", "2 1 1", "2 0 0", "2 1 0"} {
			_, err := dane.Verify(testpki.Chain(leaf, inter, root), []dane.Record{newRecord(t, kind, root.Cert)}, mxNames, testpki.Now)
			if (err == nil) != test.good {
				t.Errorf("%s, %s: %v", test.what, kind, err)
			}
			if err != nil {
				expectReport(t, test.what+", "+kind, err, test.resultType)
			}
		}
	}
}

// Field note 22: the dates of a trust anchor count if it is self-issued.
func TestVerifyAnchorDates(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	old := root.Authority(t, "Old", testpki.Expired)
	oldConstrained := root.Authority(t, "Old and constrained", testpki.Expired, testpki.Permit("example.org"))
	oldRoot := testpki.Root(t, "Old root", testpki.Expired)
	future := testpki.Root(t, "Future", testpki.NotYetValid)
	for _, test := range []struct {
		what   string
		issuer *testpki.Entity
		depth  int
	}{
		{"expired, issued by another", old, 1},
		{"expired, issued by another, with name constraints", oldConstrained, 1},
		{"expired, self-issued", oldRoot, -1},
		{"not yet valid, self-issued", future, -1},
	} {
		leaf := test.issuer.Server(t, mxNames)
		for _, kind := range []string{"2 0 1", "2 1 1", "2 0 0", "2 1 0"} {
			check(t, test.what, entities{leaf, test.issuer, root}, []dane.Record{newRecord(t, kind, test.issuer.Cert)}, mxNames, test.depth)
		}
		// With the bare key there are no dates, RFC 7671 section 5.2.3.
		check(t, test.what+", bare key", entities{leaf}, []dane.Record{newRecord(t, "2 1 0", test.issuer.Cert)}, mxNames, 1)
	}
}

// DANE-78, OPS-17: the constraints of a trust anchor that was sent apply, even if the
// record has only its key. An authority below a bare key must be valid.
func TestVerifyBareKey(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root", testpki.PathLen(0))
	inter := root.Authority(t, "Intermediate")
	oldInter := root.Authority(t, "Old intermediate", testpki.Expired)
	leaf, below := inter.Server(t, mxNames), oldInter.Server(t, mxNames)
	key := []dane.Record{newRecord(t, "2 1 0", root.Cert)}
	check(t, "anchor sent, path length violated", entities{leaf, inter, root}, key, mxNames, -1)
	check(t, "anchor not sent, nothing to violate", entities{leaf, inter}, key, mxNames, 2)
	check(t, "topmost certificate expired", entities{below, oldInter}, key, mxNames, -1)
	check(t, "wrong name", entities{leaf, inter}, key, []string{"other.example"}, -1)
	check(t, "topmost certificate expired, key signs another", entities{below, oldInter, inter}, key, mxNames, -1)
}

// RFC 5280 section 6.1.4 (l): self-issued certificates do not count for the path
// length.
func TestVerifySelfIssued(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root", testpki.PathLen(0))
	newer := root.Rollover(t)
	below := newer.Authority(t, "Below")
	anchor := []dane.Record{newRecord(t, "2 0 1", root.Cert)}
	check(t, "self-issued", entities{newer.Server(t, mxNames), newer, root}, anchor, mxNames, 2)
	check(t, "one below it", entities{below.Server(t, mxNames), below, newer, root}, anchor, mxNames, -1)
}

// RFC 5280 sections 4.1.2.1 and 4.2.1.9: certificates of versions before 3 cannot be
// marked as authorities. Such a root can be a trust anchor; such an intermediate is
// refused.
func TestVerifyVersion1IsNoIntermediate(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	ancient := root.Version1(t, nil)
	inter := root.Authority(t, "Intermediate").Version1(t, root)
	leaf, below := root.Server(t, mxNames), inter.Server(t, mxNames)
	check(t, "root as anchor", entities{leaf, ancient}, []dane.Record{newRecord(t, "2 0 1", ancient.Cert)}, mxNames, 1)
	check(t, "intermediate", entities{below, inter, root}, []dane.Record{newRecord(t, "2 0 1", root.Cert)}, mxNames, -1)
	check(t, "intermediate as anchor", entities{below, inter, root}, []dane.Record{newRecord(t, "2 0 1", inter.Cert)}, mxNames, -1)
}

// OPS-17, TLSA-20: the kinds of keys and signatures that a bare key may have.
func TestVerifyBareKeySignatures(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaRoot, rsaRoot, edRoot := testpki.Root(t, "ECDSA"), testpki.WithKey(t, "RSA", rsaKey), testpki.WithKey(t, "Ed25519", edKey)
	for _, test := range []struct {
		what  string
		root  *testpki.Entity
		leaf  *testpki.Entity
		depth int
	}{
		{"ECDSA", ecdsaRoot, ecdsaRoot.Server(t, mxNames), 1},
		{"RSA", rsaRoot, rsaRoot.Server(t, mxNames), 1},
		{"RSA-PSS", rsaRoot, rsaRoot.Server(t, mxNames, testpki.Signature(x509.SHA256WithRSAPSS)), 1},
		{"Ed25519", edRoot, edRoot.Server(t, mxNames), 1},
		{"ECDSA with SHA-1", ecdsaRoot, ecdsaRoot.Server(t, mxNames, testpki.Signature(x509.ECDSAWithSHA1)), -1},
		{"RSA with SHA-1", rsaRoot, rsaRoot.Server(t, mxNames, testpki.Signature(x509.SHA1WithRSA)), -1},
		{"key of another kind", rsaRoot, ecdsaRoot.Server(t, mxNames), -1},
	} {
		for _, kind := range []string{"2 0 0", "2 1 0"} {
			records := []dane.Record{newRecord(t, kind, test.root.Cert)}
			check(t, test.what+", root not sent, "+kind, entities{test.leaf}, records, mxNames, test.depth)
			check(t, test.what+", root sent, "+kind, entities{test.leaf, test.root}, records, mxNames, test.depth)
		}
	}
	// A key that cannot sign.
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(agreement.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{der, {0x30, 0x09, 0x30, 0x03, 0x06, 0x01, 0x2a, 0x03, 0x02, 0x00, 0x01}} {
		record := dane.Record{Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.Full, Data: data}
		check(t, "key that cannot sign", entities{ecdsaRoot.Server(t, mxNames)}, []dane.Record{record}, mxNames, -1)
	}
}

// DANE-84, DANE-79, OPS-14, field note 17: only the records decide. A valid chain is
// refused without a matching record. A chain to an authority that no system trusts
// is accepted with one.
func TestVerifyOnlyRecordsDecide(t *testing.T) {
	t.Parallel()
	root, stranger := testpki.Root(t, "Root"), testpki.Root(t, "Stranger")
	leaf := root.Server(t, mxNames)
	check(t, "good chain, record of another", entities{leaf, root}, []dane.Record{newRecord(t, "2 0 1", stranger.Cert)}, mxNames, -1)
	check(t, "the anchor's digest is not looked for in the leaf", entities{leaf, root}, []dane.Record{newRecord(t, "2 1 1", leaf.Cert)}, mxNames, -1)
	check(t, "unknown root, record for it", entities{leaf, root}, []dane.Record{newRecord(t, "2 0 1", root.Cert)}, mxNames, 1)
}

// Verify uses the given time.
func TestVerifyAtGivenTime(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	leaf := root.Server(t, mxNames)
	records := []dane.Record{newRecord(t, "2 0 1", root.Cert)}
	for after, good := range map[time.Duration]bool{0: true, testpki.Year: true, testpki.Year + time.Second: false, -testpki.Year: true, -testpki.Year - time.Second: false} {
		_, err := dane.Verify(testpki.Chain(leaf, root), records, mxNames, testpki.Now.Add(after))
		if (err == nil) != good {
			t.Errorf("%v from now: %v", after, err)
		}
	}
}

// expectReport checks the result type for a TLS report.
func expectReport(t *testing.T, what string, err error, resultType string) {
	t.Helper()
	var reported interface{ TLSReport() (string, string) }
	if !errors.As(err, &reported) {
		t.Errorf("%s: %T has nothing to report", what, err)
		return
	}
	got, code := reported.TLSReport()
	if got != resultType || code == "" && resultType != "" {
		t.Errorf("%s: reported as %q, %q, want %q (%v)", what, got, code, resultType, err)
	}
}
