package report_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// largeReport has 100 policies with five failure details each.
func largeReport() *report.Report {
	rep := newReport()
	rep.Policies = nil
	for i := range byte(100) {
		host := fmt.Sprintf("mx%d.example.com", i)
		result := report.PolicyResult{
			Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: host, Strings: []string{
				"3 1 1 1f850a337e6db9c609c522d136a475638cc43e1ed424f8eec8513d747d1d085d",
				"3 1 1 12350a337e6db9c6123522d136a475638cc43e1ed424f8eec8513d747d1d1234",
			}},
			Summary: report.Summary{Successes: 1000, Failures: 15},
		}
		for j := range byte(5) {
			result.Details = append(result.Details, report.Detail{
				Type: tlsrpt.CertificateNotTrusted, ReasonCode: "unknown-authority",
				SendingIP:   netip.AddrFrom4([4]byte{198, 51, 100, j}),
				ReceivingIP: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, i, 15: j}),
				MXHost:      host, HELO: host, Sessions: 3,
			})
		}
		rep.Policies = append(rep.Policies, result)
	}
	return rep
}

func BenchmarkReport(b *testing.B) {
	rep := largeReport()
	text := marshal(b, rep)
	b.Run("Marshal", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rep.MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, received := range map[string][]byte{"Parse": text, "ParseGzip": zip(b, text)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := report.Parse(bytes.NewReader(received)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
