package delivery

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

// SMTP-5, SMTP-23, SMTP-29, EAI-2: addresses by RFC 5321 section 4.1.2 and RFC 6531 section 3.3, with or
// without angle brackets. S6: what a local part may be is for the server to decide, as
// long as it cannot end the address or the command.
func TestS6GrammarOfAddresses(t *testing.T) {
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
		{"user@[2001:db8:0::1]", "user@[IPv6:2001:db8::1]", "[ipv6:2001:db8::1]"},
		{"user@[IPv6:2001:db8:0:0::1]", "user@[IPv6:2001:db8:0:0::1]", "[ipv6:2001:db8::1]"},
		{"user@[::ffff:192.0.2.1]", "user@[IPv6:::ffff:192.0.2.1]", "[ipv6:::ffff:192.0.2.1]"},
		{"user@bücher.example", "user@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jürgen@bücher.example", "jürgen@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"<user@example.org>", "user@example.org", "example.org"},
		{".user@example.org", ".user@example.org", "example.org"},
		{"us..er@example.org", "us..er@example.org", "example.org"},
		{"user.@example.org", "user.@example.org", "example.org"},
		{"user(x),y;z:[1]@example.org", "user(x),y;z:[1]@example.org", "example.org"},
		{`"a"."b c"@example.org`, `"a"."b c"@example.org`, "example.org"},
		{`a\@b@example.org`, `a\@b@example.org`, "example.org"},
		{"us\u200cer@example.org", "us\u200cer@example.org", "example.org"},
		{"us\u202eer@example.org", "us\u202eer@example.org", "example.org"},
		{strings.Repeat("a", 65) + "@example.org", strings.Repeat("a", 65) + "@example.org", "example.org"},
		{strings.Repeat("a", maxPath-len("@example.org")) + "@example.org", strings.Repeat("a", maxPath-len("@example.org")) + "@example.org", "example.org"},
		{strings.Repeat("a", 64) + "@example.org", strings.Repeat("a", 64) + "@example.org", "example.org"},

		{given: ""},
		{given: "user"},
		{given: "@example.org"},
		{given: "user@"},
		{given: "<user@example.org"},
		{given: "<<user@example.org>>"},
		{given: "User <user@example.org>"},
		{given: "user@example.org>"},
		{given: "user@example.org> REQUIRETLS"},
		{given: "user @example.org"},
		{given: "us\"er@example.org"},
		{given: `"us"er"@example.org`},
		{given: `"us\"@example.org`},
		{given: `"@example.org`},
		{given: "user@example.org\r\nRCPT TO:<other@example.org>"},
		{given: "\"us\r\ner\"@example.org"},
		{given: "\"us\x00er\"@example.org"},
		{given: "us\u0085er@example.org"},
		{given: "us\xffer@example.org"},
		{given: "user@exa mple.org"},
		{given: "user@192.0.2.1"},
		{given: "user@[192.0.2]"},
		{given: "user@[fe80::1%eth0]"},
		{given: "a@b@example.org"},
		{given: "@one.example:user@example.org"},
		{given: "<@one.example,@two.example:user@example.org>"},
		{given: "a> SIZE=1@example.org"},
		{given: "a>b@example.org"},
		{given: "a<b@example.org"},
		{given: `a\"> x"@example.org`},
		{given: `a\ b@example.org`},
		{given: `a\@example.org`},
		{given: `"a b@example.org`},
		{given: "us\ter@example.org"},
		{given: "us\x00er@example.org"},
		{given: "us\x7fer@example.org"},
		{given: `user@""`},
		{given: strings.Repeat("a", maxPath+1-len("@example.org")) + "@example.org"},
		{given: "user@" + strings.Repeat("a.", 127) + "a"},
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

// SMTP-30, EAI-9: one domain is one group, however it is spelled. One mailbox is one recipient.
func TestSpellingsOfOneDomainAreOneGroup(t *testing.T) {
	t.Parallel()
	var to []Recipient
	for _, address := range []string{
		"a@example.org", "b@bücher.example", "<c@EXAMPLE.org.>", "nonsense", "d@XN--BCHER-KVA.example", "e@[IPv6:2001:db8::1]", "f@[ipv6:2001:DB8::1]",
		// A mailbox that is repeated, in the same way or in another.
		"a@example.org", "A@example.org", "<a@EXAMPLE.ORG>", `"a"@example.org`, `"\a"@example.org`, "<a@EXAMPLE.ORG>", "b@xn--bcher-kva.example",
		"f@[2001:db8:0:0::1]", "a.b@example.org", `a."b"@example.org`, `"a b"@example.org`,
	} {
		to = append(to, Recipient{Address: address})
	}
	groups, malformed := byDomain(to)
	var got []string
	for _, g := range groups {
		line := g.domain + ":"
		for _, box := range g.to {
			line += " " + strings.Join(box.given, "=")
		}
		got = append(got, line)
	}
	want := []string{
		`example.org: a@example.org=<a@EXAMPLE.ORG>="a"@example.org="\a"@example.org <c@EXAMPLE.org.> A@example.org ` +
			`a.b@example.org=a."b"@example.org "a b"@example.org`,
		"xn--bcher-kva.example: b@bücher.example=b@xn--bcher-kva.example d@XN--BCHER-KVA.example",
		"[ipv6:2001:db8::1]: e@[IPv6:2001:db8::1] f@[ipv6:2001:DB8::1]=f@[2001:db8:0:0::1]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
	if len(malformed) != 1 || malformed[0].Recipients[0] != "nonsense" || !malformed[0].Err.Permanent || malformed[0].Err.Status != "5.1.3" {
		t.Errorf("malformed %+v", malformed)
	}
}

// The path and the domain of a parsed address are safe in an SMTP command.
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
		if !strings.ContainsAny(box.path, `"\`) && strings.ContainsAny(box.path, "<> ") {
			t.Fatalf("%q became %+v", s, box)
		}
		again, err := parseMailbox(box.path)
		if err != nil || again.path != box.path || again.domain != box.domain {
			t.Fatalf("%q became %+v, and that became %+v, %v", s, box, again, err)
		}
	})
}
