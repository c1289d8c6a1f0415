package grammar

import (
	"strings"
	"testing"
)

// RFC 8460 section 3 and RFC 8461 sections 3.1 and 3.2: the names and values of
// extension fields.
func TestIsExtensionName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"a": true, "0": true, "a_b-c.d": true, "A1": true, strings.Repeat("a", 32): true,
		"": false, "_a": false, "-a": false, ".a": false, "a b": false, "a=": false, "ä": false, strings.Repeat("a", 33): false,
	} {
		if IsExtensionName(s) != want {
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
		if IsExtensionValue(s) != want {
			t.Errorf("IsExtensionValue(%q) is not %v", s, want)
		}
	}
}
