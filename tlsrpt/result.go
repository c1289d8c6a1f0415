package tlsrpt

// ResultType is one of the eleven registered result types of RFC 8460
// section 4.3. The zero value means no failure.
type ResultType string

// The negotiation failures of RFC 8460 section 4.3.1.
const (
	// STARTTLSNotSupported means that the mail host does not offer STARTTLS.
	STARTTLSNotSupported ResultType = "starttls-not-supported"
	// CertificateHostMismatch means that the certificate is for another name, or
	// that no mx pattern matches the host.
	CertificateHostMismatch ResultType = "certificate-host-mismatch"
	// CertificateExpired means that the certificate has expired or is not yet
	// valid.
	CertificateExpired ResultType = "certificate-expired"
	// CertificateNotTrusted means that the certificate does not chain to a trusted
	// authority. A reason code should say more.
	CertificateNotTrusted ResultType = "certificate-not-trusted"
	// ValidationFailure means any other failure. A reason code should say more.
	ValidationFailure ResultType = "validation-failure"
)

// The policy failures of DANE (RFC 8460 section 4.3.2.1).
const (
	// TLSAInvalid means that no TLSA record matches the session.
	TLSAInvalid ResultType = "tlsa-invalid"
	// DNSSECInvalid means that the resolver returned no valid records.
	DNSSECInvalid ResultType = "dnssec-invalid"
	// DANERequired means that the sender requires DANE and the host has no TLSA
	// records authenticated by DNSSEC.
	DANERequired ResultType = "dane-required"
)

// The policy failures of MTA-STS (RFC 8460 section 4.3.2.2).
const (
	// STSPolicyFetchError means that the policy could not be fetched.
	STSPolicyFetchError ResultType = "sts-policy-fetch-error"
	// STSPolicyInvalid means that the fetched policy is not valid.
	STSPolicyInvalid ResultType = "sts-policy-invalid"
	// STSWebPKIInvalid means that the certificate of the policy host is not valid.
	STSWebPKIInvalid ResultType = "sts-webpki-invalid"
)

// AllResultTypes returns the registered result types (RFC 8460 section 6.6), in
// the order of the RFC. The caller owns the slice.
func AllResultTypes() []ResultType {
	return []ResultType{
		STARTTLSNotSupported, CertificateHostMismatch, CertificateExpired,
		CertificateNotTrusted, ValidationFailure,
		TLSAInvalid, DNSSECInvalid, DANERequired,
		STSPolicyFetchError, STSPolicyInvalid, STSWebPKIInvalid,
	}
}

// Valid reports whether t is a registered result type. Received reports may have
// other types. They are never sent.
func (t ResultType) Valid() bool {
	switch t {
	case STARTTLSNotSupported, CertificateHostMismatch, CertificateExpired,
		CertificateNotTrusted, ValidationFailure,
		TLSAInvalid, DNSSECInvalid, DANERequired,
		STSPolicyFetchError, STSPolicyInvalid, STSWebPKIInvalid:
		return true
	default:
		return false
	}
}

// AboutHost reports whether the result is about a mail host. The others are about the
// search for an MTA-STS policy (RFC 8460 section 4.3.2.2), in which no mail host has a
// part, so reports name none. Types that are not registered count as about a host.
func (t ResultType) AboutHost() bool {
	return t != STSPolicyFetchError && t != STSPolicyInvalid && t != STSWebPKIInvalid
}

// PolicyType is the standard that a policy belongs to (RFC 8460 section 4.4). The zero
// value is not one of the types of the RFC; package reporter counts it as [NoPolicyFound].
type PolicyType string

// The policy types of RFC 8460 section 4.4.
const (
	TLSA          PolicyType = "tlsa"            // DANE
	STS           PolicyType = "sts"             // MTA-STS
	NoPolicyFound PolicyType = "no-policy-found" // neither
)
