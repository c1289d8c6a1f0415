// Send sends a message from standard input, straight to the mail hosts of its
// recipients, with TLS as DANE and MTA-STS demand it:
//
//	send -from me@example.net you@example.org team@example.com <message
//
// It writes what happened to standard error, domain by domain:
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
//	-requiretls      send only where TLS is authenticated, and demand the same of
//	                 every next hop (RFC 8689); what cannot be sent so is returned
//	-tls-optional    pass over DANE and MTA-STS, as the header field
//	                 "TLS-Required: No" does (RFC 8689)
//	-convert         convert 8-bit text for servers without 8BITMIME; signatures
//	                 such as DKIM's do not survive this
//	-server address  a DNS server, such as 192.0.2.1 or [2001:db8::1]:53; repeat it
//	                 or separate several by commas. It need not be trusted. Default:
//	                 those of /etc/resolv.conf
//	-anchor file     the DNSSEC trust anchors. Default: the root keys of IANA
//	-helo name       the name to say in EHLO. Default: the name of this machine
//	-v               tell about every mail host that failed
//
// The exit status, which "go run" hides, is that of sysexits.h: 0 when every
// recipient was accepted, 75 when a recipient waits, 69 when none waits and some
// are not accepted, 64 for wrong usage, 65 for a message that is too long or
// empty, 74 when it cannot be read, 78 when the DNS servers or trust anchors
// cannot be used.
//
// A program that sends many messages should do it with one policy.Resolver, as
// what that remembers of MTA-STS is what protects. This one forgets.
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

// The exit status, as in sysexits.h.
const (
	exitOK          = 0
	exitUsage       = 64
	exitData        = 65
	exitUnavailable = 69
	exitRead        = 74
	exitTemporary   = 75
	exitConfig      = 78
)

// maxMessage bounds what is read, in octets.
const maxMessage = 64 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stderr, deps{})
	stop()
	os.Exit(code)
}

// deps are the parts that tests replace. The zero value is the real network.
type deps struct {
	dns    dnssec.Config
	policy policy.Config // DNS is made of dns
}

// wishes are what the command line says.
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
		return complain(exitData, errors.New("there is no message on standard input"))
	}
	resolver, err := newResolver(d)
	if err != nil {
		return complain(exitConfig, err)
	}
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

// parse reads the command line. What is wrong with it has been said when it
// returns an error.
func parse(args []string, stderr io.Writer, d *deps) (wishes, error) {
	var w wishes
	var servers []string
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: send -from address [options] recipient... <message")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "exit status: 0 all accepted, 75 try again later for those who wait, 69 not accepted,"+
			" 64 usage, 65 bad message, 74 unreadable message, 78 bad DNS configuration")
	}
	flags.StringVar(&w.from, "from", "", "the return `address`; empty for a bounce")
	flags.StringVar(&w.helo, "helo", "", "the `name` to say in EHLO (default: the name of this machine)")
	flags.BoolVar(&w.requireTLS, "requiretls", false, "send only over authenticated TLS, at every hop (RFC 8689)")
	flags.BoolVar(&w.tlsOptional, "tls-optional", false, "pass over DANE and MTA-STS (RFC 8689, TLS-Required: No)")
	flags.BoolVar(&w.convert, "convert", false, "convert 8-bit text for servers without 8BITMIME")
	flags.BoolVar(&w.verbose, "v", false, "tell about every mail host that failed")
	flags.StringVar(&d.dns.AnchorFile, "anchor", d.dns.AnchorFile, "a `file` of DNSSEC trust anchors (default: the root keys of IANA)")
	flags.Func("server", "the `address` of a DNS server; may be repeated, or be several with commas (default: those of /etc/resolv.conf)", func(list string) error {
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

// check finds what the flag package does not.
func (w *wishes) check(flags *flag.FlagSet) error {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case !given["from"]:
		return errors.New("-from is missing")
	case len(w.to) == 0:
		return errors.New("there is no recipient")
	case w.requireTLS && w.tlsOptional:
		return errors.New("-requiretls and -tls-optional exclude each other")
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
