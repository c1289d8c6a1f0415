package dnssec

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/advice"
)

func TestEachReasonHasItsCodeAndAdvice(t *testing.T) {
	t.Parallel()
	seen := make(map[string]Reason)
	for r := Timeout; r <= NAT64Unknown; r++ {
		code := r.String()
		if code == "unknown" || seen[code] != 0 {
			t.Errorf("reason %d is %q", r, code)
		}
		seen[code] = r
		if strings.HasPrefix(code, "bogus-") != r.bogus() {
			t.Errorf("%s: bogus is %v", code, r.bogus())
		}
		if advice.OfReason(code) == "" && r != BadQuestion && r != Canceled {
			t.Errorf("%s: there is no advice", code)
		}
		e := failure(question{"example.com.", dns.TypeMX}, r, "")
		if !strings.HasPrefix(e.Error(), "dnssec: MX of \"example.com.\": "+code) {
			t.Errorf("error is %q", e)
		}
		if !r.bogus() {
			code = "dns-" + code
		}
		if resultType, reasonCode := e.TLSReport(); (resultType == "dnssec-invalid") != r.bogus() || reasonCode != code {
			t.Errorf("TLSReport is %s, %s", resultType, reasonCode)
		}
	}
	if s := Reason(0).String() + advice.OfReason("") + Reason(255).String(); s != "unknownunknown" {
		t.Errorf("the rest is %q", s)
	}
}

// An error names each server and the question further up the chain that failed. Its
// causes can be distinguished.
func TestErrorNamesServersAndQuestion(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == "com." && m.Question[0].Qtype == dns.TypeDS {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeServerFailure
			if server == "192.0.2.2:53" {
				m.Rcode = dns.RcodeRefused
			}
		}
		return m
	}
	_, err := w.lookup("mx.example.com", dns.TypeA, func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} })
	mentions(t, err, `A of "mx.example.com."`, `DS of "com." from 192.0.2.1:53: servfail`, `DS of "com." from 192.0.2.2:53: refused`)
	var e *Error
	if !errors.As(err, &e) || e.Name != "mx.example.com." || e.Status != Indeterminate || e.Unwrap() == nil {
		t.Errorf("%#v", e)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("%d octets of error: %v", len(err.Error()), err)
	}
}

func TestStatusIsOrderedByStrength(t *testing.T) {
	t.Parallel()
	for status, want := range map[Status]string{Indeterminate: "indeterminate", Bogus: "bogus", Insecure: "insecure", Secure: "secure", 99: "indeterminate"} {
		text, err := status.MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("status %d is %s, %v", status, text, err)
		}
	}
	if !(Indeterminate < Bogus && Bogus < Insecure && Insecure < Secure) {
		t.Error("the weakest link of a chain is not the least status")
	}
}

func TestLimitsHaveDefaults(t *testing.T) {
	t.Parallel()
	want := Limits{4, 8, 64, 64, 100, 16, 128, 30 * time.Second, 32, 12, 128, 512, 1 << 20, 1 << 20}
	if got := (Limits{}).withDefaults(); got != want {
		t.Errorf("defaults are %+v", got)
	}
	if got := want.withDefaults(); got != want {
		t.Errorf("changed to %+v", got)
	}
}

// What a server says about its failure decides what the administrator should do, wherever
// it is in the tree of causes. It does not decide anything about answers.
func TestExtendedErrorsDecideTheAdvice(t *testing.T) {
	t.Parallel()
	ede := func(code uint16) []dns.EDNS0 { return []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code}} }
	usual := advice.OfReason("servfail")
	for _, tt := range []struct {
		what, at string
		rcode    int
		codes    []dns.EDNS0
		says     string
		not      string
	}{
		{"no code", "mx.example.com.", dns.RcodeServerFailure, nil, usual, ""},
		{"other", "mx.example.com.", dns.RcodeServerFailure, ede(0), usual, ""},
		{"prohibited", "mx.example.com.", dns.RcodeRefused, ede(dns.ExtendedErrorCodeProhibited), "allow the address of this host", usual},
		{"expired", "mx.example.com.", dns.RcodeServerFailure, ede(dns.ExtendedErrorCodeSignatureExpired), "check the clock of the DNS server", usual},
		{"not the first", "mx.example.com.", dns.RcodeServerFailure, append(ede(4711), ede(dns.ExtendedErrorCodeBlocked)...), "blocks the name", usual},
		{"further up the chain", "com.", dns.RcodeServerFailure, ede(dns.ExtendedErrorCodeNetworkError), "cannot reach the servers", usual},
		{"an answer that is bogus anyway", "mx.example.com.", dns.RcodeSuccess, ede(dns.ExtendedErrorCodeBlocked), advice.OfReason("bogus-signature-missing"), "blocks the name"},
	} {
		w := mail(t)
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Name == tt.at {
				m.Rcode, m.IsEdns0().Option = tt.rcode, tt.codes
				m.Answer, m.Ns = without(m.Answer, isType(dns.TypeRRSIG)), nil
			}
			return m
		}
		_, err := w.lookup("mx.example.com", dns.TypeA, func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} })
		mentions(t, err, tt.says)
		if tt.not != "" && strings.Contains(err.Error(), tt.not) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// R1: reports count a bogus answer and what a validating server calls bogus, but no failure
// that may be due to this host: timeouts, its servers, its clock, its trust anchors.
func TestR1WhatIsReported(t *testing.T) {
	t.Parallel()
	about := func(name string, r Reason) *Error { return failure(question{name, dns.TypeMX}, r, "") }
	saying := func(e *Error, codes ...uint16) *Error {
		for _, code := range codes {
			e.Extended = append(e.Extended, ExtendedError{Code: code})
		}
		return e
	}
	asked := question{"mail.example.com.", dns.TypeMX}
	from := func(server string, e *Error) *Error {
		e.Server = server
		return e
	}
	for _, tt := range []struct {
		what string
		err  *Error
		code string // of the report; empty for none
	}{
		{"bogus", about("example.com.", SignatureExpired), "bogus-signature-expired"},
		{"bogus zone above", about("example.com.", DSMismatch).within(asked), "bogus-ds-mismatch"},
		{"top-level domain", about("com.", SignatureExpired).within(asked), ""},
		{"root: a wrong clock", about(".", SignatureExpired).within(asked), ""},
		{"root: an old trust anchor", about(".", AnchorMismatch).within(asked), ""},
		{"silent", about("example.com.", Timeout), ""},
		{"SERVFAIL", about("example.com.", ServerFailure), ""},
		{"SERVFAIL, not reachable", saying(about("example.com.", ServerFailure), dns.ExtendedErrorCodeNoReachableAuthority), ""},
		{"SERVFAIL, expired", saying(about("example.com.", ServerFailure), 4711, dns.ExtendedErrorCodeSignatureExpired), "bogus-signature-expired"},
		{"REFUSED, expired", saying(about("example.com.", Refused), dns.ExtendedErrorCodeSignatureExpired), ""},
		{"this host", about("example.com.", Busy), ""},
		{"one server silent, one bogus", summary(asked, []*Error{
			from("a", about("mail.example.com.", Timeout)), from("b", about("mail.example.com.", DenialMissing)),
		}), "bogus-denial-missing"},
		{"one server says bogus", summary(asked, []*Error{
			from("a", about("mail.example.com.", Timeout)), from("b", saying(about("mail.example.com.", ServerFailure), dns.ExtendedErrorCodeDNSBogus)),
		}), "bogus-signature-invalid"},
		{"both strip the signatures of the root", summary(asked, []*Error{
			from("a", about(".", SignatureMissing)), from("b", about(".", SignatureMissing)),
		}).within(question{"other.example.", dns.TypeMX}), ""},
	} {
		resultType, code := tt.err.TLSReport()
		switch {
		case code == "":
			t.Errorf("%s: no reason code", tt.what)
		case (resultType == "dnssec-invalid") != (tt.code != "") || tt.code != "" && code != tt.code:
			t.Errorf("%s: reported as %q, %q", tt.what, resultType, code)
		}
	}
	for code := range dns.ExtendedErrorCodeToString {
		if reason := advice.BogusReason(code); reason != "" && advice.OfReason(reason) == "" {
			t.Errorf("code %d is reported as %q, which is no reason", code, reason)
		}
	}
}
