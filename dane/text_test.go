package dane_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// A hostile server chooses the names in its certificates. The text of an error costs no more
// because of them.
func TestTextOfHostileCertificateIsBounded(t *testing.T) {
	subject := testpki.Change(func(c *x509.Certificate) {
		for range 5000 {
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 12}, Value: "x"})
		}
	})
	server := testpki.SelfSigned(t, []string{"mx.example.org"}, subject)
	record := dane.Record{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: make([]byte, 32)}
	_, err := dane.Verify(testpki.Chain(server), []dane.Record{record}, nil, testpki.Now)
	if err == nil {
		t.Fatal("verified")
	}
	if allocs := testing.AllocsPerRun(1, func() { _ = err.Error() }); allocs > 1000 {
		t.Errorf("%v allocations for %q", allocs, err)
	}
}
