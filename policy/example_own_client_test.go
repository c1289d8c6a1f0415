package policy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// An SMTP client of one's own, from a plan to a session that may carry mail: what
// Dialer.Dial does, but for the recheck of the policy and the second address.
func ExampleHost_Session() {
	inet := exampleInternet()
	defer inet.Close()
	resolver, err := policy.New(inet.Config())
	if err != nil {
		log.Fatal(err)
	}
	recorder := tlsrpt.RecorderFunc(func(s *tlsrpt.Session) {
		for _, outcome := range s.Outcomes {
			fmt.Println("recorded:", s.MXHost, outcome.Policy.Type, outcome.Failures)
		}
	})

	ctx := context.Background()
	plan, err := resolver.Resolve(ctx, "example.org")
	if err != nil {
		log.Fatal(err) // *policy.Error: its Reply and Status are for the SMTP client
	}
	var failures []*policy.Error
	for _, host := range plan.Order() {
		smtp, failure := ownSession(ctx, host, recorder)
		if failure != nil {
			failures = append(failures, failure) // the next host, or the mail waits
			continue
		}
		defer smtp.Close()
		fmt.Println("mail may go to", host.Name)
		return // MAIL, RCPT, DATA; with plan.RequireTLS only if REQUIRETLS is offered, and said
	}
	// Before mail that a policy holds up is given up: resolver.Recheck.
	log.Print(plan.Failed(failures...))
	// Output:
	// recorded: mx.example.org tlsa []
	// mail may go to mx.example.org
}

// ownSession returns an SMTP session with the host that meets the plan.
func ownSession(ctx context.Context, host *policy.Host, recorder tlsrpt.Recorder) (*textproto.Conn, *policy.Error) {
	record := func(state *tls.ConnectionState, err error) {
		if s := host.Session(state, err); len(s.Outcomes) > 0 {
			recorder.Record(&s) // fill in HELO, SendingIP and ReceivingIP before
		}
	}
	if host.Level == policy.Refused {
		record(nil, nil)
		return nil, host.Failure(nil)
	}
	conn, err := host.DialContext(ctx, "tcp", net.JoinHostPort(host.Name, strconv.Itoa(int(host.Port))))
	if err != nil {
		return nil, host.Failure(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	text := textproto.NewConn(conn)
	extensions, err := hello(text, true)
	if err != nil {
		text.Close()
		return nil, broken(host, err)
	}
	if !strings.Contains(extensions, "STARTTLS") {
		record(nil, nil)
		if host.Level == policy.Opportunistic {
			return text, nil // no policy asks for TLS
		}
		text.Close()
		return nil, host.Failure(nil)
	}
	if err := command(text, 220, "STARTTLS"); err == nil && text.R.Buffered() > 0 {
		err = errors.New("octets in clear behind the reply to STARTTLS") // CVE-2011-0411
		text.Close()
		return nil, host.Failure(err)
	} else if err != nil {
		record(nil, err)
		text.Close()
		return nil, host.Failure(err)
	}
	session := tls.Client(conn, host.TLSConfig()) // verifies inside the handshake
	err = session.HandshakeContext(ctx)
	state := session.ConnectionState()
	record(&state, err)
	if err != nil {
		text.Close()
		// At level Opportunistic: once more without TLS, over a new connection.
		return nil, host.Failure(err)
	}
	secured := textproto.NewConn(session)
	if _, err := hello(secured, false); err != nil { // what was said in clear is forgotten
		secured.Close()
		return nil, broken(host, err)
	}
	return secured, nil
}

// broken is for a host that does not speak SMTP with us, which is no matter of
// TLS. It is not the domain's answer: another host may have a better one.
func broken(host *policy.Host, err error) *policy.Error {
	return &policy.Error{Host: host.Name, Status: "4.4.2", Detail: "no SMTP session", Err: err}
}

// hello reads the greeting, if there is one to come, and says EHLO.
func hello(text *textproto.Conn, greeting bool) (extensions string, err error) {
	if greeting {
		if _, _, err := text.ReadResponse(220); err != nil {
			return "", err
		}
	}
	if err := text.PrintfLine("EHLO sender.example"); err != nil {
		return "", err
	}
	_, extensions, err = text.ReadResponse(250)
	return extensions, err
}

func command(text *textproto.Conn, code int, line string) error {
	if err := text.PrintfLine("%s", line); err != nil {
		return err
	}
	_, _, err := text.ReadResponse(code)
	return err
}
