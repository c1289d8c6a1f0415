// Package explain is "mxseal explain": it asks the running daemon about a domain.
package explain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

const help = `usage: mxseal explain [options] DOMAIN

Asks the running daemon what it knows about a domain, what a session with each
mail host must prove, what Postfix gets, and what Postfix cannot do of it. It
shows what applies to mail now, with the policies that the daemon remembers.

  -config FILE   the configuration of the daemon. Default: /etc/mxseal.conf
  -at ADDRESS    its page, such as unix:/run/mxseal/http.sock or
                 inet:127.0.0.1:8640. Default: the first in http.listen of FILE

Exit status:
  0  the daemon has answered
  1  it does not answer
  2  wrong usage
`

const exitFailure = 1

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "explain", Summary: "ask the running daemon about a domain", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	flags := cli.NewFlags(Command())
	file := flags.String("config", "/etc/mxseal.conf", "")
	at := flags.String("at", "", "")
	domains, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && len(domains) != 1:
		err = flags.Wrong(env, errors.New("want one domain"))
	}
	if err != nil {
		return cli.ExitUsage
	}
	address, err := page(*at, *file)
	if err == nil {
		err = ask(ctx, env.Stdout, address, domains[0])
	}
	if err != nil {
		flags.Complain(env, err)
		return exitFailure
	}
	return 0
}

// page returns the address of the daemon's page.
func page(at, file string) (address config.Address, err error) {
	if at != "" {
		return address, address.UnmarshalText([]byte(at))
	}
	settings, err := config.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return address, fmt.Errorf("%w; name the configuration of the daemon with -config", err)
	case err != nil:
		return address, err
	case len(settings.HTTP.Listen) == 0:
		return address, fmt.Errorf("%s has no http.listen, so the daemon cannot be asked; add it, and restart the daemon", file)
	}
	return settings.HTTP.Listen[0], nil
}

// maxAnswer bounds the answer of the daemon, in octets.
const maxAnswer = 1 << 20

func ask(ctx context.Context, w io.Writer, at config.Address, domain string) error {
	network := map[string]string{"unix": "unix", "inet": "tcp"}[at.Kind]
	if network == "" {
		return fmt.Errorf("only systemd knows the path of %s; name it with -at", at)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at.Where)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/explain?domain="+url.QueryEscape(domain), nil)
	if err != nil {
		return err
	}
	reply, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the daemon does not answer: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("the daemon answers %s", cli.Clean(reply.Status))
	}
	_, err = io.Copy(w, io.LimitReader(reply.Body, maxAnswer))
	return err
}
