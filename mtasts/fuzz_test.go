package mtasts_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/mtasts"
)

// recordGrammar is sts-text-record of RFC 8461 section 3.1, with white space at the end (M16).
// It accepts a malformed id as an extension, which the test excludes (AMB-4).
var recordGrammar = regexp.MustCompile(`^v=STSv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+)+(?:[ \t]*;)?[ \t]*$`)

var firstID = regexp.MustCompile(`;[ \t]*id=([!-:<>-~]*)`)

// The parser accepts exactly what recordGrammar accepts.
func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{
		"v=STSv1; id=20160831085700Z;", "v=STSv1;id=1;x=y", "v=STSv1 ; id=1;id=2", "v=STSv1; id=", "v=STSv1;", "v=STSv1; a=b; id=1;;", "v=STSv1; id=1 ",
	} {
		f.Add(seed)
	}
	isID := regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
	f.Fuzz(func(t *testing.T, txt string) {
		want := ""
		if m := firstID.FindStringSubmatch(txt); m != nil && isID.MatchString(m[1]) && recordGrammar.MatchString(txt) {
			want = m[1]
		}
		record, err := mtasts.ParseRecord(txt)
		if record.ID != want || (err == nil) != (want != "") {
			t.Errorf("ParseRecord(%q) = %q, %v, by the grammar %q", txt, record.ID, err, want)
		}
		checkParseError(t, err, mtasts.KindRecord)
		if selected, selectErr := mtasts.SelectRecord([]string{"v=spf1", txt}); err == nil && (selected != record || selectErr != nil) {
			t.Errorf("parsed but not selected: %q, %v", txt, selectErr)
		}
	})
}

// An accepted policy has the same meaning when printed from its parts, and can be
// matched and reported. A refused one has an error that is safe to log.
func FuzzParsePolicy(f *testing.F) {
	for _, seed := range []string{
		enforce, policyWith("mx: *.example.com"), policyWith("mode: none"), policyWith("max_age: 99999999999"),
		"version: STSv1\nmode: none\nmax_age: 0\n\n", "version:STSv1\r\nmode:\tnone \r\nmax_age:1\nx: gr\u00fcn:\n", "mode: enforce\n",
	} {
		f.Add(seed, "mail.example.com")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		policy, err := mtasts.ParsePolicy(text)
		checkParseError(t, err, mtasts.KindPolicy)
		lines := mtasts.Lines(text)
		if !utf8.ValidString(strings.Join(lines, "")) {
			t.Errorf("lines %q", lines)
		}
		if err != nil {
			return
		}
		checkPolicy(t, policy, text)
		again, err := mtasts.ParsePolicy(format(policy))
		if err != nil {
			t.Fatalf("%q printed as %q: %v", text, format(policy), err)
		}
		if again.Mode != policy.Mode || again.MaxAge != policy.MaxAge || !slices.Equal(again.MX, policy.MX) {
			t.Errorf("%q printed as %q", text, format(policy))
		}
		if policy.MatchMX(host) != again.MatchMX(strings.ToUpper(host)) && host == strings.ToLower(host) && isASCII(host) {
			t.Errorf("the case of %q matters", host)
		}
	})
}

// checkPolicy checks the properties that users of a policy rely on.
func checkPolicy(t *testing.T, p *mtasts.Policy, text string) {
	t.Helper()
	if p.Text != text || p.MaxAge < 0 || p.MaxAge > mtasts.MaxAge {
		t.Errorf("text %q, max_age %v", p.Text, p.MaxAge)
	}
	if len(p.MX) == 0 && p.Mode != mtasts.None {
		t.Errorf("mode %q without mx", p.Mode)
	}
	for _, pattern := range p.MX {
		if strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(",;\"'\\", r) }) {
			t.Errorf("pattern %q", pattern) // field note 53
		}
		host := strings.Replace(pattern, "*", "x", 1)
		if !p.MatchMX(host) || !p.MatchMX(strings.ToUpper(host)+".") || p.MatchMX("."+host) {
			t.Errorf("pattern %q and host %q", pattern, host)
		}
	}
}

// format writes a policy from its parts.
func format(p *mtasts.Policy) string {
	var b strings.Builder
	b.WriteString("version: STSv1\nmode: " + string(p.Mode) + "\n")
	for _, pattern := range p.MX {
		b.WriteString("mx: " + pattern + "\n")
	}
	b.WriteString("max_age: " + seconds(p) + "\n")
	return b.String()
}

func seconds(p *mtasts.Policy) string { return strconv.FormatInt(int64(p.MaxAge/time.Second), 10) }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
