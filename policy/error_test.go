package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// X: an error is one line of printable ASCII, whatever is in it.
func TestErrorIsOneLine(t *testing.T) {
	t.Parallel()
	joined := errors.Join(errors.New("A: SERVFAIL"), fmt.Errorf("AAAA: %w", errors.Join(errors.New("timeout"), errors.New("refused"))))
	for _, e := range []*Error{
		{Domain: "example.org", Err: joined},
		{Domain: "example.org", Detail: "lookup", Err: fmt.Errorf("both: %w", joined)},
		{Domain: "example.org\r\nFAKE", Host: "mx\x1b[2J.example.net", Detail: "a\tb\x00\u202e", Status: "4.7.5\n", Err: errors.New("c\r\nd\x7f\xff")},
		{Err: &Error{Domain: "b\nb", Host: "h\nh", Err: joined}},
		{Domain: "example.org", Err: hostErrors{{Domain: "example.org", Host: "a", Err: joined}, {Host: "b", Detail: "x\ny"}}},
		{Domain: "example.org", Err: &textproto.Error{Code: 554, Msg: "5.7.1 no\n5.7.1 way"}},
		{Domain: "example.org", Detail: strings.Repeat("\u202e", maxText), Err: hostErrors{{Host: "a", Err: errors.New(strings.Repeat("\x00", maxText))}}},
		{},
	} {
		for _, text := range []string{e.Error(), text(e)} {
			for _, c := range []byte(text) {
				if c < ' ' || c >= 0x7f {
					t.Errorf("%q in %q", c, text)
				}
			}
			if len(text) > 3*maxText {
				t.Errorf("an error of %d octets", len(text))
			}
			if strings.Contains(text, `\n`) {
				t.Errorf("an escaped line feed in %q", text)
			}
		}
	}
	if got, want := (&Error{Domain: "example.org", Status: "4.4.3", Err: joined}).Error(), "policy: example.org: A: SERVFAIL; AAAA: timeout; refused (4.4.3)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// X: a plan whose A and AAAA lookups both failed is explained without broken
// lines.
func TestTwoFailedLookupsAreExplained(t *testing.T) {
	t.Parallel()
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
	f.fail("mx.example.org", dnssec.TypeA)
	f.fail("mx.example.org", dnssec.TypeAAAA)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := plan.Explain(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "  ") && line != "example.org\n" {
			t.Errorf("broken line %q", line)
		}
	}
	if refusal := plan.Hosts[0].Refusal; !errors.Is(refusal, ErrLookupFailed) || !errors.Is(plan.Failed(refusal), ErrLookupFailed) ||
		!errors.Is(refusal, errBroken) || strings.Contains(refusal.Error(), `\n`) {
		t.Errorf("%v", refusal)
	}
}

// The reply code and the enhanced code are of one class.
func TestErrorCodesAreOfOneClass(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err      Error
		code     int
		enhanced [3]int
	}{
		{Error{}, 451, [3]int{4, 0, 0}},
		{Error{Permanent: true}, 550, [3]int{5, 0, 0}},
		{Error{Status: "4.7.5"}, 451, [3]int{4, 7, 5}},
		{Error{Status: "4.7.5", Permanent: true}, 550, [3]int{5, 0, 0}},
		{Error{Status: "5.1.10", Permanent: true, ReplyCode: 556}, 556, [3]int{5, 1, 10}},
		{Error{Status: "4.3.2", ReplyCode: 421}, 421, [3]int{4, 3, 2}},
		{Error{Status: "4.7"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4.7.5x"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4.-7.5"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4..5"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "04.7.5"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4.7.5.1"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4.+7.5"}, 451, [3]int{4, 0, 0}},
		{Error{Status: "4.0007.5"}, 451, [3]int{4, 0, 0}},
	} {
		if test.err.Code() != test.code || test.err.EnhancedCode() != test.enhanced {
			t.Errorf("%+v: %d %v, want %d %v", test.err, test.err.Code(), test.err.EnhancedCode(), test.code, test.enhanced)
		}
	}
}

// Programs read the reason code and the reply code from JSON.
func TestErrorInJSONHasItsCodes(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(&Error{Domain: "example.org", Reason: "validation-failure", ReasonCode: "tls-version", Status: "4.7.5"})
	const want = `{"domain":"example.org","reason":"validation-failure","reason_code":"tls-version","by":"none","permanent":false,"reply":451,"status":"4.7.5"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

// After MAIL, RCPT or DATA, the server's own codes are the answer.
func TestCodesOfServerAreTheAnswer(t *testing.T) {
	t.Parallel()
	h := &Host{Name: "mx.example.org"}
	for _, test := range []struct {
		err       error
		code      int
		status    string
		permanent bool
	}{
		{&textproto.Error{Code: 550, Msg: "5.1.1 who?"}, 550, "5.1.1", true},
		{&textproto.Error{Code: 550, Msg: "4.1.1 who?"}, 550, "5.0.0", true},
		{&textproto.Error{Code: 452, Msg: "4.2.2 full\n4.2.2 later"}, 452, "4.2.2", false},
		{&textproto.Error{Code: 250, Msg: "ok"}, 451, "4.5.0", false},
		{errors.New("reset"), 451, "4.4.2", false},
	} {
		e := h.Replied("the server refuses MAIL", test.err)
		if e.Code() != test.code || e.Status != test.status || e.Permanent != test.permanent || e.Host != h.Name {
			t.Errorf("%v: %+v", test.err, e)
		}
	}
	if e := h.Replied("x", &textproto.Error{Code: 550, Msg: strings.Repeat("no ", 5000)}); len(e.Error()) > 1024 {
		t.Errorf("an error of %d octets", len(e.Error()))
	}
}
