// Package grammar has the productions that MTA-STS and TLS-RPT share: extension
// fields, which are the same in their records and policies, and the characters
// that these and names are made of.
package grammar

// maxExtensionName bounds the octets of the name of an extension.
const maxExtensionName = 32

// IsExtensionName reports whether s is the name of an extension: an sts-ext-name or
// sts-policy-ext-name (RFC 8461 sections 3.1 and 3.2), or a tlsrpt-ext-name (RFC
// 8460 section 3).
func IsExtensionName(s string) bool {
	if len(s) == 0 || len(s) > maxExtensionName || !IsAlphanumeric(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !IsAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// IsExtensionValue reports whether s is an sts-ext-value or tlsrpt-ext-value: visible
// US-ASCII without "=" and ";".
func IsExtensionValue(s string) bool {
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
