package main

import (
	"fmt"

	"github.com/mxseal/mxseal/policy"
)

// group is a titled group of scenarios.
type group struct {
	title     string
	scenarios []scenario
}

// scenario is a recipient domain and the expected outcome for a message to it.
type scenario struct {
	domain    string
	situation string
	// given builds the domain, including its initial faults.
	given steps
	// nextDay changes the domain one day later, while the sender remembers its
	// policy.
	nextDay steps
	// config changes the configuration of the sender. If it is nil, the
	// scenario uses a Resolver that is shared by all such scenarios.
	config func(*policy.Config)
	// options are passed with the message. header is prepended to it.
	options []policy.Option
	header  string
	// written is the domain as written in the recipient address, if it differs
	// from domain.
	written string
	want    outcome
	// also makes further checks. It can be nil.
	also func(*site) error
}

// recipient is the domain part of the recipient's address.
func (s *scenario) recipient() string {
	if s.written != "" {
		return s.written
	}
	return s.domain
}

// outcome is the result for a message.
type outcome struct {
	mail mail
	// by is the mechanism that decided about the host that received the
	// message, or else about the first host.
	by policy.Mechanism
	// at is the host that received the message, or empty.
	at string
	// reason is why no host received it: a TLS-RPT result type and reason code,
	// or else the enhanced status code.
	reason string
}

// mail is a one-word result.
type mail string

const (
	authenticated mail = "authenticated" // delivered to an authenticated server
	encrypted     mail = "encrypted"     // delivered over TLS without authentication
	inClear       mail = "in clear"      // delivered without TLS
	waits         mail = "waits"         // not delivered; a retry can help
	returned      mail = "returned"      // not delivered; a retry cannot help
	lost          mail = "lost"          // reported as delivered, but no host received it
	leaked        mail = "leaked"        // reported as not delivered, but a host received it
)

// String returns the outcome in one line. Outcomes are compared in this form.
func (o outcome) String() string {
	text := string(o.mail)
	if o.by != 0 {
		text += fmt.Sprintf(" by %s", o.by)
	}
	if o.at != "" {
		text += " at " + o.at
	}
	if o.reason != "" {
		text += ": " + o.reason
	}
	return text
}

// scenarios returns all scenarios of the demo.
func scenarios() []group {
	return []group{
		{"Domains without a policy", plainScenarios()},
		{"Domains with DANE", daneScenarios()},
		{"Domains with MTA-STS", mtastsScenarios()},
		{"Domains with both, or with a mail host elsewhere", mixedScenarios()},
		{"Attackers and faults between the sender and a host with DANE", daneAttackScenarios()},
		{"Attackers and faults in the DNS", dnsAttackScenarios()},
		{"Attackers and faults at a domain with MTA-STS", mtastsAttackScenarios()},
		{"What the message itself asks for (RFC 8689), and where mail cannot go", messageScenarios()},
		{"What the sender's operator asks for", operatorScenarios()},
	}
}
