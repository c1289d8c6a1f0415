package policy

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
	"github.com/mxseal/mxseal/policy/internal/reply"
	"github.com/mxseal/mxseal/policy/internal/wording"
)

// This file and package wording have the text, status and permanence of every refusal and
// failure. Other files name the case; they do not write texts of their own.

// failure returns the error for the host.
func (h *Host) failure(w wording.Wording, err error) *Error {
	e := &Error{
		Host: h.Name, By: h.By, Reason: w.Reason, ReasonCode: w.ReasonCode, Permanent: w.Permanent,
		Status: w.Status, Detail: w.Detail, Err: err, kind: sentinel(w.Refusal),
	}
	if h.plan != nil {
		e.Domain = h.plan.Domain
	}
	return e
}

// sentinel returns the error that is found in a refusal; nil if there is none.
func sentinel(refusal decision.Refusal) error {
	switch refusal {
	case decision.TLSALookupFailed:
		return ErrLookupFailed
	case decision.PolicyNotAsked:
		return ErrPolicyUnknown
	case decision.NotInAllowList:
		return ErrNotListed
	case decision.DANEMissing:
		return ErrNoDANE
	case decision.RouteUnauthenticated:
		return ErrRoute
	case decision.Unreachable:
		return ErrUnreachable
	case decision.SpecialAddress:
		return ErrSpecialAddress
	default:
		return nil
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
		failure.Detail, failure.Err = "the domain is empty", ErrDomain
	}
	return failure
}

// mxLookup is the failure of a domain whose MX lookup failed (RFC 7672 section
// 2.1.2).
func mxLookup(q question, err error) *Error {
	failure := wording.FailedLookup(err)
	e := &Error{
		Reason: failure.Type, ReasonCode: failure.ReasonCode, Status: "4.4.3",
		Detail: "the lookup of the MX records failed; the mail waits", Err: err,
	}
	if !q.tlsOptional {
		e.reported = q.hop.String()
	}
	return e
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
	e := h.failure(wording.Wording{Status: "4.4.2", Detail: detail}, reply.Bounded(err))
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
