package situations

import (
	"fmt"

	"github.com/mxseal/mxseal/policy"
)

// Group is a titled group of situations.
type Group struct {
	Title      string
	Situations []Situation
}

// Situation is a recipient domain and the expected outcome for a message to it.
type Situation struct {
	// Domain is the recipient domain, in A-labels.
	Domain string
	Title  string
	// given builds the domain, including its initial faults.
	given steps
	// nextDay changes the domain one day later, while the sender remembers its
	// policy.
	nextDay steps
	// config changes the configuration of the sender. If it is nil, the
	// situation uses a Resolver that is shared by all such situations.
	config func(*policy.Config)
	// options are passed with the message. header is prepended to it.
	options []policy.Option
	header  string
	// written is the domain as written in the recipient address, if it differs
	// from Domain.
	written string
	Want    Outcome
	// also makes further checks. It can be nil.
	also func(*site) error
}

// Recipient is the domain part of the recipient's address.
func (s *Situation) Recipient() string {
	if s.written != "" {
		return s.written
	}
	return s.Domain
}

// Outcome is the result for a message.
type Outcome struct {
	Mail Mail
	// By is the mechanism that decided about the host that received the
	// message, or else about the first host.
	By policy.Mechanism
	// At is the host that received the message, or empty.
	At string
	// Reason is why no host received it: a TLS-RPT result type and reason code,
	// or else the enhanced status code.
	Reason string
}

// Mail is a one-word result.
type Mail string

// The results for a message.
const (
	Authenticated Mail = "authenticated" // delivered to an authenticated server
	Encrypted     Mail = "encrypted"     // delivered over TLS without authentication
	InClear       Mail = "in clear"      // delivered without TLS
	Waits         Mail = "waits"         // not delivered; a retry can help
	Returned      Mail = "returned"      // not delivered; a retry cannot help
	Lost          Mail = "lost"          // reported as delivered, but no host received it
	Leaked        Mail = "leaked"        // reported as not delivered, but a host received it
)

// String returns the outcome in one line. Outcomes are compared in this form.
func (o Outcome) String() string {
	text := string(o.Mail)
	if o.By != 0 {
		text += fmt.Sprintf(" by %s", o.By)
	}
	if o.At != "" {
		text += " at " + o.At
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// Groups returns all situations, in the order of the demo.
func Groups() []Group {
	return []Group{
		{"Domains without a policy", plainDomains()},
		{"Domains with DANE", daneDomains()},
		{"Domains with MTA-STS", mtastsDomains()},
		{"Domains with both, or with a mail host elsewhere", mixedDomains()},
		{"Attackers and faults between the sender and a host with DANE", daneAttacks()},
		{"Attackers and faults in the DNS", dnsAttacks()},
		{"Attackers and faults at a domain with MTA-STS", mtastsAttacks()},
		{"What the message itself asks for (RFC 8689), and where mail cannot go", messages()},
		{"What the sender's operator asks for", operatorSettings()},
	}
}

// All returns the situations of groups, in order.
func All(groups []Group) []Situation {
	var list []Situation
	for _, g := range groups {
		list = append(list, g.Situations...)
	}
	return list
}
