// Package check is "mxseal check": it shows how well mail to domains is protected, as text,
// as JSON, or as one line for a monitor.
package check

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/page"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

const help = `usage: mxseal check [options] DOMAIN...

Shows what senders find about each domain, and what they do.

  -connect      connect to every address of every mail host and check its TLS
  -json         one JSON object per line for each domain
  -nagios       one line, and the exit status, of a Nagios plugin
  -html FILE    also write a page with a diagram of the chain of trust
  -timeout TIME for each domain (1m)
  -helo NAME    the name for EHLO (the name of this machine)
  -server ADDR  DNS servers, which need not be trusted (those of resolv.conf)
  -anchor FILE  DNSSEC trust anchors (the root keys of IANA)
  -zone ZONE=SERVER,...  a private zone, and its servers if it has its own
  -hosts FILE   addresses of hosts of your own, such as /etc/hosts
  -allow NET    permit hosts in a private network, such as 10.0.0.0/8
  -ca FILE      certificates of authorities to trust in addition

Exit status, the worst of all domains, in this order:
  0 protected    every mail host must be authenticated
  1 unprotected  an attacker on the path can read the mail
  5 degraded     a mail host, or a record, fails; the rest works
  4 unreachable  no such domain, no mail accepted, or no answer
  3 broken       no mail host can be used         (2 is for wrong usage)
`

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "check", Summary: "show what senders find about a domain, and what they do", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	var network cli.Network
	var json, nagios bool
	var html string
	s := new(survey.Surveyor)
	flags := cli.NewFlags(Command())
	network.Register(flags)
	flags.BoolVar(&s.Connect, "connect", false, "")
	flags.BoolVar(&json, "json", false, "")
	flags.BoolVar(&nagios, "nagios", false, "")
	flags.StringVar(&html, "html", "", "")
	flags.DurationVar(&s.Timeout, "timeout", time.Minute, "")
	flags.StringVar(&s.HELO, "helo", "", "")
	domains, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
	case len(domains) == 0:
		err = flags.Wrong(env, errors.New("want at least one domain"))
	case json && nagios:
		err = flags.Wrong(env, errors.New("-json and -nagios cannot be used together"))
	}
	if err == nil {
		if s.Sender, err = network.Open(env); err != nil {
			flags.Complain(env, err)
		}
	}
	switch {
	case err != nil && nagios:
		return int(unknown)
	case err != nil:
		return cli.ExitUsage
	}
	defer s.Close()
	defer s.Progress.Watch(env)()

	var show printer = &text{w: env.Stdout}
	switch {
	case json:
		show = &jsonLines{w: env.Stdout}
	case nagios:
		show = &plugin{w: env.Stdout, began: s.Now(), now: s.Now}
	}
	var results []*survey.Result
	for _, pending := range s.All(ctx, domains) {
		r := <-pending
		results = append(results, r)
		if err := show.print(r); err != nil {
			flags.Complain(env, err)
			return cli.ExitUsage
		}
	}
	code := show.end()
	if html != "" {
		if err := writePage(html, results); err != nil {
			flags.Complain(env, err)
			return cli.ExitUsage
		}
	}
	return code
}

// writePage writes the page to a file.
func writePage(name string, results []*survey.Result) error {
	var b bytes.Buffer
	if err := page.Write(&b, results); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// printer prints results one after another. end returns the exit status.
type printer interface {
	print(*survey.Result) error
	end() int
}
