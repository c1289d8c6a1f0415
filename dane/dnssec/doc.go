// Package dnssec is a validating stub resolver: it asks any recursive DNS
// server and proves the answers itself.
//
// DNSSEC signs DNS data. Each zone has keys, the zone above signs a digest of
// them (the DS record), and so on up to the root, whose keys are known in
// advance. An answer is
//
//   - [Secure] if signatures lead from a trust anchor to it without a gap. That
//     something does not exist can be proven in the same way.
//   - [Insecure] if it is proven that there is a gap: a zone on the way down
//     delegates without DS, so that nothing below is signed.
//   - [Bogus] if neither is proven. Somebody forged the answer or took out its
//     signatures, or the zone is broken. It is an error, like every answer that
//     could not be had: whoever treats it as "no records" lets an attacker
//     switch off what the records ask for (RFC 7672 section 2.1.2).
//
// Most users want one [Validator] for all lookups:
//
//	v, err := dnssec.New(dnssec.Config{})
//	answer, err := v.Lookup(ctx, "_25._tcp.mx.example.org", dns.TypeTLSA)
//	if err != nil { ... }                    // *dnssec.Error: do not go on
//	if answer.Status == dnssec.Secure { ... } // believe answer.Records
//
// The servers need not be trusted, but must pass on the records that prove
// things; nearly all do. The keys and delegations above a name are asked for
// together with the question, so a validated lookup takes about as long as a
// plain one.
//
// [Trusting] is for those who run a validating server on the same host, or
// reach one over TLS, and want to leave the proofs to it.
//
// The rules are those of RFC 4033 to 4035, 5155, 6672, 6840, 8624, 9276 and
// 9905. What an attack may cost is bounded by [Limits].
package dnssec
