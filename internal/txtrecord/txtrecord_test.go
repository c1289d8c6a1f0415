package txtrecord_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/txtrecord"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	records := []string{"v=A;", "v=A ; x", "v=A\t;", "v=A;v=A;"}
	others := []string{"", "v=A", "v=A x;", " v=A;", "V=A;", "v=a;", "v=AB;", "x; v=A;", "v=A\n;"}
	if got := txtrecord.Select(slices.Concat(others, records, others), "A"); !slices.Equal(got, records) {
		t.Errorf("%q, want %q", got, records)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	for txt, want := range map[string][]string{
		"v=A":                nil,
		"v=A;":               nil,
		"v=A \t; \t ":        nil,
		"v=A;a=b":            {"a=b"},
		"v=A; a=b ; c\t;":    {"a=b", "c"},
		"v=A; a ":            {"a "},
		"v=A;; a; ;":         {"", "a", ""},
		"v=A;\na":            {"\na"},
		"v=A; v=B; " + "=;x": {"v=B", "=", "x"},
	} {
		fields, ok := txtrecord.Fields(txt, "A")
		if !ok {
			t.Errorf("%q: no record", txt)
			continue
		}
		for range 2 {
			if got := slices.Collect(fields); !slices.Equal(got, want) {
				t.Errorf("%q: %q, want %q", txt, got, want)
			}
		}
		for range fields {
			break
		}
	}
	for _, txt := range []string{"", ";", "v=AB;", "v=", " v=A;", "v= A;", "V=A;", "a=b; v=A"} {
		if _, ok := txtrecord.Fields(txt, "A"); ok {
			t.Errorf("%q is a record", txt)
		}
	}
}

// RFC 8460 section 3 and RFC 8461 sections 3.1 and 3.2: the names and values of
// extension fields.
func TestIsExtensionName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"a": true, "0": true, "a_b-c.d": true, "A1": true, strings.Repeat("a", 32): true,
		"": false, "_a": false, "-a": false, ".a": false, "a b": false, "a=": false, "ä": false, strings.Repeat("a", 33): false,
	} {
		if txtrecord.IsExtensionName(s) != want {
			t.Errorf("IsExtensionName(%q) is not %v", s, want)
		}
	}
}

func TestIsExtensionValue(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"a": true, "!": true, ":": true, "<": true, ">": true, "~": true, strings.Repeat("a", 999): true,
		"": false, "a=b": false, "a;b": false, "a b": false, "a\t": false, "\x7f": false, "ä": false,
	} {
		if txtrecord.IsExtensionValue(s) != want {
			t.Errorf("IsExtensionValue(%q) is not %v", s, want)
		}
	}
}
