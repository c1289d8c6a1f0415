// Package mail sends messages with package policy to a real Postfix, found
// through a real unbound in zones that a real nsd serves, with the MTA-STS
// policies on a real nginx: those that may be delivered arrive in a mailbox,
// the others do not.
package mail
