package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/login"
)

// SmartHost is a relay that takes mail for all domains. With credentials, the session
// must be authenticated for the name of the relay, by its TLSA records at the port in
// use or by the web PKI. The credentials are sent after that only, inside TLS, and to
// no other host.
//
// A failed login is temporary, even if the server calls it permanent: the mail waits
// until the credentials are right.
type SmartHost struct {
	// Host is the relay in the syntax of policy.Via. With credentials it is a host or
	// an address in brackets, such as "[smtp.example.net]:587". TLS begins at once at
	// port 465 (RFC 8314 section 3), and by STARTTLS at any other.
	Host string

	// Username is the account; empty means that the relay needs no login.
	Username string
	// Password is used with the mechanisms PLAIN and LOGIN, whichever the server offers
	// first in this order.
	Password string
	// Token returns an access token for each login, for OAUTHBEARER (RFC 7628) and
	// XOAUTH2. It is used instead of Password. It must be safe for concurrent use, and
	// return when ctx ends. nil means that Password is used.
	Token func(ctx context.Context) (string, error)
}

// options adds what the smart host demands of a plan to the options of a call.
func (s *SmartHost) options(given []policy.Option) ([]policy.Option, error) {
	switch {
	case s == nil:
		return given, nil
	case s.Host == "":
		return nil, errors.New("SmartHost has no Host; set it to the name of the relay")
	case s.Username == "" && (s.Password != "" || s.Token != nil):
		return nil, errors.New("SmartHost has a password or token and no Username; set it")
	case s.Username != "" && s.Password == "" && s.Token == nil:
		return nil, errors.New("SmartHost has a Username and neither Password nor Token; set one")
	case s.Username != "":
		given = append(slices.Clip(given), policy.Login())
	}
	return append(slices.Clip(given), policy.Via(s.Host)), nil
}

// login sends the credentials in the session of a conversation. The plan has only the
// host that the operator named.
func (w *walk) login(ctx context.Context, talk *conversation.Conversation) *policy.Error {
	err := w.dialer.SmartHost.login(ctx, w.plan, talk)
	if err == nil {
		return nil
	}
	var refusal *textproto.Error
	if errors.As(err, &refusal) && refusal.Code/100 == 5 {
		// The server's other addresses have the same accounts, and lock them.
		w.targets = nil
	}
	talk.Last.Alive = refusal != nil && refusal.Code != 421 || errors.Is(err, login.ErrNoMechanism) || errors.Is(err, login.ErrCredentials)
	return notLoggedIn(talk.Host, w.plan.Domain, err)
}

// login proves once more that the session is the one that the credentials are for, and
// sends them.
func (s *SmartHost) login(ctx context.Context, plan *policy.Plan, talk *conversation.Conversation) error {
	if s == nil || s.Username == "" {
		return errors.New("the plan is for a login, and Dialer.SmartHost has no credentials; set them")
	}
	state, encrypted := talk.Conn.TLS()
	if !plan.Login || talk.Host.Level < policy.Authenticated || !encrypted || !talk.InTLS {
		return errors.New("the session is not authenticated")
	}
	if err := talk.Host.Verify(state); err != nil {
		return err
	}
	credentials := login.Credentials{Username: s.Username, Password: s.Password, Host: talk.Host.Name, Port: talk.Host.Port}
	if s.Token != nil {
		token, err := s.Token(ctx)
		if err != nil {
			return err
		}
		if token == "" {
			return fmt.Errorf("%w: SmartHost.Token returned an empty token", login.ErrCredentials)
		}
		credentials.Password, credentials.Token = "", token
	}
	return login.Login(talk.Conn, talk.Timeouts.Command, talk.Hello.Extensions()["AUTH"], credentials)
}
