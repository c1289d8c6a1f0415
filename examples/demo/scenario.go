package main

import (
	"fmt"

	"github.com/mxseal/mxseal/policy"
)

// group is scenarios that belong together, under a title.
type group struct {
	title     string
	scenarios []scenario
}

// scenario is one recipient domain, and what is to become of a message to it.
type scenario struct {
	domain    string
	situation string
	// given builds the domain, with what is wrong with it from the start.
	given steps
	// nextDay is what happens after the sender got to know the domain, while it
	// remembers the domain's policy.
	nextDay steps
	// config are the operator's wishes; nil: none, and a Resolver that all such
	// scenarios share.
	config func(*policy.Config)
	// options go with the message; header is put before it.
	options []policy.Option
	header  string
	// written is the domain as the sender writes it, if not like domain.
	written string
	want    outcome
	// also checks what the outcome does not show; nil: nothing.
	also func(*site) error
}

// recipient is the domain part of the recipient's address.
func (s *scenario) recipient() string {
	if s.written != "" {
		return s.written
	}
	return s.domain
}

// outcome is what became of a message.
type outcome struct {
	mail mail
	// by is what decided about the host: the one that has the message, or else
	// the first.
	by policy.Mechanism
	// at is the host that has the message; empty when none has.
	at string
	// reason is why no host has it: TLS-RPT result type and reason code, or else
	// the enhanced status code.
	reason string
}

// mail is what became of a message, in a word.
type mail string

const (
	authenticated mail = "authenticated" // delivered, and the server proved who it is
	encrypted     mail = "encrypted"     // delivered over TLS to an unverified server
	inClear       mail = "in clear"      // delivered without TLS
	waits         mail = "waits"         // not delivered; it may be tried again
	returned      mail = "returned"      // not delivered; the sender is told
	lost          mail = "lost"          // reported as delivered, and no host has it
	leaked        mail = "leaked"        // a host has it although the sender was told otherwise
)

// String is the whole outcome in one line, by which outcomes are compared.
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

// scenarios is the table of everything that the demo shows.
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
