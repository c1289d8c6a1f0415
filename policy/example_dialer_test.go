package policy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/smtp"
	"strconv"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// exampleInternet stands for the real one: example.org has DANE, example.net
// has MTA-STS and somebody in the place of its mail host.
func exampleInternet() *policytest.Internet {
	inet := policytest.New(nil)
	inet.Domain("example.org").MX("mx.example.org")
	inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
	inet.Domain("example.net", policytest.Unsigned).MX("mx.example.net").Policy("enforce", "mx.example.net")
	inet.Host("mx.example.net", policytest.Impostor)
	return inet
}

// A session with the mail host of a domain, verified and ready for mail.
func ExampleDialer_Dial() {
	inet := exampleInternet()
	defer inet.Close()
	r, err := policy.New(inet.Config()) // policy.Config{} on the real internet
	if err != nil {
		log.Fatal(err)
	}

	d := policy.Dialer{Resolver: r}
	client, err := d.Dial(context.Background(), "example.org")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, inTLS := client.TLS()
	fmt.Println(client.Host.Name, client.Host.Level, client.Host.By, inTLS)

	if err := client.Mail("alice@example.com"); err != nil {
		log.Fatal(err)
	}
	if err := client.Rcpt("bob@example.org"); err != nil {
		log.Fatal(err)
	}
	w, err := client.Data()
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(w, "From: alice@example.com\r\nTo: bob@example.org\r\n\r\nHello!\r\n")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	client.Quit()
	// Output: mx.example.org authenticated DANE true
}

// A message to two domains, one of which is under attack: its mail waits.
func ExampleDialer_SendMail() {
	inet := exampleInternet()
	defer inet.Close()
	r, err := policy.New(inet.Config())
	if err != nil {
		log.Fatal(err)
	}

	d := policy.Dialer{Resolver: r}
	err = d.SendMail(context.Background(), "alice@example.com",
		[]string{"bob@example.org", "carol@example.net"},
		[]byte("From: alice@example.com\r\nSubject: Hello\r\n\r\nHello!\r\n"))

	var failed *policy.SendError
	if errors.As(err, &failed) {
		for _, each := range failed.Undelivered {
			fmt.Println(each.Recipients, each.Err.Reason, each.Err.Status, "again later:", each.Err.Temporary())
		}
	}
	// Output: [carol@example.net] certificate-not-trusted 4.7.5 again later: true
}

// For an SMTP client of one's own, a plan gives what it needs host by host: whom
// to connect to, whether TLS is a must, and what a session has to prove.
func ExampleHost_TLSConfig() {
	inet := exampleInternet()
	defer inet.Close()
	r, err := policy.New(inet.Config())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	plan, err := r.Resolve(ctx, "example.org")
	if err != nil {
		log.Fatal(err)
	}

	for _, host := range plan.Order() {
		if host.Level == policy.Refused {
			continue
		}
		conn, err := host.DialContext(ctx, "tcp", net.JoinHostPort(host.Name, strconv.Itoa(int(host.Port))))
		if err != nil {
			continue
		}
		client, err := smtp.NewClient(conn, host.Name)
		if err != nil {
			continue
		}
		offered, _ := client.Extension("STARTTLS")
		if !offered && host.Level >= policy.Encrypted {
			host.Session(nil, nil) // for a tlsrpt.Recorder
			client.Quit()
			continue
		}
		if offered {
			err = client.StartTLS(host.TLSConfig())
		}
		if err != nil { // the handshake has failed, or what the host must prove
			client.Close()
			continue
		}
		_, inTLS := client.TLSConnectionState()
		fmt.Println("mail may go to", host.Name, "in TLS:", inTLS)
		client.Quit()
		break
	}
	// Output: mail may go to mx.example.org in TLS: true
}
