package survey

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Verdict is the protection of mail to a domain. Its number is the exit status.
type Verdict int

const (
	Protected   Verdict = 0 // every mail host must be authenticated, and all work
	Unprotected Verdict = 1 // an attacker on the path can read the mail
	Broken      Verdict = 3 // no mail host can be used
	Unreachable Verdict = 4 // no such domain, no mail accepted, or no answer
	Degraded    Verdict = 5 // a mail host or a record fails, and others do not
)

// String returns the verdict in one word.
func (v Verdict) String() string {
	switch v {
	case Protected:
		return "protected"
	case Unprotected:
		return "unprotected"
	case Broken:
		return "broken"
	case Degraded:
		return "degraded"
	default:
		return "unreachable"
	}
}

// MarshalText returns the text of String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Worst returns the worse of two verdicts.
func Worst(a, b Verdict) Verdict {
	order := []Verdict{Protected, Unprotected, Degraded, Unreachable, Broken}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

// judge sets the verdict, the reason and the problems.
func (r *Result) judge() {
	r.Verdict, r.Why = judgePlan(r.Plan)
	if i := slices.IndexFunc(r.Sessions, func(s *Session) bool { return s.OK && s.TLS == "" }); i >= 0 {
		r.Why = r.Sessions[i].Host + " gets mail in cleartext, which anyone on the path can read"
	}
	failed := r.failures()
	for _, f := range failed {
		r.Problems = append(r.Problems, f.problem)
	}
	switch {
	case r.Verdict == Broken:
	case len(r.Sessions) > 0 && !slices.ContainsFunc(r.Sessions, func(s *Session) bool { return s.OK }):
		r.Verdict, r.Why = Unreachable, "no mail host answers"
		if !slices.ContainsFunc(r.Sessions, func(s *Session) bool { return !s.Untested }) {
			r.Why = "this machine can reach no address of the mail hosts"
		}
		if slices.ContainsFunc(r.Sessions, func(s *Session) bool { return s.Answered }) {
			r.Verdict, r.Why = Broken, "no mail host that answers meets the policy"
		}
	case len(failed) > 0:
		r.Why = fmt.Sprintf("%s; apart from that the domain is %s: %s", failed[0].headline, r.Verdict, r.Why)
		r.Verdict = Degraded
	}
}

// judgePlan returns the verdict of a plan. It is that of the weakest host that can get the
// mail, because an attacker on the path can block the others.
func judgePlan(plan *policy.Plan) (Verdict, string) {
	if plan.Err() != nil {
		return Broken, "no mail host can be used"
	}
	for _, host := range plan.Hosts {
		switch {
		case host.Level == policy.Refused:
		case host.Level == policy.Opportunistic:
			return Unprotected, "an attacker on the path can prevent TLS with " + host.Name
		case host.Level == policy.Encrypted:
			return Unprotected, "an attacker on the path can impersonate " + host.Name
		case !routed(plan):
			return Unprotected, "an attacker on the path can redirect mail to a host other than " + host.Name
		}
	}
	return Protected, "every mail host must be authenticated"
}

// routed reports whether an attacker on the path is kept from naming mail hosts of his own.
// A policy in testing mode does not prevent that.
func routed(plan *policy.Plan) bool {
	return plan.MXStatus == dnssec.Secure || plan.MTASTS.Mode() == mtasts.Enforce
}

// failure is the failure of a mail host, of some of its addresses, or of a record.
type failure struct {
	headline string // what fails
	problem  string // and why
}

// failures returns what fails: mail hosts in the order of the plan, and then records.
func (r *Result) failures() []failure {
	var list []failure
	for i, host := range r.Plan.Hosts {
		name := "mail host " + host.Name
		if i == 0 && len(r.Plan.Hosts) > 1 {
			name = "the first mail host, " + host.Name + ","
		}
		if host.Level == policy.Refused {
			problem := host.Name + " gets no mail: " + r.brief(host, host.Refusal)
			list = append(list, failure{name + " gets no mail", problem})
			continue
		}
		list = append(list, r.failuresAt(host, name)...)
	}
	if r.MTASTS != nil && r.MTASTS.Err != nil {
		const what = "the MTA-STS policy cannot be used"
		list = append(list, failure{what, what + ": " + strings.TrimPrefix(r.MTASTS.Err.Error(), "mtasts: "+r.Plan.NextHop+": ")})
	}
	if r.Reports != nil && r.Reports.Error != "" && !r.Reports.Missing {
		const what = "the TLSRPT record cannot be used"
		list = append(list, failure{what, what + ": " + strings.TrimPrefix(r.Reports.Error, "tlsrpt: ")})
	}
	return list
}

// brief returns the text of an error about a host without the names that the reader knows.
func (r *Result) brief(host *policy.Host, err *policy.Error) string {
	if err == nil {
		return host.Why
	}
	text := strings.TrimPrefix(err.Error(), "policy: "+r.Plan.Domain+": ")
	return strings.TrimPrefix(text, "host "+host.Name+": ")
}

// failuresAt returns the addresses of a host that fail. Addresses that this machine cannot
// reach do not count.
func (r *Result) failuresAt(host *policy.Host, name string) []failure {
	var failing []*Session
	tested := 0
	for _, s := range r.Sessions {
		if s.Host != host.Name || s.Untested {
			continue
		}
		tested++
		if !s.OK {
			failing = append(failing, s)
		}
	}
	var list []failure
	for _, s := range failing {
		headline := fmt.Sprintf("%s fails at %s", name, s.Addr)
		if len(failing) == tested {
			headline = name + " fails"
		}
		list = append(list, failure{headline, fmt.Sprintf("%s fails at %s: %s", host.Name, s.Addr, s.Error)})
	}
	return list
}
