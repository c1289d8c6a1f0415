// Package dane authenticates mail servers by TLSA records (RFC 6698, RFC 7671)
// as RFC 7672 requires it of senders.
//
// # The idea
//
// A TLSA record names the certificate or the key of a server. It is published
// below the server's name, such as "_25._tcp.mx.example.org.", in a zone that is
// signed with DNSSEC. It tells a sender two things without a certificate
// authority: the server supports TLS, so that an attacker cannot remove STARTTLS,
// and which certificate the server has.
//
// Two certificate usages apply to mail:
//
//   - DANE-EE (usage 3) names the server's own certificate or key. The names,
//     the dates and the issuer of the certificate are not checked.
//   - DANE-TA (usage 2) names an issuer of the server's certificate, public or
//     private. Names, dates and constraints are checked.
//
// The usages 0 and 1 also require a public certificate authority. They are
// unusable for mail (RFC 7672 section 3.1.3).
//
// # How to use it
//
// [Discover] looks up the addresses of a host and, if they are secure, its TLSA
// records. [ReferenceNames] returns the names that a certificate may be for.
// [Verify] checks the certificates of the handshake:
//
//	found, err := dane.Discover(ctx, resolver, "mx.example.org", 25)
//	if err != nil {
//		return err // do not use this host now
//	}
//	switch found.State {
//	case dane.Usable:
//		// in tls.Config.VerifyConnection, with InsecureSkipVerify set:
//		names := dane.ReferenceNames(found.BaseDomain, dane.Route{Secure: isMXSecure, NextHop: "example.org"})
//		match, err := dane.Verify(state.PeerCertificates, found.Usable, names, time.Now())
//	case dane.Unusable:
//		// the session must be encrypted
//	case dane.NoRecords, dane.NotApplicable:
//		// DANE requires nothing of this host
//	default:
//		// treat it as a failed lookup
//	}
//
// A failed lookup is an error. It never counts as "no records", because an
// attacker who can make a lookup fail could then turn TLS off.
//
// Operators of mail servers can use [NewRecord] and [RecordName] to learn which
// record to publish.
//
// All errors about hosts, records and certificates are an [*Error].
//
// The package has no state. All functions and methods are safe for concurrent
// use, except UnmarshalText and UnmarshalBinary of one Record, and do not change
// their arguments.
package dane
