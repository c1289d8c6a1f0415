package delivery

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// Addresses by RFC 5321 section 4.1.2 and RFC 6531 section 3.3.
func TestParseMailbox(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ given, path, domain string }{
		{"user@example.org", "user@example.org", "example.org"},
		{"User@Example.ORG", "User@Example.ORG", "example.org"},
		{"user@example.org.", "user@example.org", "example.org"},
		{"first.last+tag@example.org", "first.last+tag@example.org", "example.org"},
		{"!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org", "example.org"},
		{`"a b"@example.org`, `"a b"@example.org`, "example.org"},
		{`"a\"b"@example.org`, `"a\"b"@example.org`, "example.org"},
		{`"a@b>"@example.org`, `"a@b>"@example.org`, "example.org"},
		{`""@example.org`, `""@example.org`, "example.org"},
		{"user@[192.0.2.1]", "user@[192.0.2.1]", "[192.0.2.1]"},
		{"user@[IPv6:2001:DB8::1]", "user@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"},
		{"user@bücher.example", "user@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jürgen@bücher.example", "jürgen@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{strings.Repeat("a", 64) + "@example.org", strings.Repeat("a", 64) + "@example.org", "example.org"},

		{given: ""},
		{given: "user"},
		{given: "@example.org"},
		{given: "user@"},
		{given: "<user@example.org>"},
		{given: "user@example.org>"},
		{given: "user@example.org> REQUIRETLS"},
		{given: "user @example.org"},
		{given: ".user@example.org"},
		{given: "us..er@example.org"},
		{given: "user.@example.org"},
		{given: "us\"er@example.org"},
		{given: `"us"er"@example.org`},
		{given: `"us\"@example.org`},
		{given: `"@example.org`},
		{given: "user@example.org\r\nRCPT TO:<other@example.org>"},
		{given: "\"us\r\ner\"@example.org"},
		{given: "\"us\x00er\"@example.org"},
		{given: "us\u202eer@example.org"},
		{given: "us\u0085er@example.org"},
		{given: "us\xffer@example.org"},
		{given: "user@exa mple.org"},
		{given: "user@192.0.2.1"},
		{given: "user@[192.0.2]"},
		{given: "user@[fe80::1%eth0]"},
		{given: "a@b@example.org"},
		{given: strings.Repeat("a", 65) + "@example.org"},
		{given: "user@" + strings.Repeat("a.", 126) + "a"},
	} {
		box, err := parseMailbox(test.given)
		if (err == nil) != (test.path != "") || box.path != test.path || box.domain != test.domain {
			t.Errorf("parseMailbox(%q) = %+v, %v", test.given, box, err)
		}
		if err == nil && box.international != !names.IsASCII(box.path) {
			t.Errorf("parseMailbox(%q): international %v", test.given, box.international)
		}
	}
}

// One domain is one group, however it is spelled.
func TestByDomain(t *testing.T) {
	t.Parallel()
	groups, malformed := byDomain([]string{
		"a@example.org", "b@bücher.example", "c@EXAMPLE.org.", "nonsense", "d@XN--BCHER-KVA.example", "e@[IPv6:2001:db8::1]", "f@[ipv6:2001:DB8::1]",
	})
	var got []string
	for _, g := range groups {
		line := g.domain + ":"
		for _, box := range g.to {
			line += " " + box.given
		}
		got = append(got, line)
	}
	want := []string{
		"example.org: a@example.org c@EXAMPLE.org.",
		"xn--bcher-kva.example: b@bücher.example d@XN--BCHER-KVA.example",
		"[ipv6:2001:db8::1]: e@[IPv6:2001:db8::1] f@[ipv6:2001:DB8::1]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
	if len(malformed) != 1 || malformed[0].Recipients[0] != "nonsense" || !malformed[0].Err.Permanent || malformed[0].Err.Status != "5.1.3" {
		t.Errorf("malformed %+v", malformed)
	}
}

// What comes out of an address can stand in an SMTP command.
func FuzzParseMailbox(f *testing.F) {
	for _, seed := range []string{"user@example.org", `"a\"b>"@[192.0.2.1]`, "jürgen@bücher.example", "a@b\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		box, err := parseMailbox(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(box.path, "\r\n\x00\x7f") || len(box.path) > maxPath || !names.IsASCII(box.domain) {
			t.Fatalf("%q became %+v", s, box)
		}
		if box.path[0] != '"' && strings.ContainsAny(box.path, "<> ") {
			t.Fatalf("%q became %+v", s, box)
		}
		again, err := parseMailbox(box.path)
		if err != nil || again.path != box.path || again.domain != box.domain {
			t.Fatalf("%q became %+v, and that became %+v, %v", s, box, again, err)
		}
	})
}
