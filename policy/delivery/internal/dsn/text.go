package dsn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	lineLength    = 78  // RFC 5322 section 2.1.1: SHOULD
	maxLineLength = 998 // MUST
	textLength    = 72  // lines for people: quoted-printable leaves them whole
	// maxText bounds the octets of a text that a server has sent.
	maxText = 4 << 10
)

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isPrintable reports whether text is "printable (graphic and white space)"
// ASCII, as RFC 3461 sections 4.2 and 4.4 say.
func isPrintable(text string) bool {
	return isASCII(text) && !strings.ContainsFunc(text, func(r rune) bool { return isControl(r) && r != '\t' })
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// printable returns text on one line of ASCII: a space for each control
// character, and a question mark for every other character.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case isControl(r):
			return ' '
		case r >= utf8.RuneSelf:
			return '?'
		}
		return r
	}, text)
}

// readable returns text on one line of UTF-8 for people, without characters
// that cannot be seen.
func readable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), isControl(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}

// bounded returns at most maxText octets of a text that a server has sent, with single
// spaces.
func bounded(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + " ..."
}

// split cuts text before spaces, so that the first piece has up to first octets
// and the others up to length, where there are spaces. A piece without
// spaces is longer, but never longer than maxLineLength allows. Put together, the
// pieces are text.
func split(text string, first, length int) []string {
	var pieces []string
	for room := first; ; room = length {
		at := cut(text, room)
		if at == len(text) {
			return append(pieces, text)
		}
		pieces = append(pieces, text[:at])
		text = text[at:]
	}
}

// cut returns where the first piece of text ends.
func cut(text string, room int) int {
	if len(text) <= room {
		return len(text)
	}
	best := 0
	for i := 1; i < len(text)-1; i++ {
		if i > room && best > 0 || i > maxLineLength/2 {
			break
		}
		if text[i] == ' ' && text[i+1] != ' ' && strings.TrimLeft(text[:i], " ") != "" {
			best = i
		}
	}
	switch {
	case best > 0:
		return best
	case len(text) <= maxLineLength/2:
		return len(text)
	}
	best = maxLineLength / 2
	for best > 1 && !utf8.RuneStart(text[best]) {
		best--
	}
	return best
}

// field returns a header field, folded. Its value must have been made printable.
// A fold adds a space only where a value has too many octets without one.
func field(name, value string) string {
	var b strings.Builder
	b.WriteString(name + ":")
	for i, piece := range split(" "+strings.TrimSpace(value), lineLength-len(name)-len(":"), lineLength) {
		if i > 0 {
			b.WriteString("\r\n")
			if piece[0] != ' ' {
				b.WriteByte(' ')
			}
		}
		b.WriteString(piece)
	}
	b.WriteString("\r\n")
	return b.String()
}

// paragraph returns text for people in lines that begin with indent.
func paragraph(indent, text string) string {
	var b strings.Builder
	for _, piece := range split(text, textLength-len(indent), textLength-len(indent)) {
		b.WriteString(indent + strings.TrimLeft(piece, " ") + "\r\n")
	}
	return b.String()
}
