// Package extension is the grammar of extension fields in the records and
// policies of MTA-STS and TLS-RPT, which is the same in all of them.
package extension

// maxName bounds the octets of a name.
const maxName = 32

// IsName reports whether s is the name of an extension: an sts-ext-name or
// sts-policy-ext-name (RFC 8461 sections 3.1 and 3.2), or a tlsrpt-ext-name (RFC
// 8460 section 3).
func IsName(s string) bool {
	if len(s) == 0 || len(s) > maxName || !IsAlphanumeric(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !IsAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// IsValue reports whether s is an sts-ext-value or tlsrpt-ext-value: visible
// US-ASCII without "=" and ";".
func IsValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '=' || c == ';' {
			return false
		}
	}
	return s != ""
}

// IsAlphanumeric reports whether c is ALPHA or DIGIT.
func IsAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
