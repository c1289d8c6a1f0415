package main

import "github.com/mxseal/mxseal/policy"

// verdict is the protection of mail to a domain. It is also the exit status.
type verdict int

const (
	protected   verdict = 0
	unprotected verdict = 1
	exitUsage           = 2
	broken      verdict = 3
	unreachable verdict = 4
)

func (v verdict) String() string {
	switch v {
	case protected:
		return "protected"
	case unprotected:
		return "unprotected"
	case broken:
		return "broken"
	default:
		return "unreachable"
	}
}

func (v verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// judge returns the verdict of a plan. It is that of the weakest host that can
// get the mail, because an attacker on the path can block the others.
func judge(plan *policy.Plan) (verdict, string) {
	if plan.Err() != nil {
		return broken, "no mail host can be used"
	}
	for _, host := range plan.Hosts {
		switch {
		case host.Level == policy.Refused:
		case host.Level == policy.Opportunistic:
			return unprotected, "an attacker on the path can prevent TLS with " + clean(host.Name)
		case host.Level == policy.Encrypted:
			return unprotected, "an attacker on the path can impersonate " + clean(host.Name)
		case !host.RouteAuthenticated:
			return unprotected, "an attacker on the path can redirect mail to a host other than " + clean(host.Name)
		}
	}
	return protected, "every mail host must be authenticated"
}

// judgeSessions returns the verdict after connecting. One working host is
// sufficient for a sender.
func judgeSessions(sessions []*session, planned verdict, why string) (verdict, string) {
	answered := false
	for _, s := range sessions {
		if s.OK {
			return planned, why
		}
		answered = answered || s.answered
	}
	if answered {
		return broken, "no mail host that answers meets the policy"
	}
	return unreachable, "no mail host answers"
}
