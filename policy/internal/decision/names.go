package decision

import "strings"

// String returns the lower-case name of the level.
func (l Level) String() string {
	switch l {
	case Opportunistic:
		return "opportunistic"
	case Encrypted:
		return "encrypted"
	case Authenticated:
		return "authenticated"
	default:
		return "refused"
	}
}

// String returns the names of the mechanisms, joined by "+"; "none" for the empty set.
func (m Mechanism) String() string {
	if m == 0 {
		return "none"
	}
	var names []string
	for _, each := range []struct {
		mechanism Mechanism
		name      string
	}{{ByDANE, "DANE"}, {ByMTASTS, "MTA-STS"}, {ByOperator, "operator"}} {
		if m&each.mechanism != 0 {
			names = append(names, each.name)
		}
	}
	return strings.Join(names, "+")
}
