package policytest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// A test of two senders that use net/smtp. The domain has DANE, so no message may arrive
// in cleartext or at another server. The naive sender does not know that.
func Example_yourOwnSender() {
	for _, attack := range []struct {
		name  string
		fault policytest.Option
	}{
		{"no attack", policytest.NoFault},
		{"STARTTLS stripped", policytest.NoSTARTTLS},
		{"another server", policytest.Impostor},
	} {
		for _, sender := range []struct {
			name string
			send func(context.Context, *policytest.Internet) error
		}{
			{"naive", sendNaively},
			{"careful", sendByPlan},
		} {
			inet := policytest.New(nil) // in a test: policytest.New(t), which closes it
			inet.Domain("example.org").MX("mx.example.org")
			mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
			mx.Break(attack.fault)

			err := sender.send(context.Background(), inet)
			fmt.Printf("%s, %s sender: %d received, waits: %t\n", attack.name, sender.name, len(mx.Messages()), err != nil)
			inet.Close()
		}
	}
	// Output:
	// no attack, naive sender: 1 received, waits: false
	// no attack, careful sender: 1 received, waits: false
	// STARTTLS stripped, naive sender: 1 received, waits: false
	// STARTTLS stripped, careful sender: 0 received, waits: true
	// another server, naive sender: 1 received, waits: false
	// another server, careful sender: 0 received, waits: true
}

// sendNaively encrypts if the host offers it, without asking who it is. Only its
// dial function was replaced for the test.
func sendNaively(ctx context.Context, inet *policytest.Internet) error {
	conn, err := inet.Dial(ctx, "tcp", "mx.example.org:25")
	if err != nil {
		return err
	}
	return deliver(conn, &tls.Config{InsecureSkipVerify: true}, false)
}

// sendByPlan does what the policies of the domain demand. The configuration of the resolver
// was replaced for the test: policy.New(policy.Config{}) is for the real internet.
func sendByPlan(ctx context.Context, inet *policytest.Internet) error {
	resolver, err := policy.New(inet.Config())
	if err != nil {
		return err
	}
	defer resolver.Close()
	plan, err := resolver.Resolve(ctx, "example.org")
	if err != nil {
		return err
	}
	for _, host := range plan.Order() {
		var conn net.Conn
		if conn, err = host.DialContext(ctx, "tcp", host.Addr()); err != nil {
			continue
		}
		if err = deliver(conn, host.TLSConfig(), host.Level > policy.Opportunistic); err == nil {
			return nil
		}
	}
	return err
}

// deliver sends a message over the connection, and closes it.
func deliver(conn net.Conn, config *tls.Config, needsTLS bool) error {
	defer conn.Close()
	c, err := smtp.NewClient(conn, "mx.example.org")
	if err != nil {
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered {
		if err := c.StartTLS(config); err != nil { // with the TLSConfig of a plan, this verifies
			return err
		}
	} else if needsTLS {
		return errors.New("the host does not offer STARTTLS")
	}
	if err := c.Mail("a@example.net"); err != nil {
		return err
	}
	if err := c.Rcpt("b@example.org"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "Subject: hello\r\n\r\nhello\r\n")
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}
