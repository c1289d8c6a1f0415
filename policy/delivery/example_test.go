package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// exampleInternet returns a private internet: example.org has DANE, example.net has
// MTA-STS, and an impostor has taken the place of its mail host.
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
	defer r.Close()

	d := delivery.Dialer{Resolver: r}
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
	defer r.Close()

	d := delivery.Dialer{Resolver: r}
	err = d.SendMail(context.Background(), "alice@example.com",
		[]string{"bob@example.org", "carol@example.net"},
		[]byte("From: alice@example.com\r\nSubject: Hello\r\n\r\nHello!\r\n"))

	var failed *delivery.SendError
	if errors.As(err, &failed) {
		for _, each := range failed.Undelivered {
			fmt.Println(each.Recipients, each.Err.Reason, each.Err.Status, "again later:", each.Err.Temporary())
		}
	}
	// Output: [carol@example.net] certificate-not-trusted 4.7.5 again later: true
}
