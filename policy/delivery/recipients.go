package delivery

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/dsn"
)

// mailbox is an address in the form for an SMTP command.
type mailbox struct {
	// given is what the caller wrote, and how, if the same mailbox occurs again.
	given  []string
	path   string // local part and domain, the domain in ASCII
	domain string // in lower-case A-labels, or an address literal
	// key is equal for mailboxes that are the same: a domain is the same in any
	// case, and a local part with or without quotes (RFC 5321 section 4.1.2).
	key string
	// international means that the local part needs SMTPUTF8 (RFC 6531).
	international bool
	// parameters are the parameters of RCPT, for a server with DSN.
	parameters []string
	// refused are the reasons of the hosts that were asked and do not take the
	// mail for this recipient.
	refused []*refusal
}

// maxPath is the longest address that fits a command line with the longest verb
// (RFC 5321 section 4.5.3.1.4). Section 4.5.3.1.3 has 256 octets, and section
// 4.5.3.1.1 has 64 for a local part; some servers have longer ones.
const maxPath = 512 - len("MAIL FROM:<>\r\n")

// parseMailbox reads an address with or without angle brackets, without comments,
// display name or route. It is lenient with the local part, whose rules are the
// server's: it refuses only what could be read as the end of the address or of the
// command.
func parseMailbox(s string) (mailbox, error) {
	bare := unbracketed(s)
	if strings.HasSuffix(bare, ">") {
		return mailbox{}, errors.New("there is text outside the angle brackets; give the address only, without a display name")
	}
	at := strings.LastIndexByte(bare, '@')
	if at < 0 {
		return mailbox{}, errors.New("an address has the form local-part@domain")
	}
	local, domain := bare[:at], bare[at+1:]
	if err := checkLocalPart(local); err != nil {
		return mailbox{}, err
	}
	m := mailbox{given: []string{s}, international: !names.IsASCII(local)}
	var err error
	switch {
	case domain == "":
		err = errors.New("the domain is empty")
	case names.IsLiteral(domain):
		var addr netip.Addr
		if addr, err = names.ParseLiteral(domain[1 : len(domain)-1]); err == nil {
			m.domain = strings.ToLower(names.Literal(addr))
			if addr.Is6() && !strings.HasPrefix(strings.ToLower(domain), "[ipv6:") {
				domain = names.Literal(addr)
			}
		}
	default:
		if m.domain, err = names.Canonical(domain); err != nil {
			err = fmt.Errorf("%w: %w", policy.ErrDomain, err)
		}
	}
	if err != nil {
		return mailbox{}, err
	}
	m.path = local + "@" + domain
	if !names.IsASCII(domain) || strings.HasSuffix(domain, ".") {
		m.path = local + "@" + m.domain
	}
	if len(m.path) > maxPath {
		return mailbox{}, fmt.Errorf("the address is longer than %d octets", maxPath)
	}
	m.key = unquoted(local) + "@" + m.domain
	return m, nil
}

// unquoted returns a local part without quotes and escapes.
func unquoted(local string) string {
	var b strings.Builder
	escaped := false
	for _, c := range local {
		if !escaped && (c == '"' || c == '\\') {
			escaped = c == '\\'
			continue
		}
		escaped = false
		b.WriteRune(c)
	}
	return b.String()
}

// parseReturnPath is parseMailbox, but returns the zero mailbox for an empty return
// path.
func parseReturnPath(s string) (mailbox, error) {
	if unbracketed(s) == "" {
		return mailbox{}, nil
	}
	return parseMailbox(s)
}

// unbracketed returns an address without angle brackets around it.
func unbracketed(s string) string {
	if len(s) >= 2 && s[0] == '<' && s[len(s)-1] == '>' {
		return s[1 : len(s)-1]
	}
	return s
}

// checkLocalPart returns why a local part cannot stand in a command. Within quotes, and
// after a backslash, any printable character can (RFC 5321 section 4.1.2).
func checkLocalPart(s string) error {
	if s == "" {
		return errors.New("the local part is empty")
	}
	if !utf8.ValidString(s) {
		return errors.New("the local part is not UTF-8")
	}
	quoted, escaped := false, false
	for _, c := range s {
		switch {
		case unicode.IsControl(c):
			return errors.New("the local part has a control character")
		case escaped && (quoted || c != ' ' && c != '<' && c != '>'):
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ' ':
			return errors.New("the local part has a space outside quotes")
		case c == '<' || c == '>':
			return errors.New("the local part has an angle bracket outside quotes")
		case c == '@':
			return errors.New("the local part has an @ outside quotes")
		}
	}
	if quoted || escaped {
		return errors.New("the local part has a quote without an end")
	}
	return nil
}

// group is the recipients of one domain.
type group struct {
	domain string
	to     []mailbox
}

// byDomain groups recipients by domain, in the order given. A mailbox that occurs again
// is one recipient, so that it gets the message once. Malformed ones are returned as
// undelivered.
func byDomain(recipients []Recipient) (groups []group, malformed []Undelivered) {
	places := make(map[string]int) // of domains
	seen := make(map[string]int)   // of mailboxes, in their group
	for _, recipient := range recipients {
		box, failure := newRecipient(recipient)
		if failure != nil {
			malformed = append(malformed, Undelivered{Recipients: []string{recipient.Address}, Err: failure})
			continue
		}
		place, found := places[box.domain]
		if !found {
			place = len(groups)
			places[box.domain] = place
			groups = append(groups, group{domain: box.domain})
		}
		to := groups[place].to
		switch first, again := seen[box.key]; {
		case !again:
			seen[box.key] = len(to)
			groups[place].to = append(to, box)
		case !slices.Contains(to[first].given, recipient.Address):
			to[first].given = append(to[first].given, recipient.Address)
		}
	}
	return groups, malformed
}

func newRecipient(r Recipient) (mailbox, *policy.Error) {
	box, err := parseMailbox(r.Address)
	if err != nil {
		return mailbox{}, badRecipient(r.Address, err)
	}
	wanted := dsn.RecipientOptions{Notify: dsn.Notify(r.Notify), OriginalRecipient: dsn.Address(r.Original)}
	if box.parameters, err = wanted.Parameters(); err != nil {
		return mailbox{}, badParameter(err)
	}
	return box, nil
}
