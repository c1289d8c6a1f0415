package delivery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// SMTP-25: a server that refuses a message before its end and closes the connection has
// refused it. Other replies before the end do not count. The connections are TCP, because
// net.Pipe does not keep what a peer wrote before it closed.
func TestRefusedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"552 5.3.4 too big\r\n":               "permanent 5.3.4",
		"552-\r\n552\r\n":                     "permanent 5.0.0",
		"451 4.3.0 later\r\n":                 "temporary 4.3.0",
		"421 4.3.2 bye\r\n":                   "temporary 4.3.2",
		"530 5.7.0 STARTTLS first\r\n":        "temporary 4.7.0",
		"250 2.0.0 taken\r\n":                 "unknown 4.4.2",
		"354 go\r\n":                          "unknown 4.4.2",
		"what?\r\n":                           "unknown 4.4.2",
		"552":                                 "unknown 4.4.2",
		"552-5.3.4 too big\r\n":               "unknown 4.4.2",
		"":                                    "unknown 4.4.2",
		"554 " + strings.Repeat("x", 70<<10):  "unknown 4.4.2",
		"550 5.7.1 no\r\n250 2.0.0 taken\r\n": "permanent 5.7.1",
		"421-4.3.2 a\r\n421 4.3.2 bye\r\n":    "temporary 4.3.2",
		"550 4.7.1 contradicts its code\r\n":  "permanent 5.0.0",
	} {
		t.Run(fmt.Sprintf("%.40q", reply), func(t *testing.T) {
			t.Parallel()
			w := newWorld(nil)
			names := fakedns.Answers{}
			names.Add(t, dnssec.Insecure, "a.example. MX 10 mx.a.example.")
			names.Add(t, dnssec.Insecure, "mx.a.example. A 192.0.2.1")
			names.Deny(dnssec.Insecure, "mx.a.example. AAAA")
			resolver, err := policy.New(policy.Config{DNS: names, NoMTASTS: true, RootCAs: certificates().roots, Dial: refusingEarly(t, reply)})
			if err != nil {
				t.Fatal(err)
			}
			d := w.dialer()
			d.Resolver = resolver
			large := "Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 2<<20)
			_, err = d.Send(t.Context(), mailOf(large, "x@a.example"))
			var send *SendError
			if !errors.As(err, &send) || len(send.Undelivered) != 1 {
				t.Fatalf("error %v", err)
			}
			u := send.Undelivered[0]
			got := "temporary "
			switch {
			case u.OutcomeUnknown:
				got = "unknown "
			case u.Err.Permanent:
				got = "permanent "
			}
			if got += u.Err.Status; got != want {
				t.Errorf("got %s, want %s: %v", got, want, u.Err)
			}
		})
	}
}

// refusingEarly connects to a server that takes a few lines of a message, says
// something, and closes the connection.
func refusingEarly(t *testing.T, reply string) func(context.Context, string, string) (net.Conn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		fmt.Fprint(conn, greeting)
		for line := ""; line != "DATA\r\n"; fmt.Fprint(conn, map[bool]string{false: "250 ok\r\n", true: "354 go\r\n"}[line == "DATA\r\n"]) {
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
		}
		for range 10 {
			in.ReadString('\n')
		}
		fmt.Fprint(conn, reply)
	}()
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}
}
