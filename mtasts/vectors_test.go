package mtasts_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/mtasts"
)

// These are the cases of the files in testdata, which docs/vectors.md explains.
type (
	recordInput struct {
		TXT []string `json:"txt"`
	}
	recordResult struct {
		Result string `json:"result"` // ok, none or invalid
		ID     string `json:"id,omitempty"`
	}
	policyInput struct {
		Text string `json:"text"`
	}
	policyResult struct {
		Valid  bool     `json:"valid"`
		Mode   string   `json:"mode,omitempty"`
		MaxAge int64    `json:"max_age,omitempty"`
		MX     []string `json:"mx,omitempty"`
	}
	matchInput struct {
		Pattern string `json:"pattern"`
		Host    string `json:"host"`
	}
	matchResult struct {
		Match bool `json:"match"`
	}
)

func selectRecord(_ *testing.T, input recordInput) recordResult {
	record, err := mtasts.SelectRecord(input.TXT)
	switch {
	case err == nil:
		return recordResult{"ok", record.ID}
	case errors.Is(err, mtasts.ErrNoRecord):
		return recordResult{Result: "none"}
	default:
		return recordResult{Result: "invalid"}
	}
}

func parsePolicy(_ *testing.T, input policyInput) policyResult {
	p, err := mtasts.ParsePolicy(input.Text)
	if err != nil {
		return policyResult{}
	}
	return policyResult{true, string(p.Mode), int64(p.MaxAge.Seconds()), p.MX}
}

func matchHost(_ *testing.T, input matchInput) matchResult {
	return matchResult{(&mtasts.Policy{MX: []string{input.Pattern}}).MatchMX(input.Host)}
}

func recordInputs() (inputs []recordInput) {
	record := func(txts ...string) { inputs = append(inputs, recordInput{append([]string{}, txts...)}) }
	long := strings.Repeat("a", 32)
	for _, txt := range []string{
		"v=STSv1; id=20160831085700Z;", "v=STSv1; id=1", "v=STSv1;id=1", "v=STSv1;id=1;", "v=STSv1; id=1; ", "v=STSv1; id=1 ", "v=STSv1 ; id=1", "v=STSv1\t;\tid=1\t;", "v=STSv1; id=1 ; x=y",
		"v=STSv1; id=" + long, "v=STSv1; id=" + long + "a", "v=STSv1; id=", "v=STSv1; id", "v=STSv1;", "v=STSv1", "v=STSv1; ", "v=STSv1;;id=1", "v=STSv1; id=1;;", "v=STSv1; id=1; ;",
		"v=STSv1; id=a-b", "v=STSv1; id=a b", "v=STSv1; id=\u00e9", "v=STSv1; ID=1", "v=stsv1; id=1", "V=STSv1; id=1", "v=STSv2; id=1", "v=STSv1x; id=1", " v=STSv1; id=1", "v =STSv1; id=1",
		"v= STSv1; id=1", "v=STSv1, id=1", "id=1; v=STSv1;", "v=STSv1; id=1; id=2", "v=STSv1; id=1; id=-", "v=STSv1; x=y; id=1", "v=STSv1; x=y", "v=STSv1; x=; id=1", "v=STSv1; =y; id=1",
		"v=STSv1; x=a=b; id=1", "v=STSv1; x=a b; id=1", "v=STSv1; _x=a; id=1", "v=STSv1; x_-.9=a; id=1", "v=STSv1; 9=a; id=1", "v=STSv1; " + long + "=a; id=1", "v=STSv1; " + long + "a=a; id=1",
		"v=STSv1; x=~!a; id=1", "v=STSv1; x=\u00e9; id=1", "v=STSv1; id = 1", "v=STSv1; id =1", "v=STSv1; id= 1", "", ";", "v=spf1 -all",
	} {
		record(txt)
		record("v=spf1 -all", txt)
		record(txt, "v=STSv1; id=9;")
	}
	record()
	return inputs
}

func policyInputs() (inputs []policyInput) {
	policy := func(lines ...string) {
		for _, end := range []string{"\n", "\r\n"} {
			inputs = append(inputs, policyInput{strings.Join(lines, end) + end})
		}
		inputs = append(inputs, policyInput{strings.Join(lines, "\n")}, policyInput{strings.Join(lines, "\n") + "\n\n"})
	}
	const version, mode, mx, age = "version: STSv1", "mode: enforce", "mx: mail.example.com", "max_age: 604800"
	policy(version, mode, mx, age)
	for _, other := range []string{"mode: testing", "mode: none", "mode: Enforce", "mode: enforce ", "mode:enforce", "mode:  enforce", "mode : enforce", " mode: enforce", "mode: report", "mode:", "Mode: enforce"} {
		policy(version, other, mx, age)
	}
	for _, other := range []string{"max_age: 0", "max_age: 1", "max_age: 31557600", "max_age: 31557601", "max_age: 9999999999", "max_age: 10000000000", "max_age: -1", "max_age: 1.5", "max_age: 00060", "max_age: 60 s", "max_age:", "max_age: 0x10"} {
		policy(version, mode, mx, other)
	}
	for _, other := range []string{"version: STSv2", "version: stsv1", "version:STSv1", "version: STSv1 ", "version", "Version: STSv1"} {
		policy(other, mode, mx, age)
	}
	for _, other := range []string{"mx: *.example.com", "mx: MAIL.Example.com", "mx: *", "mx: *.", "mx: *.*.example.com", "mx: mail.*.example.com", "mx: m*.example.com", "mx: ", "mx: -a.example.com", "mx: mail.example.com.", "mx: mail..example.com", "mx: a_b.example.com", "mx: b\u00fccher.example", "mx: xn--bcher-kva.example", "mx: mail.example.com other.example.com", "mx: " + strings.Repeat("a", 64) + ".example", "mx: com"} {
		policy(version, mode, other, age)
		policy(version, mode, mx, other, age)
	}
	policy(age, mx, mode, version)
	policy(version, mode, age)
	policy(version, "mode: none", age)
	policy(version, "mode: testing", age)
	policy(mode, mx, age)
	policy(version, mx, age)
	policy(version, mode, mx)
	policy(version, mode, mx, age, "x: y")
	policy(version, "unknown_field: anything at all", mode, mx, age)
	policy(version, mode, "mode: none", mx, age, "max_age: 60")
	policy(version, mode, mx, mx, age)
	policy(version, "", mode, mx, age)
	policy(version, mode, mx, age, "nonsense")
	policy("")
	// What an extension may be called, and may say.
	long := strings.Repeat("a", 32)
	for _, extension := range []string{long + ": y", long + "a: y", "x_-.9: y", "_x: y", "9: y", "x y: z", "x", "x:", "x: ", "x:y", "x:\ty\t", "x: y: z", "x: y z", "x: y\tz", "x: y\x00", "x: y\x7f", "x: y\rz", "x: b\u00fccher", ": y", "x : y", "x: \u00a0"} {
		policy(version, mode, mx, age, extension)
		policy(extension, version, mode, mx, age)
	}
	// Section 3.2: of a field that is there twice, only the first counts. It has to be a field.
	for _, second := range []string{"version: STSv2", "version:", "mode: nonsense", "mode:", "max_age: x", "max_age:", "max_age: -1"} {
		policy(version, mode, mx, age, second)
		policy(second, version, mode, mx, age)
	}
	for _, other := range []string{"version:\tSTSv1", "version: STSv1\t", "mode:\tenforce \t", "mx:\tmail.example.com\t", "max_age:\t 60", "mo\rde: enforce", "mode: enf\rorce", "mode: enforce\r", "mx: mail.example\r.com", "max_age: 6\r0", "mode: enforce\v", "mode: enforce\u00a0"} {
		policy(version, mode, mx, age, other)
		policy(other, version, mode, mx, age)
	}
	policy("", version, mode, mx, age)
	policy(version, mode, mx, age, "", "", "")
	policy(version, mode, mx, age, " ")
	policy(version, mode, mx, age, "", "x: y")
	name := strings.Repeat(strings.Repeat("a", 62)+".", 4) // 252 octets
	for _, other := range []string{"mx: " + name + "b", "mx: " + name + "bb", "mx: *." + name + "b", "mx: *." + name + "bb"} {
		policy(version, mode, other, age)
	}
	for _, other := range []string{"mx: *", "mx:", "mx: -a.example.com", "mx: mail.example.com."} {
		policy(version, "mode: none", other, age)
		policy(version, "mode: testing", other, age)
	}
	return inputs
}

func matchInputs() (inputs []matchInput) {
	for _, pattern := range []string{"mail.example.com", "*.example.com", "*.mail.example.com", "example.com", "*.com", "MAIL.Example.COM", "*.Example.Com", "xn--bcher-kva.example", "*.xn--bcher-kva.example", "mx-1.example.com", "*.co.uk", "a.b.c.d.example.com"} {
		for _, host := range []string{
			"mail.example.com", "MAIL.example.com", "mail.example.com.", "other.example.com", "a.mail.example.com", "example.com", "example.com.", "com", "mail.example.org", "mailexample.com", "xmail.example.com",
			"mail.example.com.evil.example", ".example.com", "*.example.com", "mx-1.example.com", "a.b.c.d.example.com", "b.c.d.example.com", "xn--bcher-kva.example", "mx.xn--bcher-kva.example", "mx.b\u00fccher.example",
			"example.co.uk", "mail.example.co.uk", "", ".", "a_b.example.com", "mail.example.com..", "192.0.2.1",
		} {
			inputs = append(inputs, matchInput{Pattern: pattern, Host: host})
		}
	}
	return inputs
}

// The vectors for other senders have the results of this one. Another
// reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	vectorfile.Check(t, "testdata/records.json", recordInputs(), selectRecord)
	vectorfile.Check(t, "testdata/policies.json", policyInputs(), parsePolicy)
	vectorfile.Check(t, "testdata/matches.json", matchInputs(), matchHost)
}
