package policy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// What an SMTP client of the user's own gets when it hands Session and Failure
// what it has: the state of its TLS connection and the error, in any case.
func TestOwnClient(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	r := resolver(t, inet)
	for _, test := range []struct {
		name, domain string
		state        *tls.ConnectionState
		err          error
		outcome      string // of every policy
		status       string
	}{
		{"STARTTLS is not offered", "dane.example", nil, nil, "starttls-not-supported ", "4.7.4"},
		{"STARTTLS is refused", "dane.example", nil, &textproto.Error{Code: 454, Msg: "not now"}, "starttls-not-supported starttls-refused", "4.7.4"},
		{"hang-up in the handshake", "dane.example", &tls.ConnectionState{}, io.ErrUnexpectedEOF, "validation-failure connection-closed", "4.7.5"},
		{"hang-up, no policy", "plain.example", &tls.ConnectionState{}, io.ErrUnexpectedEOF, "validation-failure connection-closed", "4.7.5"},
		{"an alert", "dane.example", &tls.ConnectionState{}, tls.AlertError(70), "validation-failure tls-alert-protocol-version-not-supported", "4.7.5"},
	} {
		plan, err := r.Resolve(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		h := plan.Hosts[0]
		for _, o := range h.Session(test.state, test.err).Outcomes {
			if len(o.Failures) != 1 || fmt.Sprintf("%s %s", o.Failures[0].Type, o.Failures[0].ReasonCode) != test.outcome {
				t.Errorf("%s: %s: %+v, want %s", test.name, o.Policy.Type, o.Failures, test.outcome)
			}
		}
		failure := h.Failure(test.err)
		if failure.Status != test.status || failure.Permanent || failure.Host != h.Name {
			t.Errorf("%s: %+v, want status %s", test.name, failure, test.status)
		}
		domain := plan.Failed(failure, h.Failure(errors.New("reset")))
		if domain.Status != test.status || domain.Host != "" || strings.Count(domain.Error(), "policy:") != 1 {
			t.Errorf("%s: %v", test.name, domain)
		}
	}
	if err := (&policy.Plan{Domain: "x.example"}).Failed(); err.Status != "4.4.4" || err.Permanent {
		t.Errorf("%v", err)
	}
}

// Where DANE and MTA-STS both apply, each has its own view of a certificate, also
// when verification failed because of the other.
func TestEachPolicyJudgesForItself(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("both.example", policytest.Unsigned).MX("mx.signed.example").Policy("enforce", "mx.signed.example")
	inet.Domain("signed.example")
	mx := inet.Host("mx.signed.example", policytest.TLSA("3 1 1"))
	plan, err := resolver(t, inet).Resolve(t.Context(), "both.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		fault     policytest.Option
		tlsa, sts tlsrpt.ResultType
	}{
		{policytest.Expired, "", tlsrpt.CertificateExpired},
		{policytest.Impostor, tlsrpt.TLSAInvalid, tlsrpt.CertificateNotTrusted},
	} {
		mend := mx.Break(test.fault)
		state, err := handshake(t, plan.Hosts[0])
		mend()
		if err == nil {
			t.Fatal("the handshake succeeded")
		}
		got := map[tlsrpt.PolicyType]tlsrpt.ResultType{}
		for _, o := range plan.Hosts[0].Session(state, err).Outcomes {
			for _, f := range o.Failures {
				got[o.Policy.Type] += f.Type
			}
		}
		if got[tlsrpt.TLSA] != test.tlsa || got[tlsrpt.STS] != test.sts {
			t.Errorf("%v, want %q and %q", got, test.tlsa, test.sts)
		}
	}
}
