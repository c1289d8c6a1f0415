package tlsrpt

import (
	"crypto/tls"
	"errors"

	"github.com/mxseal/mxseal/internal/certcode"
)

// byCertificate matches the errors of certificate verification (RFC 8460 section
// 4.3.1). The code never repeats the result type.
func byCertificate(err error) (Failure, bool) {
	var verification *tls.CertificateVerificationError
	switch code := certcode.Of(err); {
	case code == certcode.OtherName:
		return Failure{CertificateHostMismatch, code}, true
	case code == certcode.LeafExpired || code == certcode.IssuerExpired:
		return Failure{CertificateExpired, code}, true
	case code != "":
		return Failure{CertificateNotTrusted, code}, true
	case errors.As(err, &verification):
		return Failure{Type: CertificateNotTrusted}, true
	default:
		return Failure{}, false
	}
}
