// Relay takes mail over SMTP and sends it on at once, TLS enforced as recipients
// publish it: DANE, MTA-STS, and TLS reports to those who ask for them.
//
//	relay -name mail.example.net -store /var/lib/relay/state.db
//
// It has no queue. The client gets the reply of the recipient's own mail host,
// or a temporary one where that host does not meet the policy, and keeps the mail
// meanwhile, as any mail server does. So that each recipient has a reply of its
// own, a transaction has one recipient; further ones get 452 and a transaction
// later. LMTP replies for each recipient anyway, and has no such limit. A Postfix
// in front of the relay speaks it:
//
//	relay -lmtp -name mail.example.net ...         # the relay
//	default_transport = lmtp:inet:127.0.0.1:2525   # main.cf
//
// The relay knows nobody and sends for all who can connect. It therefore listens
// on loopback only, and refuses other addresses: every process of the machine may
// use it. Who may send from elsewhere is to be decided by the server in front,
// by authentication or by network.
//
// With -contact it counts sessions, and sends reports (RFC 8460) in the four hours
// after midnight UTC. Those by mail need a DKIM key:
//
//	openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out dkim.pem
//	relay -contact tls-reports@example.net -dkim-key dkim.pem -dkim-record
//
// prints the record to publish. Its "s=tlsrpt" is what RFC 8460 section 3 wants:
// the key is good for reports and for nothing else, so do not sign other mail
// with it.
//
// The options are
//
//	-listen address      where to listen, on loopback. Default: 127.0.0.1:2525
//	-lmtp                speak LMTP instead of SMTP
//	-name name           the name of this host, for EHLO, Received and in MX records
//	                     that lead back here. Default: the name of this machine
//	-max-size octets     the largest message. Default: 26214400 (25 MiB). At most 64
//	                     messages are in memory at once
//	-store file          keep MTA-STS policies in a file (package boltstore)
//	-valkey file         share them with other relays (package valkeystore); the file
//	                     has the URL of the server, in which a password may be
//	-contact address     report, as from this address
//	-organization name   who reports. Default: the domain of the contact address
//	-dkim-key file       sign reports by mail with this key: RSA of 2048 bits and more,
//	                     or Ed25519, in PEM
//	-dkim-selector name  its selector. Default: tlsrpt
//	-dkim-record         print the DNS record of the key, and end
//	-server address      a DNS server, which need not be trusted; repeat it or separate
//	                     several by commas. Default: those of /etc/resolv.conf
//	-anchor file         the DNSSEC trust anchors. Default: the root keys of IANA
//
// An interrupt or SIGTERM ends the relay: it takes no more mail, and gives what is
// under way half a minute. The exit status is 0, 1 if the relay cannot start or
// go on, 2 for wrong usage.
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

// deps are the parts that tests replace. What is zero is the real network.
type deps struct {
	dns       dnssec.Config
	policy    policy.Config // DNS, Store and Self are made of the rest
	open      func(settings) (*stores, error)
	grace     time.Duration  // for what is under way at the end
	listening func(net.Addr) // is told where the relay listens
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

// serve relays mail until ctx is done. What runs beside it ends after the last
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

// newResolver returns what makes the plans, and the DNS that it asks.
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
