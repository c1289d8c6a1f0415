package policy

import (
	"strings"
	"testing"
)

func TestCanonicalDomainAcceptsOnlyDomains(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		in, want string // want empty: an error
	}{
		{"example.org", "example.org"},
		{"Example.ORG.", "example.org"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"under_score.example", "under_score.example"},
		{long + ".example", long + ".example"},
		{long + "a.example", ""},
		{strings.Repeat("a.", 127) + "example", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"a..b", ""},
		{".example", ""},
		{"-a.example", ""},
		{"a-.example", ""},
		{"a-", ""},
		{"a b.example", ""},
		{"a\x00b.example", ""},
		{"example.org\r\nRCPT TO:<x>", ""},
		{"192.0.2.1", ""},
		{"1", ""},
		{"[192.0.2.1]", ""},
		{"*.example", ""},
		{"a\u3002b", "a.b"}, // the ideographic full stop is a dot in IDNA
		{"\xff\xfe.example", ""},
	} {
		got, err := canonicalDomain(test.in)
		if (err == nil) != (test.want != "") || err == nil && got != test.want {
			t.Errorf("canonicalDomain(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestCanonicalDomainDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := canonicalDomain("mail.example.org"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a name in canonical form", n)
	}
}
