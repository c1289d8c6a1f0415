// Package dnssec compares the validating stub resolver of dane/dnssec with
// unbound and with BIND's delv, on many questions. The zones are signed by the
// signers of BIND, ldns and Knot DNS, some are then broken, and nsd serves
// them.
//
// Our validator uses an unbound as its recursive resolver, with the CD bit set.
// The other two validators have the same trust anchor.
package dnssec
