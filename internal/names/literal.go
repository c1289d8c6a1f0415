package names

import (
	"errors"
	"net/netip"
)

// IsLiteral reports whether the domain of a mail address is in brackets: an address
// literal, such as "[192.0.2.1]" (RFC 5321 section 4.1.3).
func IsLiteral(domain string) bool {
	return len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']'
}

// ParseLiteral returns the address in an address literal. s is what is between the
// brackets: an IPv4 address, or an IPv6 address with or without "IPv6:" before it.
func ParseLiteral(s string) (netip.Addr, error) {
	const tag = "IPv6:"
	tagged := len(s) > len(tag) && EqualFold(s[:len(tag)], tag)
	if tagged {
		s = s[len(tag):]
	}
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, err
	case addr.Zone() != "":
		return netip.Addr{}, errors.New("an address literal must not have a zone")
	case tagged && addr.Is4():
		return netip.Addr{}, errors.New("an IPv4 address literal must not have the tag of IPv6")
	}
	return addr, nil
}

// Literal returns an address as an address literal, with the brackets (RFC 5321
// section 4.1.3).
func Literal(addr netip.Addr) string {
	if addr.Is4() {
		return "[" + addr.String() + "]"
	}
	return "[IPv6:" + addr.String() + "]"
}
