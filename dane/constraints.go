package dane

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
)

// The trust anchor's own certificate is checked as well. RFC 5280 section 6.1 uses
// only its name and key, but RFC 7671 section 5.2.1 requires its constraints to be
// applied. OpenSSL, with which most senders verify, checks it like every other
// authority: path length, key usage, extended key usage, name constraints and
// critical extensions. The only exception is the dates: see inForce.

// inForce checks one certificate of the path: its dates, its critical extensions,
// and its purpose, which must be TLS servers.
//
// The dates of a self-issued trust anchor count. Those of a trust anchor that
// another authority issued do not: the domain itself declares it to be the anchor
// for as long as the TLSA record is signed. OpenSSL does the same.
func (s *search) inForce(cert *x509.Certificate, isAnchor bool) *fault {
	dated := !isAnchor || selfIssued(cert)
	switch {
	case dated && s.now.Before(cert.NotBefore):
		return &fault{reason: notYetValid, cert: cert}
	case dated && s.now.After(cert.NotAfter):
		return &fault{reason: expired, cert: cert}
	case len(cert.UnhandledCriticalExtensions) > 0:
		return &fault{reason: unknownCritical, cert: cert}
	case !forServers(cert):
		return &fault{reason: wrongPurpose, cert: cert}
	case cert == s.leaf && cert.KeyUsage != 0 && cert.KeyUsage&tlsKeyUsages == 0:
		return &fault{reason: wrongPurpose, cert: cert}
	}
	return nil
}

// tlsKeyUsages are the key usages of which a server's key needs one (RFC 5280
// section 4.2.1.3), with any key exchange.
const tlsKeyUsages = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement

// forServers reports whether the extended key usage, if there is one, includes
// serverAuth. In an authority it limits what the authority issues. The usage "any"
// alone is not enough; RFC 5280 section 4.2.1.12 leaves this open, and OpenSSL does
// the same.
func forServers(cert *x509.Certificate) bool {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
}

// withinPathLength checks the path length that each authority allows. Self-issued
// certificates do not count (RFC 5280 section 6.1.4 (l) and (m)).
func withinPathLength(path []*x509.Certificate) *fault {
	below := 0
	for _, authority := range path[1:] {
		limited := authority.BasicConstraintsValid && (authority.MaxPathLen > 0 || authority.MaxPathLen == 0 && authority.MaxPathLenZero)
		if limited && below > authority.MaxPathLen {
			return &fault{reason: pathTooLong, cert: authority}
		}
		if !selfIssued(authority) {
			below++
		}
	}
	return nil
}

// withinNameConstraints checks all names of all certificates on the path against
// the constraints above them (RFC 5280 section 6.1.4 (g)) with the standard
// library. That does not check names in the subject; matchNames does. What it takes counts
// for the bound on signatures: a hostile chain has many paths.
func (s *search) withinNameConstraints(path []*x509.Certificate) *fault {
	constrained := slices.IndexFunc(path[1:], hasNameConstraints)
	if constrained < 0 {
		return nil
	}
	if !s.spend(againCost(path)) {
		return &fault{reason: tooMuchWork}
	}
	top := len(path) - 1
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   s.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	anchor := *path[top]
	anchor.NotBefore, anchor.NotAfter = s.now, s.now // inForce has checked the dates
	options.Roots.AddCert(&anchor)
	for _, cert := range path[1:top] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := s.leaf.Verify(options); err != nil {
		return &fault{reason: constrainedName, cert: path[1+constrained]}
	}
	return nil
}

// againCost is what the standard library takes from the bound for a path. It verifies the
// signatures again, and tries each certificate above that has the name of the issuer. A long
// list of constraints takes as long as signatures.
func againCost(path []*x509.Certificate) int {
	const octets = 16 << 10 // of a certificate, for each signature
	total := 0
	for i, cert := range path {
		for _, above := range path[i+1:] {
			if bytes.Equal(above.RawSubject, cert.RawIssuer) {
				total += cost(above)
			}
		}
		total += len(cert.Raw) / octets
	}
	return total
}

// hasNameConstraints reports whether a certificate has the extension of RFC 5280
// section 4.2.1.10.
func hasNameConstraints(cert *x509.Certificate) bool {
	for i := range cert.Extensions {
		if cert.Extensions[i].Id.Equal([]int{2, 5, 29, 30}) {
			return true
		}
	}
	return false
}

// allows reports whether the authority's constraints on DNS names permit a name,
// which is in lower case.
func allows(authority *x509.Certificate, name string) bool {
	covers := func(constraint string) bool { return covered(name, strings.ToLower(constraint)) }
	if slices.ContainsFunc(authority.ExcludedDNSDomains, covers) {
		return false
	}
	return len(authority.PermittedDNSDomains) == 0 || slices.ContainsFunc(authority.PermittedDNSDomains, covers)
}

// covered reports whether a name is the constraint or below it (RFC 5280 section
// 4.2.1.10). A leading dot is not in the RFC but is in use; it excludes the name
// itself.
func covered(name, constraint string) bool {
	if constraint == "" || name == constraint {
		return true
	}
	if !strings.HasPrefix(constraint, ".") {
		constraint = "." + constraint
	}
	return strings.HasSuffix(name, constraint)
}
