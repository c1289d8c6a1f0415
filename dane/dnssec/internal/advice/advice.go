// Package advice says what an administrator should do about a failed lookup.
package advice

import "github.com/miekg/dns"

// OfExtended returns what to do about a failure that a server explains by the code of an
// Extended DNS Error (RFC 8914), or "" if the code does not say enough. The server may be
// wrong or lie, so this is advice only.
func OfExtended(code uint16) string {
	switch code {
	case dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm, dns.ExtendedErrorCodeUnsupportedDSDigestType, dns.ExtendedErrorCodeUnsupportedNSEC3IterValue:
		return "the DNS server does not support how the domain is signed: update it"
	case dns.ExtendedErrorCodeForgedAnswer, dns.ExtendedErrorCodeBlocked, dns.ExtendedErrorCodeCensored, dns.ExtendedErrorCodeFiltered:
		return "the DNS server blocks the name: take it off the list in the DNS server, or use one that does not filter"
	case dns.ExtendedErrorCodeDNSSECIndeterminate:
		return "the DNS server found no chain of trust: check that it has the trust anchor of the root, and nothing else"
	case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeNoZoneKeyBitSet, dns.ExtendedErrorCodeInvalidData:
		return "if this happens for every signed domain, check the clock and the trust anchor of the DNS server; " +
			"if for one domain only, its administrator must fix it"
	case dns.ExtendedErrorCodeSignatureExpired, dns.ExtendedErrorCodeSignatureNotYetValid, dns.ExtendedErrorCodeSignatureExpiredBeforeValid:
		return "check the clock of the DNS server; if it is right, the domain's administrator must sign the zone again"
	case dns.ExtendedErrorCodeDNSKEYMissing:
		return "if this happens for every signed domain, update the trust anchor of the DNS server; " +
			"if for one domain only, its administrator must correct its DS records"
	case dns.ExtendedErrorCodeRRSIGsMissing, dns.ExtendedErrorCodeNSECMissing:
		return "if this happens for every signed domain, the servers that the DNS server asks strip DNSSEC records: " +
			"let it forward to others, or to none; if for one domain only, its administrator must fix it"
	case dns.ExtendedErrorCodeStaleAnswer, dns.ExtendedErrorCodeStaleNXDOMAINAnswer, dns.ExtendedErrorCodeNoReachableAuthority, dns.ExtendedErrorCodeNetworkError:
		return "the DNS server cannot reach the servers of the domain: check that UDP and TCP port 53 are open for it, " +
			"and that it does not use IPv6 if this host has none"
	case dns.ExtendedErrorCodeCachedError:
		return "the DNS server remembers an earlier failure: see its log, and flush its cache after the cause is gone"
	case dns.ExtendedErrorCodeNotReady:
		return "the DNS server is not ready: wait until it has started"
	case dns.ExtendedErrorCodeProhibited:
		return "the DNS server does not serve this host: allow the address of this host in the DNS server " +
			"(access-control of unbound, allow-recursion of BIND, allow-from of PowerDNS)"
	case dns.ExtendedErrorCodeNotAuthoritative:
		return "the DNS server answers for its own zones only: turn recursion on, or use a recursive server"
	case dns.ExtendedErrorCodeNotSupported:
		return "the DNS server does not support the question: use another recursive server"
	default:
		return ""
	}
}

// BogusReason returns the reason, in the form of TLS-RPT, for which a validating server
// finds the data bogus, by the code of its Extended DNS Error, or "" if the code does not
// say that it does.
func BogusReason(code uint16) string {
	switch code {
	case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeNoZoneKeyBitSet:
		return "bogus-signature-invalid"
	case dns.ExtendedErrorCodeSignatureExpired, dns.ExtendedErrorCodeSignatureExpiredBeforeValid:
		return "bogus-signature-expired"
	case dns.ExtendedErrorCodeSignatureNotYetValid:
		return "bogus-signature-not-yet-valid"
	case dns.ExtendedErrorCodeDNSKEYMissing:
		return "bogus-key-missing"
	case dns.ExtendedErrorCodeRRSIGsMissing:
		return "bogus-signature-missing"
	case dns.ExtendedErrorCodeNSECMissing:
		return "bogus-denial-missing"
	default:
		return ""
	}
}

// OfReason returns what to do about a failed lookup, by its reason in the form of TLS-RPT, or
// "".
func OfReason(code string) string {
	switch code {
	case "timeout", "unreachable":
		return "check that the DNS server is up and that UDP and TCP port 53 to it are open"
	case "servfail", "refused", "server-error", "no-recursion":
		return "see the log of the DNS server, or use another recursive server"
	case "malformed-reply":
		return "the DNS server or a device in between is broken: use another recursive server"
	case "bogus-signature-missing", "bogus-denial-missing":
		return "if this happens for every signed domain, the DNS server strips DNSSEC records: " +
			"use one that returns them; if for one domain only, its administrator must fix it"
	case "bogus-signature-expired", "bogus-signature-not-yet-valid":
		return "check the clock of this host; if it is right, the domain's administrator must sign the zone again"
	case "bogus-signature-invalid", "bogus-key-missing", "bogus-ds-mismatch", "bogus-alias", "alias-loop":
		return "the domain's DNSSEC is broken or the answer is forged; its administrator must fix it"
	case "server-not-authenticated":
		return "check the name after # in the configuration of the server, and whether someone impersonates the server"
	case "server-not-validating":
		return "enable validation in the DNS server, with the trust anchor of the root, or use a Validator, which validates itself"
	case "bogus-trust-anchor-mismatch":
		return "update the trust anchors; if they are current, the DNS server or someone on the network forges answers"
	case "busy":
		return "look up fewer names at once, or raise Bounds and the limit of open files (ulimit -n) of this program"
	case "nat64-unknown":
		return "set NAT64 to the prefix of the network, or do not discover it"
	case "work-limit":
		return "the answer costs more work than Limits allows, which may be an attack"
	default:
		return ""
	}
}
