package delivery

import (
	"crypto/tls"
	"errors"
	"net/smtp"
	"strings"

	"github.com/mxseal/mxseal/policy"
)

// Client is an SMTP session that meets a plan. Dialer.Dial returns it. It has all
// methods of smtp.Client and may begin a mail transaction at once. The field Client
// is for functions that take a *smtp.Client; its own Mail method does not send
// REQUIRETLS and is not for plans with RequireTLS.
//
// Dialer.IdleTimeout bounds each command with its reply and each block of a
// message. The octets of each reply are bounded too. Extension reports what the
// server offers in the session as it is, by keywords in upper case.
type Client struct {
	*smtp.Client
	// Host is the mail host at the other end.
	Host *policy.Host
	// Plan is the plan that the session meets.
	Plan *policy.Plan

	conn *guardedConn
}

// TLS returns the state of the TLS session, and false if the session is in
// cleartext, which only a host of level Opportunistic permits.
func (c *Client) TLS() (tls.ConnectionState, bool) { return c.TLSConnectionState() }

// Mail begins a mail transaction, as smtp.Client.Mail does. from is the return path
// without angle brackets, empty for a bounce. Under a plan with RequireTLS it
// sends REQUIRETLS (RFC 8689 section 2) and fails if the server did not offer it
// inside TLS. Only a bounce is then sent without it (RFC 8689 section 5), still in
// the verified session.
func (c *Client) Mail(from string) error {
	if !c.Plan.RequireTLS {
		return c.Client.Mail(from)
	}
	if strings.ContainsAny(from, "\r\n") {
		return errors.New("delivery: the return path contains CR or LF; remove them")
	}
	parameters := ""
	for _, extension := range []struct{ keyword, parameter string }{
		{"8BITMIME", " BODY=8BITMIME"}, {"SMTPUTF8", " SMTPUTF8"},
	} {
		if offered, _ := c.Extension(extension.keyword); offered {
			parameters += extension.parameter
		}
	}
	switch offered, _ := c.Extension("REQUIRETLS"); {
	case offered && c.encrypted():
		parameters += " REQUIRETLS"
	case from != "" || !c.encrypted():
		_, failure := c.Host.Attempted(policy.RequireTLSNotOffered, nil, nil)
		return failure
	}
	id, err := c.Text.Cmd("MAIL FROM:<%s>%s", from, parameters)
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	return err
}

func (c *Client) encrypted() bool {
	state, ok := c.TLS()
	return ok && state.HandshakeComplete
}

// Auth authenticates the sender, as smtp.Client.Auth does, if the server offers AUTH
// in the session as it is. smtp.Client also remembers what was offered before TLS,
// which must be discarded (RFC 3207 section 4.2).
func (c *Client) Auth(a smtp.Auth) error {
	if offered, _ := c.Extension("AUTH"); !offered {
		return errors.New("delivery: the server does not offer AUTH")
	}
	return c.Client.Auth(a)
}

// StartTLS always fails: Dial has started TLS if the server offers it, and a session
// has it only once (RFC 3207 section 4.2).
func (c *Client) StartTLS(*tls.Config) error {
	return errors.New("delivery: Dial has already started TLS if the server offers it")
}

// leave sends QUIT with a short timeout: nothing depends on the reply.
func (c *Client) leave() {
	c.conn.timeout = quitTimeout
	c.Quit()
	c.abort()
}

// abort closes the connection without QUIT.
func (c *Client) abort() { c.conn.Conn.Close() }
