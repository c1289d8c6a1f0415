package txtrecord_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/txtrecord"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][3]string{ // Trim, TrimLeft, TrimRight
		"": {}, " \t": {}, "a": {"a", "a", "a"}, "\t a b \t": {"a b", "a b \t", "\t a b"}, "\na\r": {"\na\r", "\na\r", "\na\r"},
	} {
		if got := [3]string{txtrecord.Trim(s), txtrecord.TrimLeft(s), txtrecord.TrimRight(s)}; got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	records := []string{"v=A;", "v=A ; x", "v=A\t;", "v=A;v=A;"}
	others := []string{"", "v=A", "v=A x;", " v=A;", "V=A;", "v=a;", "v=AB;", "x; v=A;", "v=A\n;"}
	if got, count := txtrecord.Select(others, "A"); count != 0 || got != "" {
		t.Errorf("%q, %d records", got, count)
	}
	for _, want := range records {
		if got, count := txtrecord.Select(slices.Concat(others, []string{want}, others), "A"); count != 1 || got != want {
			t.Errorf("%q, %d records, want %q", got, count, want)
		}
	}
	if _, count := txtrecord.Select(records, "A"); count != len(records) {
		t.Errorf("%d records, want %d", count, len(records))
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for txt, want := range map[string][]string{
		"v=A":                nil,
		"v=A;":               nil,
		"v=A \t; \t ":        nil,
		"v=A;a=b":            {"a=b"},
		"v=A; a=b ; c\t;":    {"a=b", "c"},
		"v=A; a ":            {"a"},
		"v=A;; a; ;":         {"", "a", ""},
		"v=A;\na":            {"\na"},
		"v=A; v=B; " + "=;x": {"v=B", "=", "x"},
	} {
		fields, ok := txtrecord.Parse(txt, "A")
		if !ok {
			t.Errorf("%q: no record", txt)
			continue
		}
		var got []string
		for field, ok := fields.Next(); ok; field, ok = fields.Next() {
			got = append(got, field)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", txt, got, want)
		}
		if field, ok := fields.Next(); ok {
			t.Errorf("%q: %q after the last field", txt, field)
		}
	}
	for _, txt := range []string{"", ";", "v=AB;", "v=", " v=A;", "v= A;", "V=A;", "a=b; v=A"} {
		if _, ok := txtrecord.Parse(txt, "A"); ok {
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
