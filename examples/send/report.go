package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/policy/delivery"
)

// report prints the result for each domain and returns the exit status.
func report(w io.Writer, to []string, err error) int {
	var failed *delivery.SendError
	if err != nil && !errors.As(err, &failed) {
		fmt.Fprintf(w, "send: %s\n", clean(err.Error()))
		return exitTemporary
	}
	var undelivered []delivery.Undelivered
	if failed != nil {
		undelivered = failed.Undelivered
	}
	for _, same := range byDomain(delivered(to, undelivered)) {
		fmt.Fprintf(w, "%s: delivered: %s\n", clean(domainOf(same[0])), list(same))
	}
	for _, u := range undelivered {
		state := "waits"
		if u.Err.Permanent {
			state = "not delivered"
		}
		fmt.Fprintf(w, "%s: %s (%d %s): %s: %s\n", clean(domainOf(u.Recipients[0])), state,
			u.Err.Code(), u.Err.Status, list(u.Recipients), clean(u.Err.Error()))
	}
	switch {
	case len(undelivered) == 0:
		return exitOK
	case failed.Temporary():
		return exitTemporary
	default:
		return exitUnavailable
	}
}

// delivered returns the recipients that are not in undelivered.
func delivered(to []string, undelivered []delivery.Undelivered) []string {
	return slices.DeleteFunc(slices.Clone(to), func(recipient string) bool {
		return slices.ContainsFunc(undelivered, func(u delivery.Undelivered) bool {
			return slices.Contains(u.Recipients, recipient)
		})
	})
}

// byDomain groups recipients by domain, in the order of the first recipient of
// each domain.
func byDomain(recipients []string) [][]string {
	var groups [][]string
	for _, recipient := range recipients {
		at := slices.IndexFunc(groups, func(g []string) bool { return domainOf(g[0]) == domainOf(recipient) })
		if at < 0 {
			at, groups = len(groups), append(groups, nil)
		}
		groups[at] = append(groups[at], recipient)
	}
	return groups
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
