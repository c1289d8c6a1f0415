package names

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// ellipsis marks a text that was shortened.
const ellipsis = "..."

// Printable returns s as one line of printable ASCII of at most max octets, for
// errors, logs and terminals. Every other character, and every octet that is not
// UTF-8, becomes an escape of Go such as \n, \x1b or \u202e. A text that is
// longer is cut and ends in "...", which count; no escape is cut in half. max is
// at least 3.
//
// Backslashes and quotes stay as they are. Use [Quote] where the reader must be
// able to tell an escape from a backslash, or see where the text ends. A text
// that is printable and short enough costs no allocation.
func Printable(s string, max int) string {
	if len(s) <= max && isPrintable(s) {
		return s
	}
	var b strings.Builder
	end := 0 // of what leaves room for the ellipsis
	for s != "" {
		_, size := utf8.DecodeRuneInString(s)
		escaped := s[:size]
		if !isPrintable(escaped) {
			quoted := strconv.QuoteToASCII(escaped)
			escaped = quoted[1 : len(quoted)-1]
		}
		if b.Len()+len(escaped) > max {
			return b.String()[:end] + ellipsis
		}
		b.WriteString(escaped)
		if b.Len() <= max-len(ellipsis) {
			end = b.Len()
		}
		s = s[size:]
	}
	return b.String()
}

// Quote returns s between quotes, with escapes as in a Go string in ASCII. It
// shows at most the first max octets of s. If there are more, "..." follows the
// closing quote.
func Quote(s string, max int) string {
	if len(s) > max {
		return strconv.QuoteToASCII(s[:max]) + ellipsis
	}
	return strconv.QuoteToASCII(s)
}

// Mask returns s as one line of printable ASCII of at most max octets, with a question
// mark for every other character and without white space at either end. It is for texts
// with a length limit that are sent to others, such as the failure-reason-code of a
// report, where escapes would only take up room. A text that already has this form
// costs no allocation.
func Mask(s string, max int) string {
	if len(s) > max || !isPrintable(s) {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?'
			}
			return r
		}, s[:min(len(s), max*utf8.UTFMax)])
		s = s[:min(len(s), max)]
	}
	return strings.Trim(s, " ")
}

// isPrintable reports whether s has only printable ASCII, spaces included.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
