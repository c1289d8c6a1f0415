package policy

import (
	"errors"
	"time"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/tlsrpt"
)

// MTASTS is the result of the MTA-STS lookup for a plan's next hop. The zero value
// means that there was no lookup.
type MTASTS struct {
	// Asked is true if the policy was looked up. It is false if DANE alone
	// decides about every host.
	Asked bool
	// Policy is the policy in force, fetched now or remembered; nil if there is
	// none.
	Policy *mtasts.Policy
	// ID is the id of the policy in force.
	ID string
	// Fetched and Expires are when it was last fetched and when it expires.
	Fetched, Expires time.Time
	// Err is why a policy, or a newer one, was not found; nil if nothing failed.
	// A remembered policy stays in force after a failure.
	Err error

	// domain is the policy domain; empty if there was no lookup.
	domain string
	// failedText is the text of a policy that was fetched and is invalid.
	failedText string
	// reportable is whether Err belongs in a report.
	reportable bool
	// recheck is when the policy is to be looked up again.
	recheck time.Time
	// off is true if MTA-STS is switched off for the mail.
	off bool
	// mark tells whether the policy has changed since.
	mark mtasts.Mark
}

func newMTASTS(result mtasts.Result) MTASTS {
	m := MTASTS{
		Asked:      true,
		domain:     result.Domain,
		Policy:     result.Policy,
		ID:         result.ID,
		Err:        result.Err,
		failedText: result.FailedText,
		reportable: result.Reportable(),
		recheck:    result.NextCheck,
		mark:       result.Mark,
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

// fact returns the policy as a column of the decision table.
func (m *MTASTS) fact() decision.MTASTS {
	switch {
	case !m.Asked:
		return decision.MTASTSUnknown
	case m.Mode() == mtasts.Enforce:
		return decision.MTASTSEnforce
	case m.Mode() == mtasts.Testing:
		return decision.MTASTSTesting
	}
	return decision.MTASTSNone
}

// unasked returns why the policy is not known; nil if it was looked up or not needed.
func (m *MTASTS) unasked() error {
	if m.Asked {
		return nil
	}
	return m.Err
}

// isCurrent reports whether the policy is still the one in force, as far as the memory
// of client can tell.
func (m *MTASTS) isCurrent(client *mtasts.Client) bool {
	return m.mark.Unchanged() || m.off || !m.Asked && m.Err == nil || client.IsCurrent(m.domain, m.Policy)
}

// failures returns why the policy was not found, if a report counts it.
func (m *MTASTS) failures() []tlsrpt.Failure {
	var failure *mtasts.Error
	if !m.reportable || !errors.As(m.Err, &failure) {
		return nil
	}
	if f := tlsrpt.Classify(failure); f.Type != "" {
		return []tlsrpt.Failure{f}
	}
	return nil
}
