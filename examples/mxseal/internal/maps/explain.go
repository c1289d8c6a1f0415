package maps

import (
	"fmt"
	"io"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

// maxShown bounds an answer that Explain shows, in octets.
const maxShown = 4096

// Explain writes what the clients get for a plan, or for the error that Resolve returned instead, and what
// they cannot do of the plan.
func (m *Maps) Explain(w io.Writer, plan *policy.Plan, err error) {
	settings := m.config.Settings()
	for _, client := range []struct {
		name string
		postfix.Client
	}{{"QUERY", postfix.Postfix}, {"QUERYwithTLSRPT", postfix.PostfixTLSRPT}} {
		reply := postfix.Policy(plan, err, settings.options(client.Client))
		fmt.Fprintf(w, "%s: %s\n", client.name, reply.Level())
		if reply.Text != "" {
			fmt.Fprintf(w, "  %s\n", names.Printable(reply.Text, maxShown))
		}
		for _, loss := range reply.Inexact {
			fmt.Fprintf(w, "  lost: %s\n", loss)
		}
	}
}
