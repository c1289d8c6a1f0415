package web

import (
	"context"
	"fmt"
	"strings"

	"github.com/mxseal/mxseal/mtasts"
)

// maxPatterns is how many mx patterns of a policy are shown.
const maxPatterns = 5

// policyRow is an MTA-STS policy.
type policyRow struct {
	Domain, Mode, Patterns, ID string
	Fetched, Expires           moment
	Failing                    string // empty if the last fetch succeeded
}

func (s *server) policyRow(known mtasts.Known) policyRow {
	mx := known.Policy.MX
	row := policyRow{
		Domain: known.Domain, Mode: string(known.Policy.Mode), ID: line(known.ID), Patterns: line(strings.Join(mx[:min(len(mx), maxPatterns)], " ")),
		Fetched: s.moment(known.Fetched), Expires: s.moment(known.Expires),
	}
	if more := len(mx) - maxPatterns; more > 0 {
		row.Patterns += fmt.Sprintf(" and %d more", more)
	}
	if !known.FailingSince.IsZero() {
		row.Failing = fmt.Sprintf("%d fetches have failed since %s", known.Failed, s.moment(known.FailingSince))
		if known.Err != nil {
			row.Failing += ": " + line(known.Err.Error())
		}
	}
	return row
}

// policies shows the policies in force, those first that expire first.
func (s *server) policies(_ context.Context, q query) (string, any) {
	return "policies", look(s.Resolver.Policies(), q, func(known mtasts.Known) (key, domain string, ok bool) {
		return known.Expires.UTC().Format("20060102150405") + known.Domain, known.Domain, true
	}, s.policyRow)
}
