package mtasts

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mxseal/mxseal/internal/grammar"
)

const (
	maxName  = 253 // octets of a name without its final dot
	maxLabel = 63
)

// canonicalDomain returns domain in A-labels, lower case, without final dot. A
// name that is so already costs no allocation.
func canonicalDomain(domain string) (string, error) {
	name := strings.TrimSuffix(domain, ".")
	if !isASCII(name) {
		name = toASCII(name)
	}
	// The name is checked after the conversion, which can make an IPv4 address
	// of full-width digits. Underscores are no letters of a host name, but
	// domains with them receive mail.
	if !isDomain(name, "_") || isNumeric(name[strings.LastIndexByte(name, '.')+1:]) {
		return "", fmt.Errorf("mtasts: %s: %w", quote(domain), ErrDomain)
	}
	return strings.ToLower(name), nil
}

// toASCII returns name in A-labels, or nothing if that cannot be. idna takes
// octets that are not UTF-8 for U+FFFD, which would be a domain of its own.
func toASCII(name string) string {
	if !utf8.ValidString(name) {
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(ascii, ".")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isDomain reports whether s is a Domain of RFC 5321 section 4.1.2 within the
// lengths of RFC 1035. The octets of extra count as letters.
func isDomain(s, extra string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for start := 0; start <= len(s); {
		end := start
		for end < len(s) && s[end] != '.' {
			if c := s[end]; !grammar.IsAlphanumeric(c) && c != '-' && strings.IndexByte(extra, c) < 0 {
				return false
			}
			end++
		}
		if end == start || end-start > maxLabel || s[start] == '-' || s[end-1] == '-' {
			return false
		}
		start = end + 1
	}
	return true
}

// isNumeric reports whether label has only digits, as the last label of an
// IPv4 address has and that of a domain never.
func isNumeric(label string) bool {
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}
