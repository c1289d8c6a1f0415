package clients

import (
	"context"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// SendToAll sends a message to recipients of any domains with github.com/emersion/go-smtp,
// once to each domain. It returns the errors of the recipients that did not get it.
func SendToAll(ctx context.Context, source Source, from string, to []string, message []byte, options ...policy.Option) map[string]error {
	domains := make(map[string][]string)
	for _, address := range to {
		domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
		domains[domain] = append(domains[domain], address)
	}
	failed := make(map[string]error)
	for domain, waiting := range domains {
		for session, err := range source.Sessions(ctx, domain, options...) {
			if err != nil {
				for _, address := range waiting {
					failed[address] = err
				}
				break
			}
			waiting = transaction(session, from, waiting, message, failed)
			if len(waiting) == 0 {
				break
			}
		}
	}
	return failed
}

// transaction sends a message to recipients of one domain in a session. It returns the
// recipients to try at the next host, and adds the errors of those for whom no other host is
// tried.
func transaction(session *delivery.Session, from string, to []string, message []byte, failed map[string]error) (next []string) {
	judge := func(err error, recipients ...string) {
		switch failure := session.Failure(err); {
		case failure == nil: // they have it
		case failure.NextHost:
			next = append(next, recipients...)
		default:
			for _, address := range recipients {
				failed[address] = failure.Err
			}
		}
	}
	client := smtp.NewClient(session.NetConn())
	if err := client.Mail(from, &smtp.MailOptions{RequireTLS: session.Plan.RequireTLS}); err != nil {
		judge(err, to...)
		return next
	}
	var accepted []string
	for _, address := range to {
		mailbox := address[:strings.LastIndexByte(address, '@')+1] + session.Plan.Domain // in A-labels
		if err := client.Rcpt(mailbox, nil); err != nil {
			judge(err, address)
			continue
		}
		accepted = append(accepted, address)
	}
	if len(accepted) > 0 {
		judge(write(client, message), accepted...)
	}
	return next
}

// write sends a message.
func write(client *smtp.Client, message []byte) error {
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(message); err != nil {
		return err
	}
	return data.Close()
}
