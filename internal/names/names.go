// Package names has what all packages share about names and texts from the
// network: the canonical form of a domain name, the grammar of domain and host
// names, their comparison, address literals, and texts that are safe to print.
//
// Names here are in text form, without escapes. Package dnssec handles names in DNS
// messages, which may hold any octet.
package names

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// These are the errors of [Canonical]. Their texts follow "not a domain name: ".
var (
	// ErrSyntax is for a name that is not a Domain: see [IsDomain].
	ErrSyntax = errors.New("it is too long, has an empty label, or has characters that no domain name has")
	// ErrALabels is for an internationalized name that has no form in A-labels.
	ErrALabels = errors.New("it cannot be written in A-labels")
	// ErrAddress is for a name whose last label is a number, as in an IPv4
	// address.
	ErrAddress = errors.New("it ends in a number, as an address does")
)

// maxUnicode bounds the octets of a name that is converted to A-labels: no label
// of more characters than maxName fits, and UTF-8 has up to four octets for
// each. The cost of a conversion grows with the square of the length.
const maxUnicode = 4 * maxName

// Canonical returns a domain name in A-labels, in lower case and without the
// final dot. It accepts U-labels, any case, and one final dot. A name that is in
// canonical form already costs no allocation.
//
// Underscores are allowed, since domains and mail hosts with them exist. A last
// label that consists of digits is not, since such a name is taken for an IPv4
// address by other software (RFC 1123 section 2.1). The check is made after the
// conversion, which turns full-width digits into ASCII. The error is ErrSyntax,
// ErrALabels or ErrAddress.
func Canonical(domain string) (string, error) {
	name := strings.TrimSuffix(domain, ".")
	valid := IsDomain(name)
	if !valid && !IsASCII(name) {
		ascii, ok := toASCII(name)
		if !ok {
			return "", ErrALabels
		}
		name, valid = ascii, IsDomain(ascii)
	}
	switch {
	case !valid:
		return "", ErrSyntax
	case EndsInNumber(name):
		return "", ErrAddress
	}
	return strings.ToLower(name), nil
}

// ToASCII converts a name with other characters than ASCII to A-labels (RFC 5891
// section 5), and returns other names as they are, whatever their characters. A
// final dot is kept. ok is false if the conversion fails.
func ToASCII(name string) (ascii string, ok bool) {
	if IsASCII(name) {
		return name, true
	}
	return toASCII(name)
}

func toASCII(name string) (ascii string, ok bool) {
	// Package idna reads octets that are not UTF-8 as U+FFFD.
	if len(name) > maxUnicode || !utf8.ValidString(name) {
		return "", false
	}
	ascii, err := idna.Lookup.ToASCII(name)
	return ascii, err == nil
}

// IsASCII reports whether s has only ASCII characters.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
