package mtasts

import "strconv"

// isWSP reports whether c is WSP, the white space of RFC 5234.
func isWSP(c byte) bool { return c == ' ' || c == '\t' }

// trimLeft returns s without white space at its beginning.
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

// lower returns c in lower case. Only ASCII letters have case here: folding by
// Unicode would make a Kelvin sign equal to a k.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// maxQuoted bounds what an error repeats of something that a stranger wrote.
const maxQuoted = 64

// quote returns s as a quoted string of printable ASCII, shortened if long, so
// that network input can stand in an error or a log line.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// maxDetail bounds the text of an error from another package.
const maxDetail = 256

// printable returns s in printable ASCII, shortened if long. It is for the
// texts of errors from other packages, which repeat names from certificates
// and servers as they are.
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
