// Package page writes what "mxseal check" found as one page in HTML, without scripts and
// without anything from elsewhere. For each domain it has a diagram of the chain of trust:
// from the root to the TLSA records, and from the policy host to the certificate.
//
// chain.go says what the links are and in which state, diagram.go draws them, and page.html
// is the page around them. Each state has a word and a shape, so the page can be read
// without colors.
package page

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/style"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

//go:embed page.html
var pageText string

// Write writes the page for the results.
func Write(w io.Writer, results []*survey.Result) error {
	page, err := template.New("page").Funcs(template.FuncMap{"day": day, "short": short}).Parse(pageText)
	if err != nil {
		return err
	}
	data := struct {
		Style   template.CSS
		Domains []domain
	}{Style: style.CSS()}
	for _, r := range results {
		d := domain{Result: r, Mark: markOf(r.Verdict)}
		if r.Error != nil {
			d.Failure = cli.Options(strings.TrimPrefix(r.Error.Error(), "policy: "))
		}
		if r.Plan != nil {
			d.Chains = chains(r)
			var text strings.Builder
			if err := r.Plan.Explain(&text); err != nil {
				return err
			}
			d.Explanation = cli.Options(text.String())
		}
		data.Domains = append(data.Domains, d)
	}
	return page.Execute(w, data)
}

// domain is a domain on the page.
type domain struct {
	*survey.Result
	Mark        string // of the verdict
	Failure     string // why there is no plan
	Chains      []chain
	Explanation string
}

// markOf returns a sign for a verdict that does not need colors.
func markOf(v survey.Verdict) string {
	switch v {
	case survey.Protected:
		return "\u2713"
	case survey.Unprotected, survey.Degraded:
		return "!"
	default:
		return "\u2717"
	}
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// short returns the beginning of a TLSA record.
func short(record string) string {
	const enough = len("3 1 1 ") + 16
	if len(record) <= enough {
		return record
	}
	return record[:enough] + "\u2026"
}
