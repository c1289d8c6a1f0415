package dsn

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
)

// An Address is a mailbox with the type of its address. The zero Address means none.
type Address struct {
	// Type is an address type of IANA's registry. Empty means "rfc822", or "utf-8" (RFC
	// 6533 section 3) if Mailbox is not ASCII.
	Type string
	// Mailbox is the address without angle brackets, before encoding: printable
	// ASCII and white space, or, for the type "utf-8", printable UTF-8.
	Mailbox string
}

// kind returns the type, or its default.
func (a Address) kind() string {
	switch {
	case a.Type != "":
		return a.Type
	case isASCII(a.Mailbox):
		return "rfc822"
	default:
		return "utf-8"
	}
}

// parameter returns the value of ORCPT (RFC 3461 section 4.2). An atom may have an equals
// sign, and the value of a parameter may not (RFC 5321 section 4.1.2).
func (a Address) parameter() (string, error) {
	const maxValue = 500
	kind := a.kind()
	isUTF8 := strings.EqualFold(kind, "utf-8")
	switch {
	case a.Mailbox == "":
		return "", ErrMissing
	case !isAtom(kind), strings.Contains(kind, "="), isUTF8 && !utf8.ValidString(a.Mailbox), !isUTF8 && !isPrintable(a.Mailbox):
		return "", ErrCharacter
	case isUTF8 && strings.ContainsFunc(a.Mailbox, isControl):
		return "", ErrCharacter
	}
	value := kind + ";"
	if isUTF8 {
		value += embedded(a.Mailbox) // which needs no xtext
	} else {
		value += xtext(a.Mailbox)
	}
	if len(value) > maxValue {
		return "", ErrLength
	}
	return value, nil
}

// field returns the value of Original-Recipient or Final-Recipient (RFC 3464
// section 2.3). What a field cannot hold is replaced: a report is better than
// none.
func (a Address) field() string {
	kind := a.kind()
	if !isAtom(kind) {
		kind = "unknown"
	}
	if strings.EqualFold(kind, "utf-8") {
		return kind + "; " + embedded(strings.ToValidUTF8(a.Mailbox, "?"))
	}
	return kind + "; " + printable(a.Mailbox)
}

// xtext encodes text as in RFC 3461 section 4.
func xtext(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// embedded encodes an address as utf-8-addr-xtext (RFC 6533 section 3), which is
// ASCII and may stand in a parameter as well as in a report.
func embedded(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < '!' || r > '~' || r == '+' || r == '=' || r == '\\' {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// inHeader returns a mailbox as it is written in From and To. A local part that is not
// a dot-atom is quoted (RFC 5322 section 3.4.1).
func inHeader(mailbox string) (string, error) {
	mailbox = strings.TrimSuffix(strings.TrimPrefix(mailbox, "<"), ">")
	at := strings.LastIndexByte(mailbox, '@')
	if at <= 0 || !utf8.ValidString(mailbox) || strings.ContainsFunc(mailbox, isControl) || !isDomain(mailbox[at+1:]) {
		return "", ErrCharacter
	}
	local, domain := mailbox[:at], mailbox[at:]
	if !isQuoted(local) {
		for _, atom := range strings.Split(local, ".") {
			if !isAtom(strings.Map(asciiOnly, atom)) {
				local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
				break
			}
		}
	}
	return "<" + local + domain + ">", nil
}

// asciiOnly replaces each character of RFC 6532 section 3.2, which may be in an atom
// like a letter, with an x.
func asciiOnly(r rune) rune {
	if r >= utf8.RuneSelf {
		return 'x'
	}
	return r
}

// isQuoted reports whether text is one quoted string.
func isQuoted(text string) bool {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return false
	}
	for inside := text[1 : len(text)-1]; inside != ""; inside = inside[1:] {
		switch inside[0] {
		case '"':
			return false
		case '\\':
			if inside = inside[1:]; inside == "" {
				return false
			}
		}
	}
	return true
}

// isAtom reports whether text is an atom (RFC 5322 section 3.2.3).
func isAtom(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || strings.IndexByte(`()<>[]:;@\,."`, c) >= 0 {
			return false
		}
	}
	return text != ""
}

// isDomain reports whether text can be a domain or an address literal. Characters
// of U-labels are permitted.
func isDomain(text string) bool {
	for _, r := range text {
		if r < utf8.RuneSelf && !names.IsLetterOrDigit(byte(r)) && !strings.ContainsRune("-._:[]", r) {
			return false
		}
	}
	return text != ""
}
