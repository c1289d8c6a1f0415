package policytest

import "time"

// Steps of a session, for On, Reply, Delay, Stall, HangUp and Endless. The SMTP
// commands are steps too, by their verb, such as "STARTTLS" or "MAIL".
const (
	Greeting  = ""    // after connecting, before the greeting of a mail host
	Handshake = "TLS" // when the first octets of the TLS handshake have arrived
	EndOfData = "."   // after the final dot of a message
	Fetch     = "GET" // at a request to an HTTPS host
)

// InTLS returns the step of a command that is sent within TLS. InTLS("EHLO") is
// the EHLO after STARTTLS.
func InTLS(command string) string { return command + " in TLS" }

// InClear returns the step of a command that is sent in cleartext.
func InClear(command string) string { return command + " in cleartext" }

// Action is what a host does at one step. The zero value means its usual reply.
type Action struct {
	kind  actionKind
	text  string
	delay time.Duration
	close bool
}

type actionKind uint8

const (
	usual actionKind = iota
	send
	silence
	endless
)

// Usual sends the reply that the host sends without a script.
func Usual() Action { return Action{} }

// Say sends a reply, such as "454 4.7.0 not now". A reply of several lines has
// CRLF between them. The host adds the last line end. The session continues as
// the code requires: after 250 to MAIL there is a transaction, after 354 to DATA
// the host reads a message, and after 220 to STARTTLS it begins TLS.
func Say(reply string) Action { return Action{kind: send, text: reply + "\r\n"} }

// Send is like Say, but sends octets as they are, which need not be a reply.
func Send(octets string) Action { return Action{kind: send, text: octets} }

// Silence sends nothing and keeps the connection open.
func Silence() Action { return Action{kind: silence} }

// Disconnect closes the connection.
func Disconnect() Action { return Send("").ThenDisconnect() }

// NeverEnd begins a valid reply and never ends it: the lines of a reply of SMTP,
// or the body of a policy.
func NeverEnd() Action { return Action{kind: endless} }

// After returns the action with a pause before it, in real time.
func (a Action) After(pause time.Duration) Action {
	a.delay += pause
	return a
}

// ThenDisconnect returns the action with the end of the connection after it, such
// as Say("421 4.3.2 shutting down").ThenDisconnect().
func (a Action) ThenDisconnect() Action {
	a.close = true
	return a
}

// On sets the script of a step: what the host does when the step occurs in a
// connection for the first time, for the second time, and so on. The last action
// applies to all further times. On replaces an earlier script of the same step. A
// script of InTLS or InClear goes before one without.
//
//	policytest.On("RCPT", policytest.Usual(), policytest.Say("452 4.5.3 too many recipients"))
//	policytest.On(policytest.EndOfData, policytest.Usual().After(time.Minute))
//	policytest.On(policytest.InTLS("EHLO"), policytest.Disconnect())
//
// Each request to an HTTPS host is a first time. Its only steps are Handshake and
// Fetch, and what Say and Send send at Fetch is the body of the response.
func On(step string, actions ...Action) Option {
	return func(b *Behavior) { b.script[step] = actions }
}

// Reply makes the host send a reply at this step instead of its usual one, for
// example Reply("STARTTLS", "454 4.7.0 not now") or Reply(policytest.Greeting,
// "554 no"). It is On with Say.
func Reply(step, reply string) Option { return On(step, Say(reply)) }

// Delay makes the host send its usual reply at this step after a pause in real
// time.
func Delay(step string, pause time.Duration) Option { return On(step, Usual().After(pause)) }

// Stall makes the host send nothing at this step and keep the connection open.
func Stall(step string) Option { return On(step, Silence()) }

// HangUp makes the host close the connection at this step.
func HangUp(step string) Option { return On(step, Disconnect()) }

// Endless makes the host begin a valid reply at this step and never end it.
func Endless(step string) Option { return On(step, NeverEnd()) }

// progress counts how often each script was used in one connection.
type progress map[string]int

// next returns the action for a step that occurs now, within TLS or not.
func (p progress) next(b *Behavior, step string, tls bool) Action {
	specific := InClear(step)
	if tls {
		specific = InTLS(step)
	}
	if len(b.script[specific]) > 0 {
		step = specific
	}
	actions := b.script[step]
	if len(actions) == 0 {
		return Usual()
	}
	defer func() { p[step]++ }()
	return actions[min(p[step], len(actions)-1)]
}
