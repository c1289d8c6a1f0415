// Package serve is "mxseal serve": the daemon for mail servers.
package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

const help = `usage: mxseal serve [options] -config FILE

Runs the daemon for mail servers: a socketmap of TLS policies for Postfix,
sendmail and Exim, a collector for the TLS reports of Postfix 3.10 and later,
and a page over HTTP for people and monitors. mxseal.conf(5) describes FILE.

  -config FILE   the configuration
  -test          check the configuration and exit
  -dkim-record   print the DNS record of the key that signs reports, and exit

SIGHUP reads FILE again: the domains and the options of the socketmap change,
and what is known about domains stays. SIGTERM ends the daemon after the
answers that have begun.

Exit status:
  0  the daemon was ended, or the configuration is right
  1  it cannot start, or it failed
  2  wrong usage
`

// exitFailure is the exit status of a daemon that cannot start.
const exitFailure = 1

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "serve", Summary: "answer mail servers: policies, reports", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	flags := cli.NewFlags(Command())
	file := flags.String("config", "", "")
	test := flags.Bool("test", false, "")
	record := flags.Bool("dkim-record", false, "")
	rest, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && *file == "":
		err = flags.Wrong(env, errors.New("-config is missing"))
	case err == nil && len(rest) > 0:
		err = flags.Wrong(env, fmt.Errorf("unexpected argument %s", cli.Clean(rest[0])))
	}
	if err != nil {
		return cli.ExitUsage
	}
	settings, err := config.Read(*file)
	switch {
	case err != nil:
	case *record:
		err = printRecord(env.Stdout, settings.Reports)
	case *test:
		err = check(env, settings)
	default:
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		d := daemon{file: *file, settings: settings, env: env, log: slog.New(slog.NewTextHandler(env.Stderr, nil)), hangup: hangup, grace: defaultGrace}
		err = d.run(ctx)
	}
	if err != nil {
		flags.Complain(env, err)
		return exitFailure
	}
	return 0
}
