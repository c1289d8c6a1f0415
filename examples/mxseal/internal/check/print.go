package check

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

// text prints results for people.
type text struct {
	w     io.Writer
	any   bool
	worst survey.Verdict
}

func (t *text) end() int { return int(t.worst) }

func (t *text) print(r *survey.Result) error {
	var b bytes.Buffer
	if t.any {
		b.WriteByte('\n')
	}
	t.any, t.worst = true, survey.Worst(t.worst, r.Verdict)
	fmt.Fprintf(&b, "%s: %s: %s\n", cli.Clean(r.Name()), r.Verdict, cli.Clean(r.Why))
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "  problem: %s\n", cli.Clean(problem))
	}
	if r.Error != nil {
		fmt.Fprintf(&b, "  %s\n", cli.Clean(r.Error.Error()))
	}
	if len(r.Lookups) > 0 {
		b.WriteString("DNS\n")
	}
	for _, l := range r.Lookups {
		printLookup(&b, l)
	}
	printReports(&b, r.Reports)
	if r.Plan != nil {
		b.WriteString("the plan for ")
		if err := r.Plan.Explain(&b); err != nil {
			return err
		}
	}
	for _, s := range r.Sessions {
		printSession(&b, s)
	}
	if r.Plan != nil && r.Verdict != survey.Protected {
		fmt.Fprintf(&b, "what to do: \"mxseal advise %s\" says what to repair or publish next\n", cli.Clean(r.Name()))
	}
	_, err := io.WriteString(t.w, cli.Options(b.String()))
	return err
}

func printLookup(b *bytes.Buffer, l survey.Lookup) {
	line := func(text string) {
		fmt.Fprintf(b, "  %-4s %s %s: %s\n", l.Type, cli.Clean(l.Name), l.Status, cli.Clean(text))
	}
	for _, alias := range l.Aliases {
		line("an alias of " + alias)
	}
	for _, record := range l.Records {
		line(record)
	}
	switch {
	case l.Error != "":
		line(l.Error)
	case len(l.Records) == 0:
		line("none")
	}
}

func printReports(b *bytes.Buffer, reports *survey.Reports) {
	switch {
	case reports == nil:
	case reports.Missing:
		b.WriteString("TLS reports: the domain asks for none\n")
	case reports.Error != "":
		fmt.Fprintf(b, "TLS reports: %s\n", cli.Clean(reports.Error))
	default:
		fmt.Fprintf(b, "TLS reports go to %s\n", cli.Clean(strings.Join(reports.To, ", ")))
	}
}

func printSession(b *bytes.Buffer, s *survey.Session) {
	state := "a sender would not use it"
	switch {
	case s.OK:
		state = "a sender would use it"
	case s.Untested:
		state = "not tested, because this machine cannot reach such addresses"
	}
	version := s.TLS
	if version == "" {
		version = "no TLS"
	}
	fmt.Fprintf(b, "%s at %s: %s: %s\n", cli.Clean(s.Host), s.Addr, version, state)
	if s.Error != "" {
		fmt.Fprintf(b, "  %s\n", cli.Clean(s.Error))
	}
	for i, cert := range s.Certificates {
		fmt.Fprintf(b, "  certificate %d: %s", i, cli.Clean(cert.Subject))
		if len(cert.Names) > 0 {
			fmt.Fprintf(b, " for %s", cli.Clean(strings.Join(cert.Names, " ")))
		}
		fmt.Fprintf(b, ", issued by %s, valid until %s\n", cli.Clean(cert.Issuer), cert.Expires.Format(time.DateOnly))
	}
	for _, r := range s.Records {
		fmt.Fprintf(b, "  TLSA %s: %s\n", shortened(r.Record), cli.Clean(r.How))
	}
	if s.MTASTS != "" {
		fmt.Fprintf(b, "  MTA-STS %s\n", cli.Clean(s.MTASTS))
	}
}

// shortened returns the beginning of a TLSA record. It is long enough to find the record in
// the lookups above.
func shortened(record string) string {
	const enough = len("3 1 1 ") + 16
	if len(record) <= enough {
		return record
	}
	return record[:enough] + "..."
}
