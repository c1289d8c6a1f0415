package dane

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
)

// reason is why a record does not authenticate a server. The further an attempt
// got, the greater its reason.
type reason uint8

const (
	unusable reason = iota
	weakerDigest
	noCertificate
	noMatch
	noTrustAnchor
	notIssuer
	badSignature
	tooMuchWork
	notAuthority
	wrongPurpose
	unknownCritical
	notYetValid
	expired
	pathTooLong
	constrainedName
	wrongName
)

// describe returns the result type of RFC 8460 section 4.3, the reason code of
// this package, and the text of a reason.
func (r reason) describe() (resultType, code, text string) {
	const (
		tlsaInvalid  = "tlsa-invalid"
		notTrusted   = "certificate-not-trusted"
		hostMismatch = "certificate-host-mismatch"
		certExpired  = "certificate-expired"
	)
	switch r {
	case unusable:
		return tlsaInvalid, "tlsa-unusable", "unusable"
	case weakerDigest:
		return tlsaInvalid, "tlsa-weaker-digest", "not used, because there is a stronger digest of the same usage and selector"
	case noCertificate:
		return tlsaInvalid, "no-certificate", "the server sent no certificate"
	case noMatch:
		return tlsaInvalid, "tlsa-no-match", "does not match"
	case noTrustAnchor:
		return tlsaInvalid, "trust-anchor-not-sent", "matches no issuer among the certificates that the server sent"
	case notIssuer:
		return notTrusted, "no-valid-chain", "no chain leads from the server's certificate to the trust anchor"
	case badSignature:
		return notTrusted, "bad-signature", "is not signed with the key of its issuer"
	case tooMuchWork:
		return notTrusted, "too-much-work", "there are too many paths to try, or a key is too large"
	case notAuthority:
		return notTrusted, "issuer-not-ca", "must not issue certificates"
	case wrongPurpose:
		return notTrusted, "key-usage", "is not for TLS servers"
	case unknownCritical:
		return notTrusted, "unknown-critical-extension", "has an unknown critical extension"
	case notYetValid:
		return notTrusted, "not-yet-valid", "is not valid yet"
	case expired:
		return certExpired, "leaf-expired", "has expired"
	case pathTooLong:
		return notTrusted, "path-length", "does not allow a path of this length"
	case constrainedName:
		return notTrusted, "name-constraints", "does not allow the name"
	default:
		return hostMismatch, "name-not-in-certificate", "has none of the names asked for"
	}
}

// fault is the reason of an attempt, and the certificate at fault if there is
// one. detail replaces the text of the reason.
type fault struct {
	reason reason
	cert   *x509.Certificate
	detail string
}

// further returns the fault of the attempt that got further; a may be nil.
func further(a, b *fault) *fault {
	if a == nil || b.reason > a.reason {
		return b
	}
	return a
}

// TLSReport is like that of Error, for one attempt.
func (f *fault) TLSReport() (resultType, reasonCode string) {
	resultType, reasonCode, _ = f.reason.describe()
	if f.reason == expired && f.cert.IsCA {
		reasonCode = "issuer-expired"
	}
	return resultType, reasonCode
}

// Error returns the reason and the certificate.
func (f *fault) Error() string {
	_, _, text := f.reason.describe()
	if f.detail != "" {
		text = f.detail
	}
	switch {
	case f.cert == nil:
		return text
	case f.reason == noMatch || f.reason == notIssuer:
		return text + ": " + describe(f.cert)
	case f.reason == expired:
		return describe(f.cert) + " " + text + " on " + f.cert.NotAfter.UTC().Format(time.DateTime)
	case f.reason == notYetValid:
		return describe(f.cert) + " " + text + ", but from " + f.cert.NotBefore.UTC().Format(time.DateTime)
	case f.reason == wrongName:
		return fmt.Sprintf("%s %s, but %s", describe(f.cert), text, names.Quote(presentedNames(f.cert), 128))
	}
	return describe(f.cert) + " " + text
}

// describe names a certificate. The text is quoted and bounded.
func describe(cert *x509.Certificate) string {
	return "certificate " + names.Quote(names.Distinguished(cert.Subject), 64)
}

// presentedNames returns the first names that the certificate is for.
func presentedNames(cert *x509.Certificate) string {
	presented := cert.DNSNames
	if len(presented) == 0 {
		presented = commonNames(cert)
	}
	return strings.Join(presented[:min(len(presented), 4)], " ")
}
