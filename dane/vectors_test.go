package dane_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

var write = flag.Bool("write", false, "write the test vectors in testdata")

// chainVectors is the file that docs/vectors.md explains.
type chainVectors struct {
	Time         time.Time         `json:"time"`
	Names        []string          `json:"names"`
	Certificates map[string]string `json:"certificates"`
	Cases        []chainVector     `json:"cases"`
}

type chainVector struct {
	What    string   `json:"what"`
	Chain   []string `json:"chain"`
	Records []string `json:"records"`
	Result  string   `json:"result"`
	Record  int      `json:"record"`
	Depth   int      `json:"depth"`
	Name    string   `json:"name,omitempty"`
}

// answer fills in the result of one case.
func (v *chainVectors) answer(t *testing.T, c *chainVector) {
	t.Helper()
	var sent []*x509.Certificate
	for _, name := range c.Chain {
		der, err := base64.StdEncoding.DecodeString(v.Certificates[name])
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sent = append(sent, cert)
	}
	var records []dane.Record
	for _, text := range c.Records {
		records = append(records, parse(t, text))
	}
	c.Result, c.Record, c.Depth, c.Name = "match", -1, -1, ""
	match, err := dane.Verify(sent, records, v.Names, v.Time)
	var mismatch *dane.Error
	switch {
	case errors.As(err, &mismatch):
		c.Result, _ = mismatch.TLSReport()
		return
	case err != nil:
		t.Fatal(err)
	}
	c.Depth, c.Name = match.Depth, match.Name
	for i := range records {
		if records[i].String() == match.Record.String() {
			c.Record = i
			return
		}
	}
}

// newChainVectors makes the certificates and the cases.
func newChainVectors(t *testing.T) *chainVectors {
	t.Helper()
	v := &chainVectors{Time: testpki.Now, Names: []string{"mx.example.org", "example.org"}, Certificates: make(map[string]string)}
	add := func(what string, sent map[string]*testpki.Entity, order []string, records ...string) {
		c := chainVector{What: what, Records: records}
		for _, name := range order {
			id := what + " " + name
			v.Certificates[id] = base64.StdEncoding.EncodeToString(sent[name].Cert.Raw)
			c.Chain = append(c.Chain, id)
		}
		v.Cases = append(v.Cases, c)
	}
	// path adds the cases of one path of certificates, of which order is sent.
	path := func(what string, order []string, root, middle, leaf *testpki.Entity) {
		stranger := testpki.Root(t, "Stranger")
		all := map[string]*testpki.Entity{"leaf": leaf, "intermediate": middle, "root": root, "stranger": stranger}
		for selector := range 2 {
			for matching := range 3 {
				for _, r := range []struct {
					usage int
					of    string
				}{{3, "leaf"}, {3, "intermediate"}, {2, "leaf"}, {2, "intermediate"}, {2, "root"}, {2, "stranger"}} {
					kind := fmt.Sprintf("%d %d %d", r.usage, selector, matching)
					add(what, all, order, newRecord(t, kind, all[r.of].Cert).String())
				}
			}
		}
		// Several records: one that matches, weaker digests, and what mail does not use.
		right, wrong := newRecord(t, "3 1 1", leaf.Cert).String(), newRecord(t, "3 1 2", stranger.Cert).String()
		add(what, all, order, right, wrong)
		add(what, all, order, newRecord(t, "3 0 1", stranger.Cert).String(), right)
		add(what, all, order, newRecord(t, "2 0 1", root.Cert).String(), newRecord(t, "2 0 2", stranger.Cert).String())
		add(what, all, order, "1"+right[1:], "0"+newRecord(t, "2 0 1", root.Cert).String()[1:], digest("3 1 3"))
		add(what, all, order, "1"+right[1:], "0"+newRecord(t, "2 1 1", middle.Cert).String()[1:], wrong)
		add(what, all, order, "3 1 1 abcd", "3 0 0 00", "3 1 2 "+right[6:], "3 2 1 "+right[6:])
	}
	type changes = []testpki.Change
	names := func(names ...string) changes {
		return changes{func(c *x509.Certificate) { c.DNSNames = names }}
	}
	cn := changes{func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "mx.example.org" }}
	whole := []string{"leaf", "intermediate", "root"}
	for _, s := range []struct {
		what                       string
		onRoot, onMiddle, onServer changes
		order                      []string
	}{
		{"plain", nil, nil, nil, whole},
		{"root not sent", nil, nil, nil, whole[:2]},
		{"leaf only", nil, nil, nil, whole[:1]},
		{"unordered", nil, nil, nil, []string{"leaf", "root", "stranger", "intermediate"}},
		{"intermediate missing", nil, nil, nil, []string{"leaf", "root"}},
		{"leaf expired", nil, nil, changes{testpki.Expired}, whole},
		{"leaf not yet valid", nil, nil, changes{testpki.NotYetValid}, whole},
		{"intermediate expired", nil, changes{testpki.Expired}, nil, whole},
		{"root expired", changes{testpki.Expired}, nil, nil, whole},
		{"intermediate no authority", nil, changes{testpki.NotCA}, nil, whole},
		{"path length violated", changes{testpki.PathLen(0)}, nil, nil, whole},
		{"names not permitted", changes{testpki.Permit("example.net")}, nil, nil, whole},
		{"names permitted", changes{testpki.Permit("example.org")}, nil, nil, whole},
		{"for clients", nil, nil, changes{testpki.ExtKeyUsage(x509.ExtKeyUsageClientAuth)}, whole},
		{"unknown critical extension", nil, nil, changes{testpki.Critical}, whole},
		{"next-hop domain", nil, nil, names("example.org"), whole},
		{"wildcard", nil, nil, names("*.example.org"), whole},
		{"wrong name", nil, nil, names("mx.example.net"), whole},
		{"common name", nil, nil, cn, whole},
		{"common name beside another DNS name", nil, nil, changes{func(c *x509.Certificate) {
			c.DNSNames, c.Subject.CommonName = []string{"mx.example.net"}, "mx.example.org"
		}}, whole},
		{"both names", nil, nil, names("example.org", "mx.example.org"), whole},
		{"wildcard below a top-level domain", nil, nil, names("*.org"), whole},
		{"wildcard for a part of a label", nil, nil, names("m*.example.org"), whole},
		{"intermediate may not sign certificates", nil, changes{testpki.KeyUsage(x509.KeyUsageDigitalSignature)}, nil, whole},
		{"names excluded", changes{testpki.Exclude("example.org")}, nil, nil, whole},
		{"other names excluded", changes{testpki.Exclude("example.net")}, nil, nil, whole},
	} {
		root := testpki.Root(t, "Root", s.onRoot...)
		middle := root.Authority(t, "Intermediate", s.onMiddle...)
		leaf := middle.Server(t, []string{"mx.example.org"}, s.onServer...)
		path(s.what, s.order, root, middle, leaf)
	}
	server := []string{"mx.example.org"}
	root := testpki.Root(t, "Root")
	middle := root.Authority(t, "Intermediate")
	// Another key has the name and the key identifier of the issuer, which is sent.
	sameNameAs := func(e *testpki.Entity) *testpki.Entity {
		return testpki.Root(t, e.Cert.Subject.CommonName, func(c *x509.Certificate) { c.SubjectKeyId = e.Cert.SubjectKeyId })
	}
	path("leaf with a forged signature", whole, root, middle, sameNameAs(middle).Server(t, server))
	forged := sameNameAs(root).Authority(t, "Intermediate")
	path("intermediate with a forged signature", whole, root, forged, forged.Server(t, server))
	// The key is that of the issuer, and the name is not.
	path("issuer with another name", whole, root, middle, root.Again(t, middle, testpki.CommonName("Other")).Server(t, server))
	// RFC 5280 section 6.1.4 (l): a self-issued certificate does not count for the path length.
	short := testpki.Root(t, "Root", testpki.PathLen(0))
	newer := short.Rollover(t)
	path("path length with a self-issued certificate", whole, short, newer, newer.Server(t, server))
	return v
}

// The vectors for other implementations have the results of this one. Another
// reader, in Python, checks all that needs no signatures: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	const file = "testdata/chains.json"
	if *write {
		v := newChainVectors(t)
		for i := range v.Cases {
			v.answer(t, &v.Cases[i])
		}
		text, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v chainVectors
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	results := make(map[string]int)
	for _, want := range v.Cases {
		got := want
		v.answer(t, &got)
		results[got.Result]++
		if got.Result != want.Result || got.Record != want.Record || got.Depth != want.Depth || got.Name != want.Name {
			t.Errorf("%s, %.40s: %s by record %d at depth %d for %q, want %s, %d, %d, %q", want.What, want.Records, got.Result, got.Record, got.Depth, got.Name, want.Result, want.Record, want.Depth, want.Name)
		}
	}
	if len(v.Cases) < 300 || len(results) < 5 {
		t.Errorf("%d cases with the results %v", len(v.Cases), results)
	}
}
