package dane

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MismatchError says that no record authenticates the server. It has all that
// was tried. Temporary is true: records and certificates change, so mail waits
// and is not returned.
type MismatchError struct {
	// Attempts has one for each record given, in the same order.
	Attempts []Attempt
}

// Attempt is how one record failed to authenticate a server.
type Attempt struct {
	Record Record
	// Err says why, and of which certificate if of one.
	Err error
}

// maxAttemptsShown bounds the text of a MismatchError. The records come from
// the network.
const maxAttemptsShown = 4

// Error tells what was tried. Its length is bounded, and what comes from a
// certificate is quoted.
func (e *MismatchError) Error() string {
	if len(e.Attempts) == 0 {
		return "dane: there is no TLSA record to authenticate the server by"
	}
	var b strings.Builder
	b.WriteString("dane: no TLSA record authenticates the server: ")
	for i, attempt := range e.Attempts {
		if i == maxAttemptsShown {
			fmt.Fprintf(&b, "; and %d more", len(e.Attempts)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %v", abbreviated(attempt.Record), attempt.Err)
	}
	return b.String()
}

// abbreviated is enough of a record to find it by.
func abbreviated(r Record) string {
	const shown = 8
	if len(r.Data) <= shown {
		return r.String()
	}
	return fmt.Sprintf("%d %d %d %s...", r.Usage, r.Selector, r.MatchingType, hex.EncodeToString(r.Data[:shown]))
}

// Unwrap returns the errors of the attempts.
func (e *MismatchError) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i := range e.Attempts {
		errs[i] = e.Attempts[i].Err
	}
	return errs
}

// Temporary returns true.
func (e *MismatchError) Temporary() bool { return true }

// TLSReport returns the result type of RFC 8460 section 4.3 and a short reason
// code, both from the attempt that came furthest: a chain that leads to the
// right trust anchor and has expired says more than another record that has
// nothing to do with it.
func (e *MismatchError) TLSReport() (resultType, reasonCode string) {
	furthest := &fault{reason: noMatch}
	for i := range e.Attempts {
		var why *fault
		if errors.As(e.Attempts[i].Err, &why) {
			furthest = further(furthest, why)
		}
	}
	return furthest.TLSReport()
}

// reason is why a record does not authenticate a server. The later ones are
// those of attempts that came further.
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

// describe returns the result type of RFC 8460 section 4.3, a reason code of
// our own and words for a reason.
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
		return tlsaInvalid, "tlsa-weaker-digest", "not used, there is a stronger digest of the same usage and selector"
	case noCertificate:
		return tlsaInvalid, "no-certificate", "the server sent no certificate"
	case noMatch:
		return tlsaInvalid, "tlsa-no-match", "does not match"
	case noTrustAnchor:
		return tlsaInvalid, "trust-anchor-not-sent", "matches no issuer among the certificates that the server sent"
	case notIssuer:
		return notTrusted, "no-path-to-trust-anchor", "no chain leads from the server's certificate to the trust anchor"
	case badSignature:
		return notTrusted, "bad-signature", "is not signed with the key of its issuer"
	case tooMuchWork:
		return notTrusted, "too-much-work", "there are too many paths to try them all, or a key is too large"
	case notAuthority:
		return notTrusted, "issuer-not-ca", "must not issue certificates"
	case wrongPurpose:
		return notTrusted, "key-usage", "is not for TLS servers"
	case unknownCritical:
		return notTrusted, "unknown-critical-extension", "has an unknown critical extension"
	case notYetValid:
		return notTrusted, "certificate-not-yet-valid", "is not valid yet"
	case expired:
		return certExpired, "certificate-expired", "has expired"
	case pathTooLong:
		return notTrusted, "path-length", "does not allow a path of this length"
	case constrainedName:
		return notTrusted, "name-constraints", "does not allow the name"
	default:
		return hostMismatch, "certificate-host-mismatch", "has none of the names asked for"
	}
}

// fault is why, and which certificate is at fault, if it is one. detail
// replaces the words for the reason.
type fault struct {
	reason reason
	cert   *x509.Certificate
	detail string
}

// further returns the fault of the attempt that came further.
func further(a, b *fault) *fault {
	if b.reason > a.reason {
		return b
	}
	return a
}

// TLSReport is like that of MismatchError.
func (f *fault) TLSReport() (resultType, reasonCode string) {
	resultType, reasonCode, _ = f.reason.describe()
	return resultType, reasonCode
}

// Error tells the reason and the certificate.
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
		return fmt.Sprintf("%s %s, but %.128q", describe(f.cert), text, presentedNames(f.cert))
	}
	return describe(f.cert) + " " + text
}

// describe names a certificate in a bounded and quoted form.
func describe(cert *x509.Certificate) string {
	return fmt.Sprintf("certificate %.64q", cert.Subject.String())
}

// presentedNames lists the first names that the certificate is for.
func presentedNames(cert *x509.Certificate) string {
	names := cert.DNSNames
	if len(names) == 0 {
		names = commonNames(cert)
	}
	return strings.Join(names[:min(len(names), 4)], " ")
}
