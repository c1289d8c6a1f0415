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
//     signatures, or the zone is broken. It is an error, like every lookup that
//     failed. Treating it as "no records" would let an attacker switch off what
//     the records require (RFC 7672 section 2.1.2).
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
// # What is validated
//
// Answers of class IN for one name and type, with the CNAME and DNAME records on
// the way, wildcards, and the absence of records by NSEC and NSEC3, by the rules
// of RFC 4033 to 4035, 5155, 6672, 6840, 8624, 9276 and 9905. Signatures are RSA
// with SHA-256 or SHA-512, ECDSA on P-256 or P-384, and Ed25519; RSA with SHA-1
// if [Config] says so; DS digests SHA-1, SHA-256 and SHA-384. Zones with
// nothing but others, such as Ed448, are insecure.
//
// Not validated, and not believed: the AD bit, the additional section, NS
// records beside an answer, and the header but where it contradicts the proof.
// Trust anchors are not updated (RFC 5011): those of IANA come with releases of
// this package, others with [Config].
//
// # Bounds
//
// [Limits] bounds what one Lookup may cost, with all that it leads to: signature
// verifications, NSEC3 hashes and iterations, DNSKEY digests, keys, signatures,
// queries, aliases, records and octets of replies, and time. A Lookup that
// reaches one fails, and is never called insecure, except for NSEC3 iterations
// (RFC 9276 section 3.2). Beside these:
//
//   - RSA keys have at most 4096 bits and exponents at most 64.
//   - A try at one server ends after Config.Timeout, however slowly it sends;
//     64 datagrams that do not answer the question end it as well.
//   - The cache keeps to Config.CacheBytes, failures for 5 seconds, and nothing
//     for more than a day. What is used stays in it when unknown names flood it.
//   - Equal lookups at the same time are one lookup.
//
// Each Lookup has a budget of its own. How many of them a mail domain can cause
// is for the caller to bound.
package dnssec
