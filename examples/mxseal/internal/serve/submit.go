package serve

import (
	"context"
	"net"
	"net/smtp"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

// submitter returns a function that gives the mail server a report, with an empty return path; nil if there is
// no address.
func submitter(at config.Address, localName string) func(ctx context.Context, to string, report []byte) error {
	if at == (config.Address{}) {
		return nil
	}
	network := "tcp"
	if at.Kind == "unix" {
		network = "unix"
	}
	return func(ctx context.Context, to string, report []byte) error {
		conn, err := new(net.Dialer).DialContext(ctx, network, at.Where)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		client, err := smtp.NewClient(conn, localName)
		if err != nil {
			conn.Close()
			return err
		}
		defer client.Close()
		return submit(client, localName, to, report)
	}
}

// submit sends a report over a connection.
func submit(client *smtp.Client, localName, to string, report []byte) error {
	for _, step := range []func() error{
		func() error { return client.Hello(localName) },
		func() error { return client.Mail("") },
		func() error { return client.Rcpt(to) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(report); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = client.Quit() // the report is taken
	return nil
}
