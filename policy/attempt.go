package policy

import (
	"crypto/tls"
	"errors"
	"net/textproto"
	"slices"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/tlsalert"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/reply"
	"github.com/mxseal/mxseal/policy/internal/wording"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Step is where an attempt to establish a session with a mail host ended. The
// zero value is NotConnected, which reports nothing.
type Step uint8

const (
	// NotConnected means that there was no connection. err is the error of
	// Host.DialContext.
	NotConnected Step = Step(wording.NotConnected)
	// Greeting means that the server did not greet. err is its reply, such as 554, or
	// the error of the connection. 521 means that the host accepts no mail (RFC 7504
	// section 3). It is permanent at level Opportunistic, where nobody has to be
	// authenticated to say so, and temporary for a next hop that the operator
	// configured. A caller that has gone back to cleartext after a failed handshake
	// must treat it as temporary.
	Greeting Step = Step(wording.Greeting)
	// EHLO means that the server did not accept EHLO, before TLS or, if state is
	// not nil, after the handshake. err is its reply or the error of the
	// connection.
	EHLO Step = Step(wording.EHLO)
	// NotOffered means that the reply to EHLO did not offer STARTTLS. err is nil.
	NotOffered Step = Step(wording.NotOffered)
	// StartTLSRefused means that the server answered STARTTLS with a reply other than
	// 220. err is that reply. Without any reply the step is Handshake. After a 421
	// reply, which must be a *textproto.Error to be recognized, the server closes the
	// connection (RFC 5321 section 3.8): it is busy, and mail must not be sent over
	// this connection.
	StartTLSRefused Step = Step(wording.StartTLSRefused)
	// Handshake means that STARTTLS was sent, and TLS was not established. err is
	// the error of the handshake, or of the connection.
	Handshake Step = Step(wording.Handshake)
	// RequireTLSNotOffered means that the server did not offer REQUIRETLS in its
	// reply to EHLO after the handshake, and the mail requires it (RFC 8689).
	// err is nil.
	RequireTLSNotOffered Step = Step(wording.RequireTLSNotOffered)
	// Done means that the session is established, and mail may be sent. state is
	// nil if the session is in cleartext. err is nil.
	Done Step = Step(wording.Done)
)

// String returns the name of the step, such as "EHLO".
func (s Step) String() string { return wording.Step(s).String() }

// Attempted judges one attempt to establish a session with the host. It is for
// programs with an SMTP client of their own; delivery.Dialer calls it itself.
// Call it once for each connection, with the step where the attempt ended.
//
// state is what tls.Conn.ConnectionState returns after the handshake, whether or
// not it succeeded; nil without a handshake. err is the error of the step. It
// may be the server's reply, as a *textproto.Error or as the error type of
// another SMTP client. The step is taken as given and never guessed from err.
//
// The session is for a tlsrpt.Recorder. It has an outcome for every policy that
// applied (RFC 8460 section 4.4). The caller adds HELO, SendingIP and
// ReceivingIP. A session without outcomes must not be recorded: reports do not
// count network errors (RFC 8460 section 4.3.4), replies that have nothing to do
// with TLS, mail to address literals, or mail sent with TLSOptional.
//
// The error is for the queue, and nil if mail may be sent over this connection
// as it is, in cleartext after NotOffered and StartTLSRefused. With RequireTLS
// it is permanent if the server answered and does not have what the mail
// requires (RFC 8689 section 4.2.1). After a failed Handshake at level
// Opportunistic, the host may be tried once more without TLS, over a new
// connection (RFC 3207 section 4).
//
// For a refused host, the error is Host.Refusal and the session reports that
// refusal, whatever the step is.
func (h *Host) Attempted(step Step, state *tls.ConnectionState, err error) (tlsrpt.Session, *Error) {
	a := attempt{host: h, step: step, state: state, err: err}
	if h.Level == Refused {
		a.state = nil
		return a.session(nil), h.refused()
	}
	if state != nil && len(a.state.PeerCertificates) == 0 && step == Handshake {
		a.state = nil // the handshake failed before there was anything to verify
	}
	return a.record(), a.judge()
}

// Session returns what TLS-RPT counts of mail for which Resolve returned e. It is for
// programs with an SMTP client of their own, which record it once for each attempt at a
// message; delivery.Dialer does so itself. It has an outcome if the MX records are bogus,
// by far the most common failure of DNSSEC: one of type tlsa, for the recipient or next-hop
// domain, because no mail host and no policy is known. Otherwise it has none and must not be
// recorded. That includes timeouts and failures of the sender's own resolvers. The Time is
// zero.
func (e *Error) Session() tlsrpt.Session {
	session := tlsrpt.Session{Domain: e.reported}
	if e.reported != "" && e.Reason != "" {
		session.Outcomes = []tlsrpt.Outcome{{
			Policy:   tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: e.reported},
			Failures: []tlsrpt.Failure{{Type: e.Reason, ReasonCode: e.ReasonCode}},
		}}
	}
	return session
}

// attempt holds the arguments of Attempted.
type attempt struct {
	host  *Host
	step  Step
	state *tls.ConnectionState
	err   error
}

// record returns what TLS-RPT counts.
func (a *attempt) record() tlsrpt.Session {
	switch a.step {
	case NotOffered:
		return a.session([]tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported}})
	case StartTLSRefused:
		if a.closing() {
			return a.unrecorded()
		}
		return a.session([]tlsrpt.Failure{wording.StartTLSRefused.Wording(nil, false).Failure()})
	case Handshake:
		var own *Error
		if a.state != nil && errors.As(a.err, &own) && own.Err != nil {
			return a.session(nil) // only verification failed: each policy has its own result
		}
		failure := tlsrpt.Classify(a.err)
		if failure.Type == "" {
			return a.unrecorded()
		}
		return a.session([]tlsrpt.Failure{failure})
	case EHLO, RequireTLSNotOffered, Done:
		if a.state != nil {
			return a.session(nil)
		}
	}
	return a.unrecorded()
}

// judge returns the error for the queue, or nil.
func (a *attempt) judge() *Error {
	h := a.host
	var own *Error
	switch inTLS := a.state != nil && a.state.HandshakeComplete; {
	case (a.step == NotOffered || a.step == StartTLSRefused && !a.closing() || a.step == Done) && h.Level == Opportunistic:
		return nil
	case a.step == Done && inTLS:
		if err := h.Verify(*a.state); !errors.As(err, &own) {
			return nil
		}
		return own
	case (a.step == NotConnected || a.step == Handshake) && errors.As(a.err, &own):
	default:
		own = h.failure(wording.Step(a.step).Wording(a.err, inTLS), reply.Bounded(a.err))
	}
	if a.step == Greeting && h.Level == Opportunistic && a.replyCode() == 521 && (h.plan == nil || h.plan.Via == "") {
		own.Permanent, own.ReplyCode, own.Status = true, 521, "5.3.2"
	}
	if h.plan != nil && h.plan.RequireTLS && !h.plan.Bounce && own.Reason != "" && a.lacking() {
		final := *own
		final.Permanent, final.Status = true, "5.7.10"
		return &final
	}
	return own
}

// closing reports whether the server's reply is 421, after which it closes the
// connection. It says nothing about TLS.
func (a *attempt) closing() bool { return a.replyCode() == 421 }

// replyCode returns the code of the server's reply, and 0 if err is something else.
func (a *attempt) replyCode() int {
	var reply *textproto.Error
	if errors.As(a.err, &reply) {
		return reply.Code
	}
	return 0
}

// lacking reports whether the server answered and does not have what RequireTLS
// demands: it does not offer STARTTLS, refuses it permanently, was not verified, or
// says by an alert that it lacks the version or the cipher suites. A server with a
// temporary problem may have it later (RFC 3207 section 6).
func (a *attempt) lacking() bool {
	switch a.step {
	case NotOffered:
		return true
	case StartTLSRefused:
		return a.replyCode() >= 500
	case Handshake:
		var own *Error
		return a.state != nil && errors.As(a.err, &own) || tlsalert.Incapable(a.err)
	default:
		return false
	}
}

// unrecorded returns a session without outcomes.
func (a *attempt) unrecorded() tlsrpt.Session {
	session := tlsrpt.Session{MXHost: a.host.Name}
	if a.host.plan != nil {
		session.Time, session.Domain = a.host.trust.now(), a.host.plan.NextHop
	}
	return session
}

// session returns a session with the outcome for every policy. general are the
// failures that count against all of them; without any, each policy judges the
// certificates of the session.
func (a *attempt) session(general []tlsrpt.Failure) tlsrpt.Session {
	h, session := a.host, a.unrecorded()
	if h.plan == nil || h.plan.asked.tlsOptional || h.plan.literal || h.refusal == decision.Unreachable || h.refusal == decision.SpecialAddress {
		return session
	}
	session.Outcomes = append(session.Outcomes, a.outcomeOfDANE(general)...)
	session.Outcomes = append(session.Outcomes, a.outcomeOfMTASTS(general)...)
	if len(session.Outcomes) == 0 && h.Level != Refused {
		session.Outcomes = []tlsrpt.Outcome{{
			Policy:   tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: h.plan.NextHop},
			Failures: general,
		}}
	}
	return session
}

// outcomeOfDANE returns the outcome under the TLSA records, if there are any or if
// their lookup failed. A set without a usable record requires only encryption.
func (a *attempt) outcomeOfDANE(general []tlsrpt.Failure) []tlsrpt.Outcome {
	h := a.host
	outcome := tlsrpt.Outcome{Policy: a.policyOfDANE(), Failures: general}
	switch {
	case h.refusal == decision.TLSALookupFailed && h.Refusal.Reason == "":
		return nil // perhaps a fault of the sender's own resolver
	case h.refusal == decision.TLSALookupFailed || h.refusal == decision.DANEMissing:
		outcome.Failures = []tlsrpt.Failure{{Type: h.Refusal.Reason, ReasonCode: h.Refusal.ReasonCode}}
	case len(outcome.Policy.Strings) == 0:
		return nil
	case h.Level == Refused:
		return nil // another policy refused the host; DANE was not tried
	case a.state != nil && len(general) == 0 && len(h.TLSA) > 0:
		outcome.Failures = classified(h.verifyDANE(a.state.PeerCertificates))
	}
	return []tlsrpt.Outcome{outcome}
}

func (a *attempt) policyOfDANE() tlsrpt.Policy {
	h := a.host
	policy := tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: h.Name}
	records := h.TLSA
	if h.DANE != nil && len(h.DANE.Records) > 0 {
		policy.Domain = h.DANE.BaseDomain
		records = h.DANE.Records
	}
	// Sorted, because name servers rotate records: the same set is the same
	// policy.
	policy.Strings = recordStrings(records)
	slices.Sort(policy.Strings)
	return policy
}

func recordStrings(records []dane.Record) []string {
	texts := make([]string, len(records))
	for i, record := range records {
		texts[i] = record.String()
	}
	return texts
}

// outcomeOfMTASTS returns the outcome under the policy in force, if the session had to
// meet it or a policy in testing mode was observed, and the failure to get a policy that
// the domain announces (RFC 8461 section 6). Where DANE alone decides, the policy was not
// applied, and the session says nothing about it. A session that met a remembered policy
// counts as a success even if the refresh failed: its connection was "policy-compliant" (RFC
// 8460 section 4.2.1), and the failure of the refresh is a detail. That is so for a host about
// which DANE decides as well, although no other failure under the policy is reported then.
func (a *attempt) outcomeOfMTASTS(general []tlsrpt.Failure) []tlsrpt.Outcome {
	h := a.host
	found := h.plan.MTASTS
	discovery := found.failures()
	switch {
	case found.fact() < decision.MTASTSTesting && len(discovery) == 0:
		return nil
	case found.fact() < decision.MTASTSTesting:
		return []tlsrpt.Outcome{{
			Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: h.plan.NextHop, Strings: mtasts.Lines(found.failedText)},
			Failures: discovery,
		}}
	}
	outcome := tlsrpt.Outcome{
		Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: h.plan.NextHop, Strings: found.Policy.Lines(), MXHosts: found.Policy.MX},
		Failures: general,
	}
	isApplied := h.By&ByMTASTS != 0 || h.demands.Observe
	switch {
	case !isApplied && len(discovery) == 0:
		return nil
	case !isApplied && h.Level == Refused:
	case !found.Policy.MatchMX(h.Name):
		outcome.Failures = []tlsrpt.Failure{wording.OfRefusal(decision.NotInAllowList, nil, true).Failure()}
	case h.Level == Refused:
		return nil // DANE refused the host; this policy was not tried
	case a.state != nil && len(general) == 0 && a.state.Version < tls.VersionTLS12: // in testing mode
		outcome.Failures = []tlsrpt.Failure{wording.OldTLS(tls.VersionName(a.state.Version)).Failure()}
	case a.state != nil && len(general) == 0:
		outcome.Failures = classified(h.verifyWebPKI(a.state.PeerCertificates, h.Name))
	}
	outcome.Met = len(discovery) > 0 && len(outcome.Failures) == 0 && h.Level != Refused
	if !isApplied {
		outcome.Failures = nil
	}
	outcome.Failures = append(outcome.Failures[:len(outcome.Failures):len(outcome.Failures)], discovery...)
	return []tlsrpt.Outcome{outcome}
}

func classified(err error) []tlsrpt.Failure {
	if err == nil {
		return nil
	}
	return []tlsrpt.Failure{tlsrpt.Classify(err)}
}
