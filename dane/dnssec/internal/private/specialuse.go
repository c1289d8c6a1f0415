package private

import "github.com/mxseal/mxseal/dane/dnssec/internal/proof"

// IsSpecialUse reports whether name is one of the special-use names that a
// resolver library should not, or must not, send to any server: those at and below
// localhost (RFC 6761 section 6.3), invalid (section 6.4) and onion (RFC 7686
// section 2).
//
// Names in the reverse zones of private addresses (RFC 6303) and below test are
// sent to the servers, because a library should not treat them as special (RFC
// 6761 sections 6.1 and 6.2).
func IsSpecialUse(name string) bool {
	return proof.Within(name, "localhost.") || proof.Within(name, "invalid.") || proof.Within(name, "onion.")
}
