package relay

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/delivery"
)

// parsePath reads the argument of MAIL or RCPT: a path after a prefix such as "FROM:", and parameters. The
// path is returned without angle brackets and route.
func parsePath(argument, prefix string) (path string, parameters map[string]string, ok bool) {
	if len(argument) < len(prefix) || !strings.EqualFold(argument[:len(prefix)], prefix) {
		return "", nil, false
	}
	path, rest, ok := cutPath(strings.TrimLeft(argument[len(prefix):], " "))
	if !ok {
		return "", nil, false
	}
	parameters = make(map[string]string)
	for _, each := range strings.Fields(rest) {
		keyword, value, _ := strings.Cut(each, "=")
		keyword = strings.ToUpper(keyword)
		if _, twice := parameters[keyword]; twice {
			return "", nil, false
		}
		parameters[keyword] = value
	}
	return path, parameters, true
}

// cutPath cuts a path in angle brackets. An angle bracket within quotes does not end it.
func cutPath(text string) (path, rest string, ok bool) {
	if !strings.HasPrefix(text, "<") {
		return "", "", false
	}
	quoted, escaped := false, false
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			path, rest = text[1:i], text[i+1:]
			if strings.HasPrefix(path, "@") { // a source route, which is ignored (RFC 5321 appendix C)
				_, path, _ = strings.Cut(path, ":")
			}
			return path, rest, rest == "" || rest[0] == ' '
		}
	}
	return "", "", false
}

var (
	unknownParameter   = say(555, 5, 5, 4, "the parameter is not implemented")
	malformedParameter = say(501, 5, 5, 4, "a parameter is malformed")
)

// mailParameters sets in the envelope what the parameters of MAIL say.
func (s *session) mailParameters(e *envelope, parameters map[string]string) *reply {
	for keyword, value := range parameters {
		switch offered := s.offered(keyword); {
		case !offered:
			return unknownParameter
		case keyword == "SIZE":
			size, err := strconv.ParseUint(value, 10, 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return malformedParameter
			}
			if size > uint64(s.relay.MaxSize) {
				return tooLarge
			}
		case keyword == "BODY":
			if !strings.EqualFold(value, "7BIT") && !strings.EqualFold(value, "8BITMIME") {
				return malformedParameter
			}
		case keyword == "SMTPUTF8":
			e.utf8 = true
		case keyword == "REQUIRETLS":
			e.requireTLS = true
		case keyword == "RET":
			var ok bool
			if e.mail.Return, ok = returns[strings.ToUpper(value)]; !ok {
				return malformedParameter
			}
		case keyword == "ENVID":
			id, ok := fromXtext(value)
			if !ok || !isPrintable(id) || len(value) > maxEnvelopeID {
				return malformedParameter
			}
			e.mail.EnvelopeID = id
		}
	}
	return nil
}

// rcptParameters sets in the recipient what the parameters of RCPT say.
func (s *session) rcptParameters(to *delivery.Recipient, parameters map[string]string) (wrong *reply) {
	for keyword, value := range parameters {
		ok := false
		switch offered := s.offered(keyword); {
		case !offered:
			return unknownParameter
		case keyword == "NOTIFY":
			to.Notify, ok = parseNotify(value)
		case keyword == "ORCPT":
			to.Original, ok = parseOriginal(value)
		}
		if !ok {
			return malformedParameter
		}
	}
	return nil
}

// offered reports whether a client may use a parameter: the reply to EHLO has the extension that defines it.
func (s *session) offered(keyword string) bool {
	switch keyword {
	case "SIZE", "BODY", "SMTPUTF8":
		return true
	case "REQUIRETLS":
		return s.inTLS
	case "RET", "ENVID", "NOTIFY", "ORCPT":
		return s.relay.Submit != nil
	default:
		return false
	}
}

const (
	// maxEnvelopeID and maxOriginal bound ENVID and ORCPT (RFC 3461 sections 4.2 and 4.4).
	maxEnvelopeID = 100
	maxOriginal   = 500
)

var (
	returns  = map[string]delivery.Return{"FULL": delivery.ReturnFull, "HDRS": delivery.ReturnHeaders}
	notifies = map[string]delivery.Notify{"SUCCESS": delivery.NotifySuccess, "FAILURE": delivery.NotifyFailure, "DELAY": delivery.NotifyDelay}
)

// parseNotify reads NOTIFY (RFC 3461 section 4.1).
func parseNotify(value string) (all delivery.Notify, ok bool) {
	if strings.EqualFold(value, "NEVER") {
		return delivery.NotifyNever, true
	}
	for _, each := range strings.Split(value, ",") {
		event, ok := notifies[strings.ToUpper(each)]
		if !ok {
			return 0, false
		}
		all |= event
	}
	return all, true
}

// parseOriginal reads ORCPT (RFC 3461 section 4.2; for the type utf-8, RFC 6533 section 3).
func parseOriginal(value string) (delivery.Address, bool) {
	kind, text, found := strings.Cut(value, ";")
	decode := fromXtext
	if strings.EqualFold(kind, "utf-8") {
		decode = fromUTF8Xtext
	}
	mailbox, ok := decode(text)
	if !found || !ok || mailbox == "" || kind == "" || !isPrintable(mailbox) || len(value) > maxOriginal ||
		strings.ContainsFunc(kind, func(r rune) bool { return isNotInName(r) || strings.ContainsRune(":[]", r) }) {
		return delivery.Address{}, false
	}
	if strings.EqualFold(kind, "rfc822") {
		kind = "" // Postfix uses this type also for addresses that are not ASCII, whose type is utf-8
	}
	return delivery.Address{Type: kind, Mailbox: mailbox}, kind == "" || strings.EqualFold(kind, "utf-8") || names.IsASCII(mailbox)
}

var (
	hexchar  = regexp.MustCompile(`\+([0-9A-F]{2})?`)
	embedded = regexp.MustCompile(`\\(x\{([0-9A-F]{2,6})\})?`)
)

// fromXtext decodes xtext (RFC 3461 section 4).
func fromXtext(text string) (decoded string, ok bool) {
	ok = isPrintable(text) && !strings.ContainsAny(text, " =")
	decoded = hexchar.ReplaceAllStringFunc(text, func(found string) string {
		octet, err := strconv.ParseUint(found[1:], 16, 8)
		ok = ok && err == nil
		return string([]byte{byte(octet)})
	})
	return decoded, ok
}

// fromUTF8Xtext decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 section 3).
func fromUTF8Xtext(text string) (decoded string, ok bool) {
	ok = !strings.ContainsAny(text, " =+")
	decoded = embedded.ReplaceAllStringFunc(text, func(found string) string {
		character, err := strconv.ParseUint(strings.Trim(found, `\x{}`), 16, 32)
		ok = ok && err == nil && utf8.ValidRune(rune(character))
		return string(rune(character))
	})
	return decoded, ok
}

// isPrintable reports whether a text has neither control characters nor octets that are not UTF-8.
func isPrintable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
