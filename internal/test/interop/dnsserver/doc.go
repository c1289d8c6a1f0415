// Package dnsserver creates zones, signs them with the signers that operators
// use, and serves them with real name servers on loopback: nsd as the
// authoritative server of all zones, from the root down, and unbound as the
// recursive resolver.
package dnsserver
