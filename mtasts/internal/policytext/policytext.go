// Package policytext reads the text of a policy (RFC 8461 section 3.2).
package policytext

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/txtrecord"
)

const (
	version   = "STSv1"
	maxQuoted = 64 // what an error repeats of the text, in octets
)

// Policy is what a text says.
type Policy struct {
	Mode   string // enforce, testing or none
	MaxAge time.Duration
	MX     []string
}

// Fault is why a text is not a policy.
type Fault struct {
	ReasonCode string
	text       string
}

func (f *Fault) Error() string { return f.text }

func failf(code, format string, args ...any) *Fault {
	return &Fault{ReasonCode: code, text: fmt.Sprintf(format, args...)}
}

func quote(s string) string { return names.Quote(s, maxQuoted) }

// Parse parses a text. A max_age above longest counts as longest.
func Parse(text string, longest time.Duration) (Policy, *Fault) {
	p := &parser{text: text, longest: longest}
	for number, rest := 1, text; rest != ""; number++ {
		var line string
		line, rest = cutLine(rest)
		if err := p.line(txtrecord.TrimRight(line)); err != nil {
			err.text = fmt.Sprintf("line %d: %s", number, err.text)
			return Policy{}, err
		}
	}
	if err := p.complete(); err != nil {
		return Policy{}, err
	}
	return p.read, nil
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
	text    string
	longest time.Duration
	read    Policy
	version bool // seen
	maxAge  bool // seen
	ended   bool // by an empty line
}

func (p *parser) line(line string) *Fault {
	if line == "" {
		p.ended = true
		return nil
	}
	if p.ended {
		return failf("policy-syntax", "text after an empty line: %s", quote(line))
	}
	if !isText(line) {
		return failf("policy-syntax", "control characters or not UTF-8: %s", quote(line))
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok || !txtrecord.IsExtensionName(key) {
		return failf("policy-syntax", "the line is not a key and a value: %s", quote(line))
	}
	value = txtrecord.TrimLeft(value)
	if strings.IndexByte(value, '\t') >= 0 {
		return failf("policy-syntax", "tab inside a value: %s", quote(line))
	}
	return p.field(key, value)
}

// field parses one sts-policy-field. A bad value of a known key also matches the
// grammar of an extension. It is not read as one. A repeated key is ignored,
// whatever its value (RFC 8461 section 3.2).
func (p *parser) field(key, value string) *Fault {
	switch key {
	case "version":
		if !p.version && value != version {
			return failf("policy-version", "unknown version %s", quote(value))
		}
		p.version = true
	case "mode":
		if p.read.Mode != "" {
			return nil
		}
		switch value {
		case "enforce", "testing", "none":
			p.read.Mode = value
		default:
			return failf("policy-mode", "unknown mode %s", quote(value))
		}
	case "max_age":
		if p.maxAge {
			return nil
		}
		age, ok := parseMaxAge(value, p.longest)
		if !ok {
			return failf("policy-max-age", "malformed max_age %s", quote(value))
		}
		p.read.MaxAge, p.maxAge = age, true
	case "mx":
		if !isPattern(value) {
			return failf("policy-mx", "malformed mx %s", quote(value))
		}
		p.addMX(value)
	default:
		if value == "" {
			return failf("policy-syntax", "key %s has no value", quote(key))
		}
	}
	return nil
}

// addMX allocates room for as many patterns as there seem to be, but not more than
// usual, because many policies are kept in memory for long.
func (p *parser) addMX(pattern string) {
	if p.read.MX == nil {
		p.read.MX = make([]string, 0, min(strings.Count(p.text, "mx:"), 6))
	}
	p.read.MX = append(p.read.MX, pattern)
}

// complete checks that all required fields were seen.
func (p *parser) complete() *Fault {
	switch {
	case !p.version:
		return failf("policy-version", "the policy has no version")
	case p.read.Mode == "":
		return failf("policy-mode", "the policy has no mode")
	case !p.maxAge:
		return failf("policy-max-age", "the policy has no max_age")
	case p.read.MX == nil && p.read.Mode != "none":
		return failf("policy-mx", "the policy has no mx, and its mode is %s", p.read.Mode)
	}
	return nil
}

// parseMaxAge returns the number of seconds in s, which may have any number of
// digits. A value above longest is longest, so nothing overflows.
func parseMaxAge(s string, longest time.Duration) (age time.Duration, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		age = min(age*10+time.Duration(s[i]-'0')*time.Second, longest)
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

// SameHosts reports whether two policies have the same patterns, in any order.
func SameHosts(mx, other []string) bool {
	set := func(patterns []string) map[string]bool {
		m := make(map[string]bool, len(patterns))
		for _, pattern := range patterns {
			m[names.Fold(pattern)] = true
		}
		return m
	}
	return slices.Equal(mx, other) || maps.Equal(set(mx), set(other))
}
