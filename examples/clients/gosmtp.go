package clients

import (
	"context"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy/delivery"
)

// GoSMTP sends with github.com/emersion/go-smtp.
func GoSMTP(_ context.Context, session *delivery.Session, mail Mail) error {
	client := smtp.NewClient(session.NetConn())
	if err := client.Mail(mail.From, &smtp.MailOptions{RequireTLS: session.Plan.RequireTLS}); err != nil {
		return err
	}
	if err := client.Rcpt(mail.To, nil); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(mail.Message); err != nil {
		return err
	}
	return data.Close()
}
