package mtasts

import (
	"strings"
	"time"

	"github.com/mxseal/mxseal/mtasts/internal/policytext"
)

// Mode is what a sender does with a mail host that does not meet the policy (RFC
// 8461 section 5). The zero value is not a mode; no valid policy has it.
type Mode string

const (
	// Enforce means that the host gets no mail.
	Enforce Mode = "enforce"
	// Testing means that the host gets the mail, and the domain gets a report.
	Testing Mode = "testing"
	// None means the same as no policy. A domain publishes it to withdraw a policy (RFC
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
	read, fault := policytext.Parse(text, MaxAge)
	if fault != nil {
		return nil, &Error{Kind: KindPolicy, ReasonCode: fault.ReasonCode, Err: fault}
	}
	return &Policy{Mode: Mode(read.Mode), MaxAge: read.MaxAge, MX: read.MX, Text: text}, nil
}
