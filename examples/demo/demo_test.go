package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mxseal/mxseal/examples/internal/situations"
	"github.com/mxseal/mxseal/policy/policytest"
)

func TestTableColumnsHoldNames(t *testing.T) {
	t.Parallel()
	for _, s := range situations.All(situations.Groups()) {
		if n := utf8.RuneCountInString(s.Recipient()); n > domainWidth {
			t.Errorf("%s: the name has %d characters, %d fit", s.Domain, n, domainWidth)
		}
		if n := utf8.RuneCountInString(s.Title); n > situationWidth {
			t.Errorf("%s: %q has %d characters, %d fit", s.Domain, s.Title, n, situationWidth)
		}
	}
}

// The demo reports an outcome that differs from the expected one.
func TestWrongOutcomeIsReported(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	wrong := situations.Groups()[:1]
	wrong[0].Situations = wrong[0].Situations[:1]
	wrong[0].Situations[0].Want.Mail = situations.Authenticated
	trials, err := situations.Build(t.Context(), inet, wrong[0].Situations)
	if err != nil {
		t.Fatal(err)
	}
	r := trials[0].Run(t.Context(), situations.SendMail)
	var text bytes.Buffer
	if err := printTable(&text, wrong, map[string]situations.Result{r.Domain: r}, 0); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); !strings.Contains(got, "WRONG: plain.test: expected") || !strings.Contains(got, "0 of 1") {
		t.Errorf("table:\n%s", got)
	}
}

func TestRunPrintsJSON(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-json"}, &stdout, &stderr); code != 0 {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	lines := 0
	for line := range strings.Lines(stdout.String()) {
		var object struct {
			Domain, Expected, Got string
			OK                    bool
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !object.OK || object.Domain == "" || object.Got != object.Expected {
			t.Errorf("%s", line)
		}
		lines++
	}
	if want := len(situations.All(situations.Groups())); lines != want {
		t.Errorf("%d objects, want %d", lines, want)
	}
}

func TestRunPrintsTable(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), nil, &stdout, &stderr); code != 0 {
		t.Errorf("exit status %d: %s\n%s", code, stderr.String(), stdout.String())
	}
	for line := range strings.Lines(stdout.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 110 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}

func TestRunArguments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-explain", "dane.test"}, 0, "TLSA base domain: mx.dane.test"},
		{[]string{"-explain", "null-mx.test"}, 0, "null MX"},
		{[]string{"-explain", "other.test"}, 2, "the demo has no domain"},
		{[]string{"surplus"}, 2, "usage"},
		{[]string{"-h"}, 0, "-json"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), test.args, &out, &out); code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("%q: exit status %d, want %d and %q:\n%s", test.args, code, test.code, test.want, out.String())
		}
	}
}
