package delivery

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mxseal/mxseal/policy"
)

// isLiteral reports whether a domain is an address literal.
func isLiteral(domain string) bool {
	return len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']'
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
		err = errors.New("an address literal has no zone")
	}
	return addr, err
}

// asciiDomain returns a domain in lower-case A-labels without final dot. One
// that is so already costs no memory.
func asciiDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if !isASCII(s) {
		converted, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) {
			return "", fmt.Errorf("%w: it cannot be written in A-labels", policy.ErrNotADomain)
		}
		s = converted
	}
	s = strings.ToLower(s)
	switch {
	case !isHostName(s):
		return "", policy.ErrNotADomain
	case isNumeric(s[strings.LastIndexByte(s, '.')+1:]):
		return "", fmt.Errorf("%w but an address; an address literal needs brackets", policy.ErrNotADomain)
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
// and, since real mail hosts have them, underscores.
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

// equalFold is strings.EqualFold for ASCII alone: the Kelvin sign is no k.
func equalFold(a, b string) bool {
	return isASCII(a) && isASCII(b) && strings.EqualFold(a, b)
}
