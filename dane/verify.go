package dane

import (
	"crypto/x509"
	"time"
)

// Match says what authenticated a server. The zero Match is of no record.
type Match struct {
	// Record is the record that matched.
	Record Record
	// Depth is where the match is on the way from the server's certificate to
	// the trust anchor: 0 is the server's own certificate, 1 its issuer. A
	// trust anchor that is a bare key counts like the certificate it is not.
	Depth int
	// Name is the reference identifier that the certificate is for; empty with
	// DANE-EE, where names are not looked at (RFC 7672 section 3.2.1).
	Name string
}

// Verify judges the certificates that a server sent in a TLS handshake, its own
// first, by the TLSA records of the server. One usable record that fits is
// enough (RFC 7671 section 8). The records should be all of the secure RRset,
// or what [Select] left of it: unusable records and outdated digests never
// match.
//
// With DANE-EE the first certificate must match, and nothing else is looked at:
// no name, date or issuer (RFC 7672 section 3.1.1).
//
// With DANE-TA a chain must lead from it to a trust anchor that matches and is
// in the handshake or, in full, in a record; and it must be for one of names,
// which [ReferenceNames] gives. The certificates sent after the first may be in
// any order and have strangers among them. No store of certificate authorities
// is asked. The trust anchor's own certificate binds too, where there is one:
// its dates, path length, key usage, extended key usage and name constraints
// (RFC 7671 section 5.2.1 and the practice of OpenSSL).
//
// Every error is a [*MismatchError]. In a [crypto/tls.Config], call Verify from
// VerifyConnection, with InsecureSkipVerify set: VerifyPeerCertificate is not
// called for resumed sessions.
func Verify(chain []*x509.Certificate, records []Record, names []string, now time.Time) (Match, error) {
	return Verifier{}.Verify(chain, records, names, now)
}

// Verify is like the function [Verify] under the policy of v.
func (v Verifier) Verify(chain []*x509.Certificate, records []Record, names []string, now time.Time) (Match, error) {
	if len(chain) == 0 || chain[0] == nil {
		return Match{}, &MismatchError{Attempts: []Attempt{{Err: &fault{reason: noCertificate}}}}
	}
	strongest := v.strongest(records)
	leaf := candidate{cert: chain[0]}
	for i := range records {
		r := &records[i]
		if r.Usage == DANEEE && strongest.keeps(v, r) && leaf.matches(v, r) {
			return Match{Record: *r}, nil
		}
	}
	return v.verifyTrustAnchors(chain, records, &strongest, names, now)
}

// verifyTrustAnchors does what usage DANE-TA asks for (RFC 6698 section 2.1.1).
// If no record leads to success, it says of each why.
func (v Verifier) verifyTrustAnchors(chain []*x509.Certificate, records []Record, strongest *strengths, names []string, now time.Time) (Match, error) {
	s := newSearch(v, chain, records, names, now)
	attempts := make([]Attempt, 0, len(records))
	for i := range records {
		r := &records[i]
		attempt := Attempt{Record: *r}
		switch why := v.unusable(r); {
		case why != nil:
			attempt.Err = why
		case !strongest.keeps(v, r):
			attempt.Err = &fault{reason: weakerDigest}
		case r.Usage == DANEEE:
			attempt.Err = &fault{reason: noMatch, cert: chain[0]}
		default:
			match, why := s.record(r)
			if why == nil {
				return match, nil
			}
			attempt.Err = why
		}
		attempts = append(attempts, attempt)
	}
	return Match{}, &MismatchError{Attempts: attempts}
}
