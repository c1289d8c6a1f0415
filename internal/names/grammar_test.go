package names_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// RFC 5321 section 4.1.2, RFC 1035 section 2.3.4 and RFC 1123 section 2.1: the
// grammar of names, and where it is relaxed.
func TestGrammarOfNames(t *testing.T) {
	t.Parallel()
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat("a.", 126) + "b"
	for _, test := range []struct {
		s                       string
		domain, hostName, label bool
	}{
		{"example.org", true, true, false},
		{"EXAMPLE.org", true, true, false},
		{"a", true, true, true},
		{"a--b", true, true, true},
		{"a_b", true, false, true},
		{"_25._tcp.example", true, false, false},
		{"192.0.2.1", true, true, false}, // see EndsInNumber
		{label63, true, true, true},
		{label63 + "a", false, false, false},
		{name253, true, true, false},
		{name253 + "c", false, false, false},
		{"", false, false, false},
		{".", false, false, false},
		{"a.", false, false, false},
		{".a", false, false, false},
		{"a..b", false, false, false},
		{"-a", false, false, false},
		{"a-", false, false, false},
		{"a-.b", false, false, false},
		{"a.-b", false, false, false},
		{"a b", false, false, false},
		{"a\n", false, false, false},
		{"*.a", false, false, false},
		{"b\u00fccher", false, false, false},
		{"\u212a", false, false, false},
	} {
		if got := names.IsDomain(test.s); got != test.domain {
			t.Errorf("IsDomain(%q) is %v", test.s, got)
		}
		if got := names.IsHostName(test.s); got != test.hostName {
			t.Errorf("IsHostName(%q) is %v", test.s, got)
		}
		if got := names.IsLabel(test.s); got != test.label {
			t.Errorf("IsLabel(%q) is %v", test.s, got)
		}
	}
}

func TestEndsInNumber(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"192.0.2.1": true, "1": true, "a.1": true, "007": true,
		"": false, "1.": false, "1.a": false, "1.a1": false, "0x7f": false, "a": false,
	} {
		if names.EndsInNumber(name) != want {
			t.Errorf("EndsInNumber(%q) is not %v", name, want)
		}
	}
}

func TestIsAlphanumeric(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"a": true, "Z9": true, "": false, "a-b": false, "_": false, "ä": false} {
		if names.IsAlphanumeric(s) != want {
			t.Errorf("IsAlphanumeric(%q) is not %v", s, want)
		}
	}
}
