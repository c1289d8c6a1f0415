package report_test

import (
	"bytes"
	"testing"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// largeReport has 100 policies with five failure details each.
func largeReport() *report.Report {
	rep := newReport()
	rep.Policies = nil
	for i := range byte(100) {
		rep.Policies = append(rep.Policies, reporttest.Failing(i))
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
