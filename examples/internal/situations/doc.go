// Package situations has the recipient domains of the demo, one for each situation that a
// sender can meet, and tries them with any SMTP client. The demo runs them with package
// delivery, examples/clients with other clients; the expected outcomes are the same.
//
// The tables are in plain.go, dane.go, mtasts.go, mixed.go, attacks.go, messages.go and
// operator.go. A row says how its domain is built (site.go) and what becomes of the mail
// (situation.go). run.go sends the message and looks for it at all mail hosts.
package situations
