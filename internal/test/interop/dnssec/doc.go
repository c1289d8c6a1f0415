// Package dnssec compares the validating stub resolver of dane/dnssec with
// unbound and with BIND's delv, question by question, over zones that the
// signers of BIND, ldns and Knot DNS made, intact and broken, and that nsd
// serves.
//
// Our validator asks an unbound with the CD bit set, as it would ask any
// recursive resolver; the other two have the same trust anchor.
package dnssec
