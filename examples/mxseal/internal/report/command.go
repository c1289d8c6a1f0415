// Package report is "mxseal report": it explains TLS reports that were received.
package report

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

const help = `usage: mxseal report FILE...

Explains TLS reports that were received: what failed, how often, and what to do.

A FILE is a report in JSON, compressed or not, or the whole mail message that it
came in. "-" is standard input.

Exit status:
  0  all reports were read
  2  a file cannot be read or is no report, or wrong usage
`

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "report", Summary: "explain TLS reports that were received", Help: help, Run: run}
}

func run(_ context.Context, env *cli.Env, args []string) int {
	flags := cli.NewFlags(Command())
	files, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && len(files) == 0:
		err = flags.Wrong(env, errors.New("which file?"))
	}
	if err != nil {
		return cli.ExitUsage
	}
	code := 0
	for i, name := range files {
		if i > 0 {
			fmt.Fprintln(env.Stdout)
		}
		received, err := read(env.Stdin, name)
		if err == nil {
			err = received.Explain(env.Stdout)
		}
		if err != nil {
			flags.Complain(env, fmt.Errorf("%s: %w", name, err))
			code = cli.ExitUsage
		}
	}
	return code
}

// read reads the report in a file, or on standard input.
func read(stdin io.Reader, name string) (*report.Report, error) {
	if name == "-" {
		return report.Parse(stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return report.Parse(file)
}
