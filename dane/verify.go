package dane

import (
	"crypto/x509"
	"time"
)

// Match is the way in which a server was authenticated.
type Match struct {
	// Record is the record that matched.
	Record Record
	// Depth is the position of the matching certificate in the chain: 0 is the
	// server's own certificate, 1 its issuer. A trust anchor that is a key without
	// certificate counts as well.
	Depth int
	// Name is the reference identifier that the certificate is for. It is empty
	// with DANE-EE, where names are not checked (RFC 7672 section 3.2.1).
	Name string
}

// Verify checks the certificates of a TLS handshake, the server's own first, by
// the TLSA records of the server. One matching record is enough (RFC 7671 section
// 8). records is the secure RRset, or the result of [Select] for it: unusable
// records and weaker digests never match.
//
// With DANE-EE, the first certificate must match. Its names, dates and issuer are
// not checked (RFC 7672 section 3.1.1).
//
// With DANE-TA, a chain must lead from the first certificate to a trust anchor that
// matches. The trust anchor is sent in the handshake, or is in a record in full.
// The first certificate must be for one of names, which [ReferenceNames] returns.
// The other certificates may be in any order, and unrelated ones are ignored. No
// certificate authorities of the system are used. If the trust anchor has a
// certificate, its dates, path length, key usage, extended key usage and name
// constraints are checked too (RFC 7671 section 5.2.1, and as OpenSSL does).
//
// Every error is an [*Error] for [ErrMismatch]. In a [crypto/tls.Config], call
// Verify from VerifyConnection, with InsecureSkipVerify set: VerifyPeerCertificate
// is not called for resumed sessions.
func Verify(chain []*x509.Certificate, records []Record, names []string, now time.Time) (Match, error) {
	return Verifier{}.Verify(chain, records, names, now)
}

// Verify is like the function [Verify] under the policy of v.
func (v Verifier) Verify(chain []*x509.Certificate, records []Record, names []string, now time.Time) (Match, error) {
	if len(chain) == 0 || chain[0] == nil {
		return Match{}, &Error{Attempts: []Attempt{{Err: &fault{reason: noCertificate}}}, kind: ErrMismatch}
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

// verifyTrustAnchors tries the records of usage DANE-TA (RFC 6698 section 2.1.1).
// Its error has the reason for each record.
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
	return Match{}, &Error{Attempts: attempts, kind: ErrMismatch}
}
