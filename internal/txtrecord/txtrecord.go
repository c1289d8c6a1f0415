// Package txtrecord has the grammar that the TXT records of MTA-STS and TLS-RPT
// share (RFC 8461 section 3.1, RFC 8460 section 3): a version, and then fields of
// the form name=value, each after a semicolon.
package txtrecord

import (
	"iter"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// WSP is the white space of RFC 5234, as a set of characters.
const WSP = " \t"

// Select returns those of a domain's TXT records that claim a version: they begin
// with "v=", the version, and a semicolon. White space is permitted before the
// semicolon. Each string is one record, with its character-strings joined.
func Select(txts []string, version string) []string {
	var selected []string
	for _, txt := range txts {
		rest, ok := strings.CutPrefix(txt, "v="+version)
		if ok && strings.HasPrefix(strings.TrimLeft(rest, WSP), ";") {
			selected = append(selected, txt)
		}
	}
	return selected
}

// Fields returns the fields of a record after the version, without the white space
// around semicolons. The semicolon at the end is optional; white space after a
// last field without one belongs to the field. Fields are not checked: the caller
// knows some names, and others are extensions. ok is false if the record does not
// begin with the version.
func Fields(txt, version string) (fields iter.Seq[string], ok bool) {
	head, all, delimited := strings.Cut(txt, ";")
	if strings.TrimRight(head, WSP) != "v="+version {
		return nil, false
	}
	return func(yield func(string) bool) {
		rest, more := all, delimited
		for more {
			var field string
			field, rest, more = strings.Cut(rest, ";")
			field = strings.TrimLeft(field, WSP)
			if more {
				field = strings.TrimRight(field, WSP)
			} else if field == "" {
				return // the optional last semicolon
			}
			if !yield(field) {
				return
			}
		}
	}, true
}

// maxExtensionName bounds the name of an extension field, in octets.
const maxExtensionName = 32

// IsExtensionName reports whether s is the name of an extension field of a record
// (sts-ext-name, tlsrpt-ext-name) or of an MTA-STS policy (sts-policy-ext-name, RFC
// 8461 section 3.2).
func IsExtensionName(s string) bool {
	if s == "" || len(s) > maxExtensionName || !names.IsAlphanumeric(s[:1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !names.IsAlphanumeric(s[i:i+1]) && c != '_' && c != '-' && c != '.' {
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
