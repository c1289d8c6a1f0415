package names_test

import (
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// RFC 4343: case does not matter in ASCII, and only there.
func TestEqualIgnoresCaseInASCIIOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b        string
		equal, fold bool
	}{
		{"example.org", "example.org", true, true},
		{"example.org", "EXAMPLE.Org", true, true},
		{"example.org.", "example.org", true, false},
		{"example.org.", "Example.ORG.", true, true},
		{"", "", true, true},
		{".", "", true, false},
		{"example.org..", "example.org.", false, false},
		{"example.org", "example.com", false, false},
		{"a", "ab", false, false},
		{"[", "{", false, false}, // the bit of case in other characters
		{"@", "`", false, false},
		{"k", "\u212a", false, false},
		{"s", "\u017f", false, false},
		{"\u212a", "\u212a", false, false},
		{"\u00fc", "\u00fc", false, false},
		{"\xff", "\xff", false, false},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			if got := names.Equal(pair[0], pair[1]); got != test.equal {
				t.Errorf("Equal(%q, %q) is %v", pair[0], pair[1], got)
			}
			if got := names.EqualFold(pair[0], pair[1]); got != test.fold {
				t.Errorf("EqualFold(%q, %q) is %v", pair[0], pair[1], got)
			}
		}
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", ".": "", "example.org": "example.org", "MX.Example.ORG.": "mx.example.org", "a..": "a.",
		"A\u212a": "a\u212a", "A\xff": "a\xff", "\u00dcA": "\u00dca",
	} {
		if got := names.Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}
