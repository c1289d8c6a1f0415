package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// nextHop is where the mail of a domain goes: a domain with MX records, a host
// that the operator names, or an address.
type nextHop struct {
	name string // in A-labels, without final dot; empty for an address
	addr netip.Addr
	port uint16
	// direct means that the name is the mail host itself: no MX lookup.
	direct bool
	// configured means that it comes from an Override.
	configured bool
}

// String returns the name, or the address.
func (n nextHop) String() string {
	if n.addr.IsValid() {
		return n.addr.String()
	}
	return n.name
}

// parseNextHop reads an Override.NextHop: "name", "[name]" or "[address]",
// each optionally with ":port".
func parseNextHop(s string, defaultPort uint16) (nextHop, error) {
	hop := nextHop{port: defaultPort, configured: true}
	host, port := s, ""
	if rest, found := strings.CutPrefix(s, "["); found {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && !strings.HasPrefix(after, ":") {
			return nextHop{}, errors.New("a next hop in brackets must end in ] or ]:port")
		}
		host, port, hop.direct = inner, after, true
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon:]
	}
	if port != "" {
		number, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || number == 0 {
			return nextHop{}, errors.New("the port of a next hop must be a number from 1 to 65535")
		}
		hop.port = uint16(number)
	}
	if addr, err := parseLiteral(host); hop.direct && err == nil {
		hop.addr = addr
		return hop, nil
	}
	name, err := asciiDomain(host)
	hop.name = name
	return hop, err
}

// parseLiteral reads the inside of an address literal (RFC 5321 section
// 4.1.3).
func parseLiteral(s string) (netip.Addr, error) {
	const tag = "ipv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		s = s[len(tag):]
	}
	addr, err := netip.ParseAddr(s)
	if err == nil && addr.Zone() != "" {
		err = errors.New("an address literal must not have a zone")
	}
	return addr, err
}

// asciiDomain returns a domain in lower-case A-labels without final dot. It does not
// allocate if the domain has this form already.
func asciiDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if !isASCII(s) {
		converted, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) {
			return "", fmt.Errorf("%w: it has no form in A-labels", ErrNotADomain)
		}
		s = converted
	}
	s = strings.ToLower(s)
	switch {
	case !isHostName(s):
		return "", ErrNotADomain
	case isNumeric(s[strings.LastIndexByte(s, '.')+1:]):
		return "", fmt.Errorf("%w but an address; put an address literal in brackets", ErrNotADomain)
	}
	return s, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isHostName reports whether s consists of labels of letters, digits, hyphens
// and underscores, which real mail hosts have.
func isHostName(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 || s[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case c == '-' && label > 0:
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && s[len(s)-1] != '-'
}

func isNumeric(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0
}

// sameName compares ASCII names as DNS does: case and a final dot do not matter.
func sameName(a, b string) bool {
	return equalFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// equalFold is strings.EqualFold for ASCII only: the Kelvin sign does not equal k.
func equalFold(a, b string) bool {
	return isASCII(a) && isASCII(b) && strings.EqualFold(a, b)
}
