// Send sends a message from standard input directly to the mail hosts of its
// recipients. It enforces TLS as required by DANE and MTA-STS.
//
//	send -from me@example.net you@example.org team@example.com <message
//
// It prints the result for each domain to standard error:
//
//	example.org: delivered: you@example.org: host mx.example.org, level authenticated by DANE, TLS 1.3, reply 250 2.0.0 Ok: queued as 4Wx1Yz
//	example.com: waits (451 4.7.5): team@example.com: policy: example.com: no mail host can be used: ...
//
// There is no queue. Recipients that wait did not get the message; send it again
// later, to them only. Recipients that "may have been delivered" may get it twice if
// it is sent again. "Not delivered" is final.
//
// The options are
//
//	-from address    the return path; empty for a bounce
//	-requiretls      send only over authenticated TLS, and require the same of
//	                 every next hop (RFC 8689). If that is impossible, the message
//	                 is not delivered
//	-tls-optional    ignore DANE and MTA-STS, like the header field
//	                 "TLS-Required: No" (RFC 8689)
//	-convert         convert 8-bit text for servers without 8BITMIME; signatures
//	                 such as DKIM's become invalid
//	-server address  a DNS server, such as 192.0.2.1 or [2001:db8::1]:53; can be
//	                 repeated or comma-separated. It need not be trusted. Default:
//	                 the servers in /etc/resolv.conf
//	-anchor file     the DNSSEC trust anchors. Default: the root keys of IANA
//	-helo name       the name for EHLO. Default: the host name of this machine
//	-v               print every mail host that failed
//
// The exit status follows sysexits.h ("go run" hides it): 0 if all recipients
// were accepted, 75 if a retry can help for some, 69 if some were not accepted
// and a retry cannot help, 64 for wrong usage, 65 if the message is empty or
// too long, 74 if it cannot be read, 78 if the DNS servers or trust anchors
// cannot be used.
//
// A program that sends many messages should use one policy.Resolver for all of
// them, because MTA-STS protects only if policies are remembered. This program
// does not remember them.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// Exit status codes of sysexits.h.
const (
	exitOK          = 0
	exitUsage       = 64
	exitData        = 65
	exitUnavailable = 69
	exitRead        = 74
	exitTemporary   = 75
	exitConfig      = 78
)

// maxMessage is the maximum size of a message, in octets.
const maxMessage = 64 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stderr, deps{})
	stop()
	os.Exit(code)
}

// deps are replaced by tests. The zero value uses the real network.
type deps struct {
	dns    dnssec.Config
	policy policy.Config // its DNS is built from dns
}

// wishes are the command-line flags and arguments.
type wishes struct {
	from, helo              string
	requireTLS, tlsOptional bool
	convert, verbose        bool
	to                      []string
}

func run(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer, d deps) int {
	w, err := parse(args, stderr, &d)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	complain := func(code int, err error) int {
		fmt.Fprintf(stderr, "send: %s\n", clean(err.Error()))
		return code
	}
	message, err := io.ReadAll(io.LimitReader(stdin, maxMessage+1))
	switch {
	case err != nil:
		return complain(exitRead, err)
	case len(message) > maxMessage:
		return complain(exitData, fmt.Errorf("the message is longer than %d octets", maxMessage))
	case len(message) == 0:
		return complain(exitData, errors.New("the message on standard input is empty"))
	}
	resolver, err := newResolver(d)
	if err != nil {
		return complain(exitConfig, err)
	}
	defer resolver.Close()
	dialer := delivery.Dialer{Resolver: resolver, LocalName: w.helo}
	if w.verbose {
		dialer.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	}
	mail := delivery.Mail{From: w.from, Message: bytes.NewReader(message), Size: int64(len(message)), Convert8Bit: w.convert}
	for _, address := range w.to {
		mail.To = append(mail.To, delivery.Recipient{Address: address})
	}
	result, err := dialer.Send(ctx, mail, w.options()...)
	return report(stderr, result, err)
}

// parse parses the command line. If it returns an error, it has printed it.
func parse(args []string, stderr io.Writer, d *deps) (wishes, error) {
	var w wishes
	var servers []string
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: send -from address [options] recipient... <message")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "exit status: 0 all accepted, 75 retry later for recipients that wait, 69 not accepted,"+
			" 64 usage, 65 bad message, 74 unreadable message, 78 bad DNS configuration")
	}
	flags.StringVar(&w.from, "from", "", "the return `address`; empty for a bounce")
	flags.StringVar(&w.helo, "helo", "", "the `name` for EHLO (default: the host name of this machine)")
	flags.BoolVar(&w.requireTLS, "requiretls", false, "send only over authenticated TLS, at every hop (RFC 8689)")
	flags.BoolVar(&w.tlsOptional, "tls-optional", false, "ignore DANE and MTA-STS (RFC 8689, TLS-Required: No)")
	flags.BoolVar(&w.convert, "convert", false, "convert 8-bit text for servers without 8BITMIME")
	flags.BoolVar(&w.verbose, "v", false, "print every mail host that failed")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.Func("server", "the `address` of a DNS server; can be repeated or comma-separated (default: the servers in /etc/resolv.conf)", func(list string) error {
		servers = append(servers, strings.Split(list, ",")...)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return w, err
	}
	if servers != nil {
		d.dns.Servers = servers
	}
	w.to = flags.Args()
	if err := w.check(flags); err != nil {
		fmt.Fprintf(stderr, "send: %v\n", err)
		flags.Usage()
		return w, err
	}
	return w, nil
}

// check makes the checks that package flag does not make.
func (w *wishes) check(flags *flag.FlagSet) error {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case !given["from"]:
		return errors.New("-from is missing")
	case len(w.to) == 0:
		return errors.New("no recipients")
	case w.requireTLS && w.tlsOptional:
		return errors.New("-requiretls and -tls-optional cannot be used together")
	}
	return nil
}

func (w *wishes) options() []policy.Option {
	switch {
	case w.requireTLS:
		return []policy.Option{policy.RequireTLS()}
	case w.tlsOptional:
		return []policy.Option{policy.TLSOptional()}
	default:
		return nil
	}
}

func newResolver(d deps) (*policy.Resolver, error) {
	validator, err := dnssec.New(d.dns)
	if err != nil {
		return nil, err
	}
	d.policy.DNS = validator
	return policy.New(d.policy)
}
