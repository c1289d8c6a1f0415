package delivery

import (
	"errors"
	"fmt"
	"io"

	"github.com/mxseal/mxseal/policy"
)

// This file has the text, status and permanence of the failures that package
// policy does not know: of the message, of addresses and of the Dialer.

// ErrNoRecipients means that a message has no recipients.
var ErrNoRecipients = errors.New("delivery: the message has no recipients; give at least one")

// ErrExpired means that a plan must no longer be used: the records, signatures or policies
// that it was made from have expired.
var ErrExpired = errors.New("the plan has expired")

var errNoSmartHost = errors.New("DialHost is for the mail hosts of recipients; use Dial, Sessions or Send with a smart host")

var errNoResolver = errors.New("delivery: Dialer.Resolver is nil; set it to the Resolver that policy.New returns")

var errNoDialer = errors.New("delivery: Pool.Dialer is nil; set it")

func poolClosed(domain string) *policy.Error {
	return &policy.Error{Domain: domain, Status: "4.3.2", Detail: "not tried: the Pool is closed", Err: ErrPoolClosed}
}

func tooManyInPool(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Status: "4.4.5",
		Detail: "not tried: Pool.MaxSessions are under way",
	}
}

func badReturnPath(from string, err error) *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 553, Status: "5.1.7", Detail: "the return path " + from + " is not an address", Err: err}
}

func badRecipient(address string, err error) *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 553, Status: "5.1.3", Detail: "the recipient " + address + " is not an address", Err: err}
}

func bareCR() *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 554, Status: "5.6.0", Detail: "the message has a CR without LF, which must not be sent"}
}

// unreadable is a failure of the sender, and not of a server.
func unreadable(err error) *policy.Error {
	return &policy.Error{Status: "4.3.0", Detail: "the message cannot be read", Err: err}
}

func badParameter(err error) *policy.Error {
	return &policy.Error{Permanent: true, ReplyCode: 501, Status: "5.5.4", Detail: "a parameter for delivery status notifications is malformed", Err: err}
}

func badReport(err error) error { return fmt.Errorf("delivery: the bounce cannot be written: %w", err) }

// shortcoming is what a server lacks for a message or a recipient, by its reply to
// EHLO.
type shortcoming struct {
	code   int
	status string
	detail string
	err    error
	// final means that the server's answer is the domain's, like a 5yz reply.
	// Otherwise another host may have what this one lacks.
	final bool
}

var (
	// RFC 6531 section 3.5 has these reply codes.
	lacksUTF8ForRecipient = shortcoming{code: 553, status: "5.6.7", detail: "the recipient's address is not ASCII, and the server does not support SMTPUTF8"}
	lacksUTF8ForSender    = shortcoming{code: 550, status: "5.6.7", detail: "the return path is not ASCII, and the server does not support SMTPUTF8"}
	lacksUTF8ForHeader    = shortcoming{code: 554, status: "5.6.7", detail: "the header is not ASCII, and the server does not support SMTPUTF8; use encoded words"}
	lacks8BITMIME         = shortcoming{code: 554, status: "5.6.3", detail: "the message has 8-bit text, and the server does not support 8BITMIME; encode the text or set Mail.Convert8Bit"}
)

// notConverted is an 8-bit message that has no 7-bit form.
func notConverted(err error) *shortcoming {
	return &shortcoming{code: 554, status: "5.6.3", detail: "the message cannot be converted for a server without 8BITMIME", err: err}
}

// tooLarge is what RFC 1870 sections 6.2 and 7 have a client do with a message that is
// larger than the server's limit.
func tooLarge(size int64, most uint64) *shortcoming {
	return &shortcoming{
		code: 552, status: "5.3.4", final: true,
		detail: fmt.Sprintf("the message has %d octets, and the server accepts at most %d", size, most),
	}
}

// failure returns the error for a host.
func (s *shortcoming) failure(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By,
		Permanent: true, ReplyCode: s.code, Status: s.status, Detail: s.detail, Err: s.err,
	}
}

func tooManyDeliveries(domain string) *policy.Error {
	return &policy.Error{Domain: domain, Status: "4.4.5", Detail: "not tried: Dialer.MaxPerDomain deliveries to the domain are under way"}
}

func tooManySessions(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Status: "4.4.5",
		Detail: "not tried: Dialer.MaxPerHost sessions with the host are under way",
	}
}

// shareIsOver means that a host took more than its part of the time for the domain.
func shareIsOver(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Status: "4.4.1",
		Detail: "given up: the host took its share of the time for the domain",
	}
}

func tooManyConnections(plan *policy.Plan, host *policy.Host) *policy.Error {
	return &policy.Error{
		Domain: plan.Domain, Host: host.Name, By: host.By, Status: "4.4.1",
		Detail: "not tried: Dialer.MaxConnections for the domain is reached",
	}
}

// ended means that the session ended between two transactions.
func (s *channel) ended() *policy.Error {
	return s.host.Replied("the session ended between two transactions", io.ErrUnexpectedEOF)
}

func notInPlan(plan *policy.Plan, host string) *policy.Error {
	return &policy.Error{Domain: plan.Domain, Host: host, Status: "4.4.4", Detail: "not tried: the plan of the domain does not have the host"}
}

func expired(plan *policy.Plan, host string) *policy.Error {
	return &policy.Error{Domain: plan.Domain, Host: host, Status: "4.4.4", Detail: "not tried; resolve the domain again", Err: ErrExpired}
}

// outcomeUnknown is the text for a session that ended between the first octet of a
// message and the reply.
const outcomeUnknown = "the session ended in the message, and the server may or may not have it"

func interrupted(domain string, err error) *policy.Error {
	return &policy.Error{Domain: domain, Status: "4.4.7", Detail: "interrupted", Err: err}
}

// asError returns err as a *policy.Error, which errors of Resolve and Dial are
// unless the Dialer has no Resolver.
func asError(domain string, err error) *policy.Error {
	if own, ok := err.(*policy.Error); ok {
		return own
	}
	return &policy.Error{Domain: domain, Status: "4.3.5", Detail: "the Dialer or Pool is not usable", Err: err}
}

// smartHostFailed is about the Dialer's smart host before any connection to it.
func smartHostFailed(domain string, err error) *policy.Error {
	return &policy.Error{Domain: domain, By: policy.ByOperator, Status: "4.3.5", Detail: "Dialer.SmartHost is not usable", Err: err}
}

// notLoggedIn is a failed login. It is temporary even after 535, because it is the
// operator who changes the credentials, and not the mail's sender.
func notLoggedIn(host *policy.Host, domain string, err error) *policy.Error {
	return &policy.Error{
		Domain: domain, Host: host.Name, By: policy.ByOperator, Status: "4.7.8",
		Detail: "the login at the smart host failed; check the credentials in Dialer.SmartHost", Err: err,
	}
}
