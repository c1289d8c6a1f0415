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

// Bounds on the work that a hostile server can cause. Real chains have two to five
// certificates. A TLS handshake has room for hundreds, which can sign each other
// and so make any number of paths.
const (
	maxSent       = 32 // certificates of the handshake that are used
	maxPool       = 64 // those and the ones from records
	maxSignatures = 64 // verified in one call of Verify; see cost

	// maxRSABits is the limit that crypto/tls has for certificates of the
	// handshake. Keys from DNS have not passed it, and one that fills a DNS
	// message would take seconds.
	maxRSABits = 8192
)

// search searches a path from the server's certificate to a trust anchor (RFC 5280
// section 6, RFC 4158).
type search struct {
	verifier Verifier
	leaf     *x509.Certificate
	names    []string
	now      time.Time
	// pool has the certificates that a path may use: those of the handshake
	// after the first, and those of records, which the handshake may omit
	// (RFC 7671 section 5.2.2).
	pool       []*candidate
	signatures int // what is left of maxSignatures
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

// add adds a certificate to the pool, once. The server's own is not an issuer, even if
// it is self-signed, and is not added.
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

// record searches a path to a trust anchor that matches a DANE-TA record.
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
	// A key is used without a certificate only if no certificate has it.
	// Otherwise the constraints of that certificate would not apply (RFC 7671
	// section 5.2.3). If the server's own certificate has the key, it is still no
	// issuer.
	if key := bareKey(r); key != nil && !matched && !bytes.Equal(s.leaf.RawSubjectPublicKeyInfo, r.Data) {
		match, why := s.extend([]*x509.Certificate{s.leaf}, &anchor{record: r, key: key})
		if why == nil {
			return match, nil
		}
		failed = further(failed, why)
	}
	return Match{}, failed
}

// anchor is a trust anchor that matches a record: a certificate, or a key without
// certificate.
type anchor struct {
	record *Record
	cert   *x509.Certificate
	key    *x509.Certificate // has only the key
}

// bareKey returns the key of a "2 1 0" record as an issuer that has only the key.
// It returns nil if the record has no key, or one that cannot sign.
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

// extend extends a path whose signatures are good, in every possible way, until it
// reaches the trust anchor. If no path is good, it returns the fault of the one
// that got furthest.
func (s *search) extend(path []*x509.Certificate, to *anchor) (Match, *fault) {
	subject := path[len(path)-1]
	if why := s.inForce(subject, subject == to.cert); why != nil {
		return Match{}, why
	}
	if subject == to.cert {
		return s.accept(path, len(path)-1, to)
	}
	failed := &fault{reason: notIssuer, cert: to.cert}
	// A bare key has no name to compare. It must have signed the topmost
	// certificate (RFC 7671 section 5.2.3).
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

// onPath reports whether a path has a certificate, or another of the same name and
// key, already. Such a path is a loop (RFC 4158 section 2.4.1).
func onPath(path []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(path, func(have *x509.Certificate) bool {
		return bytes.Equal(have.RawSubject, cert.RawSubject) &&
			bytes.Equal(have.RawSubjectPublicKeyInfo, cert.RawSubjectPublicKeyInfo)
	})
}

// issued returns the reason why issuer is not an authority that signed subject, or
// nil (RFC 5280 sections 4.2.1.3, 4.2.1.9 and 6.1.4 (k) and (n)).
func (s *search) issued(subject, issuer *x509.Certificate, isAnchor bool) *fault {
	switch {
	case issuer.Version == 3 && !(issuer.BasicConstraintsValid && issuer.IsCA):
		return &fault{reason: notAuthority, cert: issuer}
	case issuer.Version < 3 && !(isAnchor && selfIssued(issuer)):
		// Versions before 3 cannot mark authorities. Old roots are still in use,
		// and here the domain itself declares one to be its trust anchor.
		return &fault{reason: notAuthority, cert: issuer}
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCertSign == 0:
		return &fault{reason: notAuthority, cert: issuer}
	}
	return s.signed(subject, issuer)
}

// signed verifies one signature within the bounds. It refuses MD5 and SHA-1.
func (s *search) signed(subject, issuer *x509.Certificate) *fault {
	if key, ok := issuer.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits || !s.spend(cost(issuer)) {
		return &fault{reason: tooMuchWork}
	}
	if err := subject.CheckSignatureFrom(issuer); err != nil {
		return &fault{reason: badSignature, cert: subject}
	}
	return nil
}

// cost is what a signature by the issuer takes from the bound. One by a large key takes
// several times as long to verify as others, on P-521 more than ten times.
func cost(issuer *x509.Certificate) int {
	switch key := issuer.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Params().BitSize > 256 {
			return 4
		}
	case *rsa.PublicKey:
		if key.N.BitLen() > 4096 {
			return 4
		}
	}
	return 1
}

// spend takes from what is left of the bound, and reports whether there was enough.
func (s *search) spend(signatures int) bool {
	if s.signatures < signatures {
		return false
	}
	s.signatures -= signatures
	return true
}

func selfIssued(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

// accept makes the checks that need the whole path. Its signatures and the single
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
