// Package syntax has the grammar that the packages of TLS reporting share: mail
// addresses and URIs.
package syntax

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// IsDotAtom reports whether s is a dot-atom (RFC 5322 section 3.2.3), the usual
// form of the local part of a mail address.
func IsDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if c := atom[i]; !names.IsLetterOrDigit(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
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
	if at <= 0 || !IsDotAtom(address[:at]) || !names.IsDomain(address[at+1:]) {
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
