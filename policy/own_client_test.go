package policy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// smtpError is the error type of an SMTP client that does not use *textproto.Error.
type smtpError struct{ code int }

func (e *smtpError) Error() string { return fmt.Sprintf("%d go away", e.code) }

// Attempted judges by the step, and never by the type of the error, for any SMTP client.
// S25: a greeting of 554 was reported as a refused STARTTLS.
func TestS25TheStepDecides(t *testing.T) {
	t.Parallel()
	inet := twoDomains(t)
	r := resolver(t, inet)

	reply := &textproto.Error{Code: 554, Msg: "5.7.1 go away"}
	for kind, err := range map[string]error{
		"reply":              reply,
		"temporary reply":    &textproto.Error{Code: 454, Msg: "4.7.0 not now"},
		"wrapped reply":      fmt.Errorf("client: %w", reply),
		"another type":       &smtpError{554},
		"garbage":            textproto.ProtocolError("SSH-2.0"),
		"hang-up":            io.EOF,
		"timeout":            &net.OpError{Op: "read", Err: context.DeadlineExceeded},
		"connection refused": &net.OpError{Op: "dial", Err: errors.New("refused")},
		"alert":              tls.AlertError(70),
		"no error":           nil,
	} {
		for _, test := range []struct {
			step   policy.Step
			report string // of every policy; empty: nothing is recorded
			status string // without the digit of the class
		}{
			{policy.NotConnected, "", "4.4.1"},
			{policy.Greeting, "", "4.4.2"},
			{policy.EHLO, "", "4.4.2"},
			{policy.NotOffered, "starttls-not-supported ", "4.7.4"},
			{policy.StartTLSRefused, "starttls-not-supported starttls-refused", "4.7.4"},
			{policy.Done, "", "4.7.4"},
			{policy.RequireTLSNotOffered, "", "5.7.30"},
			{policy.Step(200), "", "4.4.1"},
		} {
			for _, domain := range []string{"dane.example", "plain.example"} {
				h := onlyHost(t, r, domain)
				session, failure := h.Attempted(test.step, nil, err)
				var want int
				if test.report != "" {
					want = 1
				}
				if len(session.Outcomes) != want || session.MXHost != h.Name || session.Domain != domain {
					t.Errorf("%v, %s, %s: recorded %+v", test.step, kind, domain, session)
				}
				for _, o := range session.Outcomes {
					if got := failuresOf(o); got != test.report {
						t.Errorf("%v, %s, %s: recorded %q, want %q", test.step, kind, domain, got, test.report)
					}
				}
				if mayGoOn := domain == "plain.example" && (test.step == policy.NotOffered || test.step == policy.StartTLSRefused || test.step == policy.Done); mayGoOn {
					if failure != nil {
						t.Errorf("%v, %s, %s: %v", test.step, kind, domain, failure)
					}
					continue
				}
				status := test.status
				var answer *textproto.Error
				if status == "4.4.2" && errors.As(err, &answer) {
					status = "4.3.2"
				}
				if failure == nil || failure.Status != status || failure.Permanent != strings.HasPrefix(status, "5") ||
					failure.Host != h.Name || failure.Domain != domain || err != nil && failure.Unwrap() == nil {
					t.Errorf("%v, %s, %s: %+v, want status %s", test.step, kind, domain, failure, status)
				}
			}
		}
	}
}

// A failed handshake is recorded by what failed in it, and not at all for network
// errors (RFC 8460 section 4.3.4).
func TestFailedHandshakeIsRecordedByCause(t *testing.T) {
	t.Parallel()
	inet := twoDomains(t)
	r := resolver(t, inet)
	for _, test := range []struct {
		name   string
		err    error
		report string
		status string
	}{
		{"hang-up", io.ErrUnexpectedEOF, "validation-failure connection-closed", "4.7.5"},
		{"an alert", tls.AlertError(70), "validation-failure tls-alert-protocol-version-not-supported", "4.7.5"},
		{"timeout", context.DeadlineExceeded, "", "4.4.2"},
		{"canceled", context.Canceled, "", "4.4.2"},
	} {
		for _, domain := range []string{"dane.example", "plain.example"} {
			h := onlyHost(t, r, domain)
			session, failure := h.Attempted(policy.Handshake, &tls.ConnectionState{}, test.err)
			if len(session.Outcomes) == 0 != (test.report == "") {
				t.Errorf("%s: recorded %+v", test.name, session)
			}
			for _, o := range session.Outcomes {
				if failuresOf(o) != test.report {
					t.Errorf("%s: %s: %+v, want %s", test.name, o.Policy.Type, o.Failures, test.report)
				}
			}
			if failure == nil || failure.Status != test.status || failure.Permanent || failure.Host != h.Name {
				t.Errorf("%s: %+v, want status %s", test.name, failure, test.status)
			}
			_, lost := h.Attempted(policy.Greeting, nil, errors.New("reset"))
			whole := onlyPlan(t, r, domain).Failed(failure, lost)
			if whole.Status != test.status || whole.Host != "" || strings.Count(whole.Error(), "policy:") != 1 {
				t.Errorf("%s: %v", test.name, whole)
			}
		}
	}
	if err := (&policy.Plan{Domain: "x.example"}).Failed(); err.Status != "4.4.4" || err.Permanent {
		t.Errorf("%v", err)
	}
}

// REQ-25: a bounce is not discarded because a host lacks what RequireTLS demands.
func TestBounceIsNotDiscarded(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	h := onlyHost(t, resolver(t, inet), "dane.example", policy.RequireTLS(), policy.Bounce())
	if _, failure := h.Attempted(policy.NotOffered, nil, nil); failure == nil || failure.Permanent || failure.Status != "4.7.4" {
		t.Errorf("%v", failure)
	}
}

// alert is like the type that crypto/tls has for the alerts of a server.
type alert uint8

func (a alert) Error() string { return fmt.Sprintf("tls: alert %d", uint8(a)) }

// S26: a greeting of 521 is permanent at level Opportunistic, and for the domain if every
// host says it.
func TestS26Greeting521IsPermanent(t *testing.T) {
	t.Parallel()
	inet := twoDomains(t)
	inet.Domain("mixed.example", policytest.Unsigned).MX("mx.plain.example", "mx.dane.example")
	r := resolver(t, inet, func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{"routed.example": {NextHop: "plain.example"}, "relayed.example": {NextHop: "[mx.plain.example]:25"}}
	})
	// S12: what the operator configured is not the recipient's fault.
	for domain, permanent := range map[string]bool{"plain.example": true, "dane.example": false, "mixed.example": false, "routed.example": false, "relayed.example": false} {
		for code := 500; code <= 599; code++ {
			plan := onlyPlan(t, r, domain)
			var failures []*policy.Error
			for _, h := range plan.Hosts {
				session, failure := h.Attempted(policy.Greeting, nil, fmt.Errorf("client: %w", &textproto.Error{Code: code, Msg: "5.1.1 no"}))
				if len(session.Outcomes) > 0 {
					t.Errorf("%s, %d: recorded %+v", h.Name, code, session)
				}
				failures = append(failures, failure)
			}
			e := plan.Failed(failures...)
			if e.Permanent != (permanent && code == 521) || e.Permanent && e.Status != "5.3.2" {
				t.Errorf("%s, %d: %v", domain, code, e)
			}
		}
	}
}

// RFC 8689 section 4.2.1: with RequireTLS the failure is permanent if the server
// answered and lacks what the mail requires, and temporary otherwise.
func TestRequireTLSFailsForGoodIfServerLacksIt(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	host := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	h := onlyHost(t, resolver(t, inet), "dane.example", policy.RequireTLS())
	verified := h.Verify(tls.ConnectionState{Version: tls.VersionTLS13})
	if verified == nil {
		t.Fatal("a session without a certificate was verified")
	}
	seen := &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: host.Certificates()}
	for _, test := range []struct {
		step   policy.Step
		state  *tls.ConnectionState
		err    error
		status string
	}{
		{policy.NotConnected, nil, io.EOF, "4.4.1"},
		{policy.NotOffered, nil, nil, "5.7.10"},
		{policy.StartTLSRefused, nil, &textproto.Error{Code: 421}, "4.3.2"},
		{policy.StartTLSRefused, nil, &textproto.Error{Code: 454}, "4.7.4"},
		{policy.StartTLSRefused, nil, &textproto.Error{Code: 502}, "5.7.10"},
		{policy.Handshake, nil, io.EOF, "4.7.5"},
		{policy.Handshake, seen, verified, "5.7.10"},
		// S19: alerts of servers that lack what TLS needs, and other alerts.
		{policy.Handshake, nil, &net.OpError{Op: "remote error", Err: alert(40)}, "5.7.10"},
		{policy.Handshake, nil, fmt.Errorf("client: %w", &net.OpError{Op: "remote error", Err: alert(70)}), "5.7.10"},
		{policy.Handshake, &tls.ConnectionState{}, &net.OpError{Op: "remote error", Err: alert(71)}, "5.7.10"},
		{policy.Handshake, nil, errors.New("tls: server selected unsupported protocol version 301"), "5.7.10"},
		{policy.Handshake, nil, &net.OpError{Op: "remote error", Err: alert(80)}, "4.7.5"},
		{policy.Handshake, nil, &net.OpError{Op: "remote error", Err: alert(116)}, "4.7.5"},
		{policy.EHLO, seen, &textproto.Error{Code: 554}, "4.3.2"},
		{policy.RequireTLSNotOffered, seen, nil, "5.7.30"},
		{policy.Done, seen, nil, ""},
	} {
		session, failure := h.Attempted(test.step, test.state, test.err)
		if test.status == "" {
			if failure != nil || len(session.Outcomes) != 1 || len(session.Outcomes[0].Failures) != 0 {
				t.Errorf("%v: %v, %+v", test.step, failure, session)
			}
			continue
		}
		if failure == nil || failure.Status != test.status || failure.Permanent != strings.HasPrefix(test.status, "5") {
			t.Errorf("%v, %v: %v, want %s", test.step, test.err, failure, test.status)
		}
	}
}

// After 421 to STARTTLS the connection ends, so no mail is sent over it at any level, and
// the reply says nothing about TLS.
func TestReply421ToSTARTTLSEndsSession(t *testing.T) {
	t.Parallel()
	inet := twoDomains(t)
	r := resolver(t, inet)
	for _, domain := range []string{"dane.example", "plain.example"} {
		for code, closing := range map[int]bool{420: false, 421: true, 422: false, 454: false, 521: false} {
			h := onlyHost(t, r, domain)
			session, failure := h.Attempted(policy.StartTLSRefused, nil, fmt.Errorf("client: %w", &textproto.Error{Code: code, Msg: "4.3.2 bye"}))
			if counted := len(session.Outcomes) > 0; counted == closing {
				t.Errorf("%s, %d: counted %v", domain, code, counted)
			}
			switch {
			case closing && (failure == nil || failure.Status != "4.3.2" || failure.Permanent || failure.Reason != ""):
				t.Errorf("%s, %d: %v", domain, code, failure)
			case !closing && (failure == nil) != (domain == "plain.example"):
				t.Errorf("%s, %d: %v", domain, code, failure)
			}
		}
	}
}

// For a refused host every step gives the refusal.
func TestRefusedHostIsRefusedAtEveryStep(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("evil.example.net").Policy("enforce", "mx.sts.example")
	inet.Domain("example.net", policytest.Unsigned)
	inet.Host("evil.example.net")
	h := onlyHost(t, resolver(t, inet), "sts.example")
	for step := policy.NotConnected; step <= policy.Done; step++ {
		session, failure := h.Attempted(step, &tls.ConnectionState{}, io.EOF)
		if failure != h.Refusal || !errors.Is(failure, policy.ErrNotListed) || errors.Is(failure, policy.ErrNoDANE) {
			t.Errorf("%v: %v", step, failure)
		}
		if len(session.Outcomes) != 1 || failuresOf(session.Outcomes[0]) != "certificate-host-mismatch mx-not-in-policy" {
			t.Errorf("%v: %+v", step, session)
		}
	}
}

// Addr is what DialContext takes.
func TestAddrIsWhatDialContextTakes(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example", policytest.Addrs("2001:db8::77"))
	r := resolver(t, inet)
	for domain, want := range map[string]string{"plain.example": "mx.plain.example:25", "[IPv6:2001:db8::77]": "[2001:db8::77]:25"} {
		h := onlyHost(t, r, domain)
		if h.Addr() != want {
			t.Errorf("%s: Addr is %q, want %q", domain, h.Addr(), want)
		}
		conn, err := h.DialContext(t.Context(), "tcp", h.Addr())
		if err != nil {
			t.Error(err)
			continue
		}
		conn.Close()
	}
}

func failuresOf(o tlsrpt.Outcome) string {
	var texts []string
	for _, f := range o.Failures {
		texts = append(texts, fmt.Sprintf("%s %s", f.Type, f.ReasonCode))
	}
	return strings.Join(texts, ", ")
}

func onlyPlan(t *testing.T, r *policy.Resolver, domain string, options ...policy.Option) *policy.Plan {
	t.Helper()
	plan, err := r.Resolve(t.Context(), domain, options...)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func onlyHost(t *testing.T, r *policy.Resolver, domain string, options ...policy.Option) *policy.Host {
	t.Helper()
	return onlyPlan(t, r, domain, options...).Hosts[0]
}

// Where DANE and MTA-STS both apply, each has its own result for a certificate, even if
// verification failed because of the other.
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
		restore := mx.Break(test.fault)
		state, err := handshake(t, plan.Hosts[0])
		restore()
		if err == nil {
			t.Fatal("the handshake succeeded")
		}
		got := map[tlsrpt.PolicyType]tlsrpt.ResultType{}
		for _, o := range attempted(plan.Hosts[0], state, err).Outcomes {
			for _, f := range o.Failures {
				got[o.Policy.Type] += f.Type
			}
		}
		if got[tlsrpt.TLSA] != test.tlsa || got[tlsrpt.STS] != test.sts {
			t.Errorf("%v, want %q and %q", got, test.tlsa, test.sts)
		}
	}
}

// The zero Host permits nothing.
func TestZeroHostRefuses(t *testing.T) {
	var h policy.Host
	if h.Level != policy.Refused {
		t.Errorf("the zero Host permits %v", h.Level)
	}
}
