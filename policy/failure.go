package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
	"github.com/mxseal/mxseal/policy/internal/reply"
	"github.com/mxseal/mxseal/tlsrpt"
)

// This file has the text, status and permanence of every refusal and failure.
// Other files name the case; they do not write texts of their own.

// wording is what an Error says about one case.
type wording struct {
	kind       error // the sentinel of a refusal
	reason     tlsrpt.ResultType
	reasonCode string
	status     string
	permanent  bool
	detail     string
}

// refusalWording returns what Host.Refusal says. err is the cause, and policyKnown
// reports whether the MTA-STS policy of the domain could be looked up.
func refusalWording(refusal decision.Refusal, err error, policyKnown bool) wording {
	switch refusal {
	case decision.TLSALookupFailed:
		failure := failedLookup(err)
		return wording{
			kind: ErrLookupFailed, reason: failure.Type, reasonCode: failure.ReasonCode, status: "4.7.5",
			detail: "the lookup of the host's addresses or TLSA records failed, which does not mean that there are none; the mail waits",
		}
	case decision.PolicyNotAsked:
		return wording{kind: ErrPolicyUnknown, status: "4.7.5", detail: "the MTA-STS policy is not known; the mail waits"}
	case decision.NotInAllowList:
		return wording{
			kind: ErrNotListed, reason: tlsrpt.CertificateHostMismatch, reasonCode: mxNotInPolicy, status: "4.7.5",
			detail: "the enforced MTA-STS policy does not list the host",
		}
	case decision.DANEMissing:
		return wording{
			kind: ErrNoDANE, reason: tlsrpt.DANERequired, status: "4.7.5",
			detail: "DANE is required by the operator, and there are no secure MX records with usable TLSA records",
		}
	case decision.RouteUnauthenticated:
		w := wording{
			kind: ErrRoute, status: "4.7.5",
			detail: "the mail requires TLS on its whole way, and neither secure MX records nor an MTA-STS policy name the host",
		}
		// RFC 8689 section 4.2.1 returns the mail to its sender. A domain whose
		// policy could not be looked up may have one that names the host.
		if policyKnown {
			w.status, w.permanent = "5.7.10", true
		}
		return w
	case decision.Unreachable:
		return wording{kind: ErrUnreachable, status: "4.4.4", detail: "the host has no usable address"}
	case decision.SpecialAddress:
		// Temporary because the records may be forged or a passing error. The RFCs
		// call only a denial permanent.
		return wording{
			kind: ErrSpecialAddress, status: "4.4.4",
			detail: "no mail is sent to the host's addresses unless Config.AllowMailHost permits them",
		}
	default:
		return wording{status: "4.7.5", detail: "the host is refused"}
	}
}

const (
	// mxNotInPolicy is the failure-reason-code for a host that an MTA-STS policy
	// does not list.
	mxNotInPolicy = "mx-not-in-policy"
	// startTLSRefused is the failure-reason-code for a server that offers
	// STARTTLS and then refuses it.
	startTLSRefused = "starttls-refused"
)

// wording returns what the error for an attempt says that ended at the step.
// inTLS reports whether a TLS session was established before.
func (s Step) wording(err error, inTLS bool) wording {
	broken := wording{status: "4.4.2"}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		broken.status = "4.3.2"
	}
	switch s {
	case Greeting:
		broken.detail = "the server does not greet"
		return broken
	case EHLO:
		broken.detail = "the server does not answer EHLO"
		if inTLS {
			broken.detail = "the server does not answer EHLO after the handshake"
		}
		return broken
	case NotOffered:
		return wording{reason: tlsrpt.STARTTLSNotSupported, status: "4.7.4", detail: "TLS is required, and the server does not offer STARTTLS"}
	case StartTLSRefused:
		if reply != nil && reply.Code == 421 {
			broken.detail = "the server closes the connection instead of starting TLS"
			return broken
		}
		return wording{
			reason: tlsrpt.STARTTLSNotSupported, reasonCode: startTLSRefused, status: "4.7.4",
			detail: "TLS is required, and the server refuses STARTTLS",
		}
	case Handshake:
		failure := tlsrpt.Classify(err)
		if failure.Type == "" {
			return wording{
				status: "4.4.2",
				detail: "the TLS handshake got no answer; the path may drop large packets, which a ClientHello without post-quantum key exchange avoids",
			}
		}
		return wording{reason: failure.Type, reasonCode: failure.ReasonCode, status: "4.7.5", detail: "the TLS handshake failed" + unusable(err)}
	case RequireTLSNotOffered:
		return wording{status: "5.7.30", permanent: true, detail: "the server does not support REQUIRETLS"}
	case Done:
		return wording{status: "4.7.4", detail: "TLS is required, and the session is in cleartext"}
	default:
		return wording{status: "4.4.1", detail: "no connection to the host"}
	}
}

// unusable returns what helps with a certificate that Go cannot use, whatever the plan
// demands: only crypto/x509 finds the key in it. crypto/tls has no types for these errors.
func unusable(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "negative serial number"):
		return " because Go cannot parse the certificate; set GODEBUG=x509negativeserial=1 to permit its negative serial number"
	case strings.Contains(text, "failed to parse certificate from server"):
		return " because Go cannot parse the certificate; its owner has to replace it"
	case strings.Contains(text, "unsupported type of public key"), strings.Contains(text, "containing RSA key larger than"):
		return " because Go does not support the key of the certificate; its owner has to replace it"
	}
	return ""
}

// failure returns the error for the host.
func (h *Host) failure(w wording, err error) *Error {
	e := &Error{
		Host: h.Name, By: h.By, Reason: w.reason, ReasonCode: w.reasonCode, Permanent: w.permanent,
		Status: w.status, Detail: w.detail, Err: err, kind: w.kind,
	}
	if h.plan != nil {
		e.Domain = h.plan.Domain
	}
	return e
}

func noConnection(addr netip.Addr) wording {
	return wording{status: "4.4.1", detail: "no connection to " + addr.String()}
}

func oldTLS(version string) wording {
	return wording{reason: tlsrpt.ValidationFailure, reasonCode: "tls-version", status: "4.7.5", detail: "a later TLS version is required, and the server speaks " + version}
}

func notVerified(detail string, err error) wording {
	failure := tlsrpt.Classify(err)
	return wording{reason: failure.Type, reasonCode: failure.ReasonCode, status: "4.7.5", detail: detail}
}

// noAddress is for every host of a domain that has no host with an address (RFC
// 5321 section 5.1).
func noAddress() wording {
	return wording{kind: ErrUnreachable, status: "5.4.4", permanent: true, detail: "no mail host of the domain has an address"}
}

// badLiteral is for a recipient's address literal that is not dialed. Another
// attempt would be for the same address.
func badLiteral() wording {
	return wording{
		kind: ErrSpecialAddress, status: "5.1.2", permanent: true,
		detail: "no mail is sent to this address unless Config.AllowMailHost permits it",
	}
}

// The failures of a domain as a whole.

// unroutable is for a next hop that has no mail host.
func unroutable(problem hop.Problem) *Error {
	switch problem {
	case hop.NullMX: // RFC 7505 section 4
		return &Error{Permanent: true, ReplyCode: 556, Status: "5.1.10", Detail: "the domain accepts no mail", Err: ErrNullMX}
	case hop.Loop:
		return &Error{Permanent: true, Status: "5.4.6", Detail: "the best mail host of the domain is this host itself", Err: ErrLoop}
	default:
		return &Error{Permanent: true, Status: "5.1.2", Err: ErrNoDomain}
	}
}

func notADomain(domain string, err error) *Error {
	failure := &Error{Domain: domain, Permanent: true, Status: "5.1.2", Err: err}
	if domain == "" {
		failure.Detail = "the domain is empty"
	}
	return failure
}

// mxLookup is the failure of a domain whose MX lookup failed (RFC 7672 section
// 2.1.2).
func mxLookup(q question, err error) *Error {
	failure := failedLookup(err)
	e := &Error{
		Reason: failure.Type, ReasonCode: failure.ReasonCode, Status: "4.4.3",
		Detail: "the lookup of the MX records failed; the mail waits", Err: err,
	}
	if !q.tlsOptional {
		e.reported = q.hop.String()
	}
	return e
}

// failedLookup returns what reports count of a lookup that failed: one that is bogus, or
// that the servers of the domain fail. What may be the fault of the sender's own resolver
// is not counted.
func failedLookup(err error) tlsrpt.Failure {
	if failure := tlsrpt.Classify(err); failure.Type == tlsrpt.DNSSECInvalid {
		return failure
	}
	return tlsrpt.Failure{}
}

// atNextHop makes the failure of a next hop that the operator configured temporary:
// the operator can correct it, and the recipient's domain is not at fault.
func (e *Error) atNextHop(next hop.Next) *Error {
	e.Permanent, e.ReplyCode, e.By = false, 0, ByOperator
	e.Status = "4.3.5"
	e.Detail = "the configured next hop " + next.String() + " cannot be used; correct Override.NextHop, the option Via or the records of the next hop"
	return e
}

// badOptions and badOverride are the failures of settings that cannot be used.

func badOptions(domain string, err error) *Error {
	return &Error{
		Domain: domain, By: ByOperator, Status: "4.3.5", kind: ErrConfig,
		Detail: "the options of the call cannot be used; correct them, the mail waits", Err: err,
	}
}

func badOverride(err error) *Error {
	return &Error{
		By: ByOperator, Status: "4.3.5", kind: ErrConfig,
		Detail: "the override for the domain cannot be used; correct it, the mail waits", Err: err,
	}
}

// unproven makes a permanent failure of a domain temporary because it rests on
// an answer that is not secure. unread is why the remembered MTA-STS policy, which
// may contradict that answer, is not known; nil if it is known.
func (e *Error) unproven(by Mechanism, unread error) *Error {
	e.Permanent, e.ReplyCode, e.By = false, 0, by
	e.Status = "4" + strings.TrimPrefix(e.Status, "5")
	e.Detail = "an answer that is not secure says so; the mail waits"
	if unread != nil {
		e.Detail = "an answer that is not secure says so, and it is not known whether an MTA-STS policy is remembered; the mail waits"
		e.Err = fmt.Errorf("%w: %w", e.Err, unread)
	}
	return e
}

func noHost(domain string) *Error {
	return &Error{Domain: domain, Status: "4.4.4", Detail: "no mail host is known"}
}

func abandoned(ctx context.Context, domain string) *Error {
	return &Error{Domain: domain, Status: "4.4.7", Detail: "the caller did not wait for the plan", Err: ctx.Err()}
}

// Failed returns the error for a domain none of whose hosts could be used.
// failures are the errors of the hosts, in the order in which they were tried.
// The error takes its reason from the most significant of them: a policy failure
// comes before a network failure. It is permanent only if all of them are
// and the plan has all hosts of the domain.
func (p *Plan) Failed(failures ...*Error) *Error {
	if len(failures) == 0 {
		return noHost(p.Domain)
	}
	worst := slices.MaxFunc(failures, func(a, b *Error) int { return a.weight() - b.weight() })
	e := &Error{
		Domain:     p.Domain,
		By:         worst.By,
		Reason:     worst.Reason,
		ReasonCode: worst.ReasonCode,
		Status:     worst.Status,
		Permanent:  p.omitted == 0 && !slices.ContainsFunc(failures, (*Error).Temporary),
		Detail:     "no mail host can be used",
		Err:        hostErrors(failures),
	}
	if !e.Permanent && worst.Permanent {
		e.Status = "4" + strings.TrimPrefix(e.Status, "5")
	}
	return e
}

// weight is how much a host's failure says about the domain.
func (e *Error) weight() int {
	switch {
	case e.Reason != "":
		return 2
	case e.Permanent || strings.HasPrefix(e.Status, "4.7."):
		return 1
	default:
		return 0
	}
}

// hostErrors are the failures of a domain's hosts, in the order in which the
// hosts were tried.
type hostErrors []*Error

func (e hostErrors) Error() string {
	texts := make([]string, len(e))
	for i, failure := range e {
		texts[i] = strings.TrimPrefix(failure.within(failure.Domain), ": ")
	}
	return strings.Join(texts, "; ")
}

func (e hostErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, failure := range e {
		errs[i] = failure
	}
	return errs
}

// Replied returns the error for a command of a mail transaction that failed after
// the session was established: MAIL, RCPT, DATA or the message itself. detail
// says which. err is the server's reply, a *textproto.Error, or why there was
// none. The error is permanent after a 5yz reply and temporary otherwise. It has
// the server's reply code and its enhanced status code.
func (h *Host) Replied(detail string, err error) *Error {
	e := h.failure(wording{status: "4.4.2", detail: detail}, reply.Bounded(err))
	var answer *textproto.Error
	if !errors.As(err, &answer) {
		return e
	}
	switch answer.Code / 100 {
	case 4, 5:
		e.Permanent = answer.Code/100 == 5
		e.ReplyCode, e.Status = answer.Code, reply.Status(answer)
	default:
		e.Status = "4.5.0" // a reply of success that answers nothing
	}
	return e
}
