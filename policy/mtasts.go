package policy

import (
	"context"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// MTASTS is what MTA-STS said about a plan's next hop. The zero value says
// that it was not asked.
type MTASTS struct {
	// Asked is true when the policy was looked up. It is not where DANE
	// decides alone for every host.
	Asked bool
	// Policy is the policy in force, fetched now or remembered; nil for none.
	Policy *mtasts.Policy
	// ID is the id of the policy in force.
	ID string
	// Fetched and Expires are the times of its last successful fetch and of
	// its end.
	Fetched, Expires time.Time
	// Err is what went wrong while a policy, or a newer one, was looked for;
	// a remembered policy stays in force for all that.
	Err error

	// failedText is the text of a policy that was fetched and is invalid.
	failedText string
	// reportable is whether Err belongs in a report.
	reportable bool
	// recheck is when the domain is to be looked at again.
	recheck time.Time
	// off is true when the operator does not want MTA-STS here.
	off bool
}

func newMTASTS(result mtasts.Result) MTASTS {
	m := MTASTS{
		Asked:      true,
		Policy:     result.Policy,
		ID:         result.ID,
		Err:        result.Err,
		failedText: result.FailedText,
		reportable: result.Reportable(),
		recheck:    result.NextCheck,
	}
	if m.Policy != nil {
		m.Fetched, m.Expires = result.Fetched, result.Expires
	}
	return m
}

// Mode returns the mode of the policy in force, or mtasts.None.
func (m *MTASTS) Mode() mtasts.Mode {
	if m.Policy == nil {
		return mtasts.None
	}
	return m.Policy.Mode
}

// fact is the policy as the decision table knows it.
func (m *MTASTS) fact() mtastsFact {
	switch {
	case !m.Asked:
		return mtastsUnknown
	case m.Policy == nil:
		return mtastsNone
	}
	switch m.Policy.Mode {
	case mtasts.Enforce:
		return mtastsEnforce
	case mtasts.Testing:
		return mtastsTesting
	default:
		return mtastsNone
	}
}

// lists reports whether the policy in force has a pattern for the host.
func (m *MTASTS) lists(host string) bool {
	return m.Policy != nil && m.Policy.MatchMX(host)
}

// names lets any dnssec.Resolver answer what package mtasts asks.
type names struct{ dns dnssec.Resolver }

func (n names) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, _, err := dnssec.LookupTXT(ctx, n.dns, name)
	return texts, err
}

// LookupTXTUntil tells the time to live as well, by which package mtasts
// remembers records and their absence.
func (n names) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return dnssec.LookupTXT(ctx, n.dns, name)
}

func (n names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return dnssec.LookupNetIP(ctx, n.dns, network, host)
}
