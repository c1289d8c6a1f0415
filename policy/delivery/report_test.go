package delivery_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// From sessions to the report that a domain gets: RPT-24, RPT-29, RPT-30, and
// RPT-17 for the mail that carries reports.
func TestFromSessionsToReport(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("both.example", policytest.Unsigned).MX("mx.signed.example").Policy("enforce", "mx.signed.example")
	inet.Domain("signed.example")
	mx := inet.Host("mx.signed.example", policytest.TLSA("3 1 1"))
	store := new(reporter.MemoryStore)
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	r := resolver(t, inet)
	dialer := &delivery.Dialer{Resolver: r, Recorder: recorder}
	send := func(d *delivery.Dialer, text string) error {
		return d.SendMail(t.Context(), "me@sender.example", []string{"you@both.example"}, []byte(text+"\nSubject: x\n\nx\n"))
	}
	for range 3 {
		if err := send(dialer, "X-Ordinary: yes"); err != nil {
			t.Fatal(err)
		}
	}
	restore := mx.Break(policytest.NoSTARTTLS)
	if err := send(dialer, "X-Ordinary: yes"); err == nil {
		t.Error("mail went out without TLS")
	}
	// Mail with TLS-Required: No, such as a report, is sent, and the session is not counted.
	if err := send(dialer, "TLS-Required: No"); err != nil {
		t.Error(err)
	}
	restore()
	if err := recorder.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	sender, err := reporter.New(reporter.Config{Store: store, Organization: "Sender", Contact: "tls@sender.example"})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := sender.Preview(t.Context(), "both.example", report.DayOf(inet.Now()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reporttest.Marshal(rep); err != nil {
		t.Error(err)
	}
	if len(rep.Policies) != 2 {
		t.Fatalf("%+v", rep)
	}
	for _, p := range rep.Policies {
		got := fmt.Sprintf("%d %d %d %s", p.Summary.Successes, p.Summary.Failures, len(p.Details), p.Details[0].Type)
		if got != "3 1 1 starttls-not-supported" {
			t.Errorf("%s: %s", p.Policy.Type, got)
		}
	}
}

// R1: a message to a domain whose MX records are bogus is counted once, as a failure of
// DANE, although no mail host is known. Failures that the sender's own resolver may have
// caused are not counted.
func TestR1BogusMX(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("example.org").MX("mx.example.org")
	inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
	send := func(r *policy.Resolver, recorder tlsrpt.Recorder, options ...policy.Option) {
		t.Helper()
		d := &delivery.Dialer{Resolver: r, Recorder: recorder}
		text := []byte("Subject: x\n\nx\n")
		if len(options) > 0 {
			text = append([]byte("TLS-Required: No\n"), text...)
		}
		if err := d.SendMail(t.Context(), "me@sender.example", []string{"you@example.org", "they@example.org"}, text); err == nil {
			t.Error("the mail was sent")
		}
		if client, err := d.Dial(t.Context(), "example.org", options...); err == nil {
			client.Close()
			t.Error("there is a session")
		}
	}
	for _, test := range []struct {
		fault   policytest.DNSFault
		counted int // for two attempts
		options []policy.Option
	}{
		{policytest.Bogus, 2, nil},
		{policytest.Strip, 2, nil},
		{policytest.Bogus, 0, []policy.Option{policy.TLSOptional()}},
		{policytest.ServFail, 0, nil},
	} {
		restore := inet.BreakDNS(test.fault, "example.org", dnssec.TypeMX)
		var sessions []tlsrpt.Session
		send(resolver(t, inet), tlsrpt.RecorderFunc(func(s *tlsrpt.Session) { sessions = append(sessions, *s) }), test.options...)
		restore()
		if len(sessions) != test.counted {
			t.Errorf("fault %v: %d sessions are counted, want %d: %+v", test.fault, len(sessions), test.counted, sessions)
		}
		for _, s := range sessions {
			if s.Domain != "example.org" || s.MXHost != "" || len(s.Outcomes) != 1 {
				t.Errorf("%+v", s)
			}
		}
	}

	defer inet.BreakDNS(policytest.Bogus, "example.org", dnssec.TypeMX)()
	store := new(reporter.MemoryStore)
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store, Now: inet.Now})
	if err != nil {
		t.Fatal(err)
	}
	send(resolver(t, inet), recorder)
	if err := recorder.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	sender, err := reporter.New(reporter.Config{Store: store, Organization: "Sender", Contact: "tls@sender.example"})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := sender.Preview(t.Context(), "example.org", report.DayOf(inet.Now()))
	if err != nil || rep == nil {
		t.Fatal(rep, err)
	}
	text, err := reporttest.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"policy":{"policy-type":"tlsa","policy-domain":"example.org","policy-string":[]}`, `"total-successful-session-count":0`,
		`"total-failure-session-count":2`, `"result-type":"dnssec-invalid"`, `"failed-session-count":2`, `"failure-reason-code":"bogus-signature-invalid"`,
	} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
}
