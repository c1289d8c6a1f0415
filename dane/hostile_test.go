package dane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// Authorities that all have the same name and issued each other make more paths
// than can be tried: the number of signatures is bounded.
func TestVerifyBoundsWork(t *testing.T) {
	t.Parallel()
	first := testpki.Root(t, "Same")
	crowd := entities{first}
	for range 60 {
		crowd = append(crowd, crowd[len(crowd)-1].Rollover(t))
	}
	for _, a := range crowd[:8] {
		for _, b := range crowd[:8] {
			crowd = append(crowd, a.Again(t, b))
		}
	}
	leaf := crowd[60].Server(t, mxNames)
	unreachable := testpki.Root(t, "Same")
	sent := append(entities{leaf, unreachable}, crowd...)
	var records []dane.Record
	for range 200 {
		records = append(records, newRecord(t, "2 0 1", unreachable.Cert), newRecord(t, "2 1 0", testpki.Root(t, "Key").Cert))
	}
	start := time.Now()
	_, err := dane.Verify(testpki.Chain(sent...), records, mxNames, testpki.Now)
	if err == nil {
		t.Fatal("accepted")
	}
	t.Logf("%d certificates, %d records: %v", len(sent), len(records), time.Since(start))
	if !strings.Contains(err.Error(), "too many paths") && !strings.Contains(fmt.Sprint(err.(*dane.Error).Attempts), "too many paths") {
		t.Errorf("the bound was not met: %v", err)
	}
	expectReport(t, "too much work", err, "certificate-not-trusted")
}

// A key from DNS that would take seconds to verify one signature with is not
// used: no other code has checked its size.
func TestVerifyBoundsKeySize(t *testing.T) {
	t.Parallel()
	huge := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1<<18), big.NewInt(1)), E: 1<<31 - 1}
	der, err := x509.MarshalPKIXPublicKey(huge)
	if err != nil {
		t.Fatal(err)
	}
	root := testpki.Root(t, "Root")
	_, err = dane.Verify(testpki.Chain(root.Server(t, mxNames)),
		[]dane.Record{{Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.Full, Data: der}}, mxNames, testpki.Now)
	if err == nil || !strings.Contains(err.Error(), "a key is too large") {
		t.Errorf("got %v", err)
	}
}

// To check the constraints on names, the standard library verifies the signatures of a path
// once more. This counts too: authorities that refuse the name at the end of many paths leave
// nothing for the next record.
func TestVerifyBoundsConstraints(t *testing.T) {
	t.Parallel()
	refusing, permitting := testpki.Root(t, "Refusing", testpki.Permit("example.net")), testpki.Root(t, "Permitting")
	shared := refusing.Authority(t, "Shared")
	leaf := shared.Server(t, mxNames)
	records := []dane.Record{newRecord(t, "2 0 1", refusing.Cert), newRecord(t, "2 0 1", permitting.Cert)}
	for _, tt := range []struct{ paths, depth int }{{2, 2}, {14, -1}} {
		sent := entities{leaf}
		for range tt.paths {
			sent = append(sent, refusing.Again(t, shared))
		}
		sent = append(sent, permitting.Again(t, shared), refusing, permitting)
		check(t, fmt.Sprintf("%d paths", tt.paths), sent, records, mxNames, tt.depth)
	}
}

// A signature by a large key, and a long list of constraints, take as long as many
// signatures by common keys, and count as many.
func TestVerifyBoundsExpensiveKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		curve       elliptic.Curve
		authorities int
		depth       int
	}{
		{"P-256", elliptic.P256(), 30, 1},
		{"P-384", elliptic.P384(), 16, 1},
		{"P-384", elliptic.P384(), 17, -1},
		{"P-521", elliptic.P521(), 17, -1},
	} {
		var sent entities
		for range tt.authorities {
			key, err := ecdsa.GenerateKey(tt.curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, testpki.WithKey(t, "Same", key))
		}
		root := sent[len(sent)-1]
		sent = append(entities{root.Server(t, mxNames)}, sent...)
		what := fmt.Sprintf("%d authorities with keys on %s", tt.authorities, tt.name)
		check(t, what, sent, []dane.Record{newRecord(t, "2 0 1", root.Cert)}, mxNames, tt.depth)
	}
	var domains []string
	for i := range 10_000 {
		domains = append(domains, fmt.Sprintf("d%d.example", i))
	}
	for _, tt := range []struct{ renewed, depth int }{{0, 1}, {6, -1}} {
		refusing := testpki.Root(t, "Same", testpki.Permit(domains...))
		permitting := refusing.Again(t, refusing)
		sent := entities{refusing.Server(t, mxNames), permitting}
		records := []dane.Record{newRecord(t, "2 0 1", permitting.Cert)}
		for range tt.renewed {
			again := refusing.Again(t, refusing, testpki.Permit(domains...))
			sent, records = append(sent, again), append([]dane.Record{newRecord(t, "2 0 1", again.Cert)}, records...)
		}
		check(t, fmt.Sprintf("%d long lists of constraints", tt.renewed), sent, records, mxNames, tt.depth)
	}
}

// The check of constraints on names tries each authority of a name as the issuer of every
// certificate below, so that equal names make it expensive.
func TestEqualNamesMakeConstraintsExpensive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		authorities int
		depth       int
	}{{"A%d", 20, 20}, {"Same", 9, 9}, {"Same", 12, -1}} {
		authority := testpki.Root(t, strings.ReplaceAll(tt.name, "%d", "0"), testpki.Permit("example.org"))
		sent := entities{authority}
		for i := range tt.authorities - 1 {
			authority = authority.Authority(t, strings.ReplaceAll(tt.name, "%d", strconv.Itoa(i+1)))
			sent = append(entities{authority}, sent...)
		}
		records := []dane.Record{newRecord(t, "2 0 1", sent[len(sent)-1].Cert)}
		sent = append(entities{authority.Server(t, mxNames)}, sent...)
		check(t, fmt.Sprintf("%d authorities named %s", tt.authorities, tt.name), sent, records, mxNames, tt.depth)
	}
}

// Only as many certificates are used as a real chain can have.
func TestVerifyBoundsChain(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	leaf := root.Server(t, mxNames)
	records := []dane.Record{newRecord(t, "2 0 1", root.Cert)}
	withStrangers := func(n int) entities {
		sent := entities{leaf}
		for i := range n {
			sent = append(sent, testpki.Root(t, fmt.Sprintf("Stranger %d", i)))
		}
		return append(sent, root)
	}
	check(t, "ten strangers", withStrangers(10), records, mxNames, 1)
	check(t, "a hundred strangers", withStrangers(100), records, mxNames, -1)
	check(t, "DANE-EE and a hundred strangers", withStrangers(100), []dane.Record{newRecord(t, "3 1 1", leaf.Cert)}, nil, 0)
}

// Verify does not change its arguments.
func TestVerifyDoesNotWrite(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root", testpki.Permit("example.org"))
	leaf := root.Server(t, mxNames)
	chain := testpki.Chain(leaf, root)
	records := []dane.Record{parse(t, digest("3 1 1")), newRecord(t, "2 0 0", root.Cert)}
	names := []string{"MX.example.org."}
	chainBefore, recordsBefore := append([]*x509.Certificate(nil), chain...), append([]dane.Record(nil), records...)
	rootBefore := *root.Cert
	if _, err := dane.Verify(chain, records, names, testpki.Now); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(chain, chainBefore) || !reflect.DeepEqual(records, recordsBefore) ||
		!reflect.DeepEqual(*root.Cert, rootBefore) || names[0] != "MX.example.org." {
		t.Error("changed")
	}
}

// FuzzVerify calls Verify with certificates that can be parsed and records about
// them. Verify must return, and must never accept a chain for a name that is in none
// of the certificates, except by DANE-EE.
func FuzzVerify(f *testing.F) {
	root := testpki.Root(f, "Root")
	inter := root.Authority(f, "Intermediate", testpki.Permit("example.org"))
	leaf := inter.Server(f, mxNames)
	old := inter.Server(f, nil, testpki.Expired, testpki.CommonName(mx))
	alone := testpki.SelfSigned(f, mxNames)
	f.Add(leaf.Cert.Raw, inter.Cert.Raw, root.Cert.Raw, root.Cert.Raw)
	f.Add(old.Cert.Raw, root.Cert.Raw, inter.Cert.Raw, inter.Cert.RawSubjectPublicKeyInfo)
	f.Add(alone.Cert.Raw, alone.Cert.Raw, []byte{}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, first, second, third, data []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{first, second, third} {
			if cert, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, cert)
			}
		}
		records := []dane.Record{
			{Usage: dane.DANETA, Selector: dane.Cert, MatchingType: dane.Full, Data: data},
			{Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.Full, Data: data},
			{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: data},
		}
		for _, cert := range chain {
			if record, err := dane.NewRecord(cert, dane.DANETA, dane.SPKI, dane.SHA512); err == nil {
				records = append(records, record)
			}
		}
		match, err := dane.Verify(chain, records, []string{"no.such.name.example"}, testpki.Now)
		if err == nil && match.Record.Usage == dane.DANETA && !mayBeNamed(chain[0]) {
			t.Fatalf("accepted %v", match)
		}
		if err != nil && len(err.Error()) > 4096 {
			t.Fatalf("an error of %d octets", len(err.Error()))
		}
	})
}

// mayBeNamed reports whether a certificate may be for the name of FuzzVerify.
func mayBeNamed(cert *x509.Certificate) bool {
	names := strings.ToLower(strings.Join(cert.DNSNames, " ") + " " + cert.Subject.String())
	return strings.Contains(names, ".name.example")
}

// A hostile server sends many long paths that fail by their name constraints. Checking these
// verifies the signatures once more, which counts for the bound.
func TestConstrainedPathsAreBounded(t *testing.T) {
	t.Parallel()
	top := testpki.Root(t, "Top")
	branch := top.Authority(t, "Branch")
	var chain []*x509.Certificate
	for range 6 {
		chain = append(chain, top.Again(t, branch, testpki.Exclude("example.org")).Cert)
	}
	chain = append(chain, top.Again(t, branch, testpki.Permit("example.org")).Cert, top.Cert)
	at := branch
	for i := range 10 {
		at = at.Authority(t, fmt.Sprint("A", i))
		chain = append([]*x509.Certificate{at.Cert}, chain...)
	}
	chain = append([]*x509.Certificate{at.Server(t, []string{"mx.example.org"}).Cert}, chain...)
	record, err := dane.NewRecord(top.Cert, dane.DANETA, dane.SPKI, dane.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		chain []*x509.Certificate
		good  bool
	}{
		{"one path is constrained", append(slices.Clone(chain[:12]), chain[17:]...), true},
		{"six paths are", chain, false},
	} {
		if _, err := dane.Verify(test.chain, []dane.Record{record}, []string{"mx.example.org"}, testpki.Now); (err == nil) != test.good {
			t.Errorf("%s, %d certificates: %v", test.name, len(test.chain), err)
		}
	}
}
