package delivery_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// Delivered gets how a message was delivered: by which host, with which TLS, and whether
// the domain itself named the host (DANE-48).
func TestDeliveredSaysHow(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("clear.example", policytest.Unsigned).MX("mx.clear.example")
	inet.Host("mx.clear.example", policytest.NoSTARTTLS)
	inet.Domain("refuses.example", policytest.Unsigned).MX("mx.refuses.example")
	inet.Host("mx.refuses.example", policytest.Reply("STARTTLS", "454 4.7.0 not now"))
	inet.Domain("fails.example", policytest.Unsigned).MX("mx.fails.example")
	inet.Host("mx.fails.example", policytest.Alert(70))
	inet.Domain("waits.example").MX("mx.waits.example")
	inet.Host("mx.waits.example", policytest.TLSA("3 1 1"), policytest.NoSTARTTLS)

	var mu sync.Mutex
	delivered := map[string]delivery.Delivery{}
	dialer := delivery.Dialer{Resolver: resolver(t, inet), Delivered: func(d delivery.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		delivered[d.Plan.Domain] = d
	}}
	to := []string{"a@dane.example", "b@waits.example", "c@clear.example", "d@Dane.Example", "e@refuses.example", "f@fails.example"}
	if err := dialer.SendMail(t.Context(), "me@sender.example", to, []byte("Subject: x\n\nx\n")); err == nil {
		t.Error("no error for the domain that waits")
	}
	dane, clear := delivered["dane.example"], delivered["clear.example"]
	if len(delivered) != 4 {
		t.Fatalf("delivered: %v", delivered)
	}
	if !slices.Equal(dane.Recipients, []string{"a@dane.example", "d@Dane.Example"}) || dane.Host.By != policy.ByDANE || dane.TLS == nil || !dane.Host.RouteAuthenticated {
		t.Errorf("%+v", dane)
	}
	if dane.TLSFailed || clear.TLSFailed {
		t.Error("TLS failed where it did not")
	}
	for _, domain := range []string{"refuses.example", "fails.example"} {
		if d := delivered[domain]; d.TLS != nil || !d.TLSFailed {
			t.Errorf("%s: TLS %v, failed: %t", domain, d.TLS != nil, d.TLSFailed)
		}
	}
	if clear.TLS != nil || clear.Host.Level != policy.Opportunistic || clear.Host.RouteAuthenticated {
		t.Errorf("%+v", clear)
	}
}

// TestS21DialForBounce: a session for a bounce (REQ-25) needs no REQUIRETLS:
// by Dial with the option Bounce, and by SendMail with an empty return path. It still
// needs verified TLS.
func TestS21DialForBounce(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("good.example").MX("mx.good.example")
	good := inet.Host("mx.good.example", policytest.TLSA("3 1 1"))
	inet.Domain("bad.example").MX("mx.bad.example")
	inet.Host("mx.bad.example", policytest.TLSA("3 1 1")).Break(policytest.Impostor)
	dialer := delivery.Dialer{Resolver: resolver(t, inet)}
	for _, test := range []struct {
		domain  string
		options []policy.Option
		ok      bool
	}{
		{"good.example", []policy.Option{policy.RequireTLS(), delivery.Bounce()}, true},
		{"good.example", []policy.Option{policy.RequireTLS()}, false},
		{"bad.example", []policy.Option{policy.RequireTLS(), delivery.Bounce()}, false},
	} {
		client, err := dialer.Dial(t.Context(), test.domain, test.options...)
		if (err == nil) != test.ok {
			t.Errorf("%s with %d options: error %v", test.domain, len(test.options), err)
		}
		if err == nil {
			if err := client.Mail(""); err != nil {
				t.Error(err)
			}
			client.Close()
		}
	}
	if err := dialer.SendMail(t.Context(), "", []string{"x@good.example"}, []byte("Subject: x\n\nx\n"), policy.RequireTLS()); err != nil || len(good.Messages()) != 1 {
		t.Errorf("error %v, %d messages", err, len(good.Messages()))
	}
}

// An attacker chooses the names in its certificate. They must neither begin a new line
// in a log nor move the cursor of a terminal.
func TestErrorsAreOneLineOfASCII(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example", policytest.Certificate(func(c *x509.Certificate) {
		c.DNSNames = []string{"evil.example\nFAKE LOG LINE \x1b[2J"}
	}))
	dialer := delivery.Dialer{Resolver: resolver(t, inet)}
	_, err := dialer.Dial(t.Context(), "sts.example")
	if err == nil {
		t.Fatal("a certificate for another name was accepted")
	}
	text := err.Error()
	if !strings.Contains(text, "FAKE LOG LINE") {
		t.Fatalf("the test shows nothing: %q", text)
	}
	for _, c := range []byte(text) {
		if c < ' ' || c >= 0x7f {
			t.Fatalf("%q in %q", c, text)
		}
	}
}
