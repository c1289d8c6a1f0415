// Package report is "mxseal report": it explains TLS reports that were received, one or
// many, and shows in a chart how the days compare.
package report

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

const help = `usage: mxseal report [options] FILE...

Explains TLS reports that were received: what failed, at which hosts, since
when, what it meant for the mail, and what to do. Of many reports, it sums up
all senders and days, with a chart of the days.

A FILE is a report in JSON, compressed or not, the mail message that it came in,
an mbox, or a directory of such files, such as a Maildir. "-" is standard input.

  -each    explain each report by itself
  -json    one JSON object with the sums

Exit status:
  0  all reports were read
  2  a file cannot be read, nothing in it is a report, or wrong usage
`

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "report", Summary: "explain TLS reports that were received", Help: help, Run: run}
}

func run(_ context.Context, env *cli.Env, args []string) int {
	flags := cli.NewFlags(Command())
	each := flags.Bool("each", false, "")
	json := flags.Bool("json", false, "")
	files, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
	case len(files) == 0:
		err = flags.Wrong(env, errors.New("want at least one file"))
	case *each && *json:
		err = flags.Wrong(env, errors.New("-each and -json cannot be used together"))
	}
	if err != nil {
		return cli.ExitUsage
	}
	s := summary{env: env, flags: flags, each: *each}
	for _, name := range files {
		s.read(name)
	}
	switch overview := s.digest.Overview(); {
	case *json:
		err = cli.WriteJSON(env.Stdout, overview)
	case overview.Reports > 0:
		err = s.print(overview)
	}
	if err != nil {
		flags.Complain(env, err)
		s.failed = true
	}
	if s.failed {
		return cli.ExitUsage
	}
	return 0
}

// summary is what was read.
type summary struct {
	env    *cli.Env
	flags  *cli.Flags
	each   bool
	digest report.Digest
	first  *report.Report
	count  int
	failed bool // a file cannot be read
}

// read reads the reports in a file or directory. Messages that are no reports are left out,
// unless there is nothing else.
func (s *summary) read(name string) {
	nothing := true
	for r, err := range reports(s.env, name) {
		if errors.Is(err, report.ErrNoReport) {
			continue
		}
		nothing = false
		if err != nil {
			s.complain(fmt.Errorf("%s: %w", name, err))
			continue
		}
		s.add(r)
	}
	if nothing {
		s.complain(fmt.Errorf("%s: no TLS report was found", name))
	}
}

func (s *summary) complain(err error) {
	s.flags.Complain(s.env, err)
	s.failed = true
}

func (s *summary) add(r *report.Report) {
	s.digest.Add(r)
	if s.count == 0 {
		s.first = r
	}
	if s.each {
		if s.count > 0 {
			fmt.Fprintln(s.env.Stdout)
		}
		if err := r.Explain(s.env.Stdout); err != nil {
			s.complain(err)
		}
	}
	s.count++
}

// reports yields the reports in a file or directory.
func reports(env *cli.Env, name string) iter.Seq2[*report.Report, error] {
	fail := func(err error) iter.Seq2[*report.Report, error] {
		return func(yield func(*report.Report, error) bool) { yield(nil, err) }
	}
	if name == "-" {
		return report.Read(env.Stdin)
	}
	info, err := os.Stat(name)
	if err != nil {
		return fail(err)
	}
	if info.IsDir() {
		return report.ReadFS(os.DirFS(name))
	}
	file, err := os.Open(name)
	if err != nil {
		return fail(err)
	}
	return func(yield func(*report.Report, error) bool) {
		defer file.Close()
		report.Read(file)(yield)
	}
}

// print explains a single report, or the sums of several with the charts.
func (s *summary) print(overview report.Overview) error {
	switch {
	case s.each:
		return nil
	case s.count == 1:
		return s.first.Explain(s.env.Stdout)
	}
	if err := overview.Explain(s.env.Stdout); err != nil {
		return err
	}
	return charts(s.env.Stdout, overview)
}
