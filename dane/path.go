package dane

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"
)

// Bounds on what a hostile server can make us do. Real chains have two to five
// certificates; a TLS handshake has room for hundreds, which by cross-signing
// each other would make any number of paths.
const (
	maxSent       = 32 // certificates of the handshake that are looked at
	maxPool       = 64 // with those from the records
	maxSignatures = 64 // verified in one call of Verify

	// maxRSABits is what crypto/tls allows for the certificates that it gets;
	// keys that come from DNS have not been through its hands. A key that
	// fills a DNS message would take seconds.
	maxRSABits = 8192
)

// search looks for a path from the server's certificate to a trust anchor (RFC
// 5280 section 6, RFC 4158).
type search struct {
	verifier Verifier
	leaf     *x509.Certificate
	names    []string
	now      time.Time
	// pool has the certificates that a path may lead over: those of the
	// handshake after the first, and those that records carry, for the
	// handshake need not repeat them (RFC 7671 section 5.2.2).
	pool       []*candidate
	signatures int // that may still be verified
}

func newSearch(v Verifier, chain []*x509.Certificate, records []Record, names []string, now time.Time) *search {
	s := &search{verifier: v, leaf: chain[0], names: names, now: now, signatures: maxSignatures}
	for _, cert := range chain[1:min(len(chain), maxSent)] {
		if cert != nil {
			s.add(cert)
		}
	}
	for i := range records {
		if r := &records[i]; r.Usage == DANETA && r.Selector == Cert && r.MatchingType == Full {
			if cert, err := x509.ParseCertificate(r.Data); err == nil {
				s.add(cert)
			}
		}
	}
	return s
}

// add puts a certificate into the pool, once, and never the server's own: that
// is not an issuer, not even when it signed itself.
func (s *search) add(cert *x509.Certificate) {
	if len(s.pool) == maxPool || bytes.Equal(cert.Raw, s.leaf.Raw) {
		return
	}
	for _, have := range s.pool {
		if bytes.Equal(cert.Raw, have.cert.Raw) {
			return
		}
	}
	s.pool = append(s.pool, &candidate{cert: cert})
}

// record looks for a path to a trust anchor that a DANE-TA record stands for.
func (s *search) record(r *Record) (Match, *fault) {
	failed := &fault{reason: noTrustAnchor}
	matched := false
	for _, c := range s.pool {
		if !c.matches(s.verifier, r) {
			continue
		}
		matched = true
		match, why := s.extend([]*x509.Certificate{s.leaf}, &anchor{record: r, cert: c.cert})
		if why == nil {
			return match, nil
		}
		failed = further(failed, why)
	}
	// Only a key that no certificate comes with is taken without one, or the
	// constraints in the certificate would not bind (RFC 7671 section 5.2.3).
	// That goes for the server's own certificate too: signing itself with the
	// anchor's key does not make it one.
	if key := bareKey(r); key != nil && !matched && !bytes.Equal(s.leaf.RawSubjectPublicKeyInfo, r.Data) {
		match, why := s.extend([]*x509.Certificate{s.leaf}, &anchor{record: r, key: key})
		if why == nil {
			return match, nil
		}
		failed = further(failed, why)
	}
	return Match{}, failed
}

// anchor is a trust anchor that a record stands for: a certificate, or a key
// that no certificate comes with.
type anchor struct {
	record *Record
	cert   *x509.Certificate
	key    *x509.Certificate // has nothing but the key
}

// bareKey returns the key in a "2 1 0" record in the form of an issuer that has
// nothing else, or nil if the record has none or not one that can sign.
func bareKey(r *Record) *x509.Certificate {
	if r.Selector != SPKI || r.MatchingType != Full {
		return nil
	}
	key, err := x509.ParsePKIXPublicKey(r.Data)
	if err != nil {
		return nil
	}
	issuer := &x509.Certificate{PublicKey: key}
	switch key.(type) {
	case *rsa.PublicKey:
		issuer.PublicKeyAlgorithm = x509.RSA
	case *ecdsa.PublicKey:
		issuer.PublicKeyAlgorithm = x509.ECDSA
	case ed25519.PublicKey:
		issuer.PublicKeyAlgorithm = x509.Ed25519
	default:
		return nil
	}
	return issuer
}

// extend goes on from a path whose signatures hold, in every direction, until
// it is at the trust anchor. It returns the fault of the path that came
// furthest if none is good.
func (s *search) extend(path []*x509.Certificate, to *anchor) (Match, *fault) {
	subject := path[len(path)-1]
	if why := s.inForce(subject, subject == to.cert); why != nil {
		return Match{}, why
	}
	if subject == to.cert {
		return s.accept(path, len(path)-1, to)
	}
	failed := &fault{reason: notIssuer, cert: to.cert}
	// With a bare key there is no name to go by: what counts is that it signed
	// the topmost certificate (RFC 7671 section 5.2.3).
	if to.key != nil {
		why := s.signed(subject, to.key)
		if why == nil {
			var match Match
			if match, why = s.accept(path, len(path), to); why == nil {
				return match, nil
			}
		}
		failed = further(failed, why)
	}
	for _, c := range s.pool {
		if !bytes.Equal(c.cert.RawSubject, subject.RawIssuer) || onPath(path, c.cert) {
			continue
		}
		if why := s.issued(subject, c.cert, c.cert == to.cert); why != nil {
			failed = further(failed, why)
			continue
		}
		match, why := s.extend(append(path[:len(path):len(path)], c.cert), to)
		if why == nil {
			return match, nil
		}
		failed = further(failed, why)
	}
	return Match{}, failed
}

// onPath reports whether a path has been over a certificate, or another of the
// same name and key, already. To go there again leads nowhere new (RFC 4158
// section 2.4.1).
func onPath(path []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(path, func(have *x509.Certificate) bool {
		return bytes.Equal(have.RawSubject, cert.RawSubject) &&
			bytes.Equal(have.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo)
	})
}

// issued reports why issuer is not an authority that signed subject (RFC 5280
// sections 4.2.1.3, 4.2.1.9 and 6.1.4 (k) and (n)).
func (s *search) issued(subject, issuer *x509.Certificate, isAnchor bool) *fault {
	switch {
	case issuer.Version == 3 && !(issuer.BasicConstraintsValid && issuer.IsCA):
		return &fault{reason: notAuthority, cert: issuer}
	case issuer.Version < 3 && !(isAnchor && selfIssued(issuer)):
		// There was no way to say so before version 3. Old roots are still
		// around, and here the domain itself declares one to be its anchor.
		return &fault{reason: notAuthority, cert: issuer}
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCertSign == 0:
		return &fault{reason: notAuthority, cert: issuer}
	}
	return s.signed(subject, issuer)
}

// signed verifies one signature within the bound. MD5 and SHA-1 do not count.
func (s *search) signed(subject, issuer *x509.Certificate) *fault {
	if key, ok := issuer.PublicKey.(*rsa.PublicKey); s.signatures == 0 || ok && key.N.BitLen() > maxRSABits {
		return &fault{reason: tooMuchWork}
	}
	s.signatures--
	if err := subject.CheckSignatureFrom(issuer); err != nil {
		return &fault{reason: badSignature, cert: subject}
	}
	return nil
}

func selfIssued(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

// accept makes the checks that need the whole path, whose signatures and
// certificates are good.
func (s *search) accept(path []*x509.Certificate, depth int, to *anchor) (Match, *fault) {
	if why := withinPathLength(path); why != nil {
		return Match{}, why
	}
	if why := s.withinNameConstraints(path); why != nil {
		return Match{}, why
	}
	name, why := matchNames(path, s.names)
	if why != nil {
		return Match{}, why
	}
	return Match{Record: *to.record, Depth: depth, Name: name}, nil
}
