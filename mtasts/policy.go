package mtasts

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/txtrecord"
)

// Mode is what a sender does with a mail host that does not meet the policy (RFC
// 8461 section 5). The zero value is not a mode; no valid policy has it.
type Mode string

const (
	// Enforce: the host gets no mail.
	Enforce Mode = "enforce"
	// Testing: the host gets the mail, and the domain gets a report.
	Testing Mode = "testing"
	// None: the same as no policy. A domain publishes it to withdraw a policy (RFC
	// 8461 section 8.3).
	None Mode = "none"
)

// MaxAge is the longest max_age of a policy, about a year (RFC 8461 section 3.2).
const MaxAge = 31557600 * time.Second

// MaxPolicySize is the size of the largest policy that a [Client] accepts, in
// octets (RFC 8461 section 3.3).
const MaxPolicySize = 64 << 10

// Policy is an MTA-STS policy (RFC 8461 section 3.2). Policies are shared and must
// not be changed. The zero value allows no host.
type Policy struct {
	Mode Mode
	// MaxAge is how long the policy is in force after it was fetched. A max_age
	// above the constant MaxAge counts as that.
	MaxAge time.Duration
	// MX are the patterns of the allowed mail hosts, in A-labels, as in the policy:
	// a host name, or "*." and a name. MX is empty only if Mode is None.
	MX []string
	// Text is the policy as it was fetched.
	Text string
}

// Lines returns the lines of the policy as the domain wrote it, for the
// policy-string of a TLS-RPT report (RFC 8460 section 4.5).
func (p *Policy) Lines() []string { return Lines(p.Text) }

// Lines returns the lines of a policy text, without line ends. The text need not
// be a valid policy. An empty last line is omitted. Octets that are not UTF-8
// become U+FFFD, because a report is JSON.
func Lines(text string) []string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines
}

// ParsePolicy parses the text of a policy (RFC 8461 section 3.2). Lines end in LF
// or CRLF, and empty lines at the end are permitted. Unknown fields are ignored,
// and so is every version, mode and max_age after the first. A pattern that is
// not a domain name in A-labels, alone or after "*.", makes the policy invalid,
// because it may be the pattern that matters.
//
// The error is an [*Error] of kind [KindPolicy].
func ParsePolicy(text string) (*Policy, error) {
	p := &parser{policy: Policy{Text: text}}
	for number, rest := 1, text; rest != ""; number++ {
		var line string
		line, rest = cutLine(rest)
		if err := p.line(txtrecord.TrimRight(line)); err != nil {
			err.Err = fmt.Errorf("line %d: %w", number, err.Err)
			return nil, err
		}
	}
	if err := p.complete(); err != nil {
		return nil, err
	}
	return &p.policy, nil
}

// cutLine returns the first line of text without its end, LF or CRLF, and the rest
// of the text.
func cutLine(text string) (line, rest string) {
	line, rest, terminated := strings.Cut(text, "\n")
	if terminated {
		line = strings.TrimSuffix(line, "\r")
	}
	return line, rest
}

// parser parses the lines of a policy one by one.
type parser struct {
	policy  Policy
	version bool // seen
	maxAge  bool // seen
	ended   bool // by an empty line
}

func (p *parser) line(line string) *Error {
	if line == "" {
		p.ended = true
		return nil
	}
	if p.ended {
		return failf(KindPolicy, "policy-syntax", "text after an empty line: %s", quote(line))
	}
	if !isText(line) {
		return failf(KindPolicy, "policy-syntax", "control characters or not UTF-8: %s", quote(line))
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok || !txtrecord.IsExtensionName(key) {
		return failf(KindPolicy, "policy-syntax", "the line is not a key and a value: %s", quote(line))
	}
	value = txtrecord.TrimLeft(value)
	if strings.IndexByte(value, '\t') >= 0 {
		return failf(KindPolicy, "policy-syntax", "tab inside a value: %s", quote(line))
	}
	return p.field(key, value)
}

// field parses one sts-policy-field. A bad value of a known key also matches the
// grammar of an extension. It is not read as one. A repeated key is ignored,
// whatever its value (RFC 8461 section 3.2).
func (p *parser) field(key, value string) *Error {
	switch key {
	case "version":
		if !p.version && value != version {
			return failf(KindPolicy, "policy-version", "unknown version %s", quote(value))
		}
		p.version = true
	case "mode":
		if p.policy.Mode != "" {
			return nil
		}
		switch mode := Mode(value); mode {
		case Enforce, Testing, None:
			p.policy.Mode = mode
		default:
			return failf(KindPolicy, "policy-mode", "unknown mode %s", quote(value))
		}
	case "max_age":
		if p.maxAge {
			return nil
		}
		age, ok := parseMaxAge(value)
		if !ok {
			return failf(KindPolicy, "policy-max-age", "malformed max_age %s", quote(value))
		}
		p.policy.MaxAge, p.maxAge = age, true
	case "mx":
		if !isPattern(value) {
			return failf(KindPolicy, "policy-mx", "malformed mx %s", quote(value))
		}
		p.addMX(value)
	default:
		if value == "" {
			return failf(KindPolicy, "policy-syntax", "key %s has no value", quote(key))
		}
	}
	return nil
}

// addMX allocates room for as many patterns as there seem to be, but not more than
// usual, because many policies are kept in memory for long.
func (p *parser) addMX(pattern string) {
	if p.policy.MX == nil {
		p.policy.MX = make([]string, 0, min(strings.Count(p.policy.Text, "mx:"), 6))
	}
	p.policy.MX = append(p.policy.MX, pattern)
}

// complete checks that all required fields were seen.
func (p *parser) complete() *Error {
	switch {
	case !p.version:
		return failf(KindPolicy, "policy-version", "the policy has no version")
	case p.policy.Mode == "":
		return failf(KindPolicy, "policy-mode", "the policy has no mode")
	case !p.maxAge:
		return failf(KindPolicy, "policy-max-age", "the policy has no max_age")
	case p.policy.MX == nil && p.policy.Mode != None:
		return failf(KindPolicy, "policy-mx", "the policy has no mx, and its mode is %s", p.policy.Mode)
	}
	return nil
}

// parseMaxAge returns the number of seconds in s, which may have any number of
// digits. A value above MaxAge is MaxAge, so nothing overflows.
func parseMaxAge(s string) (age time.Duration, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		age = min(age*10+time.Duration(s[i]-'0')*time.Second, MaxAge)
	}
	return age, s != ""
}

// isPattern reports whether s is an sts-policy-mx-value.
func isPattern(s string) bool { return names.IsHostName(strings.TrimPrefix(s, "*.")) }

// isText reports whether s is UTF-8 without control characters, except tab, which
// is permitted around a value.
func isText(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			ascii = false
		case c < ' ' && c != '\t' || c == 0x7f:
			return false
		}
	}
	return ascii || utf8.ValidString(s)
}
