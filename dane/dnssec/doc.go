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
// # Servers and their settings
//
// A Validator works with every server that returns DNSSEC records, whether it validates or
// not. A Trusting needs one that validates. These were tried:
//
//   - unbound and BIND suit a Validator as they are. They validate with
//     auto-trust-anchor-file (unbound) and "dnssec-validation auto" (BIND).
//   - PowerDNS Recursor validates with dnssec=process or validate. A Validator then gets
//     SERVFAIL for broken domains. dnssec=process-no-validate suits a Validator, dnssec=off
//     suits neither.
//   - Knot Resolver suits both. With policy.STUB it suits neither: use policy.FORWARD.
//   - dnsmasq suits a Validator if the servers that it asks do. It validates with dnssec and
//     trust-anchor, except for names below a DNAME. With proxy-dnssec it passes on what
//     anyone on the network can forge: a Trusting must not use it.
//   - systemd-resolved at 127.0.0.53 suits a Validator whatever its DNSSEC setting is, if the
//     servers that it asks do. It validates with DNSSEC=yes. With allow-downgrade an attacker
//     can switch that off. Its listener at 127.0.0.54 passes on all queries.
//   - Docker's server at 127.0.0.11 does what the server behind it does, and suits no Trusting.
//
// All nameserver lines of resolv.conf(5) are used, in their order. "rotate" begins with
// another server each time. "timeout:n" bounds one attempt, "attempts:n" is how often each
// server is asked, and "use-vc" asks over TCP only. "trust-ad" allows a Trusting to use a
// server at a loopback address. search, domain, ndots and sortlist have no meaning, because
// all names are absolute; "edns0" is always on. The other options, and the environment
// variables LOCALDOMAIN and RES_OPTIONS, are ignored. /etc/nsswitch.conf is not read, and
// /etc/hosts only if Config.HostsFile names it.
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
