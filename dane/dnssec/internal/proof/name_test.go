package proof

import (
	"slices"
	"strings"
	"testing"
)

// SEC-49, field note 37: the order of names (RFC 4034 section 6.1).
func TestNameOrder(t *testing.T) {
	t.Parallel()
	ordered := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.",
		"z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if c := CompareNames(a, b); (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("%s and %s compare as %d", a, b, c)
			}
		}
	}
}

// Names with escapes are compared label by label.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                              "",
		".":                             ".",
		"Example.COM":                   "example.com.",
		"example.com.":                  "example.com.",
		`a\.b.com`:                      `a\.b.com.`,
		`a\046b.com`:                    `a\.b.com.`,
		`\065.com`:                      "a.com.",
		`\255.com.`:                     `\255.com.`,
		`a\`:                            "",
		"a..b":                          "",
		".a":                            "",
		strings.Repeat("a", 63) + ".":   strings.Repeat("a", 63) + ".",
		strings.Repeat("a", 64) + ".":   "",
		strings.Repeat("a.", 127):       strings.Repeat("a.", 127),
		strings.Repeat("a.", 128):       "",
		strings.Repeat("a.", 126) + "b": strings.Repeat("a.", 126) + "b.",
		strings.Repeat("a.", 127) + "b": "",
	} {
		got, ok := CanonicalName(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, tt := range []struct {
		name, zone string
		within     bool
	}{
		{"example.com.", "example.com.", true},
		{"mx.example.com.", "example.com.", true},
		{"evilexample.com.", "example.com.", false},
		{`evil\.example.com.`, "example.com.", false},
		{`a.evil\.example.com.`, "com.", true},
		{`evil\\.example.com.`, "example.com.", true},
		{`evil\\\.example.com.`, "example.com.", false},
		{"com.", "example.com.", false},
		{"com.", ".", true},
		{".", ".", true},
		{".", "com.", false},
	} {
		if got := Within(tt.name, tt.zone); got != tt.within {
			t.Errorf("%s within %s: %v", tt.name, tt.zone, got)
		}
	}
	if got := Parent(`a\.b\\.c.`); got != "c." {
		t.Errorf("parent is %s", got)
	}
	if got := Ancestors("a.b."); !slices.Equal(got, []string{".", "b.", "a.b."}) {
		t.Errorf("ancestors are %v", got)
	}
	if got := commonAncestor("a.b.c.", "x.c."); got != "c." {
		t.Errorf("common ancestor is %s", got)
	}
	if got := lastLabels("a.b.c.", 0); got != "." {
		t.Errorf("last labels are %s", got)
	}
}
