package mtasts

import (
	"strings"

	"github.com/mxseal/mxseal/internal/grammar"
)

// MatchMX reports whether host, the name of a mail host as the MX record has
// it, is one that the policy allows (RFC 8461 section 4.1). Case and a final
// dot do not matter. A wildcard stands for exactly one label. host is expected
// in A-labels; one with other letters never matches.
//
// It tells nothing about the mode: under [None], and under [Testing], a host
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
		return equalFold(pattern, host)
	}
	label, rest, ok := strings.Cut(host, ".")
	return ok && isLabel(label) && equalFold(parent, rest)
}

// isLabel reports whether s can be the first label of a mail host.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; !grammar.IsAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// equalFold reports whether a and b are equal but for the case of ASCII
// letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
