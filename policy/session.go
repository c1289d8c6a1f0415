package policy

import (
	"crypto/tls"
	"errors"
	"net/textproto"
	"slices"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Session returns what TLS-RPT should count for one attempt to get a session
// with the host: an outcome for every policy that applied (RFC 8460 section
// 4.4), for a tlsrpt.Recorder. Dialer records by itself; this is for those who
// have an SMTP client of their own. The caller fills in HELO, SendingIP and
// ReceivingIP.
//
// state is what tls.Conn.ConnectionState returns after the handshake, whether or
// not that succeeded; nil when it did not come to one. err is why there was no
// session that meets the plan: of the handshake, or the *textproto.Error with
// which the server refused STARTTLS; nil with a nil state means that it did not
// offer it. A refused host, to which no attempt is made, is reported with neither.
//
// Without outcomes the session is not to be recorded: errors of the network are
// not counted (RFC 8460 section 4.3.4), nor is mail to an address literal or
// mail that was sent with TLSOptional.
func (h *Host) Session(state *tls.ConnectionState, err error) tlsrpt.Session {
	session := tlsrpt.Session{MXHost: h.Name, Time: h.trust.now(), Domain: h.plan.NextHop}
	if h.plan.tlsOptional || h.plan.literal || h.refusal == unreachable {
		return session
	}
	if state != nil && err != nil && len(state.PeerCertificates) == 0 {
		state = nil // the handshake failed before there was anything to judge
	}
	general, counts := establishment(state, err)
	if h.Level == Refused {
		general, counts = nil, true
	}
	if !counts {
		return session
	}
	session.Outcomes = append(session.Outcomes, h.outcomeOfDANE(state, general)...)
	session.Outcomes = append(session.Outcomes, h.outcomeOfMTASTS(state, general)...)
	if len(session.Outcomes) == 0 && (h.Level != Refused || len(general) > 0) {
		session.Outcomes = []tlsrpt.Outcome{{
			Policy:   tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: h.plan.NextHop},
			Failures: general,
		}}
	}
	return session
}

// establishment returns the failure to get any TLS session, which counts
// against every policy. counts is false for what no report counts. Where only
// verification failed, each policy has its own view of that.
func establishment(state *tls.ConnectionState, err error) (failures []tlsrpt.Failure, counts bool) {
	var (
		own   *Error
		reply *textproto.Error
	)
	switch {
	case state != nil && err == nil:
		return nil, true
	case state != nil && errors.As(err, &own) && own.Err != nil:
		return nil, true
	case err == nil:
		return []tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported}}, true
	case errors.As(err, &reply) && !errors.As(err, &own):
		return []tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported, ReasonCode: startTLSRefused}}, true
	}
	failure := tlsrpt.Classify(err)
	return []tlsrpt.Failure{failure}, failure.Type != ""
}

// outcomeOfDANE is how the session fared under the TLSA records, when there are
// any or when a lookup for them failed. A set without usable record asks only
// for encryption.
func (h *Host) outcomeOfDANE(state *tls.ConnectionState, general []tlsrpt.Failure) []tlsrpt.Outcome {
	outcome := tlsrpt.Outcome{Policy: h.policyOfDANE(), Failures: general}
	switch {
	case h.refusal == tlsaLookupFailed || h.refusal == daneMissing:
		outcome.Failures = []tlsrpt.Failure{{Type: h.Refusal.Reason, ReasonCode: h.Refusal.Code}}
	case len(outcome.Policy.Strings) == 0:
		return nil
	case h.Level == Refused:
		return nil // another policy refused the host; DANE was not tried
	case state != nil && len(general) == 0 && len(h.TLSA) > 0:
		outcome.Failures = classified(h.verifyDANE(state.PeerCertificates))
	}
	return []tlsrpt.Outcome{outcome}
}

func (h *Host) policyOfDANE() tlsrpt.Policy {
	policy := tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: h.Name}
	records := h.TLSA
	if h.DANE != nil && len(h.DANE.Records) > 0 {
		policy.Domain = h.DANE.BaseDomain
		records = h.DANE.Records
	}
	// In an order of their own, since name servers shuffle: the same set is the
	// same policy.
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

// outcomeOfMTASTS is how the session fared under the policy in force, enforced
// or in testing mode, and that no policy could be had although the domain says
// that it has one (RFC 8461 section 6).
func (h *Host) outcomeOfMTASTS(state *tls.ConnectionState, general []tlsrpt.Failure) []tlsrpt.Outcome {
	found := h.plan.MTASTS
	discovery := found.failures()
	switch {
	case found.fact() < mtastsTesting && len(discovery) == 0:
		return nil
	case found.fact() < mtastsTesting:
		return []tlsrpt.Outcome{{
			Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: h.plan.NextHop, Strings: mtasts.Lines(found.failedText)},
			Failures: discovery,
		}}
	}
	outcome := tlsrpt.Outcome{
		Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: h.plan.NextHop, Strings: found.Policy.Lines(), MXHosts: found.Policy.MX},
		Failures: general,
	}
	switch {
	case !found.Policy.MatchMX(h.Name):
		outcome.Failures = []tlsrpt.Failure{{Type: tlsrpt.CertificateHostMismatch, ReasonCode: "mx-not-in-policy"}}
	case h.Level == Refused:
		return nil // DANE refused the host; this policy was not tried
	case state != nil && len(general) == 0:
		outcome.Failures = classified(h.verifyWebPKI(state.PeerCertificates))
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

// failures is what went wrong with finding the policy, if a report counts it.
func (m *MTASTS) failures() []tlsrpt.Failure {
	var failure *mtasts.Error
	if !m.reportable || !errors.As(m.Err, &failure) {
		return nil
	}
	if f := tlsrpt.Classify(failure); f.Type != "" {
		return []tlsrpt.Failure{f}
	}
	return nil
}
