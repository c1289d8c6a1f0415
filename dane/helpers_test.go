package dane_test

import (
	"crypto/x509"
	"testing"

	"github.com/mxseal/mxseal/dane"
)

const mx = "mx.example.org"

var mxNames = []string{mx}

// parse reads a record.
func parse(t testing.TB, s string) dane.Record {
	t.Helper()
	r, err := dane.ParseRecord(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newRecord makes a record of a kind such as "3 1 1".
func newRecord(t testing.TB, kind string, cert *x509.Certificate) dane.Record {
	t.Helper()
	shape := parse(t, kind+" 00")
	r, err := dane.NewRecord(cert, shape.Usage, shape.Selector, shape.MatchingType)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
