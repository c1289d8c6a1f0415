// Package mail sends messages with package policy to a real Postfix. The zones
// are served by a real nsd, resolved by a real unbound, and the MTA-STS
// policies are served by a real nginx. Messages arrive in a mailbox if and only
// if the policy allows their delivery.
package mail
