package send

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy/delivery"
)

// report writes what happened to a message and returns the exit status: the recipients that
// got it to standard output, the others to standard error.
func report(stdout, stderr io.Writer, result delivery.Result, err error) int {
	for _, d := range result.Delivered {
		fmt.Fprintf(stdout, "%s: delivered: %s: %s\n", cli.Clean(d.Plan.Domain), list(d.Recipients), how(d))
	}
	var failed *delivery.SendError
	switch {
	case err == nil:
		return exitOK
	case !errors.As(err, &failed):
		fmt.Fprintf(stderr, "mxseal send: %s\n", cli.Clean(err.Error()))
		return exitTemporary
	}
	for _, u := range failed.Undelivered {
		state := "waits"
		switch {
		case u.OutcomeUnknown:
			state = "may have been delivered"
		case u.Err.Permanent:
			state = "not delivered"
		}
		fmt.Fprintf(stderr, "%s: %s (%d %s): %s: %s\n", cli.Clean(domainOf(u.Recipients[0])), state,
			u.Err.Code(), u.Err.Status, list(u.Recipients), cli.Clean(u.Err.Error()))
	}
	if failed.Temporary() {
		return exitTemporary
	}
	return exitUnavailable
}

// how says to which host a message was delivered, at which level and by which
// mechanism, with which version of TLS, and what the server replied.
func how(d delivery.Delivery) string {
	session := "cleartext"
	if version := d.TLSVersion(); version != "" {
		session = version
	}
	return fmt.Sprintf("host %s, level %s by %s, %s, reply %s", cli.Clean(d.Host.Name), d.Host.Level, d.Host.By, session, cli.Clean(d.Reply.String()))
}

func domainOf(recipient string) string {
	return strings.ToLower(recipient[strings.LastIndexByte(recipient, '@')+1:])
}

func list(recipients []string) string { return cli.Clean(strings.Join(recipients, ", ")) }
