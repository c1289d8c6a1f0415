package policytest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// A message is sent to a domain with DANE. Then an impostor takes the place of
// the mail host, with a self-signed certificate for the right name, and
// receives nothing.
func Example() {
	inet := policytest.New(nil) // in a test: policytest.New(t)
	defer inet.Close()
	inet.Domain("example.org").MX("mx.example.org")
	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"))

	resolver, err := policy.New(inet.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "client.example"}
	send := func(text string) error {
		return dialer.SendMail(context.Background(), "a@example.net", []string{"b@example.org"}, []byte(text))
	}

	fmt.Println("sent:", send("Subject: one\r\n\r\nhello\r\n"))

	mx.Break(policytest.OtherKey)
	var failed *policy.Error
	if errors.As(send("Subject: two\r\n\r\nhello\r\n"), &failed) {
		fmt.Println("not sent:", failed.Reason, failed.Temporary())
	}

	for _, m := range mx.Messages() {
		fmt.Printf("%s to %s for %s, TLS: %t\n", m.Session.Helo, m.Session.TLS.ServerName, m.To[0], m.Session.TLS != nil)
	}
	// Output:
	// sent: <nil>
	// not sent: tlsa-invalid true
	// client.example to mx.example.org for b@example.org, TLS: true
}

// A policy that was fetched once protects until its max_age has passed, even if
// an attacker forges the MX records and blocks the policy host.
func ExampleDomain_Policy() {
	inet := policytest.New(nil)
	defer inet.Close()
	d := inet.Domain("example.org", policytest.Unsigned).MX("mx.example.org")
	host := d.Policy("enforce", "mx.example.org")
	inet.Host("mx.example.org")
	evil := inet.Host("mx.evil.example")

	resolver, err := policy.New(inet.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "client.example"}
	send := func() error {
		return dialer.SendMail(context.Background(), "a@example.net", []string{"b@example.org"}, []byte("Subject: hi\r\n\r\n"))
	}
	fmt.Println("sent:", send())

	host.Break(policytest.Refuse)
	inet.BreakDNS(policytest.Forge("example.org. MX 10 mx.evil.example."), "example.org", dnssec.TypeMX)
	inet.Advance(24 * time.Hour)
	fmt.Println("sent during the attack:", send() == nil)
	fmt.Println("the attacker got", len(evil.Messages()), "messages")
	// Output:
	// sent: <nil>
	// sent during the attack: false
	// the attacker got 0 messages
}

// Any code with a dial hook can be tested, whether or not it uses this library.
func ExampleInternet_Dial() {
	inet := policytest.New(nil)
	defer inet.Close()
	mx := inet.Host("mx.example.org", policytest.Reply(policytest.Greeting, "554 5.3.2 no mail today"))

	conn, err := inet.Dial(context.Background(), "tcp", "mx.example.org:25")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	greeting := make([]byte, 100)
	n, _ := conn.Read(greeting)
	fmt.Printf("%s %q\n", conn.RemoteAddr(), greeting[:n])
	fmt.Println(len(mx.Sessions()), "session")
	// Output:
	// 192.0.2.1:25 "554 5.3.2 no mail today\r\n"
	// 1 session
}

// A host accepts one recipient in each transaction, by a script. The sender, which
// this library's is, begins another transaction for the second.
func ExampleOn() {
	inet := policytest.New(nil)
	defer inet.Close()
	inet.Domain("example.org").MX("mx.example.org")
	mx := inet.Host("mx.example.org", policytest.TLSA("3 1 1"),
		policytest.On("RCPT", policytest.Usual(), policytest.Say("452 4.5.3 too many recipients"), policytest.Usual()))

	resolver, err := policy.New(inet.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resolver.Close()
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "client.example"}
	err = dialer.SendMail(context.Background(), "a@example.net", []string{"b@example.org", "c@example.org"}, []byte("Subject: hi\r\n\r\n"))
	fmt.Println("sent:", err)
	for _, m := range mx.Messages() {
		fmt.Println(m.To)
	}
	// Output:
	// sent: <nil>
	// [b@example.org]
	// [c@example.org]
}

// A real program is a mail host. Here it is a listener that only greets.
func ExampleInternet_Server() {
	program, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer program.Close()
	go func() {
		c, err := program.Accept()
		if err == nil {
			fmt.Fprint(c, "220 a real program\r\n")
			c.Close()
		}
	}()

	inet := policytest.New(nil)
	defer inet.Close()
	cert := inet.IssueCertificate("mx.example.org") // for the program
	inet.Domain("example.org").MX("mx.example.org")
	inet.Server("mx.example.org", program.Addr().String(), policytest.TLSARecord(cert.Leaf, "3 1 1"))

	conn, err := inet.Dial(context.Background(), "tcp", "mx.example.org:25")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Printf("%s %q %v\n", conn.RemoteAddr(), greeting, err)
	// Output:
	// 192.0.2.1:25 "220 a real program\r\n" <nil>
}
