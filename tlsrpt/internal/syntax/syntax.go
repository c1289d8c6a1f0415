// Package syntax has the grammar that the packages of TLS reporting share:
// domains, mail addresses, URIs and printable text.
package syntax

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

// Domain returns a domain in A-labels, in lower case, without final dot. It
// returns "" if the argument is not a domain. It does not allocate for a name
// that already has this form.
func Domain(domain string) string {
	name := strings.TrimSuffix(domain, ".")
	if !isASCII(name) {
		// idna reads octets that are not UTF-8 as U+FFFD.
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || !utf8.ValidString(name) {
			return ""
		}
		name = strings.TrimSuffix(ascii, ".")
	}
	if !IsDomain(name) {
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

// IsDomain reports whether s is a domain in A-labels, without final dot.
// Underscores are accepted, because domains that have them receive mail.
func IsDomain(s string) bool {
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

// IsDotAtom reports whether s is a dot-atom (RFC 5322 section 3.2.3), the usual
// form of the local part of a mail address.
func IsDotAtom(s string) bool {
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

// MailDomain returns the domain of a mail address of the form local@domain, in
// lower case. The domain must be in A-labels.
func MailDomain(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || !IsDotAtom(address[:at]) || !IsDomain(address[at+1:]) {
		return "", fmt.Errorf("%q is not a mail address of the form local@domain", address)
	}
	return strings.ToLower(address[at+1:]), nil
}

// IsURI reports whether s is an absolute URI (RFC 3986 section 4.3), with or
// without a fragment.
func IsURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && EscapeURI(s) == s
}

// EscapeURI percent-encodes the octets that must not appear in a URI (RFC 3986
// section 2).
func EscapeURI(s string) string { return PercentEncode(s, "\"<>\\^`{|}") }

// PercentEncode percent-encodes the octets of special and all octets that are not
// visible US-ASCII.
func PercentEncode(s, special string) string {
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

// Printable returns s in printable ASCII, cut to max octets. Other characters
// become question marks.
func Printable(s string, max int) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), max*utf8.UTFMax)])
	return strings.TrimSpace(clean[:min(len(clean), max)])
}
