package delivery

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/smtp"
	"net/textproto"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
)

// Client is an SMTP session that meets a plan. Dialer.Dial returns it. It has all
// methods of smtp.Client and may begin a mail transaction at once. The field Client
// is for functions that take a *smtp.Client; its own Mail method does not send
// REQUIRETLS, so that it fails under a plan with RequireTLS, and it does not see the
// TLS session, which the methods of Client do.
//
// Dialer.IdleTimeout bounds each command with its reply and each block of a
// message. The octets of each reply are bounded too. Extension reports what the
// server offers in the session as it is, in any case.
//
// A Client is for one goroutine at a time.
type Client struct {
	*smtp.Client
	// Host is the mail host at the other end.
	Host *policy.Host
	// Plan is the plan that the session meets.
	Plan *policy.Plan

	session *Session
}

// client returns the next session as a Client.
func (w *walk) client(ctx context.Context) (*Client, error) {
	session, err := w.session(ctx, w.end)
	if err != nil {
		return nil, err
	}
	client, err := smtp.NewClient(session.NetConn(), session.Host.Name)
	if err == nil {
		err = client.Hello(session.localName)
	}
	if err != nil {
		session.Close()
		return nil, asError(w.plan.Domain, err)
	}
	return &Client{Client: client, Host: session.Host, Plan: w.plan, session: session}, nil
}

// Quit says QUIT and ends the session, even if the server does not answer. The error
// is that of smtp.Client.Quit.
func (c *Client) Quit() error {
	defer c.Close()
	return c.Client.Quit()
}

// TLS returns the state of the TLS session, and false if the session is in
// cleartext, which only a host of level Opportunistic permits.
func (c *Client) TLS() (tls.ConnectionState, bool) { return c.session.TLS() }

// TLSConnectionState is TLS, under the name of smtp.Client.
func (c *Client) TLSConnectionState() (tls.ConnectionState, bool) { return c.session.TLS() }

// Extension reports whether the server offers an extension in the session as it
// is, and with which parameters. The keyword may be in any case.
func (c *Client) Extension(keyword string) (bool, string) { return c.session.Extension(keyword) }

// Mail begins a mail transaction, as smtp.Client.Mail does. from is the return path
// without angle brackets, empty for a bounce. Under a plan with RequireTLS it
// sends REQUIRETLS (RFC 8689 section 2) and fails if the server did not offer it
// inside TLS. Only a bounce is then sent without it (RFC 8689 section 5), still in
// the verified session. SMTPUTF8 is requested only for a return path that is not
// ASCII (RFC 6531 section 3.4).
func (c *Client) Mail(from string) error {
	command := "MAIL FROM:<" + from + ">"
	if c.session.offers.Has("8BITMIME") {
		command += " BODY=8BITMIME"
	}
	if !names.IsASCII(from) {
		command += " SMTPUTF8"
	}
	if c.Plan.RequireTLS {
		_, encrypted := c.TLS()
		switch {
		case encrypted && c.session.offers.Has("REQUIRETLS"):
			command += " REQUIRETLS"
		case from != "" || !encrypted:
			_, failure := c.Host.Attempted(policy.RequireTLSNotOffered, nil, nil)
			return failure
		}
	}
	return c.command(command, 2)
}

// command sends a command. A reply means success if its code is success, or begins with it.
func (c *Client) command(command string, success int) error {
	if strings.ContainsAny(command, "\r\n") {
		return errors.New("delivery: the command contains CR or LF; remove them")
	}
	id, err := c.Text.Cmd("%s", command)
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, _, err = c.Text.ReadResponse(success)
	return err
}

// Auth authenticates the sender, as smtp.Client.Auth does, if the server offers AUTH
// in the session as it is. What it offered before TLS is discarded (RFC 3207
// section 4.2). A session below level Authenticated gets no credentials, because it may
// be with anyone, nor does a host that a forged MX record may have named: see
// policy.Host.RouteAuthenticated. Dialer.SmartHost is for servers that need a login.
func (c *Client) Auth(a smtp.Auth) error {
	mechanisms, ok := c.session.offers["AUTH"]
	if !ok {
		return errors.New("delivery: the server does not offer AUTH")
	}
	_, encrypted := c.TLS()
	switch {
	case !encrypted || c.Host.Level < policy.Authenticated:
		return errors.New("delivery: the session is not authenticated; use Dialer.SmartHost, or policy.Via and policy.AtLeast(policy.Authenticated)")
	case !c.Host.RouteAuthenticated:
		return errors.New("delivery: a forged MX record may have named the host; use Dialer.SmartHost, or policy.Via with the host in brackets")
	}
	mechanism, response, err := a.Start(&smtp.ServerInfo{Name: c.Host.Name, TLS: encrypted, Auth: strings.Fields(mechanisms)})
	if err != nil {
		return err
	}
	command := "AUTH " + mechanism
	switch {
	case response == nil:
	case len(response) == 0:
		command += " ="
	default:
		command += " " + base64.StdEncoding.EncodeToString(response)
	}
	for {
		err := c.command(command, 235)
		var reply *textproto.Error
		if !errors.As(err, &reply) || reply.Code != 334 {
			return err
		}
		challenge, err := base64.StdEncoding.DecodeString(reply.Msg)
		if err == nil {
			response, err = a.Next(challenge, true)
		}
		if err != nil {
			c.command("*", 501)
			return err
		}
		command = base64.StdEncoding.EncodeToString(response)
	}
}

// StartTLS always fails: Dial has started TLS if the server offers it, and a session
// has it only once (RFC 3207 section 4.2).
func (c *Client) StartTLS(*tls.Config) error {
	return errors.New("delivery: Dial has already started TLS if the server offers it")
}
