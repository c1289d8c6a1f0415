package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

const (
	barWidth = 40 // characters of the longest bar
	maxDays  = 31 // days in a chart, the last ones
)

// charts draws a chart for each domain with several days.
func charts(w io.Writer, overview report.Overview) error {
	var b bytes.Buffer
	for _, d := range overview.Domains {
		if len(d.Days) > 1 {
			chart(&b, d)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// chart draws a bar for each day. Its length is the number of sessions, and its end the
// part that failed, which is never too small to be seen.
func chart(b *bytes.Buffer, d report.DomainOverview) {
	fmt.Fprintf(b, "\n%s (%s), sessions by day: = met the policy, # failed\n", cli.Clean(d.Domain), cli.Clean(string(d.Type)))
	days := d.Days[max(0, len(d.Days)-maxDays):]
	var most uint64
	for _, day := range days {
		most = max(most, total(day))
	}
	for i, day := range days {
		if i > 0 && day.Day > days[i-1].Day+1 {
			b.WriteString("  ...\n") // days without reports
		}
		met, failed := bar(day, most)
		line := fmt.Sprintf("  %s %-*s %d", day.Day, barWidth, strings.Repeat("=", met)+strings.Repeat("#", failed), total(day))
		if day.Failures > 0 {
			line += fmt.Sprintf(", %d failed", day.Failures)
		}
		b.WriteString(line + "\n")
	}
}

// total is unsigned because each of the two numbers may be the greatest int64.
func total(d report.DaySum) uint64 { return uint64(d.Successes) + uint64(d.Failures) }

// bar returns the lengths of the two parts of a bar.
func bar(d report.DaySum, most uint64) (met, failed int) {
	if most == 0 {
		return 0, 0
	}
	scale := func(n int64) int {
		length := int(float64(n)/float64(most)*barWidth + 0.5)
		if n > 0 {
			length = max(length, 1)
		}
		return length
	}
	failed = scale(d.Failures)
	return max(0, min(scale(d.Successes), barWidth-failed)), failed
}
