package dane_test

import (
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// BenchmarkVerify shows the cost of Verify next to that of the hash that a "3 1 1"
// record requires.
func BenchmarkVerify(b *testing.B) {
	leaf := testpki.SelfSigned(b, []string{mx})
	chain := []*x509.Certificate{leaf.Cert}
	records := []dane.Record{newRecord(b, "3 1 1", leaf.Cert)}
	names := []string{mx}

	b.Run("SHA-256 of the SPKI", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sha256.Sum256(leaf.Cert.RawSubjectPublicKeyInfo)
		}
	})
	b.Run("3 1 1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := dane.Verify(chain, records, names, testpki.Now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("3 1 1, ten records", func(b *testing.B) {
		records := []dane.Record{}
		for range 9 {
			records = append(records, newRecord(b, "3 1 1", testpki.SelfSigned(b, []string{mx}).Cert))
		}
		records = append(records, newRecord(b, "3 1 1", leaf.Cert))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := dane.Verify(chain, records, names, testpki.Now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
