// Package dnsserver makes zones, has them signed by the signers that name
// server operators use, and serves them with real name servers on loopback:
// nsd as the authority for all of them, from the root down, and unbound as
// the recursive resolver above it.
package dnsserver
