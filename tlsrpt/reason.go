package tlsrpt

import (
	"slices"
	"strings"
)

// Reason explains a failure-reason-code (RFC 8460 section 4.3.3).
type Reason struct {
	// Code is the code as reports have it. If it ends in "*", the entry is about all
	// codes that begin with the rest of it and have no entry of their own.
	Code string
	// Types are the result types that the code goes with. nil means all.
	Types []ResultType
	// Meaning says what happened.
	Meaning string
	// Advice says what the owner of the recipient domain should do.
	Advice string
}

// Reasons returns all reason codes of this module. Every package of it uses the same
// code for the same cause, and no code repeats the result type. The caller owns the
// slice.
func Reasons() []Reason { return slices.Clone(reasons[:]) }

// Explain says what a failure means for the owner of the recipient domain, and what to
// do about it. Each text is one clause without a full stop. It explains the reason code
// if [Reasons] has it for the result type, and the result type otherwise. Both texts are
// those of an unknown result if the type is not registered.
func Explain(f Failure) (meaning, advice string) {
	if r, ok := FindReason(f); ok {
		return r.Meaning, r.Advice
	}
	return explainType(f.Type)
}

// FindReason returns the entry of [Reasons] for the code of a failure. ok is false if there
// is none for its result type.
func FindReason(f Failure) (found Reason, ok bool) {
	for _, r := range reasons {
		if r.Types != nil && !slices.Contains(r.Types, f.Type) {
			continue
		}
		if r.Code == f.ReasonCode {
			return r, true
		}
		beginning, isFamily := strings.CutSuffix(r.Code, "*")
		if isFamily && strings.HasPrefix(f.ReasonCode, beginning) && len(r.Code) > len(found.Code) {
			found, ok = r, true
		}
	}
	return found, ok
}

func explainType(t ResultType) (meaning, advice string) {
	switch t {
	case STARTTLSNotSupported:
		return "the host offered no STARTTLS",
			"turn TLS on there; if it is on, an attacker or a device between the sender and the host removes the offer"
	case CertificateHostMismatch:
		return "the certificate has other names, or the MTA-STS policy does not list the host",
			"add the name in the MX record to the certificate, and to the policy if it is not there"
	case CertificateExpired:
		return "the host's certificate has expired",
			"renew the certificate, and make the server load it"
	case CertificateNotTrusted:
		return "the sender does not trust the host's certificate",
			"make the server send the intermediate certificates too, or get a certificate from a public authority"
	case ValidationFailure:
		return "TLS failed for another reason",
			"see the reason code, and the server's log of that day"
	case TLSAInvalid:
		return "no TLSA record matches the host's certificate",
			"publish the record of the certificate that the host uses; before a change of the certificate, publish the new record first"
	case DNSSECInvalid:
		return "the sender could not validate the DNS records with DNSSEC",
			"check for expired signatures, and for DS records that do not match the zone's keys"
	case DANERequired:
		return "the sender requires DANE and found no TLSA records for the host",
			"publish TLSA records, in a signed zone"
	case STSPolicyFetchError:
		return "the sender could not fetch the MTA-STS policy",
			"check that the web server of the policy host serves the policy, to everyone"
	case STSPolicyInvalid:
		return "the MTA-STS policy has errors",
			"compare its lines in the report with RFC 8461 section 3.2"
	case STSWebPKIInvalid:
		return "the certificate of the policy host is not valid",
			"get a certificate for the name mta-sts and the domain, from a public authority"
	default:
		return "the sender reports a result that RFC 8460 does not have",
			"ask the sender, at the contact address of the report"
	}
}

// The result types that several codes go with.
var (
	ofCertificates = []ResultType{CertificateNotTrusted, STSWebPKIInvalid}
	ofTLSA         = []ResultType{TLSAInvalid}
	ofHandshakes   = []ResultType{ValidationFailure}
	ofDNSSEC       = []ResultType{DNSSECInvalid, STSPolicyFetchError}
	ofFetches      = []ResultType{STSPolicyFetchError}
	ofPolicies     = []ResultType{STSPolicyInvalid}
)

// What several codes have in common.
const (
	atSender    = "nothing, unless many senders report it: the cause is at the sender"
	atResolver  = "nothing, unless many senders report it: the cause is the sender's DNS server"
	checkDNS    = "check that all name servers of the domain answer alike, by UDP and by TCP"
	checkSigner = "sign the zone again, check the signer, and check that all name servers of the zone have the new version"
	wholeChain  = "make the server send its certificate and all intermediate certificates, in the order of issue"
	anotherCert = "get another certificate, from a public authority"
	checkSite   = "check the web server of the policy host, from outside your network and with IPv6 if it has an address"
	fixRecord   = "publish exactly one TXT record at _mta-sts, such as \"v=STSv1; id=20260301\""
)

var reasons = [...]Reason{
	// Certificates, of mail hosts and of policy hosts.
	{
		"leaf-expired", []ResultType{CertificateExpired, STSWebPKIInvalid},
		"the server's certificate has expired",
		"renew the certificate, and make the server load it",
	},
	{
		"issuer-expired", []ResultType{CertificateExpired, STSWebPKIInvalid},
		"a certificate that the server's certificate depends on has expired",
		"make the server send the current certificate of the issuer",
	},
	{
		"name-not-in-certificate", []ResultType{CertificateHostMismatch, STSWebPKIInvalid},
		"the certificate is not for the name of the server",
		"get a certificate for the name by which senders reach the server: the one in the MX record, or that of the policy host; if the host has such a certificate, an attacker answered",
	},
	{
		"mx-not-in-policy", []ResultType{CertificateHostMismatch},
		"the MTA-STS policy does not list the mail host",
		"add the host to the policy and change the id of the TXT record; if the host is not yours, the sender got forged MX records",
	},
	{
		"not-yet-valid", ofCertificates,
		"the certificate is not valid yet",
		"use it only after its first day; if that has passed, the sender's clock is wrong",
	},
	{
		"self-signed", ofCertificates,
		"the certificate is self-signed",
		"get a certificate from a public authority; if the host has one, an attacker answered",
	},
	{
		"unknown-authority", ofCertificates,
		"the sender does not know the issuer of the certificate",
		"make the server send the intermediate certificates too; if it does, get a certificate from a public authority",
	},
	{
		"no-valid-chain", ofCertificates,
		"no chain leads from the server's certificate to one that is trusted",
		wholeChain + "; for a TLSA record of usage 2 also the certificate that the record names",
	},
	{
		"bad-signature", ofCertificates,
		"a certificate is not signed with the key of its issuer",
		wholeChain,
	},
	{
		"too-much-work", ofCertificates,
		"the server sends more certificates, or larger keys, than the sender examines",
		"make the server send the certificates of one chain only",
	},
	{
		"issuer-not-ca", ofCertificates,
		"a certificate that must not issue certificates issued another",
		anotherCert,
	},
	{
		"key-usage", ofCertificates,
		"the certificate is not for TLS servers",
		"get a certificate with the extended key usage for TLS servers",
	},
	{
		"unknown-critical-extension", ofCertificates,
		"the certificate has a critical extension that the sender does not know",
		anotherCert,
	},
	{
		"path-length", ofCertificates,
		"the chain of certificates is longer than one of them allows",
		anotherCert,
	},
	{
		"name-constraints", ofCertificates,
		"an issuer must not issue certificates for this name",
		anotherCert,
	},
	{
		"insecure-algorithm", ofCertificates,
		"a certificate is signed with an insecure algorithm",
		anotherCert,
	},
	{
		"unsupported-algorithm", ofCertificates,
		"a certificate uses an algorithm that the sender does not support",
		"get a certificate with an ECDSA or RSA key, signed with SHA-256",
	},
	{
		"invalid-certificate", ofCertificates,
		"a certificate is not valid",
		anotherCert,
	},
	{
		"no-system-roots", []ResultType{CertificateNotTrusted, STSPolicyFetchError},
		"the sender has no list of trusted authorities",
		atSender,
	},

	// TLSA records.
	{
		"tlsa-no-match", ofTLSA,
		"no TLSA record matches the host's certificate",
		"publish the record of the certificate that the host uses; before a change of the certificate, publish the new record first; without a change, look for an attacker",
	},
	{
		"tlsa-unusable", ofTLSA,
		"no TLSA record is usable",
		"publish a record \"3 1 1\" with the SHA-256 digest of the host's public key",
	},
	{
		"tlsa-weaker-digest", ofTLSA,
		"a TLSA record is not used because there is one with a stronger digest",
		"publish the stronger digest for each certificate, or for none",
	},
	{
		"trust-anchor-not-sent", ofTLSA,
		"the host does not send the issuer's certificate that a TLSA record of usage 2 names",
		wholeChain + ", including the one that the record names; or publish a record \"3 1 1\"",
	},
	{
		"no-certificate", ofTLSA,
		"the host sent no certificate",
		"configure a certificate in the mail server",
	},

	// The negotiation of TLS.
	{
		"starttls-refused", []ResultType{STARTTLSNotSupported},
		"the host offers STARTTLS and then refuses it",
		"see the server's log of that day; often the certificate or its key cannot be read, or a limit was reached",
	},
	{
		"starttls-injection", ofHandshakes,
		"more than the reply to STARTTLS came before the handshake",
		"update the mail server; if it is current, an attacker between the sender and the host tried to inject replies",
	},
	{
		"tls-no-answer", ofHandshakes,
		"the host did not answer when TLS began, and then took the mail without TLS",
		"check for a firewall that drops the first packets of TLS, above all large ones",
	},
	{
		"tls-version", ofHandshakes,
		"the host speaks only old versions of TLS",
		"enable TLS 1.2 and 1.3",
	},
	{
		"tls-record-header", ofHandshakes,
		"the host answered with something that is not TLS",
		"see the server's log of that day, and check for a firewall that rewrites SMTP",
	},
	{
		"tls-alert-protocol-version-not-supported", ofHandshakes,
		"the host does not support the TLS versions of the sender",
		"enable TLS 1.2 and 1.3",
	},
	{
		"tls-alert-handshake-failure", ofHandshakes,
		"the host found no common cipher suite, or no certificate to use",
		"enable the default cipher suites of TLS 1.2 and 1.3, and check that the server can read its certificate",
	},
	{
		"tls-alert-insufficient-security-level", ofHandshakes,
		"the host demands more secure cipher suites than the sender has",
		"enable the default cipher suites of TLS 1.2 and 1.3",
	},
	{
		"tls-alert-unrecognized-name", ofHandshakes,
		"the host has no certificate for its name in the MX record",
		"configure a certificate for that name, or let the server use its default certificate",
	},
	{
		"tls-alert-certificate-required", ofHandshakes,
		"the host demands a certificate of the sender",
		"do not require client certificates on port 25",
	},
	{
		"tls-alert-*", ofHandshakes,
		"the host ended the TLS handshake with this alert",
		"see the server's log of that day",
	},
	{
		"tls-error-*", ofHandshakes,
		"the sender ended the TLS handshake, because the host did not follow the protocol",
		"update the TLS software of the host, and check for a device in between that alters TLS",
	},
	{
		"unreadable-certificate", ofHandshakes,
		"the sender cannot read the host's certificate",
		"get another certificate; some old ones have a negative serial number or malformed extensions",
	},
	{
		"connection-closed", ofHandshakes,
		"the host closed the connection during the handshake",
		"see the server's log of that day; often the certificate or its key cannot be read, or a limit was reached",
	},
	{
		"connection-reset", ofHandshakes,
		"the connection was reset during the handshake",
		"see the server's log of that day, and check for a firewall that resets connections",
	},

	// DNSSEC: the answer contradicts the chain of trust.
	{
		"bogus-signature-missing", ofDNSSEC,
		"a signature is missing in a signed zone",
		"check that all name servers of the zone return RRSIG records; if the zone should not be signed, remove its DS records",
	},
	{
		"bogus-signature-expired", ofDNSSEC,
		"the DNSSEC signatures have expired",
		checkSigner,
	},
	{
		"bogus-signature-not-yet-valid", ofDNSSEC,
		"the DNSSEC signatures are not valid yet",
		"check the clock of the signer, and sign the zone again",
	},
	{
		"bogus-signature-invalid", ofDNSSEC,
		"a DNSSEC signature does not verify",
		checkSigner,
	},
	{
		"bogus-key-missing", ofDNSSEC,
		"no key of the zone matches a signature",
		checkSigner,
	},
	{
		"bogus-ds-mismatch", ofDNSSEC,
		"the DS records at the parent zone match no key that signs the zone",
		"publish the DS record of the present key at the registrar",
	},
	{
		"bogus-trust-anchor-mismatch", ofDNSSEC,
		"the keys of the root do not match the sender's trust anchors",
		atSender,
	},
	{
		"bogus-denial-missing", ofDNSSEC,
		"the absence of records is not proven",
		"check that all name servers of the zone return NSEC or NSEC3 records, and sign the zone again",
	},
	{
		"bogus-alias", ofDNSSEC,
		"a CNAME or DNAME record is contradictory or malformed",
		"check the aliases of the name",
	},

	// DNS: there is no answer.
	{"dns-timeout", ofDNSSEC, "DNS servers did not answer in time", checkDNS},
	{"dns-unreachable", ofDNSSEC, "DNS servers could not be reached", checkDNS},
	{
		"dns-servfail", ofDNSSEC,
		"the lookup failed with SERVFAIL",
		checkDNS + ", also for names and types that do not exist, and that DNSSEC is in order",
	},
	{"dns-refused", ofDNSSEC, "DNS servers refused the question", checkDNS},
	{"dns-server-error", ofDNSSEC, "DNS servers answered with an error", checkDNS},
	{"dns-malformed-reply", ofDNSSEC, "a reply violates the DNS protocol", checkDNS},
	{"dns-alias-loop", ofDNSSEC, "the aliases form a loop, or are too many", "check the CNAME and DNAME records of the name"},
	{"dns-work-limit", ofDNSSEC, "the answer costs more work than the sender spends on it", "use fewer keys, signatures and aliases, and at most 100 NSEC3 iterations; best is none"},
	{"dns-not-found", ofFetches, "the policy host has no address", "publish the address of the name mta-sts and the domain"},
	{"dns-failure", ofDNSSEC, "the lookup failed", checkDNS},
	{"dns-bad-question", ofDNSSEC, "the name cannot be looked up", "check the name of the host in the MX record"},
	{"dns-canceled", ofDNSSEC, "the sender did not wait for the answer", atSender},
	{"dns-no-recursion", ofDNSSEC, "the sender's DNS server does not look up names", atResolver},
	{"dns-server-not-authenticated", ofDNSSEC, "the certificate of the sender's DNS server is not valid", atResolver},
	{"dns-server-not-validating", ofDNSSEC, "the sender's DNS server does not validate", atResolver},
	{"dns-busy", ofDNSSEC, "the sender had no room for the lookup", atSender},
	{"dns-nat64-unknown", ofDNSSEC, "the sender does not know the NAT64 prefix of its network", atSender},

	// The MTA-STS record.
	{"record-missing", ofFetches, "the TXT record of MTA-STS is gone, and the policy is still in force", fixRecord + ", until the policy has expired; to end it, publish the mode none first"},
	{"record-multiple", ofFetches, "there are several TXT records of MTA-STS", fixRecord},
	{"record-version", ofFetches, "the TXT record of MTA-STS does not begin with \"v=STSv1;\"", fixRecord},
	{"record-id", ofFetches, "the id in the TXT record of MTA-STS is missing or malformed", fixRecord + ": the id has 1 to 32 letters and digits"},
	{"record-syntax", ofFetches, "the TXT record of MTA-STS is malformed", fixRecord},

	// The fetch of the policy.
	{"http-no-connection", ofFetches, "there was no connection to the policy host", checkSite},
	{"http-timeout", ofFetches, "the policy host did not answer in time", checkSite},
	{"http-tls-handshake", ofFetches, "the TLS handshake with the policy host failed", "enable TLS 1.2 and 1.3 in its web server, and check its log of that day"},
	{"http-address-refused", ofFetches, "the policy host has an address that no public host has", "publish the public address of the policy host"},
	{"http-redirect", ofFetches, "the policy host redirects to another URL, which senders must not follow", "serve the policy itself at https://mta-sts.DOMAIN/.well-known/mta-sts.txt"},
	{"http-status-*", ofFetches, "the policy host answered with this HTTP status", "serve the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt with status 200, to clients of all kinds"},
	{"http-media-type", ofFetches, "the policy is not served as text/plain", "set the Content-Type of the policy to text/plain"},
	{"http-content-encoding", ofFetches, "the policy is served compressed, which the sender did not ask for", "turn compression off for the policy"},
	{"http-too-large", ofFetches, "the policy is larger than 64 KiB", "shorten the policy, with wildcards in its mx lines"},
	{"http-truncated", ofFetches, "the connection to the policy host ended before the policy did", checkSite},
	{"http-error", ofFetches, "the policy host did not follow the HTTP protocol", checkSite},
	{"http-busy", ofFetches, "the sender had no turn for the fetch", atSender},
	{"http-pending", ofFetches, "the sender did not wait for the policy", checkSite},

	// The text of the policy.
	{"policy-syntax", ofPolicies, "a line of the policy is malformed", "write each line as \"key: value\", in UTF-8, without empty lines in between"},
	{"policy-version", ofPolicies, "the policy lacks the line \"version: STSv1\", or is not a policy", "begin the policy with the line \"version: STSv1\""},
	{"policy-mode", ofPolicies, "the mode of the policy is missing or unknown", "set the mode to enforce, testing or none"},
	{"policy-max-age", ofPolicies, "the max_age of the policy is missing or malformed", "set max_age to a number of seconds, such as 604800"},
	{"policy-mx", ofPolicies, "an mx line of the policy is missing or malformed", "list each mail host in a line of its own, such as \"mx: mx.example.com\" or \"mx: *.example.com\""},

	{
		"further-failures-summed", nil,
		"these failures are too many to be listed one by one",
		"solve the failures that the report lists, and see the next report",
	},
}
