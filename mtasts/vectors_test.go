package mtasts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

var write = flag.Bool("write", false, "write the test vectors in testdata")

// vectors is the file that docs/vectors.md explains.
type vectors struct {
	Records  []recordVector `json:"records"`
	Policies []policyVector `json:"policies"`
	Matches  []matchVector  `json:"matches"`
}

type recordVector struct {
	TXT    []string `json:"txt"`
	Result string   `json:"result"` // ok, none or invalid
	ID     string   `json:"id,omitempty"`
}

type policyVector struct {
	Text   string   `json:"text"`
	Valid  bool     `json:"valid"`
	Mode   string   `json:"mode,omitempty"`
	MaxAge int64    `json:"max_age,omitempty"`
	MX     []string `json:"mx,omitempty"`
}

type matchVector struct {
	Pattern string `json:"pattern"`
	Host    string `json:"host"`
	Match   bool   `json:"match"`
}

// answer fills in the results.
func (v *vectors) answer() {
	for i := range v.Records {
		r := &v.Records[i]
		record, err := mtasts.SelectRecord(r.TXT)
		r.ID, r.Result = record.ID, "invalid"
		switch {
		case err == nil:
			r.Result = "ok"
		case errors.Is(err, mtasts.ErrNoRecord):
			r.Result = "none"
		}
	}
	for i := range v.Policies {
		p := &v.Policies[i]
		if read, err := mtasts.ParsePolicy(p.Text); err == nil {
			p.Valid, p.Mode, p.MaxAge, p.MX = true, string(read.Mode), int64(read.MaxAge.Seconds()), read.MX
		}
	}
	for i := range v.Matches {
		m := &v.Matches[i]
		m.Match = (&mtasts.Policy{MX: []string{m.Pattern}}).MatchMX(m.Host)
	}
}

// newVectors returns the inputs.
func newVectors() *vectors {
	v := new(vectors)
	record := func(txts ...string) { v.Records = append(v.Records, recordVector{TXT: txts}) }
	long := strings.Repeat("a", 32)
	for _, txt := range []string{
		"v=STSv1; id=20160831085700Z;", "v=STSv1; id=1", "v=STSv1;id=1", "v=STSv1;id=1;", "v=STSv1; id=1; ", "v=STSv1 ; id=1", "v=STSv1\t;\tid=1\t;", "v=STSv1; id=1 ; x=y",
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

	policy := func(lines ...string) {
		for _, end := range []string{"\n", "\r\n"} {
			v.Policies = append(v.Policies, policyVector{Text: strings.Join(lines, end) + end})
		}
		v.Policies = append(v.Policies, policyVector{Text: strings.Join(lines, "\n")}, policyVector{Text: strings.Join(lines, "\n") + "\n\n"})
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

	for _, pattern := range []string{"mail.example.com", "*.example.com", "*.mail.example.com", "example.com", "*.com", "MAIL.Example.COM", "*.Example.Com", "xn--bcher-kva.example", "*.xn--bcher-kva.example", "mx-1.example.com", "*.co.uk", "a.b.c.d.example.com"} {
		for _, host := range []string{
			"mail.example.com", "MAIL.example.com", "mail.example.com.", "other.example.com", "a.mail.example.com", "example.com", "example.com.", "com", "mail.example.org", "mailexample.com", "xmail.example.com",
			"mail.example.com.evil.example", ".example.com", "*.example.com", "mx-1.example.com", "a.b.c.d.example.com", "b.c.d.example.com", "xn--bcher-kva.example", "mx.xn--bcher-kva.example", "mx.b\u00fccher.example",
			"example.co.uk", "mail.example.co.uk", "", ".", "a_b.example.com", "mail.example.com..", "192.0.2.1",
		} {
			v.Matches = append(v.Matches, matchVector{Pattern: pattern, Host: host})
		}
	}
	return v
}

// The vectors that others test their senders with have the results of this one. Another
// reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	const file = "testdata/vectors.json"
	if *write {
		v := newVectors()
		v.answer()
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "")
		if err := encoder.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// As any reader does it: the inputs of the file, and the results beside them.
	var want, got vectors
	if err := errors.Join(json.Unmarshal(text, &want), json.Unmarshal(text, &got)); err != nil {
		t.Fatal(err)
	}
	for i := range got.Records {
		got.Records[i] = recordVector{TXT: want.Records[i].TXT}
	}
	for i := range got.Policies {
		got.Policies[i] = policyVector{Text: want.Policies[i].Text}
	}
	for i := range got.Matches {
		got.Matches[i].Match = false
	}
	got.answer()
	compare(t, got.Records, want.Records)
	compare(t, got.Policies, want.Policies)
	compare(t, got.Matches, want.Matches)
	if len(got.Records) < 150 || len(got.Policies) < 200 || len(got.Matches) < 300 {
		t.Errorf("only %d records, %d policies and %d matches", len(got.Records), len(got.Policies), len(got.Matches))
	}
}

func compare[T any](t *testing.T, got, want []T) {
	t.Helper()
	for i := range want {
		a, errA := json.Marshal(got[i])
		b, errB := json.Marshal(want[i])
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s, want %s", a, b)
		}
	}
}
