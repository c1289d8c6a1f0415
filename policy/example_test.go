package policy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/textproto"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// An SMTP client of your own, from a plan to a session that may carry mail.
// delivery.Dialer does the same, and also tries the other addresses of a host and
// looks up the policy again.
func ExampleHost_Attempted() {
	inet := policytest.New(nil)
	defer inet.Close()
	inet.Domain("example.org").MX("mx.example.org")
	inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
	resolver, err := policy.New(inet.Config()) // policy.Config{} on the real internet
	if err != nil {
		log.Fatal(err)
	}
	defer resolver.Close()
	recorder := tlsrpt.RecorderFunc(func(s *tlsrpt.Session) {
		for _, outcome := range s.Outcomes {
			fmt.Println("recorded:", s.MXHost, outcome.Policy.Type, outcome.Failures)
		}
	})

	ctx := context.Background()
	plan, err := resolver.Resolve(ctx, "example.org")
	if err != nil {
		log.Fatal(err) // *policy.Error: Code and EnhancedCode are for the SMTP reply
	}
	var failures []*policy.Error
	for _, host := range plan.Order() {
		client, step, err := connect(ctx, host)
		session, failure := host.Attempted(step, client.state, err)
		if len(session.Outcomes) > 0 {
			recorder.Record(&session) // fill in HELO, SendingIP and ReceivingIP before
		}
		if failure != nil {
			client.close()
			failures = append(failures, failure) // the next host, or the mail waits
			continue
		}
		defer client.close()
		fmt.Println("mail may go to", host.Name)
		return // MAIL, RCPT, DATA
	}
	// Before mail fails because of a policy: resolver.Recheck.
	log.Print(plan.Failed(failures...))
	// Output:
	// recorded: mx.example.org tlsa []
	// mail may go to mx.example.org
}

// client is an SMTP client with what Attempted needs.
type client struct {
	*textproto.Conn
	state *tls.ConnectionState
}

func (c *client) close() {
	if c.Conn != nil {
		c.Conn.Close()
	}
}

// connect returns the step where the attempt ended, and its error.
func connect(ctx context.Context, host *policy.Host) (*client, policy.Step, error) {
	c := new(client)
	conn, err := host.DialContext(ctx, "tcp", host.Addr()) // refuses a refused host
	if err != nil {
		return c, policy.NotConnected, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	c.Conn = textproto.NewConn(conn)
	if _, _, err := c.ReadResponse(220); err != nil {
		return c, policy.Greeting, err
	}
	extensions, err := c.command(250, "EHLO sender.example")
	if err != nil {
		return c, policy.EHLO, err
	}
	if !strings.Contains(extensions, "STARTTLS") {
		return c, policy.NotOffered, nil
	}
	var reply *textproto.Error
	if _, err := c.command(220, "STARTTLS"); errors.As(err, &reply) {
		return c, policy.StartTLSRefused, err
	} else if err == nil && c.R.Buffered() > 0 {
		return c, policy.Handshake, errors.New("cleartext after the reply to STARTTLS") // CVE-2011-0411
	} else if err != nil {
		return c, policy.Handshake, err
	}
	secured := tls.Client(conn, host.TLSConfig()) // verifies inside the handshake
	err = secured.HandshakeContext(ctx)
	state := secured.ConnectionState()
	c.state = &state
	if err != nil {
		return c, policy.Handshake, err
	}
	c.Conn = textproto.NewConn(secured)
	if _, err = c.command(250, "EHLO sender.example"); err != nil {
		return c, policy.EHLO, err
	}
	// With policy.RequireTLS: RequireTLSNotOffered unless this reply offers REQUIRETLS.
	return c, policy.Done, nil
}

func (c *client) command(code int, line string) (string, error) {
	if err := c.PrintfLine("%s", line); err != nil {
		return "", err
	}
	_, text, err := c.ReadResponse(code)
	return text, err
}
