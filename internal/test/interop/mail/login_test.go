package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

const (
	username = "user@relay.test"
	password = "a pässword, with=all"
)

// relays are smart hosts that take mail only after a login. Each is open at port 465,
// where TLS begins at once, and at port 587, where it begins by STARTTLS.
var relays = []struct {
	name, mechanism string
	// early means that AUTH is offered before TLS too.
	early bool
	// unsafe is why the relay must not get credentials, or empty.
	unsafe string
}{
	{name: "plain", mechanism: "plain"},
	{name: "login", mechanism: "login"},
	{name: "oauthbearer", mechanism: "oauthbearer"},
	{name: "xoauth2", mechanism: "xoauth2"},
	{name: "early", mechanism: "plain", early: true},
	{name: "impostor", mechanism: "plain", unsafe: "its certificate is its own"},
	{name: "clear", mechanism: "plain", early: true, unsafe: "it has no TLS"},
}

// A real Postfix takes mail after a login by each mechanism, at both ports (decision
// "Login"; AUTH-3, AUTH-5, AUTH-8, SUB-1, OAUTH-1). Wrong credentials are sent once, and
// the mail waits (AUTH-7, AUTH-11, AUTH-12, OAUTH-3). None are sent to a server that is not
// authenticated (AUTH-10, SUB-2, SUB-3, SUB-5, OAUTH-5).
func TestPostfixTakesMailAfterLogin(t *testing.T) {
	accounts := mailserver.StartDovecot(t, username, password)
	s := startRelays(t, accounts)
	valid, expired := accounts.Token(t, username, time.Now().Add(time.Hour)), accounts.Token(t, username, time.Now().Add(-time.Hour))
	want := 0
	for _, relay := range relays {
		right, wrong := password, "another password"
		token := strings.Contains(relay.mechanism, "oauth")
		if token {
			right, wrong = valid, expired
		}
		for _, port := range []string{"465", "587"} {
			t.Run(relay.name+" "+port, func(t *testing.T) {
				send := func(secret string, options ...policy.Option) error {
					smartHost := &delivery.SmartHost{Host: fmt.Sprintf("[%s.relay.test]:%s", relay.name, port), Username: username, Password: secret}
					if token {
						smartHost.Password, smartHost.Token = "", func(context.Context) (string, error) { return secret, nil }
					}
					return s.send(t, smartHost, relay.name+"-"+port+".example", options...)
				}
				if relay.unsafe != "" {
					for _, options := range [][]policy.Option{nil, {policy.TLSOptional()}, {policy.AtLeast(policy.Opportunistic)}} {
						checkWaits(t, send(right, options...), right)
					}
					const ready = 1 // a connection from the test whether it is ready
					if log := s.log(t, relay.name, port, ready+3, "disconnect from"); strings.Contains(log, "auth=") {
						t.Errorf("AUTH was sent, although %s:\n%s", relay.unsafe, log)
					}
					return
				}
				err := send(wrong)
				checkWaits(t, err, wrong)
				if err == nil || !strings.Contains(err.Error(), "535") {
					t.Errorf("not what the server replied: %v", err)
				}
				if err := send(right); err != nil {
					t.Fatal(err)
				}
				want++
				expectMessage(t, s.postfix, relay.name+"-"+port+".example")
				log := s.log(t, relay.name, port, 1, "auth=1 ")
				if strings.Count(log, "auth=0/1") != 1 {
					t.Errorf("wrong credentials were not sent once:\n%s", log)
				}
				if !strings.Contains(log, "sasl_method="+strings.ToUpper(relay.mechanism)+", sasl_username="+username) {
					t.Errorf("no login by %s:\n%s", relay.mechanism, log)
				}
			})
		}
	}
	if messages := s.postfix.Messages(t); len(messages) != want {
		t.Errorf("%d messages in the mailbox, want %d", len(messages), want)
	}
}

// checkWaits checks that a failure is temporary, and does not have the credentials.
func checkWaits(t *testing.T, err error, secret string) {
	t.Helper()
	var failure *policy.Error
	if !errors.As(err, &failure) || failure.Permanent || strings.Contains(err.Error(), secret) {
		t.Errorf("the mail does not wait, or the error has the credentials: %v", err)
	}
}

// submission is a Postfix that is all relays.
type submission struct {
	postfix  *mailserver.Postfix
	resolver *policy.Resolver
}

// startRelays starts the relays. At port 465, DANE authenticates them, and at port 587
// the web PKI.
func startRelays(t *testing.T, accounts *mailserver.Accounts) *submission {
	t.Helper()
	inet := policytest.New(t)
	domain := inet.Domain("relay.test")
	var entrances []mailserver.Entrance
	for i, relay := range relays {
		name := relay.name + ".relay.test"
		domain.Add(fmt.Sprintf("%s A 203.0.113.%d", relay.name, i+1))
		own := mailserver.NewServer(t, nil, name)
		if relay.unsafe == "" {
			domain.Add(fmt.Sprintf("_465._tcp.%s TLSA 3 1 1 %s", relay.name, own.TLSAKey()))
		}
		for _, port := range []string{"465", "587"} {
			e := mailserver.Entrance{Addr: address(relay.name, port), Accounts: accounts, Mechanism: relay.mechanism, InClear: relay.early}
			switch {
			case relay.name == "clear":
			case relay.name == "impostor", port == "465":
				e.Chain, e.Implicit = own.File(t), port == "465"
			default:
				e.Chain = mailserver.ChainFile(t, inet.IssueCertificate(name))
			}
			entrances = append(entrances, e)
		}
	}
	s := &submission{postfix: mailserver.StartPostfix(t, entrances)}
	config := inet.Config()
	config.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		port, ok := s.postfix.Ports[addr]
		if !ok {
			return nil, fmt.Errorf("nothing is at %s", addr)
		}
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	var err error
	if s.resolver, err = policy.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.resolver.Close() })
	return s
}

// address returns where a relay is in the DNS.
func address(name, port string) string {
	for i, relay := range relays {
		if relay.name == name {
			return net.JoinHostPort(fmt.Sprint("203.0.113.", i+1), port)
		}
	}
	panic("no relay " + name)
}

// send sends the message to a domain through a smart host.
func (s *submission) send(t *testing.T, smartHost *delivery.SmartHost, domain string, options ...policy.Option) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dialer := &delivery.Dialer{Resolver: s.resolver, LocalName: "sender.example", SmartHost: smartHost}
	return dialer.SendMail(ctx, "sender@sender.example", []string{"postmaster@" + domain}, []byte(message(domain)), options...)
}

// log returns the log of a relay when it has this number of lines with some words.
func (s *submission) log(t *testing.T, name, port string, lines int, words string) string {
	t.Helper()
	relay := "/" + address(name, port) + "/"
	await.Until(t, fmt.Sprintf("the log of %s has %d lines with %q", name, lines, words), func() bool {
		return len(s.postfix.LogLines(relay, words)) >= lines
	})
	return strings.Join(s.postfix.LogLines(relay), "\n")
}
