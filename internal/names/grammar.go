package names

import "strings"

// Limits of RFC 1035 section 2.3.4, in octets. A name of 253 octets without its
// final dot has 255 in a DNS message.
const (
	maxName  = 253
	maxLabel = 63
)

// IsDomain reports whether s is a domain name in A-labels, in any case and
// without final dot: a Domain of RFC 5321 section 4.1.2 within the lengths of
// RFC 1035, where underscores count as letters, since domains and mail hosts
// with them exist. It may look like an IPv4 address: see [EndsInNumber].
func IsDomain(s string) bool { return isDotted(s, true) }

// IsHostName is [IsDomain] without underscores, which is the syntax of host names
// (RFC 952, RFC 1123 section 2.1) and of the mx patterns of an MTA-STS policy
// (RFC 8461 section 3.2).
func IsHostName(s string) bool { return isDotted(s, false) }

func isDotted(s string, underscore bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for start := 0; ; {
		end := strings.IndexByte(s[start:], '.')
		if end < 0 {
			return isLabel(s[start:], underscore)
		}
		if !isLabel(s[start:start+end], underscore) {
			return false
		}
		start += end + 1
	}
}

// IsLabel reports whether s is one label of a domain name: see [IsDomain].
func IsLabel(s string) bool { return isLabel(s, true) }

func isLabel(s string, underscore bool) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !IsLetterOrDigit(c) && c != '-' && (c != '_' || !underscore) {
			return false
		}
	}
	return true
}

// EndsInNumber reports whether the last label of a name consists of digits, as
// that of an IPv4 address does. No top-level domain is a number (RFC 3696
// section 2).
func EndsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	for i := range len(last) {
		if last[i] < '0' || last[i] > '9' {
			return false
		}
	}
	return last != ""
}

// IsAlphanumeric reports whether s consists of ASCII letters and digits, at
// least one (ALPHA and DIGIT of RFC 5234).
func IsAlphanumeric(s string) bool {
	for i := range len(s) {
		if !IsLetterOrDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsLetterOrDigit reports whether c is an ASCII letter or digit.
func IsLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
