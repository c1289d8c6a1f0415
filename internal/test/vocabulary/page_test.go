package vocabulary

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

var write = flag.Bool("write", false, "write docs/reason-codes.md")

// R14: the page for the recipients of reports has the list.
func TestR14Page(t *testing.T) {
	t.Parallel()
	file := filepath.Join(root, "docs", "reason-codes.md")
	page := page()
	if *write {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != page {
		t.Errorf("docs/reason-codes.md is not the list of package tlsrpt (%v): run go test -run R14Page ./internal/test/vocabulary -write", err)
	}
}

func page() string {
	var b strings.Builder
	b.WriteString(`# Reason codes in TLS reports

For domain owners who received a report from a sender that uses this library. A report has a result type of RFC 8460 for
each way in which sessions failed, and usually one of these codes as its ` + "`failure-reason-code`" + `. ` + "`mxseal report`" + ` explains
reports with this list, and those of other senders too. The list is generated from ` + "`tlsrpt.Reasons`" + `; a ` + "`*`" + ` means any text.

## Result types

| result type | what happened | what to do |
|---|---|---|
`)
	for _, resultType := range tlsrpt.AllResultTypes() {
		meaning, advice := tlsrpt.Explain(tlsrpt.Failure{Type: resultType})
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", resultType, meaning, advice)
	}
	b.WriteString("\n## Codes\n\n| code | result types | what happened | what to do |\n|---|---|---|---|\n")
	for _, r := range tlsrpt.Reasons() {
		types := make([]string, len(r.Types))
		for i, resultType := range r.Types {
			types[i] = string(resultType)
		}
		if r.Types == nil {
			types = []string{"all"}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Code, strings.Join(types, ", "), r.Meaning, r.Advice)
	}
	return b.String()
}
