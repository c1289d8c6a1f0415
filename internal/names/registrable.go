package names

import (
	"net/netip"

	"golang.org/x/net/publicsuffix"
)

// Registrable returns the part of a domain that its owner has registered: one label
// more than the public suffix. For a public suffix, and for what is not a domain
// below one, such as an IP address, it returns the name itself. The domain must be
// in A-labels, in lower case and without final dot.
func Registrable(domain string) string {
	if _, err := netip.ParseAddr(domain); err == nil {
		return domain
	}
	if registrable, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return registrable
	}
	return domain
}
