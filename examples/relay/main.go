// Relay receives mail over SMTP and forwards it immediately. It enforces TLS
// with DANE and MTA-STS and sends TLS reports.
//
//	relay -name mail.example.net -store /var/lib/relay/state.db
//
// The relay has no queue. The client gets the reply of the recipient's mail
// host, or a temporary error if that host does not meet the policy, and then
// keeps the mail in its queue. In SMTP, each transaction has one recipient, so
// that each recipient gets its own reply; further recipients get 452 and are
// sent by the client in another transaction. LMTP has a reply for each
// recipient, so it does not need this limit. A Postfix in front of the relay
// can use LMTP:
//
//	relay -lmtp -name mail.example.net ...         # the relay
//	default_transport = lmtp:inet:127.0.0.1:2525   # main.cf
//
// The relay has no authentication: it sends mail for everyone who can connect.
// Therefore it listens on loopback addresses only, and every process of the
// machine can use it. The server in front of the relay decides who else may
// send.
//
// With -contact, the relay counts sessions and sends TLS reports (RFC 8460)
// within four hours after midnight UTC. Reports by mail need a DKIM key. These
// commands create a key and print its DNS record:
//
//	openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out dkim.pem
//	relay -contact tls-reports@example.net -dkim-key dkim.pem -dkim-record
//
// The record contains "s=tlsrpt", as required by RFC 8460 section 3. So the key
// is valid for reports only and cannot sign other mail.
//
// The options are
//
//	-listen address      the loopback address to listen on. Default: 127.0.0.1:2525
//	-lmtp                speak LMTP instead of SMTP
//	-name name           the name of this host for EHLO and Received. MX records with
//	                     this name lead back here. Default: the host name
//	-max-size octets     the maximum size of a message. Default: 26214400 (25 MiB). At
//	                     most 64 messages are in memory at the same time
//	-store file          store MTA-STS policies and report sums in a file (package
//	                     boltstore)
//	-valkey file         share them with other relays (package valkeystore). The file
//	                     contains the URL of the server, which can include a password
//	-contact address     send reports, from this address
//	-organization name   the organization in reports. Default: the domain of -contact
//	-dkim-key file       sign reports by mail with this key: RSA of at least 2048 bits,
//	                     or Ed25519, in PEM
//	-dkim-selector name  the selector of the key. Default: tlsrpt
//	-dkim-record         print the DNS record of the key and exit
//	-server address      a DNS server, which need not be trusted; can be repeated or
//	                     comma-separated. Default: the servers in /etc/resolv.conf
//	-anchor file         the DNSSEC trust anchors. Default: the root keys of IANA
//
// On an interrupt or SIGTERM, the relay accepts no more mail and waits up to
// half a minute for deliveries in progress. The exit status is 0 after that, 1
// if the relay cannot start or fails, and 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, deps{open: openStores, grace: 30 * time.Second})
	stop()
	os.Exit(code)
}

// deps are replaced by tests. The zero values use the real network.
type deps struct {
	dns       dnssec.Config
	policy    policy.Config // DNS, Store and Self are set from the other fields and settings
	open      func(settings) (*stores, error)
	grace     time.Duration  // time limit for deliveries in progress at shutdown
	listening func(net.Addr) // called with the address of the relay
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, d deps) int {
	s, err := parse(args, stderr, &d)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if s.dkimRecord {
		err = printRecord(stdout, s)
	} else {
		err = serve(ctx, s, d, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	if err != nil {
		fmt.Fprintf(stderr, "relay: %v\n", err)
		return 1
	}
	return 0
}

// serve relays mail until ctx is done. The background tasks end after the last
// message, so that its session is counted and stored.
func serve(ctx context.Context, s settings, d deps, logger *slog.Logger) error {
	stores, err := d.open(s)
	if err != nil {
		return err
	}
	defer stores.close()
	resolver, validator, err := newResolver(s, d, stores, logger)
	if err != nil {
		return err
	}
	defer resolver.Close()
	reports, err := newReports(s, d, stores, resolver, validator, logger)
	if err != nil {
		return err
	}
	listener, err := listen(s.listen)
	if err != nil {
		return err
	}
	if d.listening != nil {
		d.listening(listener.Addr())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { resolver.Run(background) })
	running.Go(func() { reports.run(background) })

	dialer := &delivery.Dialer{Resolver: resolver, LocalName: s.name, Logger: logger}
	if reports != nil {
		dialer.Recorder = reports.recorder
	}
	relay := relay{settings: s, dialer: dialer, log: logger}
	dialer.Delivered = relay.delivered
	err = relay.serve(ctx, listener, d.grace)
	stop()
	running.Wait()
	return err
}

// newResolver returns the resolver for plans and its DNS resolver.
func newResolver(s settings, d deps, stores *stores, logger *slog.Logger) (*policy.Resolver, *dnssec.Validator, error) {
	validator, err := dnssec.New(d.dns)
	if err != nil {
		return nil, nil, err
	}
	d.policy.DNS = validator
	d.policy.Store = stores.policies
	d.policy.Self = []string{s.name}
	d.policy.Logger = logger
	resolver, err := policy.New(d.policy)
	return resolver, validator, err
}
