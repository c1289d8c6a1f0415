package delivery

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/dsn"
)

// Bounce is an option for a session that carries a bounce or other mail with an
// empty return path. With RequireTLS, the session must be as RequireTLS demands, but
// the server may lack the extension REQUIRETLS (RFC 8689 section 5). It is the
// option of that name of package policy.
func Bounce() policy.Option { return policy.Bounce() }

// ErrNoBounce means that no report is due: the return path of the message is empty
// (RFC 3461 section 5.2), or none of the recipients has the Notify for it.
var ErrNoBounce = errors.New("delivery: no bounce is due")

// BounceReport is a bounce: a delivery status notification (RFC 3464) about recipients
// that will not get a message, or not yet, or of whom no other server will report that
// they got it. WriteTo writes it.
//
//	report := delivery.BounceReport{ReportingMTA: "mail.example.net", Mail: mail, Failed: failed.Undelivered}
//	_, err := report.WriteTo(file)
//
// It is sent to Mail.From, with an empty return path, and with RequireTLS if the
// message came with REQUIRETLS.
type BounceReport struct {
	// ReportingMTA is the domain name of the sending system, in A-labels. It is
	// required.
	ReportingMTA string
	// From is the mailbox of the person responsible for that system; empty means
	// postmaster at ReportingMTA.
	From string
	// Mail is the message that was not delivered. Its return path gets the
	// report. Recipients whose Notify lacks the event are left out, and Return says
	// how much of the message is returned.
	Mail Mail
	// Failed are the recipients that will not get the message, usually those of a
	// SendError whose error is permanent, and all of them when the caller gives
	// up.
	Failed []Undelivered
	// Delayed are the recipients that have waited for long and still may get the
	// message (RFC 3461 section 5.2.5). RetryUntil is when the caller gives up;
	// zero means unknown.
	Delayed    []Undelivered
	RetryUntil time.Time
	// Relayed are deliveries of the message. A report about a recipient with
	// NotifySuccess is due if the server does not offer DSN (RFC 3461 section
	// 5.2.2); other recipients and deliveries are left out.
	Relayed []Delivery
	// RequireTLS is true if the message came with REQUIRETLS. Only its header is
	// then returned (RFC 8689 section 5).
	RequireTLS bool
	// Arrival is when the message arrived; zero means unknown.
	Arrival time.Time
	// LastAttempt is when delivery was last tried; zero means unknown.
	LastAttempt time.Time
	// MaxSize is the size in octets of the largest message that is returned whole; 0
	// means no limit.
	MaxSize int64
}

// WriteTo writes the report as a message that is ready for Send. Its lines end in
// CRLF. It returns the number of octets written. The error is ErrNoBounce if no
// report is due. Nothing is written if a field is wrong.
func (r *BounceReport) WriteTo(w io.Writer) (int64, error) {
	path, err := parseReturnPath(r.Mail.From)
	if err != nil {
		return 0, badReturnPath(r.Mail.From, err)
	}
	report := dsn.Report{
		ReportingMTA: r.ReportingMTA,
		From:         r.From,
		To:           path.path,
		EnvelopeID:   r.Mail.EnvelopeID,
		Arrival:      r.Arrival,
		Recipients:   r.recipients(),
		Message:      r.Mail.Message,
		Size:         r.Mail.Size,
		Return:       dsn.Return(r.Mail.Return),
		MaxSize:      r.MaxSize,
		RequireTLS:   r.RequireTLS,
	}
	if report.To == "" || len(report.Recipients) == 0 {
		return 0, ErrNoBounce
	}
	n, err := report.WriteTo(w)
	var wrong *dsn.Error
	if errors.As(err, &wrong) {
		err = badReport(wrong)
	}
	return n, err
}

// recipients returns the recipients about whom a report is wanted (RFC 3461 sections
// 5.2.2 to 5.2.5).
func (r *BounceReport) recipients() []dsn.RecipientStatus {
	var all []dsn.RecipientStatus
	for _, failed := range r.Failed {
		all = append(all, r.about(failed.Recipients, NotifyFailure, undelivered(failed, dsn.Failed))...)
	}
	for _, delayed := range r.Delayed {
		status := undelivered(delayed, dsn.Delayed)
		status.RetryUntil = r.RetryUntil
		all = append(all, r.about(delayed.Recipients, NotifyDelay, status)...)
	}
	for _, delivery := range r.Relayed {
		if delivery.DSN {
			continue // the next server reports
		}
		all = append(all, r.about(delivery.Recipients, NotifySuccess, dsn.RecipientStatus{
			Action:    dsn.Relayed,
			RemoteMTA: delivery.Host.Name,
			Reply:     delivery.Reply.String(),
			Reason:    "the message was relayed to a server that sends no notifications",
		})...)
	}
	return all
}

func undelivered(u Undelivered, action dsn.Action) dsn.RecipientStatus {
	return dsn.RecipientStatus{
		Action:    action,
		Status:    u.Err.EnhancedCode(),
		RemoteMTA: u.Host,
		Reply:     u.Reply.String(),
		Reason:    strings.TrimPrefix(u.Err.Error(), "policy: "),
	}
}

// about returns a status for each recipient whose sender wants to know of an event. A
// sender who did not say when to report wants to know of failures and delays.
func (r *BounceReport) about(addresses []string, event Notify, status dsn.RecipientStatus) []dsn.RecipientStatus {
	var all []dsn.RecipientStatus
	for _, address := range addresses {
		var recipient Recipient
		if place := slices.IndexFunc(r.Mail.To, func(to Recipient) bool { return to.Address == address }); place >= 0 {
			recipient = r.Mail.To[place]
		}
		if cmp.Or(recipient.Notify, NotifyFailure|NotifyDelay)&event == 0 {
			continue
		}
		status.Final = dsn.Address{Mailbox: unbracketed(address)}
		status.Original = dsn.Address(recipient.Original)
		status.LastAttempt = r.LastAttempt
		all = append(all, status)
	}
	return all
}
