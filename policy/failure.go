package policy

import (
	"cmp"
	"errors"
	"net/textproto"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
)

// startTLSRefused is the failure-reason-code for a server that offers STARTTLS
// and then refuses it.
const startTLSRefused = "starttls-refused"

// Failure says what an attempt at the host that came to nothing means for the
// mail, for those who have an SMTP client of their own. err is what Session is
// given: nil for a host that did not offer STARTTLS, the error of DialContext or
// of the handshake, or the *textproto.Error with which the server refused
// STARTTLS. For a refused host it is the refusal.
func (h *Host) Failure(err error) *Error {
	var (
		own   *Error
		reply *textproto.Error
	)
	switch {
	case h.Level == Refused && h.Refusal != nil:
		return h.Refusal
	case err == nil:
		return h.failure(tlsrpt.STARTTLSNotSupported, "", "4.7.4", "TLS is required, and the server does not offer STARTTLS", nil)
	case errors.As(err, &own):
		return own
	case errors.As(err, &reply):
		return h.failure(tlsrpt.STARTTLSNotSupported, startTLSRefused, "4.7.4", "the server refuses STARTTLS", bounded(err))
	}
	if reason := tlsrpt.Classify(err); reason.Type != "" {
		return h.failure(reason.Type, reason.ReasonCode, "4.7.5", "the TLS handshake failed", err)
	}
	return h.failure("", "", "4.4.2", "the connection failed", err)
}

// Failed is the error for a domain none of whose hosts could be used. It speaks
// for the most telling of the failures, one of policy before one of the network,
// and is permanent only when all of them are.
func (p *Plan) Failed(failures ...*Error) *Error {
	if len(failures) == 0 {
		return &Error{Domain: p.Domain, Status: "4.4.4", Detail: "no mail host is known"}
	}
	telling := slices.MaxFunc(failures, func(a, b *Error) int { return cmp.Compare(a.weight(), b.weight()) })
	e := &Error{
		Domain:    p.Domain,
		By:        telling.By,
		Reason:    telling.Reason,
		Code:      telling.Code,
		Status:    telling.Status,
		Permanent: !slices.ContainsFunc(failures, (*Error).Temporary),
		Detail:    "no mail host can be used",
		Err:       hostErrors(failures),
	}
	if !e.Permanent && telling.Permanent {
		e.Status = "4" + strings.TrimPrefix(e.Status, "5")
	}
	return e
}

// weight is how much a host's failure tells about the domain.
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
