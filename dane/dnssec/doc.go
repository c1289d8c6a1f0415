// Package dnssec is a validating stub resolver. It sends queries to any recursive DNS
// server and validates the answers itself.
//
// DNSSEC signs DNS data. Each zone has keys. The zone above signs a digest of these
// keys (the DS record), and so on up to the root, whose keys are known in advance. An
// answer is
//
//   - [Secure] if a chain of signatures leads from a trust anchor to it. The absence
//     of data can be proven in the same way.
//   - [Insecure] if it is proven that the chain ends above it: a zone on the way down
//     delegates without a DS record, so nothing below is signed.
//   - [Bogus] if neither is proven: the answer is forged, its signatures were removed,
//     or the zone is broken. A bogus answer is an error, like every failed lookup. To
//     treat it as "no records" would let an attacker disable what the records require
//     (RFC 7672 section 2.1.2).
//
// Most users want one [Validator] for all lookups:
//
//	v, err := dnssec.New(dnssec.Config{})
//	answer, err := v.Lookup(ctx, "_25._tcp.mx.example.org", dnssec.TypeTLSA)
//	if err != nil { ... }                     // *dnssec.Error: do not continue
//	if answer.Status == dnssec.Secure { ... } // the records are authentic
//
// The servers need not be trusted, but must return the records that validation needs.
// Nearly all servers do, and [Validator.Probe] checks it. The keys and delegations
// above a name are requested together with the name, so a validated lookup takes about
// as long as a plain one.
//
// [Trusting] is for users who run a validating server on the same host, or reach one
// over TLS, and want to leave validation to it.
//
// # What is validated
//
// A Validator validates answers of class IN for one name and type, including CNAME and
// DNAME records, wildcards, and the absence of records by NSEC and NSEC3, according to
// RFC 4033 to 4035, 5155, 6672, 6840, 8624, 9276 and 9905. It supports signatures by RSA
// with SHA-256 or SHA-512, ECDSA on P-256 or P-384, Ed25519, and, if Config.SHA1 is set,
// RSA with SHA-1. It supports the DS digests SHA-1, SHA-256 and SHA-384. Zones that use
// only other algorithms, such as Ed448, are insecure.
//
// It ignores the AD bit, the additional section, and NS records in the authority
// section. It ignores the header, unless the header contradicts the proof. Trust anchors
// are not updated automatically (RFC 5011): new root keys come with a release of this
// package, or from [Config].
//
// # Bounds
//
// [Limits] bounds the work of one Lookup and everything that it causes: signature
// verifications, NSEC3 hashes, DNSKEY digests, keys, signatures, queries, aliases,
// records, octets of replies, and time. In addition:
//
//   - RSA keys have at most 4096 bits, and their exponents at most 64.
//   - An attempt at one server ends after Config.Timeout, however slowly the server
//     sends, or after 64 datagrams that do not answer the question.
//   - The cache stays within Config.CacheBytes. It keeps failures for 5 seconds, and
//     nothing for more than a day. Lookups of many unknown names do not remove entries
//     that are in use.
//   - Equal lookups at the same time are performed once.
//
// The bounds apply to each Lookup separately. The caller must limit how many lookups a
// mail domain can cause.
package dnssec
