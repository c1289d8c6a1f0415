package dane_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy/policytest"
)

// X: of each record that is not used, it is known why, and whether it would have matched.
func TestXSkippedRecords(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	chain := inet.Host("mx.example.org", policytest.TLSA("2 1 1")).Certificates()
	others := inet.Host("mx.other.test").Certificates()
	record := func(parameters string) dane.Record {
		t.Helper()
		cert := chain[0]
		if parameters[0] == '2' || parameters[0] == '0' {
			cert = chain[1]
		}
		r, err := dane.ParseRecord(policytest.TLSARecord(cert, parameters))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	other, err := dane.ParseRecord("3 1 2 " + strings.Repeat("00", 64))
	if err != nil {
		t.Fatal(err)
	}
	short := record("3 1 1")
	short.Data = short.Data[:20]
	for _, tt := range []struct {
		name    string
		records []dane.Record
		reasons []string
		match   bool
	}{
		{"X nothing is skipped", []dane.Record{record("3 1 1"), record("2 1 1")}, nil, false},
		{"X a stronger digest", []dane.Record{record("3 1 1"), other}, []string{"a stronger digest"}, true},
		{"X a stronger digest of another selector does not count", []dane.Record{record("3 0 1"), other}, nil, false},
		{"X a usage that is not for mail", []dane.Record{record("1 1 1")}, []string{"usage PKIX-EE is not for mail"}, true},
		{"X an authority of a usage that is not for mail", []dane.Record{record("0 1 1")}, []string{"usage PKIX-TA is not for mail"}, true},
		{"X a digest that is too short", []dane.Record{short}, []string{"the data has 20 octets"}, false},
	} {
		skipped := dane.Skipped(tt.records)
		if len(skipped) != len(tt.reasons) {
			t.Errorf("%s: %d records: %v", tt.name, len(skipped), skipped)
			continue
		}
		for i, skip := range skipped {
			if !strings.Contains(skip.Reason, tt.reasons[i]) {
				t.Errorf("%s: %q", tt.name, skip.Reason)
			}
			if got := skip.WouldMatch(chain, []string{"mx.example.org"}, time.Now()); got != tt.match {
				t.Errorf("%s: would match: %v", tt.name, got)
			}
			if skip.WouldMatch(others, []string{"mx.example.org"}, time.Now()) {
				t.Errorf("%s: matches any certificate", tt.name)
			}
		}
		if len(skipped)+len(dane.Select(tt.records)) != len(tt.records) {
			t.Errorf("%s: skipped and selected are not all records", tt.name)
		}
	}
}

// A hostile domain has many records that are skipped, and its server many authorities that may
// have issued each other. To look for those that would match takes as much work as one
// verification, and not as one for each record.
func TestWorkForSkippedRecordsIsBounded(t *testing.T) {
	t.Parallel()
	var chain []*x509.Certificate
	var authority *testpki.Entity
	var records []dane.Record
	for range 31 {
		authority = testpki.Root(t, "X")
		chain = append(chain, authority.Cert)
		record, err := dane.NewRecord(authority.Cert, dane.DANETA, dane.SPKI, dane.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		record.Usage = dane.PKIXTA
		records = append(records, record)
	}
	names := []string{"mx.example.org"}
	chain = append([]*x509.Certificate{authority.Server(t, names).Cert}, chain...)
	skipped := dane.Skipped(records)
	last := len(skipped) - 1
	if !skipped[last].WouldMatch(chain, names, testpki.Now) {
		t.Fatal("the record of the authority does not match by itself")
	}
	if slices.Contains(dane.WouldMatch(skipped, chain, names, testpki.Now), true) {
		t.Error("the records before it have not used up the work")
	}
	if got := dane.WouldMatch(skipped, nil, names, testpki.Now); slices.Contains(got, true) || len(got) != len(skipped) {
		t.Errorf("without certificates: %v", got)
	}
}
