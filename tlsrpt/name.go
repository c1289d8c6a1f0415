package tlsrpt

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mxseal/mxseal/internal/grammar"
)

const (
	maxName  = 253 // octets of a name without its final dot
	maxLabel = 63
)

// canonicalName returns a domain in A-labels, lower case, without final dot;
// empty if it is none. A name that is so already costs no allocation.
func canonicalName(domain string) string {
	name := strings.TrimSuffix(domain, ".")
	if !isASCII(name) {
		// idna takes octets that are not UTF-8 for U+FFFD.
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || !utf8.ValidString(name) {
			return ""
		}
		name = strings.TrimSuffix(ascii, ".")
	}
	if !isDomain(name) {
		return ""
	}
	return strings.ToLower(name)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isDomain reports whether s is a domain in A-labels, without final dot.
// Underscores are no letters of a host name, but domains with them get mail.
func isDomain(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; !grammar.IsAlphanumeric(c) && c != '-' && c != '_' {
				return false
			}
			continue
		}
		if i == start || i-start > maxLabel || s[start] == '-' || s[i-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

// isDotAtom reports whether s is a dot-atom (RFC 5322 section 3.2.3), as the
// local part of nearly every mail address is.
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if c := atom[i]; !grammar.IsAlphanumeric(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}

// isURI reports whether s is an absolute URI of RFC 3986 section 4.3, with or
// without a fragment.
func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && escapeURI(s) == s
}

// escapeURI percent-encodes what may not stand in a URI (RFC 3986 section 2).
func escapeURI(s string) string { return percentEncode(s, "\"<>\\^`{|}") }

// percentEncode encodes what is not visible US-ASCII, and the octets of special.
func percentEncode(s, special string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
