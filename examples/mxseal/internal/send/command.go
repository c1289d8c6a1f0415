// Package send is "mxseal send": it sends a message directly to the mail hosts of its
// recipients, and says how each of them got it.
package send

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

const help = `usage: mxseal send -from ADDRESS [options] RECIPIENT... <MESSAGE

Sends a message directly to the mail hosts of its recipients, as DANE and
MTA-STS demand, and prints how each got it. There is no queue: send it again to
those who wait. It remembers no policies, which a mail server has to.

  -from ADDRESS  the return path; empty for a bounce
  -requiretls    only over authenticated TLS, at every hop (RFC 8689)
  -tls-optional  ignore DANE and MTA-STS (RFC 8689, TLS-Required: No)
  -convert       convert 8-bit text for servers without 8BITMIME
  -helo NAME     the name for EHLO (the name of this machine)
  -v             print every mail host that failed
  -server ADDR, -anchor FILE, -zone ZONE=SERVER,..., -hosts FILE, -allow NET,
  -ca FILE       the network, as in "mxseal help check"

Exit status, as in sysexits.h:
  0  all recipients were accepted   75  some wait; a retry can help
  69 some were not accepted, and a retry cannot help
  64 wrong usage        65 the message is empty or too long
  74 it cannot be read  78 DNS servers, anchors or authorities cannot be used
`

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

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "send", Summary: "send a message and say how each recipient got it", Help: help, Run: run}
}

// commandLine has the options and arguments, except the options about the network.
type commandLine struct {
	from, helo              string
	requireTLS, tlsOptional bool
	convert, verbose        bool
	to                      []string
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	var network cli.Network
	flags := cli.NewFlags(Command())
	network.Register(flags)
	w, err := parse(env, flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	complain := func(code int, err error) int {
		flags.Complain(env, err)
		return code
	}
	message, err := io.ReadAll(io.LimitReader(env.Stdin, maxMessage+1))
	switch {
	case err != nil:
		return complain(exitRead, err)
	case len(message) > maxMessage:
		return complain(exitData, fmt.Errorf("the message is longer than %d octets", maxMessage))
	case len(message) == 0:
		return complain(exitData, errors.New("the message on standard input is empty"))
	}
	sender, err := network.Open(env)
	if err != nil {
		return complain(exitConfig, err)
	}
	defer sender.Close()
	dialer := delivery.Dialer{Resolver: sender.Resolver, LocalName: w.helo}
	if w.verbose {
		dialer.Logger = slog.New(slog.NewTextHandler(env.Stderr, nil))
	}
	mail := delivery.Mail{From: w.from, Message: bytes.NewReader(message), Size: int64(len(message)), Convert8Bit: w.convert}
	for _, address := range w.to {
		mail.To = append(mail.To, delivery.Recipient{Address: address})
	}
	result, err := dialer.Send(ctx, mail, w.options()...)
	return report(env.Stdout, env.Stderr, result, err)
}

// parse parses the command line. If it returns an error, it has printed it.
func parse(env *cli.Env, flags *cli.Flags, args []string) (commandLine, error) {
	var w commandLine
	flags.StringVar(&w.from, "from", "", "")
	flags.StringVar(&w.helo, "helo", "", "")
	flags.BoolVar(&w.requireTLS, "requiretls", false, "")
	flags.BoolVar(&w.tlsOptional, "tls-optional", false, "")
	flags.BoolVar(&w.convert, "convert", false, "")
	flags.BoolVar(&w.verbose, "v", false, "")
	var err error
	if w.to, err = flags.Parse(env, args); err != nil {
		return w, err
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case !given["from"]:
		return w, flags.Wrong(env, errors.New("-from is missing"))
	case len(w.to) == 0:
		return w, flags.Wrong(env, errors.New("no recipients"))
	case w.requireTLS && w.tlsOptional:
		return w, flags.Wrong(env, errors.New("-requiretls and -tls-optional cannot be used together"))
	}
	return w, nil
}

func (w *commandLine) options() []policy.Option {
	switch {
	case w.requireTLS:
		return []policy.Option{policy.RequireTLS()}
	case w.tlsOptional:
		return []policy.Option{policy.TLSOptional()}
	default:
		return nil
	}
}
