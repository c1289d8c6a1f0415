package policy

import (
	"crypto/tls"
	"errors"
	"net/smtp"
	"strings"
)

// Client is an SMTP session that meets a Plan, as Dialer.Dial returns it. It has
// all methods of smtp.Client, and may begin a mail transaction at once; where a
// *smtp.Client itself is needed, it is in the field Client. That one does not
// know REQUIRETLS: its own Mail method is not for plans with RequireTLS.
//
// Each command with its reply and each block of a message is bounded in time, by
// Dialer.IdleTimeout, and the octets of each reply are bounded too. Extensions
// are as smtp.Client knows them: those that the server offers in the session as
// it is, in upper case.
type Client struct {
	*smtp.Client
	// Host is the mail host at the other end.
	Host *Host
	// Plan is the plan that the session meets.
	Plan *Plan

	conn *guardedConn
}

// TLS returns the state of the TLS session, and false when the session is in
// clear, as only one with a host of level Opportunistic can be.
func (c *Client) TLS() (tls.ConnectionState, bool) { return c.TLSConnectionState() }

// Mail begins a mail transaction, as smtp.Client.Mail does; from is the return
// path without angle brackets, and empty for a bounce. Under a plan that
// requires TLS it says REQUIRETLS (RFC 8689 section 2), and fails when the
// server did not offer that inside TLS. Only a bounce then goes without it,
// since RFC 8689 section 5 does not want it lost; it still has the verified
// session.
func (c *Client) Mail(from string) error {
	if !c.Plan.RequireTLS {
		return c.Client.Mail(from)
	}
	if strings.ContainsAny(from, "\r\n") {
		return errors.New("policy: a return path must not contain CR or LF")
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
		return lacksRequireTLS(c.Host)
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

// Auth authenticates the sender, as smtp.Client.Auth does, if the server offers
// AUTH in the session as it is: smtp.Client remembers what was offered before
// TLS, which is to be forgotten (RFC 3207 section 4.2).
func (c *Client) Auth(a smtp.Auth) error {
	if offered, _ := c.Extension("AUTH"); !offered {
		return errors.New("policy: the server does not offer AUTH")
	}
	return c.Client.Auth(a)
}

// StartTLS always fails: Dial has started TLS where it could, and a session has
// it only once (RFC 3207 section 4.2).
func (c *Client) StartTLS(*tls.Config) error {
	return errors.New("policy: Dial has dealt with STARTTLS already")
}

// leave says QUIT, without patience: nothing depends on the answer.
func (c *Client) leave() {
	c.conn.timeout = quitTimeout
	c.Quit()
	c.abort()
}

// abort closes the connection without another word.
func (c *Client) abort() { c.conn.Conn.Close() }
