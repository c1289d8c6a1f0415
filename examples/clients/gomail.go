package clients

import (
	"bytes"
	"context"
	"net"

	gomail "github.com/wneessen/go-mail"

	"github.com/mxseal/mxseal/policy/delivery"
)

// GoMail sends with github.com/wneessen/go-mail. It switches off the client's TLS, because
// the session has its own. The client cannot send the parameter REQUIRETLS: under
// policy.RequireTLS, the mail waits.
func GoMail(ctx context.Context, session *delivery.Session, mail Mail) error {
	message, err := gomail.EMLToMsgFromReader(bytes.NewReader(mail.Message))
	if err != nil {
		return err
	}
	if err := message.EnvelopeFrom(mail.From); err != nil {
		return err
	}
	if err := message.To(mail.To); err != nil {
		return err
	}
	client, err := gomail.NewClient(session.Host.Name, gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) {
			return session.NetConn(), nil
		}))
	if err != nil {
		return err
	}
	return client.DialAndSendWithContext(ctx, message)
}
