package delivery

import (
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
// (RFC 3461 section 5.2), or no recipient wants a report of failure.
var ErrNoBounce = errors.New("delivery: no bounce is due")

// BounceReport is a bounce: a delivery status notification (RFC 3464) about recipients
// that will not get a message. WriteTo writes it.
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
	// From is the mailbox of the person responsible for that system; empty stands
	// for postmaster at ReportingMTA.
	From string
	// Mail is the message that was not delivered. Its return path gets the
	// report. Recipients with a Notify that lacks NotifyFailure are left out, and
	// Return says how much of the message is returned.
	Mail Mail
	// Failed are the recipients that will not get the message, usually those of a
	// SendError whose error is permanent, and all of them when the caller gives
	// up.
	Failed []Undelivered
	// RequireTLS is true if the message came with REQUIRETLS. Only its header is
	// then returned (RFC 8689 section 5).
	RequireTLS bool
	// Arrival is when the message arrived; zero is unknown.
	Arrival time.Time
	// LastAttempt is when delivery was last tried; zero is unknown.
	LastAttempt time.Time
	// MaxSize is the size of the largest message that is returned whole; 0 is no
	// limit.
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

// recipients returns those who failed and of whom a report is wanted (RFC 3461
// section 5.2.3).
func (r *BounceReport) recipients() []dsn.RecipientStatus {
	var all []dsn.RecipientStatus
	for _, failed := range r.Failed {
		for _, address := range failed.Recipients {
			status := dsn.RecipientStatus{
				Final:       dsn.Address{Mailbox: unbracketed(address)},
				Action:      dsn.Failed,
				Status:      failed.Err.EnhancedCode(),
				RemoteMTA:   failed.Host,
				Reply:       failed.Reply.String(),
				Reason:      strings.TrimPrefix(failed.Err.Error(), "policy: "),
				LastAttempt: r.LastAttempt,
			}
			place := slices.IndexFunc(r.Mail.To, func(to Recipient) bool { return to.Address == address })
			if place >= 0 {
				if notify := r.Mail.To[place].Notify; notify != 0 && notify&NotifyFailure == 0 {
					continue
				}
				status.Original = dsn.Address(r.Mail.To[place].Original)
			}
			all = append(all, status)
		}
	}
	return all
}
