package tlsrpt

// ResultType is one of the eleven registered result types of RFC 8460
// section 4.3. The zero value is no failure.
type ResultType string

// The negotiation failures of RFC 8460 section 4.3.1.
const (
	// STARTTLSNotSupported: the mail host does not offer STARTTLS.
	STARTTLSNotSupported ResultType = "starttls-not-supported"
	// CertificateHostMismatch: the certificate is for another name, or no mx
	// pattern allows the host.
	CertificateHostMismatch ResultType = "certificate-host-mismatch"
	// CertificateExpired: the certificate is out of its time.
	CertificateExpired ResultType = "certificate-expired"
	// CertificateNotTrusted: no chain leads from the certificate to an
	// authority that may vouch for it. A reason code should say more.
	CertificateNotTrusted ResultType = "certificate-not-trusted"
	// ValidationFailure: none of the others fits. A reason code should say more.
	ValidationFailure ResultType = "validation-failure"
)

// The policy failures of DANE (RFC 8460 section 4.3.2.1).
const (
	// TLSAInvalid: none of the TLSA records is valid for the session.
	TLSAInvalid ResultType = "tlsa-invalid"
	// DNSSECInvalid: the resolver returned no valid records.
	DNSSECInvalid ResultType = "dnssec-invalid"
	// DANERequired: the sender insists on DANE and the host has no TLSA records
	// that DNSSEC authenticates.
	DANERequired ResultType = "dane-required"
)

// The policy failures of MTA-STS (RFC 8460 section 4.3.2.2).
const (
	// STSPolicyFetchError: the policy could not be had.
	STSPolicyFetchError ResultType = "sts-policy-fetch-error"
	// STSPolicyInvalid: what was had is no valid policy.
	STSPolicyInvalid ResultType = "sts-policy-invalid"
	// STSWebPKIInvalid: the certificate of the policy host is not valid.
	STSWebPKIInvalid ResultType = "sts-webpki-invalid"
)

// AllResultTypes returns the registered result types (RFC 8460 section 6.6), in
// the order of the RFC. The slice is the caller's.
func AllResultTypes() []ResultType {
	return []ResultType{
		STARTTLSNotSupported, CertificateHostMismatch, CertificateExpired,
		CertificateNotTrusted, ValidationFailure,
		TLSAInvalid, DNSSECInvalid, DANERequired,
		STSPolicyFetchError, STSPolicyInvalid, STSWebPKIInvalid,
	}
}

// Valid reports whether t is a registered result type. Others may be read in
// the reports of strangers, but are never sent.
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

// PolicyType says which standard a policy came from (RFC 8460 section 4.4).
type PolicyType string

// The policy types of RFC 8460 section 4.4.
const (
	TLSA          PolicyType = "tlsa"
	STS           PolicyType = "sts"
	NoPolicyFound PolicyType = "no-policy-found"
)
