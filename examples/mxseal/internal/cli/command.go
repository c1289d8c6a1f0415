// Package cli has what all subcommands share: how they are described and started, the
// options about the network, text that is safe for a terminal, and the display of progress.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// ExitUsage is the exit status for wrong usage, except where sysexits.h counts.
const ExitUsage = 2

// Command is a subcommand.
type Command struct {
	Name    string
	Summary string // one line for the list of subcommands
	// Help is the text of "mxseal help NAME". It fits on a screen of 24 lines and 80
	// columns, and names every option.
	Help string
	// Run runs the subcommand and returns the exit status.
	Run func(ctx context.Context, env *Env, args []string) int
}

// Env is what a subcommand gets from outside. Tests replace it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// DNS and Policy are completed by the options about the network. Their zero values
	// use the real network.
	DNS    dnssec.Config
	Policy policy.Config
	// Terminal is true if progress is printed to Stderr, once Patience has passed.
	Terminal bool
	Patience time.Duration
}

// Flags are the options of a subcommand.
type Flags struct {
	*flag.FlagSet
	command Command
}

// NewFlags returns an empty set of options for a subcommand.
func NewFlags(command Command) *Flags {
	set := flag.NewFlagSet(command.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	return &Flags{FlagSet: set, command: command}
}

// Parse parses a command line and returns its arguments. Options may follow arguments, and
// "--" ends the options. If Parse returns an error, it has printed the error, or the help
// text for flag.ErrHelp.
func (f *Flags) Parse(env *Env, args []string) ([]string, error) {
	var arguments []string
	for {
		if err := f.FlagSet.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(env.Stdout, f.command.Help)
			return nil, err
		} else if err != nil {
			return nil, f.Wrong(env, err)
		}
		rest := f.Args()
		if len(rest) == 0 {
			return arguments, nil
		}
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(arguments, rest...), nil
		}
		arguments = append(arguments, rest[0])
		args = rest[1:]
	}
}

// Wrong prints an error in the command line, and returns it.
func (f *Flags) Wrong(env *Env, err error) error {
	f.Complain(env, err)
	fmt.Fprintf(env.Stderr, "\"mxseal help %s\" describes the options\n", f.command.Name)
	return err
}

// Complain prints an error.
func (f *Flags) Complain(env *Env, err error) {
	fmt.Fprintf(env.Stderr, "mxseal %s: %s\n", f.command.Name, Clean(err.Error()))
}
