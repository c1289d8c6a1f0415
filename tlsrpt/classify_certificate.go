package tlsrpt

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// byCertificate matches the errors of certificate verification (RFC 8460 section
// 4.3.1).
func byCertificate(err error) (Failure, bool) {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return Failure{CertificateHostMismatch, "name-mismatch"}, true
	case errors.As(err, &invalid):
		return invalidCertificate(invalid), true
	case errors.As(err, &unknown):
		return Failure{CertificateNotTrusted, unknownAuthority(unknown)}, true
	}
	if reason := rareReason(err); reason != "" {
		return Failure{CertificateNotTrusted, reason}, true
	}
	if errors.As(err, &verification) {
		return Failure{Type: CertificateNotTrusted}, true
	}
	return Failure{}, false
}

// invalidCertificate distinguishes a certificate outside its validity period from
// one that is not trusted for other reasons.
func invalidCertificate(err x509.CertificateInvalidError) Failure {
	switch err.Reason {
	case x509.Expired:
		// The Reason is the same for both ends of the validity period. Only the
		// text, which repeats the time that was compared, distinguishes them.
		if strings.Contains(err.Detail, " is before ") {
			return Failure{CertificateExpired, "not-yet-valid"}
		}
		return Failure{CertificateExpired, "expired"}
	case x509.NotAuthorizedToSign:
		return Failure{CertificateNotTrusted, "issuer-not-a-ca"}
	case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.TooManyConstraints:
		return Failure{CertificateNotTrusted, "name-constraints"}
	case x509.TooManyIntermediates:
		return Failure{CertificateNotTrusted, "path-length"}
	case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
		return Failure{CertificateNotTrusted, "key-usage"}
	case x509.NameMismatch:
		return Failure{CertificateNotTrusted, "issuer-name-mismatch"}
	case x509.NoValidChains:
		return Failure{CertificateNotTrusted, "no-valid-chain"}
	default:
		return Failure{CertificateNotTrusted, "invalid-certificate"}
	}
}

func unknownAuthority(err x509.UnknownAuthorityError) string {
	if err.Cert != nil && bytes.Equal(err.Cert.RawSubject, err.Cert.RawIssuer) {
		return "self-signed"
	}
	return "unknown-authority"
}

// rareReason returns the reason code for the other errors of crypto/x509, or ""
// for any other error.
func rareReason(err error) string {
	var constraint x509.ConstraintViolationError
	var algorithm x509.InsecureAlgorithmError
	var extension x509.UnhandledCriticalExtension
	var roots x509.SystemRootsError
	switch {
	case errors.As(err, &constraint):
		return "constraint-violation"
	case errors.As(err, &algorithm):
		return "insecure-algorithm"
	case errors.Is(err, x509.ErrUnsupportedAlgorithm):
		return "unsupported-algorithm"
	case errors.As(err, &extension):
		return "unhandled-critical-extension"
	case errors.As(err, &roots):
		return "no-system-roots"
	default:
		return ""
	}
}
