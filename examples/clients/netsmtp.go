package clients

import (
	"context"
	"net/smtp"

	"github.com/mxseal/mxseal/policy/delivery"
)

// NetSMTP sends with net/smtp. The client cannot send the parameter REQUIRETLS: under
// policy.RequireTLS, the mail waits.
func NetSMTP(_ context.Context, session *delivery.Session, mail Mail) error {
	client, err := smtp.NewClient(session.NetConn(), session.Host.Name)
	if err != nil {
		return err
	}
	if err := client.Mail(mail.From); err != nil {
		return err
	}
	if err := client.Rcpt(mail.To); err != nil {
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
