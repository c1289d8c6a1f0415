package tlsrpt

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteTable writes what the report says for a person to read: each policy, and
// below it a table of the ways in which sessions failed, the most frequent
// first. Whatever a stranger put
// into the report, it is written in printable ASCII.
func (r *Report) WriteTable(w io.Writer) error {
	// The cells are separated by tabs, which shown leaves in none of them.
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "%s <%s>, report %s\n%s to %s\n", shown(r.Organization), shown(r.Contact), shown(r.ID),
		r.Dates.Start.Format(time.RFC3339), r.Dates.End.Format(time.RFC3339))
	for i := range r.Policies {
		p := &r.Policies[i]
		fmt.Fprintf(table, "\n%s %s: %d sessions met the policy, %d did not%s\n",
			shown(string(p.Policy.Type)), shown(p.Policy.Domain), p.Summary.Successes, p.Summary.Failures, share(p.Summary))
		if len(p.Details) > 0 {
			fmt.Fprint(table, "  SESSIONS\tRESULT\tREASON\tMX HOST\tADDRESS\tFROM\n")
		}
		for _, d := range slices.SortedStableFunc(slices.Values(p.Details), moreSessions) {
			fmt.Fprintf(table, "  %d\t%s\t%s\t%s\t%s\t%s\n", d.Sessions, shown(string(d.Type)),
				shown(d.ReasonCode), shown(cmp.Or(d.MXHost, d.HELO)), shownAddr(d.ReceivingIP), shownAddr(d.SendingIP))
		}
	}
	return table.Flush()
}

func moreSessions(a, b Detail) int { return cmp.Compare(b.Sessions, a.Sessions) }

// share says how large a part of the sessions failed, if any did.
func share(s Summary) string {
	if s.Failures == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f %%)", 100*float64(s.Failures)/float64(s.Successes+s.Failures))
}

// shown returns s as a cell, "-" if there is nothing.
func shown(s string) string { return cmp.Or(printable(s, maxHostText), "-") }

func shownAddr(addr netip.Addr) string {
	if !addr.IsValid() {
		return "-"
	}
	return addr.String()
}
