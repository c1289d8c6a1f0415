package delivery_test

import (
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
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
	// A report must get through all the same, and is not counted.
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
