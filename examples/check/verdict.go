package main

import "github.com/mxseal/mxseal/policy"

// verdict is how safe mail to a domain is, and the exit status.
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

// judge is the verdict of a plan: the mail is as safe as with the weakest host
// that may get it, since someone on the path can make the others fail.
func judge(plan *policy.Plan) (verdict, string) {
	if plan.Err() != nil {
		return broken, "no mail host can be used"
	}
	for _, host := range plan.Hosts {
		switch {
		case host.Level == policy.Refused:
		case host.Level == policy.Opportunistic:
			return unprotected, "someone on the path can prevent TLS at " + clean(host.Name)
		case host.Level == policy.Encrypted:
			return unprotected, "someone on the path can take the place of " + clean(host.Name)
		case !host.RouteAuthenticated:
			return unprotected, "someone on the path can name another mail host than " + clean(host.Name)
		}
	}
	return protected, "every mail host must prove who it is"
}

// judgeSessions is the verdict once sessions were tried. One host that works is
// enough for a sender.
func judgeSessions(sessions []*session, planned verdict, why string) (verdict, string) {
	answered := false
	for _, s := range sessions {
		if s.OK {
			return planned, why
		}
		answered = answered || s.answered
	}
	if answered {
		return broken, "no mail host that answers can be used"
	}
	return unreachable, "no mail host answers"
}
