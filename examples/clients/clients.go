// Package clients shows how programs with an SMTP client of their own enforce DANE and
// MTA-STS: one page each for net/smtp, for github.com/emersion/go-smtp and for
// github.com/wneessen/go-mail. Take the loop of Send, and the page of your client.
package clients

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// Mail is a message for one recipient.
type Mail struct {
	From, To string // addresses
	Message  []byte // header and body
}

// Client sends a mail over a session that is ready for it: with TLS and logged in, if the
// plan demands that.
type Client func(ctx context.Context, session *delivery.Session, mail Mail) error

// Source has the sessions: a *delivery.Dialer, or a *delivery.Pool, which keeps them for the
// next mail.
type Source interface {
	Sessions(ctx context.Context, domain string, options ...policy.Option) iter.Seq2[*delivery.Session, error]
}

// Send sends a mail with any client. It tries the mail hosts of the recipient's domain in
// order, as long as the failure at one permits the next. The error is a *policy.Error. The
// mail returns to its sender if the error is permanent, and waits otherwise.
func Send(ctx context.Context, source Source, client Client, mail Mail, options ...policy.Option) error {
	at := strings.LastIndexByte(mail.To, '@') + 1
	for session, err := range source.Sessions(ctx, mail.To[at:], options...) {
		if err != nil {
			return err
		}
		mail.To = mail.To[:at] + session.Plan.Domain // in A-labels
		failure := session.Failure(client(ctx, session, mail))
		if failure == nil {
			return nil
		}
		if !failure.NextHost {
			return failure.Err
		}
	}
	return errors.New("not reached: the last round of the loop has an error")
}
