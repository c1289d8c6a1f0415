package delivery

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
)

// mailbox is an address in the form for an SMTP command.
type mailbox struct {
	given  string // as the caller wrote it
	path   string // local part and domain, the domain in ASCII
	domain string // in lower-case A-labels, or an address literal
	// international means that the local part needs SMTPUTF8 (RFC 6531).
	international bool
	// refused is why the last host that was asked does not take it for now.
	refused *policy.Error
}

// maxPath is the longest address that fits a path with its angle brackets
// (RFC 5321 section 4.5.3.1.3).
const maxPath = 254

// parseMailbox reads an address by RFC 5321 section 4.1.2 and RFC 6531 section 3.3,
// without comments, display name or route.
func parseMailbox(s string) (mailbox, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return mailbox{}, errors.New("an address has the form local-part@domain")
	}
	local, domain := s[:at], s[at+1:]
	if !isLocalPart(local) {
		return mailbox{}, errors.New("the local part is malformed; characters other than letters, digits and some symbols need quotes")
	}
	m := mailbox{given: s, domain: strings.ToLower(domain), international: !names.IsASCII(local)}
	var err error
	if names.IsLiteral(domain) {
		_, err = names.ParseLiteral(domain[1 : len(domain)-1])
	} else if m.domain, err = names.Canonical(domain); err != nil {
		err = fmt.Errorf("%w: %w", policy.ErrNotADomain, err)
	}
	if err != nil {
		return mailbox{}, err
	}
	m.path = local + "@" + domain
	if !names.IsASCII(domain) || strings.HasSuffix(domain, ".") {
		m.path = local + "@" + m.domain
	}
	if len(m.path) > maxPath {
		return mailbox{}, errors.New("the address is too long")
	}
	return m, nil
}

// isLocalPart reports whether s is a dot-string or a quoted string.
func isLocalPart(s string) bool {
	switch {
	case len(s) == 0 || len(s) > 64 || !utf8.ValidString(s):
		return false
	case s[0] == '"':
		return isQuotedString(s)
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool { return !isAtomText(c) }) {
			return false
		}
	}
	return true
}

func isAtomText(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c >= utf8.RuneSelf:
		return isInternational(c)
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", c)
}

// isInternational excludes control and format characters, which no mailbox has.
func isInternational(c rune) bool { return unicode.IsGraphic(c) }

func isQuotedString(s string) bool {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return false
	}
	escaped := false
	for _, c := range s[1 : len(s)-1] {
		switch {
		case c < ' ' || c == 0x7f || c >= utf8.RuneSelf && !isInternational(c):
			return false
		case escaped:
			if c >= utf8.RuneSelf {
				return false
			}
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return false
		}
	}
	return !escaped
}

// group is the recipients of one domain.
type group struct {
	domain string
	to     []mailbox
}

// byDomain groups addresses by domain, in the order given. Malformed addresses are
// returned as undelivered.
func byDomain(addresses []string) (groups []group, malformed []Undelivered) {
	places := make(map[string]int)
	for _, address := range addresses {
		box, err := parseMailbox(address)
		if err != nil {
			malformed = append(malformed, Undelivered{
				Recipients: []string{address},
				Err:        badRecipient(address, err),
			})
			continue
		}
		place, found := places[box.domain]
		if !found {
			place = len(groups)
			places[box.domain] = place
			groups = append(groups, group{domain: box.domain})
		}
		groups[place].to = append(groups[place].to, box)
	}
	return groups, malformed
}
