package login

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Credentials are those of the sender.
type Credentials struct {
	// Username is the authentication identity.
	Username string
	// Password is for PLAIN and LOGIN.
	Password string
	// Token is for OAUTHBEARER and XOAUTH2, which are used instead if it is not empty.
	Token string
	// Host and Port are the server's, which OAUTHBEARER names (RFC 7628 section 3.1).
	Host string
	Port uint16
}

// These errors are not a server's refusal.
var (
	// ErrNoMechanism means that the server offers no mechanism for the credentials.
	ErrNoMechanism = errors.New("the server offers no mechanism of AUTH for these credentials")
	// ErrChallenge means that the server does not keep to the mechanism.
	ErrChallenge = errors.New("the server's challenge does not belong to the mechanism of AUTH")
	// ErrCredentials means that the credentials cannot be sent.
	ErrCredentials = errors.New("the credentials cannot be sent: they are empty, too long, or have a character that the mechanism does not permit")
)

const (
	// maxInitial bounds the command with the initial response (RFC 4954 section 4, RFC
	// 5321 section 4.5.3.1.4).
	maxInitial = 512 - len("\r\n")
	// maxResponse bounds a response (RFC 4954 section 4).
	maxResponse = 12288 - len("\r\n")
	// maxChallenge bounds a challenge: those of these mechanisms are short.
	maxChallenge = 2 << 10
)

// mechanism is a SASL mechanism as a list of responses: each follows a challenge.
type mechanism struct {
	name string
	// responses are in order. The first is sent with the command if initial is true.
	responses []string
	initial   bool
	// failed is the response to a challenge that tells of a failure (RFC 7628 section
	// 3.2.3); nil if the mechanism has none.
	failed *string
}

// mechanisms returns the mechanisms for the credentials, the best first.
func (c Credentials) mechanisms() []mechanism {
	if c.Token == "" {
		return []mechanism{
			{name: "PLAIN", initial: true, responses: []string{"\x00" + c.Username + "\x00" + c.Password}},
			{name: "LOGIN", responses: []string{c.Username, c.Password}},
		}
	}
	kvsep, empty := "\x01", ""
	escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.Username)
	return []mechanism{
		{name: "OAUTHBEARER", initial: true, failed: &kvsep, responses: []string{
			fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", escaped, c.Host, c.Port, c.Token),
		}},
		{name: "XOAUTH2", initial: true, failed: &empty, responses: []string{
			"user=" + c.Username + "\x01auth=Bearer " + c.Token + "\x01\x01",
		}},
	}
}

// Login authenticates in a session. offered are the parameters of AUTH in the server's
// reply to EHLO. A reply of refusal is returned as a *textproto.Error; it does not
// repeat the credentials, whatever the server says. After any other error, the state
// of the session is not known.
func Login(conn *wire.Conn, timeout time.Duration, offered string, credentials Credentials) error {
	names := strings.Fields(strings.ToUpper(offered))
	for _, m := range credentials.mechanisms() {
		if slices.Contains(names, m.name) {
			if !credentials.sendable(m) {
				return ErrCredentials
			}
			return m.exchange(conn, timeout, credentials)
		}
	}
	return ErrNoMechanism
}

// sendable reports whether the credentials are short enough, and free of the octets
// that separate them in the mechanism.
func (c Credentials) sendable(m mechanism) bool {
	for _, response := range m.responses {
		if base64.StdEncoding.EncodedLen(len(response)) > maxResponse {
			return false
		}
	}
	return c.Username != "" && !strings.ContainsAny(c.Username+c.Password+c.Token, "\x00\x01")
}

// exchange sends the responses.
func (m mechanism) exchange(conn *wire.Conn, timeout time.Duration, secret Credentials) error {
	command, responses := "AUTH "+m.name, m.responses
	if initial := encoded(responses[0]); m.initial && len(command)+len(" ")+len(initial) <= maxInitial {
		command += " " + initial
		responses = responses[1:]
	}
	failed := m.failed
	for {
		reply, err := conn.Command(timeout, command)
		switch {
		case err != nil:
			return err
		case reply.Code == 235 && len(responses) == 0:
			return nil
		case reply.Code != 334:
			return secret.refusal(reply)
		case !isChallenge(reply):
			return abandon(conn, timeout)
		case len(responses) > 0:
			command, responses = encoded(responses[0]), responses[1:]
		case failed != nil:
			command, failed = encoded(*failed), nil
		default:
			return abandon(conn, timeout)
		}
	}
}

// isChallenge reports whether a reply is one line of base64.
func isChallenge(reply wire.Reply) bool {
	if len(reply.Lines) != 1 || len(reply.Lines[0]) > maxChallenge {
		return false
	}
	_, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(reply.Lines[0]))
	return err == nil
}

// abandon ends an exchange (RFC 4954 section 4).
func abandon(conn *wire.Conn, timeout time.Duration) error {
	if _, err := conn.Command(timeout, "*"); err != nil {
		return err
	}
	return ErrChallenge
}

// encoded returns a response in base64.
func encoded(response string) string { return base64.StdEncoding.EncodeToString([]byte(response)) }

// refusal returns a reply as an error, without its text if that repeats a secret.
func (c Credentials) refusal(reply wire.Reply) error {
	secrets := []string{c.Password, c.Token, encoded(c.Password), encoded(c.Token)}
	for _, m := range c.mechanisms() {
		if m.name != "LOGIN" { // whose responses are the username and the password
			secrets = append(secrets, encoded(m.responses[0]))
		}
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(reply.Text(), secret) {
			return &textproto.Error{Code: reply.Code, Msg: "(the text repeats the credentials)"}
		}
	}
	return reply.Err()
}
