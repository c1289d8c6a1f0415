package mtasts

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mxseal/mxseal/internal/grammar"
)

const (
	maxName  = 253 // octets of a name without its final dot
	maxLabel = 63
)

// canonicalDomain returns domain in A-labels, in lower case, without a final dot.
// It does not allocate if domain already has that form.
func canonicalDomain(domain string) (string, error) {
	name := strings.TrimSuffix(domain, ".")
	if !isASCII(name) {
		name = toASCII(name)
	}
	// The name is checked after the conversion, which can turn full-width digits
	// into an IPv4 address. Underscores are not permitted in host names, but there
	// are domains with underscores that receive mail.
	if !isDomain(name, "_") || isNumeric(name[strings.LastIndexByte(name, '.')+1:]) {
		return "", fmt.Errorf("mtasts: %s: %w", quote(domain), ErrDomain)
	}
	return strings.ToLower(name), nil
}

// toASCII returns name in A-labels, or "" if that is not possible. idna would
// read octets that are not UTF-8 as U+FFFD, which would be another domain.
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

// isDomain reports whether s is a Domain (RFC 5321 section 4.1.2) of a length
// that RFC 1035 permits. The octets of extra count as letters.
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

// rooted returns name with a final dot.
func rooted(name string) string { return name + "." }

// isNumeric reports whether label has only digits, like the last label of an IPv4
// address and unlike that of any domain.
func isNumeric(label string) bool {
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}

// equalFold reports whether a and b are equal, ignoring the case of ASCII letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// isWSP reports whether c is WSP, the white space of RFC 5234.
func isWSP(c byte) bool { return c == ' ' || c == '\t' }

// trimLeft returns s without white space at its start.
func trimLeft(s string) string {
	for s != "" && isWSP(s[0]) {
		s = s[1:]
	}
	return s
}

// trimRight returns s without white space at its end.
func trimRight(s string) string {
	for s != "" && isWSP(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// lower returns c in lower case. Only ASCII letters have case here: in Unicode, a
// Kelvin sign equals a k.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// maxQuoted limits what an error repeats of a text from the network, in octets.
const maxQuoted = 64

// quote returns s as a quoted string of printable ASCII, shortened if it is long,
// for text from the network in errors and log lines.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// maxDetail limits the text of an error from another package, in octets.
const maxDetail = 256

// printable returns s in printable ASCII, shortened if it is long, for the texts of
// errors from other packages, which may repeat anything that a server sent.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "..."
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			quoted := strconv.QuoteToASCII(s)
			return quoted[1 : len(quoted)-1]
		}
	}
	return s
}
