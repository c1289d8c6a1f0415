package names_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// STS-61, STS-62, RFC 5321 section 4.1.2, RFC 1035 section 2.3.4 and RFC 5891: what
// is a domain name, and its canonical form.
func TestCanonical(t *testing.T) {
	t.Parallel()
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat("a.", 126) + "b"
	for _, test := range []struct {
		in, want string
		err      error
	}{
		{"example.org", "example.org", nil},
		{"Example.ORG", "example.org", nil},
		{"example.org.", "example.org", nil},
		{"localhost", "localhost", nil},
		{"1.example", "1.example", nil},
		{"under_score.example", "under_score.example", nil},
		{"_.example", "_.example", nil},
		{"r3---sn-x.example", "r3---sn-x.example", nil},
		{label63 + ".example", label63 + ".example", nil},
		{name253, name253, nil},
		{name253 + ".", name253, nil},
		// Internationalized names.
		{"xn--bcher-kva.example", "xn--bcher-kva.example", nil},
		{"b\u00fccher.example", "xn--bcher-kva.example", nil},
		{"B\u00dcCHER.example.", "xn--bcher-kva.example", nil},
		{"b\u00fccher\u3002example", "xn--bcher-kva.example", nil},
		{"a\uff0eexample", "a.example", nil},
		{"\u212a.example", "k.example", nil}, // IDNA maps the Kelvin sign
		{"b\u00fccher_.example", "", names.ErrALabels},
		{"xn--\u00fc.example", "", names.ErrALabels},
		{"\u200d.example", "", names.ErrALabels}, // ZERO WIDTH JOINER
		{"a\u200db.example", "", names.ErrALabels},
		{"\u0915\u094d\u200d\u0937.example", "xn--11b2ezcw70k.example", nil}, // here it has a meaning
		{"\ufffd.example", "", names.ErrALabels},
		{"\xff.example", "", names.ErrALabels},
		{"\xc3.example", "", names.ErrALabels},
		{strings.Repeat("\u00fc", 64) + ".example", "", names.ErrSyntax},
		{strings.Repeat("\u00fc", 100000), "", names.ErrALabels},
		{"b\u00fccher.example\u3002", "", names.ErrSyntax}, // only a dot in ASCII may be last
		// Addresses.
		{"192.0.2.1", "", names.ErrAddress},
		{"192.0.2.1.", "", names.ErrAddress},
		{"1", "", names.ErrAddress},
		{"mx.25", "", names.ErrAddress},
		{"\uff11\uff19\uff12.0.2.1", "", names.ErrAddress}, // full-width digits
		{"192.0.2.\uff11", "", names.ErrAddress},
		{"[192.0.2.1]", "", names.ErrSyntax},
		{"[IPv6:2001:db8::1]", "", names.ErrSyntax},
		{"2001:db8::1", "", names.ErrSyntax},
		// No names.
		{"", "", names.ErrSyntax},
		{".", "", names.ErrSyntax},
		{"..", "", names.ErrSyntax},
		{".example", "", names.ErrSyntax},
		{"a..b", "", names.ErrSyntax},
		{"example.org..", "", names.ErrSyntax},
		{"-a.example", "", names.ErrSyntax},
		{"a-.example", "", names.ErrSyntax},
		{"a.-", "", names.ErrSyntax},
		{"a b.example", "", names.ErrSyntax},
		{"a\x00b.example", "", names.ErrSyntax},
		{"a/../b", "", names.ErrSyntax},
		{`a\.b`, "", names.ErrSyntax},
		{"*.example", "", names.ErrSyntax},
		{"user@example.org", "", names.ErrSyntax},
		{"example.org:25", "", names.ErrSyntax},
		{"example.org\r\nRCPT TO:<x>", "", names.ErrSyntax},
		{label63 + "a.example", "", names.ErrSyntax},
		{name253 + "c", "", names.ErrSyntax},
	} {
		if got, err := names.Canonical(test.in); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("Canonical(%.80q) = %q, %v; want %q, %v", test.in, got, err, test.want, test.err)
		}
	}
}

func TestToASCII(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"A b.\\0.", "A b.\\0.", true},
		{"b\u00fccher.example.", "xn--bcher-kva.example.", true},
		{"\uff11.2.3.4", "1.2.3.4", true},
		{"\xff", "", false},
		{"a\u00fc b", "", false},
	} {
		if got, ok := names.ToASCII(test.in); ok != test.ok || ok && got != test.want {
			t.Errorf("ToASCII(%q) = %q, %v; want %q, %v", test.in, got, ok, test.want, test.ok)
		}
	}
}

func TestCanonicalNamesDoNotAllocate(t *testing.T) {
	equal := false
	for what, call := range map[string]func(){
		"Canonical": func() { names.Canonical("mail.example.org") },
		"Fold":      func() { names.Fold("mail.example.org.") },
		"Equal":     func() { equal = names.Equal("mail.example.org.", "MAIL.example.org") },
		"Printable": func() { names.Printable("mail.example.org", 64) },
		"Mask":      func() { names.Mask("mail.example.org", 64) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	if !equal {
		t.Error("Equal depends on case or on the final dot")
	}
}

// What Canonical returns is a domain name that it returns unchanged.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"example.org.", "B\u00dcCHER.example", "\uff11.2.3.4", "a\u200db", "xn--bcher-kva", "\xff", "a_b.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := names.Canonical(s)
		if err != nil {
			if name != "" {
				t.Errorf("Canonical(%q) = %q and %v", s, name, err)
			}
			return
		}
		if again, err := names.Canonical(name); again != name || err != nil {
			t.Errorf("Canonical(%q) = %q, and of that %q, %v", s, name, again, err)
		}
		if !names.IsDomain(name) || names.EndsInNumber(name) || name != strings.ToLower(name) || names.Fold(name) != name {
			t.Errorf("Canonical(%q) = %q", s, name)
		}
		if names.IsASCII(s) && !names.Equal(s, name) {
			t.Errorf("Canonical(%q) = %q, which is another name", s, name)
		}
	})
}
