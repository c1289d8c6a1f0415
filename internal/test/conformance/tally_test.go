package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// secure has the prefixes of the rules whose MUSTs concern security. further has the rules
// with other prefixes that are MUSTs and concern security.
var (
	secure  = strings.Fields("STS DANE OPS TLSA REQ STT SEC AUTH SUB OAUTH")
	further = strings.Fields("SMTP-2 SMTP-5 SMTP-8 SMTP-18 SMTP-19 SMTP-24 SMTP-28 SMTP-32")
)

// concernsSecurity reports whether a rule is a MUST that concerns security, and is shown by
// tests.
func (r rule) concernsSecurity() bool {
	prefix, _, _ := strings.Cut(r.id, "-")
	return len(r.shown) > 0 && strings.Contains(r.clause, "MUST") && (slices.Contains(secure, prefix) || slices.Contains(further, r.id))
}

// paragraphAfter returns the paragraph after a marker in CONFORMANCE.md.
func paragraphAfter(t *testing.T, marker string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "CONFORMANCE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- "+marker+" -->\n")
	if !found {
		t.Fatalf("CONFORMANCE.md has nothing that is marked %q", marker)
	}
	paragraph, _, _ := strings.Cut(rest, "\n\n")
	return paragraph
}

// unbroken returns the rules that CONFORMANCE.md says cannot be broken, with the reasons.
func unbroken(t *testing.T) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for line := range strings.Lines(paragraphAfter(t, "not broken")) {
		id, reason, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "- ")), ": ")
		if reason == "" {
			t.Errorf("CONFORMANCE.md does not say why %s is not broken", id)
		}
		reasons[id] = reason
	}
	return reasons
}

// Every MUST that concerns security, and every rule of the sample in CONFORMANCE.md, is broken
// by a change in broken.txt, except for those that the page names. It names no others.
func TestTallyOfBrokenRules(t *testing.T) {
	t.Parallel()
	broken := map[string]bool{}
	for _, c := range readChanges(t) {
		for _, f := range c.rules {
			broken[f.id] = true
		}
	}
	missing, sample := unbroken(t), strings.Fields(paragraphAfter(t, "sample"))
	var security []string
	for _, r := range readRules(t) {
		if r.concernsSecurity() {
			security = append(security, r.id)
		}
	}
	if got := strings.Fields(paragraphAfter(t, "security")); !slices.Equal(got, security) {
		t.Errorf("CONFORMANCE.md has to list as MUSTs that concern security:\n%s", strings.Join(security, " "))
	}
	for _, id := range slices.Concat(security, sample) {
		if missed := missing[id] != ""; broken[id] == missed {
			t.Errorf("%s: broken by a change in broken.txt: %v, named in CONFORMANCE.md as not broken: %v", id, broken[id], missed)
		}
	}
	for id := range missing {
		if !slices.Contains(security, id) && !slices.Contains(sample, id) {
			t.Errorf("CONFORMANCE.md names %s as not broken, but it need not be: remove it there", id)
		}
	}
	if len(security) < 200 || len(sample) < 150 {
		t.Errorf("%d MUSTs that concern security, and %d others", len(security), len(sample))
	}
	t.Logf("%d of %d rules are broken by changes", len(broken), len(readRules(t)))
}
