// Package txtrecord has the grammar that the TXT records of MTA-STS and TLS-RPT
// share (RFC 8461 section 3.1, RFC 8460 section 3): a version, and then fields of
// the form name=value, each after a semicolon.
package txtrecord

import (
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// Trim returns s without white space (WSP of RFC 5234) at its ends.
func Trim(s string) string { return TrimLeft(TrimRight(s)) }

// TrimLeft returns s without white space at its start.
func TrimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// TrimRight returns s without white space at its end.
func TrimRight(s string) string {
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// Select returns the record among a domain's TXT records that claims a version, and
// how many there are: if there are several, it is the last. Such a record begins
// with "v=", the version, and a semicolon. White space is permitted before the
// semicolon. Each string is one record, with its character-strings joined.
func Select(txts []string, version string) (record string, count int) {
	for _, txt := range txts {
		head, _, delimited := strings.Cut(txt, ";")
		if delimited && isVersion(head, version) {
			record = txt
			count++
		}
	}
	return record, count
}

// Fields are the fields of a record after the version.
type Fields struct {
	rest string
	more bool // rest follows a semicolon
}

// Parse returns the fields of a record. ok is false if the record does not begin
// with the version.
func Parse(txt, version string) (fields Fields, ok bool) {
	head, rest, more := strings.Cut(txt, ";")
	return Fields{rest, more}, isVersion(head, version)
}

func isVersion(field, version string) bool {
	value, ok := strings.CutPrefix(field, "v=")
	return ok && TrimRight(value) == version
}

// Next returns the next field, without the white space around it. ok is false if
// there is none. The semicolon at the end is optional, and white space may follow
// the last field in either case. Next does not check fields: its caller knows some
// names, and others are extensions.
func (f *Fields) Next() (field string, ok bool) {
	if !f.more {
		return "", false
	}
	field, f.rest, f.more = strings.Cut(f.rest, ";")
	field = Trim(field)
	return field, f.more || field != "" // the optional last semicolon
}

// maxExtensionName bounds the name of an extension field, in octets.
const maxExtensionName = 32

// IsExtensionName reports whether s is the name of an extension field of a record
// (sts-ext-name, tlsrpt-ext-name) or of an MTA-STS policy (sts-policy-ext-name, RFC
// 8461 section 3.2).
func IsExtensionName(s string) bool {
	if s == "" || len(s) > maxExtensionName || !names.IsLetterOrDigit(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !names.IsLetterOrDigit(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// IsExtensionValue reports whether s is the value of an extension field of a record
// (sts-ext-value and tlsrpt-ext-value): visible ASCII without "=" and ";".
func IsExtensionValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '=' || c == ';' {
			return false
		}
	}
	return s != ""
}
