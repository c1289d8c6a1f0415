package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mxseal/mxseal/policy/delivery"
)

// report writes what happened to a message and returns the exit status.
func report(w io.Writer, result delivery.Result, err error) int {
	for _, d := range result.Delivered {
		fmt.Fprintf(w, "%s: delivered: %s: %s\n", clean(d.Plan.Domain), list(d.Recipients), how(d))
	}
	var failed *delivery.SendError
	switch {
	case err == nil:
		return exitOK
	case !errors.As(err, &failed):
		fmt.Fprintf(w, "send: %s\n", clean(err.Error()))
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
		fmt.Fprintf(w, "%s: %s (%d %s): %s: %s\n", clean(domainOf(u.Recipients[0])), state,
			u.Err.Code(), u.Err.Status, list(u.Recipients), clean(u.Err.Error()))
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
	return fmt.Sprintf("host %s, level %s by %s, %s, reply %s", clean(d.Host.Name), d.Host.Level, d.Host.By, session, clean(d.Reply.String()))
}

func domainOf(recipient string) string {
	return strings.ToLower(recipient[strings.LastIndexByte(recipient, '@')+1:])
}

func list(recipients []string) string { return clean(strings.Join(recipients, ", ")) }

// clean quotes text with characters that a terminal could act on. Errors
// contain text from servers.
func clean(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return fmt.Sprintf("%+q", s)
		}
	}
	return s
}
