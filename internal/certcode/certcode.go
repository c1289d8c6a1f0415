// Package certcode has the failure-reason-codes of certificates that are not valid.
// Mail hosts and policy hosts have the same. Package tlsrpt says what they mean.
package certcode

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
)

// The codes for which RFC 8460 section 4.3.1 has a result type of their own.
const (
	LeafExpired   = "leaf-expired"
	IssuerExpired = "issuer-expired"
	OtherName     = "name-not-in-certificate"
)

// Of returns the reason code for an error of certificate verification, and "" for any
// other error.
func Of(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var constraint x509.ConstraintViolationError
	var algorithm x509.InsecureAlgorithmError
	var extension x509.UnhandledCriticalExtension
	var roots x509.SystemRootsError
	switch {
	case errors.As(err, &name):
		return OtherName
	case errors.As(err, &invalid):
		return ofInvalid(invalid)
	case errors.As(err, &unknown):
		return ofUnknown(unknown)
	case errors.As(err, &constraint):
		return "issuer-not-ca"
	case errors.As(err, &algorithm):
		return "insecure-algorithm"
	case errors.Is(err, x509.ErrUnsupportedAlgorithm):
		return "unsupported-algorithm"
	case errors.As(err, &extension):
		return "unknown-critical-extension"
	case errors.As(err, &roots):
		return "no-system-roots"
	default:
		return ""
	}
}

func ofInvalid(err x509.CertificateInvalidError) string {
	switch err.Reason {
	case x509.Expired:
		// The Reason is the same for both ends of the validity period. Only the
		// text, which repeats the time that was compared, distinguishes them.
		switch {
		case strings.Contains(err.Detail, " is before "):
			return "not-yet-valid"
		case err.Cert != nil && err.Cert.IsCA:
			return IssuerExpired
		}
		return LeafExpired
	case x509.NotAuthorizedToSign:
		return "issuer-not-ca"
	case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.TooManyConstraints:
		return "name-constraints"
	case x509.TooManyIntermediates:
		return "path-length"
	case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
		return "key-usage"
	case x509.NameMismatch, x509.NoValidChains:
		return "no-valid-chain"
	default:
		return "invalid-certificate"
	}
}

func ofUnknown(err x509.UnknownAuthorityError) string {
	if err.Cert != nil && bytes.Equal(err.Cert.RawSubject, err.Cert.RawIssuer) {
		return "self-signed"
	}
	return "unknown-authority"
}

// Bounded returns the error of a verification without what would make its text long. That of
// an unknown authority may name a certificate that the peer sent by its serial number, in
// decimal. One of 240 KiB takes a tenth of a second each time. RFC 5280 section 4.1.2.2
// permits 20 octets.
func Bounded(err error, chain []*x509.Certificate) error {
	const maxSerial = 8 * 20 // bits
	isLong := func(cert *x509.Certificate) bool { return cert.SerialNumber.BitLen() > maxSerial }
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && slices.ContainsFunc(chain, isLong) {
		return x509.UnknownAuthorityError{Cert: unknown.Cert}
	}
	return err
}
