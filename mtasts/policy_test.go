package mtasts_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// policyWith returns a valid policy in which line replaces the line with the same
// key.
func policyWith(line string) string {
	key, _, _ := strings.Cut(line, ":")
	var lines []string
	for _, l := range []string{"version: STSv1", "mode: enforce", "mx: mail.example.com", "max_age: 86400"} {
		if k, _, _ := strings.Cut(l, ":"); k == key {
			l = line
		}
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	plain := policyWith("x")
	crlf := strings.ReplaceAll(plain, "\n", "\r\n")
	key32 := strings.Repeat("k", 32)
	tests := []struct {
		clause string
		text   string
		reason string // "" if valid
	}{
		{"STS-28 LF", plain, ""},
		{"STS-28 CRLF", crlf, ""},
		{"STS-28 mixed", strings.Replace(crlf, "\r", "", 2), ""},
		{"STS-28 no end of the last line", strings.TrimSuffix(plain, "\n"), ""},
		{"STS-28 CR alone", strings.ReplaceAll(plain, "\n", "\r"), "policy-syntax"},
		{"STS-28 CR alone at the end", strings.TrimSuffix(plain, "\n") + "\r", "policy-syntax"},
		{"AMB-2, field note 42: empty line at the end", plain + "\r\n", ""},
		{"AMB-2 empty lines at the end", plain + "\n \r\n", ""},
		{"AMB-2 empty line in the middle", "version: STSv1\n\n" + plain, "policy-syntax"},
		{"AMB-2 empty line first", "\n" + plain, "policy-syntax"},
		{"byte order mark", "\uFEFF" + plain, "policy-syntax"},
		{"empty", "", "policy-version"},
		{"HTML", "<!DOCTYPE html>\n<html>", "policy-syntax"},

		{"STS-29 no white space", strings.ReplaceAll(plain, ": ", ":"), ""},
		{"STS-29 much of it", strings.ReplaceAll(plain, ": ", ": \t "), ""},
		{"STS-29 at the ends of lines", strings.ReplaceAll(crlf, "\r\n", " \t\r\n"), ""},
		{"STS-29 before the key", policyWith("x") + " a: b\n", "policy-syntax"},
		{"STS-29 before the colon", plain + "a : b\n", "policy-syntax"},

		{"STS-30 unknown key", plain + "a-_.9: b\n", ""},
		{"STS-30 UTF-8 value", plain + "a: gr\u00fc\u20ac\U0001F600n\n", ""},
		{"STS-30, field note 42: colons in a value", plain + "a: http://example.com:80/\n", ""},
		{"STS-30 spaces in a value", plain + "a: b  c\n", ""},
		{"STS-30 tab in a value", plain + "a: b\tc\n", "policy-syntax"},
		{"STS-30 control in a value", plain + "a: b\x00c\n", "policy-syntax"},
		{"STS-30 DEL in a value", plain + "a: b\x7fc\n", "policy-syntax"},
		{"STS-30 not UTF-8", plain + "a: \xff\n", "policy-syntax"},
		{"STS-30 overlong UTF-8", plain + "a: \xc0\xaf\n", "policy-syntax"},
		{"STS-30 surrogate", plain + "a: \xed\xa0\x80\n", "policy-syntax"},
		{"STS-30 no value", plain + "a:\n", "policy-syntax"},
		{"STS-30 no colon", plain + "a\n", "policy-syntax"},
		{"STS-30 no key", plain + ": b\n", "policy-syntax"},
		{"STS-30 key of 32", plain + key32 + ": b\n", ""},
		{"STS-30 key of 33", plain + "k" + key32 + ": b\n", "policy-syntax"},
		{"STS-30 key begins with underscore", plain + "_a: b\n", "policy-syntax"},
		{"STS-30 key not ASCII", plain + "\u00fc: b\n", "policy-syntax"},

		{"STS-31, field note 41: later version", plain + "version: STSv2\n", ""},
		{"STS-31 later mode malformed", plain + "mode: strict\n", ""},
		{"STS-31 later max_age malformed", plain + "max_age: -1\n", ""},
		{"STS-31 later max_age empty", plain + "max_age:\n", ""},
		{"STS-31 first version counts", "version: STSv2\n" + plain, "policy-version"},
		{"STS-31 first mode counts", "mode: strict\n" + plain, "policy-mode"},
		{"STS-31 first max_age counts", "max_age: x\n" + plain, "policy-max-age"},

		{"STS-32 no version", strings.TrimPrefix(plain, "version: STSv1\n"), "policy-version"},
		{"STS-32 other version", policyWith("version: STSv2"), "policy-version"},
		{"STS-32 lower case", policyWith("version: stsv1"), "policy-version"},
		{"STS-32 key in upper case", strings.Replace(plain, "version", "Version", 1), "policy-version"},
		{"STS-33 version last", strings.TrimPrefix(plain, "version: STSv1\n") + "version: STSv1", ""},

		{"STS-34 no mode", strings.Replace(plain, "mode: enforce\n", "", 1), "policy-mode"},
		{"STS-34 testing", policyWith("mode: testing"), ""},
		{"STS-34 none", policyWith("mode: none"), ""},
		{"STS-34 unknown (AMB-4)", policyWith("mode: report"), "policy-mode"},
		{"STS-34 empty", policyWith("mode:"), "policy-mode"},
		{"STS-34 case", policyWith("mode: Enforce"), "policy-mode"},

		{"STS-35 no max_age", strings.Replace(plain, "max_age: 86400\n", "", 1), "policy-max-age"},
		{"STS-35 empty", policyWith("max_age:"), "policy-max-age"},
		{"STS-35 minus", policyWith("max_age: -1"), "policy-max-age"},
		{"STS-35 plus", policyWith("max_age: +1"), "policy-max-age"},
		{"STS-35 fraction", policyWith("max_age: 1.5"), "policy-max-age"},
		{"STS-35 unit", policyWith("max_age: 1d"), "policy-max-age"},
		{"STS-35 other digits", policyWith("max_age: \u0661"), "policy-max-age"},
		{"STS-35 space inside", policyWith("max_age: 86 400"), "policy-max-age"},

		{"STS-37 enforce without mx", strings.Replace(plain, "mx: mail.example.com\n", "", 1), "policy-mx"},
		{"STS-37 testing without mx", "version: STSv1\nmode: testing\nmax_age: 1\n", "policy-mx"},
		{"STS-37, field note 47: none without mx", "version: STSv1\nmode: none\nmax_age: 1\n", ""},

		{"STS-38 commas", policyWith("mx: a.example,b.example"), "policy-mx"},
		{"STS-38 spaces, field note 53", policyWith("mx: a.example b.example"), "policy-mx"},
		{"STS-39 wildcard", policyWith("mx: *.example.net"), ""},
		{"STS-39 one label", policyWith("mx: localhost"), ""},
		{"STS-39 upper case", policyWith("mx: *.EXAMPLE.net"), ""},
		{"STS-39 star alone", policyWith("mx: *"), "policy-mx"},
		{"STS-39 star and dot", policyWith("mx: *."), "policy-mx"},
		{"STS-39 star in the middle", policyWith("mx: mail.*.net"), "policy-mx"},
		{"STS-39 star in a label", policyWith("mx: m*.example.net"), "policy-mx"},
		{"STS-39 two stars", policyWith("mx: **.example.net"), "policy-mx"},
		{"STS-39 two labels of stars", policyWith("mx: *.*.net"), "policy-mx"},
		{"STS-39 leading dot", policyWith("mx: .example.net"), "policy-mx"},
		{"STS-39 final dot", policyWith("mx: mail.example.com."), "policy-mx"},
		{"STS-39 two dots", policyWith("mx: mail..example.com"), "policy-mx"},
		{"STS-39 empty", policyWith("mx:"), "policy-mx"},
		{"STS-39 underscore", policyWith("mx: my_host.example.com"), "policy-mx"},
		{"STS-39 hyphen first", policyWith("mx: -a.example.com"), "policy-mx"},
		{"STS-39 hyphen last", policyWith("mx: a-.example.com"), "policy-mx"},
		{"STS-39 hyphens inside", policyWith("mx: r3---sn.example.com"), ""},
		{"STS-39 label of 63", policyWith("mx: " + strings.Repeat("a", 63) + ".example"), ""},
		{"STS-39 label of 64", policyWith("mx: " + strings.Repeat("a", 64) + ".example"), "policy-mx"},
		{"STS-39 name of 254", policyWith("mx: " + strings.Repeat("a.", 126) + "aa"), "policy-mx"},
		{"STS-39 address literal", policyWith("mx: [192.0.2.1]"), "policy-mx"},
		{"STS-39 port", policyWith("mx: mail.example.com:25"), "policy-mx"},
		{"STS-39 one bad among good", policyWith("mx: a.example\nmx: b_c.example\nmx: d.example"), "policy-mx"},
		{"STS-40 A-label", policyWith("mx: xn--bcher-kva.example"), ""},
		{"STS-40 U-label", policyWith("mx: b\u00fccher.example"), "policy-mx"},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			policy, err := mtasts.ParsePolicy(test.text)
			checkParseError(t, err, mtasts.KindPolicy)
			switch {
			case test.reason == "" && err != nil:
				t.Errorf("%q: %v", test.text, err)
			case test.reason == "" && policy.Text != test.text:
				t.Errorf("text %q, want %q", policy.Text, test.text)
			case test.reason != "" && (err == nil || err.(*mtasts.Error).ReasonCode != test.reason):
				t.Errorf("%q: error %v, want %s", test.text, err, test.reason)
			}
		})
	}
}

// The fields of a policy. Of a repeated key, the first value is used.
func TestParsePolicyValues(t *testing.T) {
	t.Parallel()
	policy, err := mtasts.ParsePolicy("max_age: 1\nmx: b.example\nmode: testing\nmode: none\n" +
		"x: y\nversion: STSv1\nmax_age: 2\nmx: *.A.example\nmx: b.example\n")
	if err != nil {
		t.Fatal(err)
	}
	if policy.Mode != mtasts.Testing || policy.MaxAge != time.Second {
		t.Errorf("mode %q, max_age %v", policy.Mode, policy.MaxAge)
	}
	if want := []string{"b.example", "*.A.example", "b.example"}; !slices.Equal(policy.MX, want) {
		t.Errorf("mx %q, want %q", policy.MX, want)
	}
}

// STS-35, STS-36, AMB-3, field notes 42 and 43: any number of digits, and at most a
// year.
func TestParsePolicyMaxAge(t *testing.T) {
	t.Parallel()
	const year = 31557600 * time.Second
	for digits, want := range map[string]time.Duration{
		"0":                       0,
		"000000000000086400":      86400 * time.Second,
		"31557599":                year - time.Second,
		"31557600":                year,
		"31557601":                year,
		"2147483648":              year,
		"9999999999":              year,
		"9223372036854775808":     year,
		"18446744073709551616":    year,
		strings.Repeat("9", 1000): year,
	} {
		policy, err := mtasts.ParsePolicy(policyWith("max_age: " + digits))
		if err != nil || policy.MaxAge != want {
			t.Errorf("max_age %s: %v, %v, want %v", digits, policy, err, want)
		}
	}
}

// Field notes 56 and 60: the lines as written, including errors.
func TestLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                        nil,
		"\n":                      nil,
		"a: b":                    {"a: b"},
		"a: b \r\n\tc\n\n\rd\r\n": {"a: b ", "\tc", "", "\rd"},
		"\na: b\n":                {"", "a: b"},
		"a\xffb\n":                {"a\uFFFDb"},
	} {
		if got := mtasts.Lines(text); !slices.Equal(got, want) {
			t.Errorf("Lines(%q) = %q, want %q", text, got, want)
		}
	}
	policy, err := mtasts.ParsePolicy(enforce)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(policy.Lines()); got != "[version: STSv1 mode: enforce mx: mail.example.com max_age: 86400]" {
		t.Errorf("lines %s", got)
	}
}

func TestMatchMX(t *testing.T) {
	t.Parallel()
	tests := []struct {
		clause  string
		pattern string
		host    string
		want    bool
	}{
		{"STS-64 equal", "mail.example.com", "mail.example.com", true},
		{"STS-64 case of the host", "mail.example.com", "MAIL.Example.com", true},
		{"STS-64 case of the pattern", "MAIL.Example.com", "mail.example.com", true},
		{"STS-64 final dot", "mail.example.com", "mail.example.com.", true},
		{"STS-64 two final dots", "mail.example.com", "mail.example.com..", false},
		{"STS-64 other host", "mail.example.com", "mail2.example.com", false},
		{"STS-64 suffix", "mail.example.com", "a.mail.example.com", false},
		{"STS-64 parent", "mail.example.com", "example.com", false},
		{"STS-65 one label", "*.example.com", "mail.example.com", true},
		{"STS-65 case", "*.example.COM", "MAIL.EXAMPLE.com.", true},
		{"STS-65 no label", "*.example.com", "example.com", false},
		{"STS-65 empty label", "*.example.com", ".example.com", false},
		{"STS-65 two labels", "*.example.com", "a.b.example.com", false},
		{"STS-65 end of a label", "*.example.com", "mailexample.com", false},
		{"STS-65 other parent", "*.example.com", "mail.evilexample.com", false},
		{"STS-65 a wildcard is no host", "*.example.com", "*.example.com", false},
		{"STS-65 underscore in a host", "*.example.com", "my_host.example.com", true},
		{"STS-40, field note 54: U-label", "*.example.com", "b\u00fccher.example.com", false},
		{"field note 54: parent in U-labels", "*.xn--bcher-kva.example", "mail.b\u00fccher.example", false},
		{"field note 54: A-label", "*.xn--bcher-kva.example", "mail.xn--bcher-kva.example", true},
		{"field note 54: a letter that grows in lower case", "*.example.com", "\u0130.example.com", false},
		{"letters that fold into ASCII only by Unicode", "kkk.example", "\u212a\u212a\u212a.example", false},
		{"letters of the same length that do", "s.example", "\u017f.example", false},
		{"not UTF-8", "*.example.com", "\xff.example.com", false},
		{"empty host", "*.example.com", "", false},
		{"dot", "*.example.com", ".", false},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			policy, err := mtasts.ParsePolicy(policyWith("mx: other.example\nmx: " + test.pattern))
			if err != nil {
				t.Fatal(err)
			}
			if got := policy.MatchMX(test.host); got != test.want {
				t.Errorf("%q matches %q: %v", test.pattern, test.host, got)
			}
		})
	}
	if new(mtasts.Policy).MatchMX("") {
		t.Error("the zero policy matches")
	}
}

func TestMatchMXDoesNotAllocate(t *testing.T) {
	policy, err := mtasts.ParsePolicy(policyWith("mx: a.example\nmx: *.Example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { policy.MatchMX("MAIL.example.com.") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
