// Package dane holds a mail server's TLS certificate against the TLSA records
// that its domain publishes in signed DNS (RFC 6698, RFC 7671), as a sender of
// mail must (RFC 7672).
//
// # The idea
//
// A TLSA record says which certificate or key a server has. It lives below the
// server's name, at "_25._tcp.mx.example.org.", and DNSSEC proves that it is
// the domain's own. So a sender needs no certificate authority, and learns two
// things at once: that the server does TLS, which makes it impossible to
// strip, and whom to expect at the other end.
//
// Two kinds of record are used for mail:
//
//   - DANE-EE (usage 3) names the server's own certificate or key. Nothing
//     else counts: no name in it, no date, no issuer.
//   - DANE-TA (usage 2) names an issuer, public or private, that the server's
//     certificate leads to. Names, dates and constraints count.
//
// The usages 0 and 1, which add the public certificate authorities, are
// unusable for mail (RFC 7672 section 3.1.3).
//
// # What to call
//
// [Discover] looks up a host's addresses and, where their security says so,
// its TLSA records. [ReferenceNames] gives the names that a certificate may
// carry. [Verify] judges a certificate chain from the handshake:
//
//	host, err := dane.Discover(ctx, resolver, "mx.example.org", 25)
//	// an error: do not use this host now
//	// len(host.Records) == 0: DANE does not apply to this host
//	// len(host.Usable) == 0: the session must be encrypted
//	// otherwise, once the handshake is done:
//	match, err := dane.Verify(state.PeerCertificates, host.Usable, names, time.Now())
//
// A lookup that failed is an error and never "no records": whoever can make a
// lookup fail could otherwise turn TLS off.
//
// Who runs a mail server can use [NewRecord] and [RecordName] to learn what to
// publish.
//
// There is no state in this package. Everything in it is safe for concurrent
// use, and nothing that it is given is ever written to.
package dane
