package mtasts

import (
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// MatchMX reports whether the policy allows host, the name of a mail host in an MX
// record (RFC 8461 section 4.1). Case and a final dot do not matter. A wildcard
// matches exactly one label. host must be in A-labels; a name with other
// characters never matches.
//
// MatchMX does not depend on the mode: in the modes [None] and [Testing], a host
// that does not match still gets mail.
func (p *Policy) MatchMX(host string) bool {
	host = strings.TrimSuffix(host, ".")
	for _, pattern := range p.MX {
		if matchPattern(pattern, host) {
			return true
		}
	}
	return false
}

func matchPattern(pattern, host string) bool {
	parent, wildcard := strings.CutPrefix(pattern, "*.")
	if !wildcard {
		return names.EqualFold(pattern, host)
	}
	label, rest, ok := strings.Cut(host, ".")
	return ok && names.IsLabel(label) && names.EqualFold(parent, rest)
}
