package dnssec_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// Most users keep one Validator for all lookups.
func ExampleValidator() {
	validator, err := dnssec.New(dnssec.Config{})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := validator.Lookup(context.Background(), "_25._tcp.mx.example.org", dnssec.TypeTLSA)
	var failure *dnssec.Error
	switch {
	case errors.As(err, &failure):
		log.Fatalf("mail waits (%v): %v", failure.Status, err)
	case answer.Status == dnssec.Secure:
		fmt.Println(len(answer.Records), "records, until", answer.Expires)
	default:
		fmt.Println("the zone is not signed")
	}
}

// A host with its own validating server can leave validation to it.
func ExampleTrusting() {
	resolver, err := dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{"127.0.0.1"}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = resolver.Lookup(context.Background(), "example.org", dnssec.TypeMX)
	fmt.Println(err == nil)
}

// NewTrusting refuses a server that someone on the network can impersonate.
func ExampleNewTrusting() {
	_, err := dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{"9.9.9.9"}})
	fmt.Println(err)
	_, err = dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{"tls://9.9.9.9#dns.quad9.net"}})
	fmt.Println(err)
	// Output:
	// dnssec: the AD bit of DNS server 9.9.9.9:53 can be forged on the network: use a server on this host, "tls://9.9.9.9", or a Validator
	// <nil>
}
