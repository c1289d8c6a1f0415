// Package advise is "mxseal advise": it says in which situation a domain is, what it has,
// and what to publish next.
//
// situation.go names the situation, enforce.go what would break if the domain enforced
// MTA-STS, steps.go the steps in the order that works, and records.go what to publish.
package advise

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

const help = `usage: mxseal advise [options] DOMAIN

Says in which situation a domain is, what it has, what would break if it
enforced MTA-STS today, and the next step, with the exact records to publish. It
connects to every address of every mail host.

  -all          all steps in full, not only the next one
  -json         one JSON object
  -timeout TIME for the domain (1m)
  -helo NAME    the name for EHLO (the name of this machine)
  -server ADDR, -anchor FILE, -zone ZONE=SERVER,..., -hosts FILE, -allow NET,
  -ca FILE      the network, as in "mxseal help check"

Exit status:
  0  there is nothing left to do
  1  there is a next step
  2  wrong usage
  4  the domain gets no mail, or cannot be looked up now
`

const (
	exitDone      = 0
	exitNext      = 1
	exitNoMail    = 4
	exitUsage     = cli.ExitUsage
	surveyTimeout = time.Minute
)

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "advise", Summary: "say what a domain should publish next", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	var network cli.Network
	var json, all bool
	s := &survey.Surveyor{Connect: true}
	flags := cli.NewFlags(Command())
	network.Register(flags)
	flags.BoolVar(&json, "json", false, "")
	flags.BoolVar(&all, "all", false, "")
	flags.DurationVar(&s.Timeout, "timeout", surveyTimeout, "")
	flags.StringVar(&s.HELO, "helo", "", "")
	domains, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err == nil && len(domains) != 1:
		err = flags.Wrong(env, errors.New("want one domain"))
	}
	if err != nil {
		return exitUsage
	}
	if s.Sender, err = network.Open(env); err != nil {
		flags.Complain(env, err)
		return exitUsage
	}
	defer s.Close()
	defer s.Progress.Watch(env)()

	found := s.Survey(ctx, domains[0])
	a := about(found, zoneAbove(ctx, s.DNS, found))
	if json {
		err = cli.WriteJSON(env.Stdout, a)
	} else {
		err = a.print(env.Stdout, all)
	}
	switch {
	case err != nil:
		flags.Complain(env, err)
		return exitUsage
	case found.Plan == nil:
		return exitNoMail
	case len(a.Steps) > 0:
		return exitNext
	default:
		return exitDone
	}
}
