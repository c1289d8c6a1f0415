package tlsrpt

// ResultType is one of the eleven registered result types of RFC 8460
// section 4.3. The zero value is no failure.
type ResultType string

// The result types of RFC 8460 sections 4.3.1, 4.3.2.1 and 4.3.2.2.
const (
	STARTTLSNotSupported    ResultType = "starttls-not-supported"
	CertificateHostMismatch ResultType = "certificate-host-mismatch"
	CertificateExpired      ResultType = "certificate-expired"
	CertificateNotTrusted   ResultType = "certificate-not-trusted"
	ValidationFailure       ResultType = "validation-failure"
	TLSAInvalid             ResultType = "tlsa-invalid"
	DNSSECInvalid           ResultType = "dnssec-invalid"
	DANERequired            ResultType = "dane-required"
	STSPolicyFetchError     ResultType = "sts-policy-fetch-error"
	STSPolicyInvalid        ResultType = "sts-policy-invalid"
	STSWebPKIInvalid        ResultType = "sts-webpki-invalid"
)

// PolicyType says which standard a policy came from (RFC 8460 section 4.4).
type PolicyType string

// The policy types of RFC 8460 section 4.4.
const (
	TLSA          PolicyType = "tlsa"
	STS           PolicyType = "sts"
	NoPolicyFound PolicyType = "no-policy-found"
)
