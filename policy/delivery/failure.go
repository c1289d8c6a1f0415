package delivery

import (
	"errors"
	"io"
	"net/textproto"
	"strings"

	"github.com/mxseal/mxseal/policy"
)

// This file has the text, status and permanence of the failures that package
// policy does not know: of the message, of addresses and of the Dialer.

var (
	errNoResolver = errors.New("delivery: Dialer.Resolver is nil; set it to the Resolver that policy.New returns")
)

func badReturnPath(from string, err error) *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 553, Status: "5.1.7", Detail: "the return path " + from + " is not an address", Err: err}
}

func badRecipient(address string, err error) *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 553, Status: "5.1.3", Detail: "the recipient " + address + " is not an address", Err: err}
}

func bareCR() *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 554, Status: "5.6.0", Detail: "the message has a CR without LF, which must not be sent"}
}

// lacksUTF8 is RFC 6531 section 3.5 for a message that cannot be sent on.
func lacksUTF8(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Permanent: true, ReplyCode: 553, Status: "5.6.7",
		Detail: "an address is not ASCII, and the server does not support SMTPUTF8",
	}
}

func tooManyConnections(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Status: "4.4.1",
		Detail: "not tried: Dialer.MaxConnections for the domain is reached",
	}
}

// ended means that the session ended between two transactions.
func (s *session) ended() *policy.Error {
	return s.host.Replied("the session ended between two transactions", io.ErrUnexpectedEOF)
}

// final makes a failure permanent: by a 521 reply (RFC 7504 section 3), or because
// the server lacks what RequireTLS demands (RFC 8689 section 4.2.1).
func final(failure *policy.Error, err error) *policy.Error {
	changed := *failure
	changed.Permanent, changed.Status = true, "5.7.10"
	var reply *textproto.Error
	if errors.As(err, &reply) {
		changed.ReplyCode, changed.Status = reply.Code, "5.3.2"
	}
	return &changed
}

// postponed makes the failure for a permanent reply temporary.
func postponed(failure *policy.Error) *policy.Error {
	changed := *failure
	changed.Permanent, changed.ReplyCode = false, 0
	changed.Status = "4" + strings.TrimPrefix(failure.Status, "5")
	return &changed
}

// noReplyToSTARTTLS means that the server stopped speaking SMTP.
func noReplyToSTARTTLS(host *policy.Host, err error) *policy.Error {
	return host.Replied("the server does not answer STARTTLS by an SMTP reply", err)
}

func interrupted(domain string, err error) *policy.Error {
	return &policy.Error{Domain: domain, Status: "4.4.7", Detail: "interrupted", Err: err}
}

// asError returns err as a *policy.Error, which errors of Resolve and Dial are
// unless the Dialer has no Resolver.
func asError(domain string, err error) *policy.Error {
	if own, ok := err.(*policy.Error); ok {
		return own
	}
	return &policy.Error{Domain: domain, Status: "4.3.5", Detail: "the Dialer is not usable", Err: err}
}
