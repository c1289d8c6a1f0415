// Package wording has what the errors of package policy say about hosts: text, status and
// permanence of each case.
package wording

import (
	"errors"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Wording is what an error says about one case.
type Wording struct {
	Refusal    decision.Refusal // NotRefused for an attempt that failed
	Reason     tlsrpt.ResultType
	ReasonCode string
	Status     string
	Permanent  bool
	Detail     string
}

// Failure returns what reports count; without a type if they count nothing.
func (w Wording) Failure() tlsrpt.Failure {
	return tlsrpt.Failure{Type: w.Reason, ReasonCode: w.ReasonCode}
}

// Step is where an attempt ended, as policy.Step explains.
type Step uint8

const (
	NotConnected Step = iota
	Greeting
	EHLO
	NotOffered
	StartTLSRefused
	Handshake
	RequireTLSNotOffered
	Done
)

// String returns the name of the step, such as "EHLO".
func (s Step) String() string {
	names := [...]string{"not connected", "greeting", "EHLO", "STARTTLS not offered", "STARTTLS refused", "handshake", "REQUIRETLS not offered", "done"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown step"
}

// OfRefusal returns what Host.Refusal says. err is the cause, and policyKnown
// reports whether the MTA-STS policy of the domain could be looked up.
func OfRefusal(refusal decision.Refusal, err error, policyKnown bool) Wording {
	switch refusal {
	case decision.TLSALookupFailed:
		failure := FailedLookup(err)
		return Wording{
			Refusal: decision.TLSALookupFailed, Reason: failure.Type, ReasonCode: failure.ReasonCode, Status: "4.7.5",
			Detail: "the lookup of the host's addresses or TLSA records failed, which does not mean that there are none; the mail waits",
		}
	case decision.PolicyNotAsked:
		return Wording{Refusal: decision.PolicyNotAsked, Status: "4.7.5", Detail: "the MTA-STS policy is not known; the mail waits"}
	case decision.NotInAllowList:
		return Wording{
			Refusal: decision.NotInAllowList, Reason: tlsrpt.CertificateHostMismatch, ReasonCode: mxNotInPolicy, Status: "4.7.5",
			Detail: "the enforced MTA-STS policy does not list the host",
		}
	case decision.DANEMissing:
		return Wording{
			Refusal: decision.DANEMissing, Reason: tlsrpt.DANERequired, Status: "4.7.5",
			Detail: "DANE is required by the operator, and there are no secure MX records with usable TLSA records",
		}
	case decision.RouteUnauthenticated:
		w := Wording{
			Refusal: decision.RouteUnauthenticated, Status: "4.7.5",
			Detail: "the mail requires TLS on its whole way, and neither secure MX records nor an MTA-STS policy name the host",
		}
		// RFC 8689 section 4.2.1 returns the mail to its sender. A domain whose
		// policy could not be looked up may have one that names the host.
		if policyKnown {
			w.Status, w.Permanent = "5.7.10", true
		}
		return w
	case decision.Unreachable:
		return Wording{Refusal: decision.Unreachable, Status: "4.4.4", Detail: "the host has no usable address"}
	case decision.SpecialAddress:
		// Temporary because the records may be forged or a passing error. The RFCs
		// call only a denial permanent.
		return Wording{
			Refusal: decision.SpecialAddress, Status: "4.4.4",
			Detail: "no mail is sent to the host's addresses unless Config.AllowMailHost permits them",
		}
	default:
		return Wording{Status: "4.7.5", Detail: "the host is refused"}
	}
}

const (
	// mxNotInPolicy is the failure-reason-code for a host that an MTA-STS policy
	// does not list.
	mxNotInPolicy = "mx-not-in-policy"
	// startTLSRefused is the failure-reason-code for a server that offers
	// STARTTLS and then refuses it.
	startTLSRefused = "starttls-refused"
)

// Wording returns what the error says about an attempt that ended at the step. inTLS
// reports whether a TLS session was established before.
func (s Step) Wording(err error, inTLS bool) Wording {
	broken := Wording{Status: "4.4.2"}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		broken.Status = "4.3.2"
	}
	switch s {
	case Greeting:
		broken.Detail = "the server does not greet"
		return broken
	case EHLO:
		broken.Detail = "the server does not answer EHLO"
		if inTLS {
			broken.Detail = "the server does not answer EHLO after the handshake"
		}
		return broken
	case NotOffered:
		return Wording{Reason: tlsrpt.STARTTLSNotSupported, Status: "4.7.4", Detail: "TLS is required, and the server does not offer STARTTLS"}
	case StartTLSRefused:
		if reply != nil && reply.Code == 421 {
			broken.Detail = "the server closes the connection instead of starting TLS"
			return broken
		}
		return Wording{
			Reason: tlsrpt.STARTTLSNotSupported, ReasonCode: startTLSRefused, Status: "4.7.4",
			Detail: "TLS is required, and the server refuses STARTTLS",
		}
	case Handshake:
		failure := tlsrpt.Classify(err)
		if failure.Type == "" {
			return Wording{
				Status: "4.4.2",
				Detail: "the TLS handshake got no answer; the path may drop large packets, which a ClientHello without post-quantum key exchange avoids",
			}
		}
		return Wording{Reason: failure.Type, ReasonCode: failure.ReasonCode, Status: "4.7.5", Detail: "the TLS handshake failed" + unusable(err)}
	case RequireTLSNotOffered:
		return Wording{Status: "5.7.30", Permanent: true, Detail: "the server does not support REQUIRETLS"}
	case Done:
		return Wording{Status: "4.7.4", Detail: "TLS is required, and the session is in cleartext"}
	default:
		return Wording{Status: "4.4.1", Detail: "no connection to the host"}
	}
}

// unusable returns what helps with a certificate that Go cannot use, whatever the plan
// demands: only crypto/x509 finds the key in it. crypto/tls has no types for these errors.
func unusable(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "negative serial number"):
		return " because Go cannot parse the certificate; set GODEBUG=x509negativeserial=1 to permit its negative serial number"
	case strings.Contains(text, "failed to parse certificate from server"):
		return " because Go cannot parse the certificate; its owner has to replace it"
	case strings.Contains(text, "unsupported type of public key"), strings.Contains(text, "containing RSA key larger than"):
		return " because Go does not support the key of the certificate; its owner has to replace it"
	}
	return ""
}

// NoConnection is for an address that could not be connected to.
func NoConnection(addr netip.Addr) Wording {
	return Wording{Status: "4.4.1", Detail: "no connection to " + addr.String()}
}

// OldTLS is for a session of an old version of TLS.
func OldTLS(version string) Wording {
	return Wording{Reason: tlsrpt.ValidationFailure, ReasonCode: "tls-version", Status: "4.7.5", Detail: "a later TLS version is required, and the server speaks " + version}
}

// NotVerified is for a session that does not prove what it must.
func NotVerified(detail string, err error) Wording {
	failure := tlsrpt.Classify(err)
	return Wording{Reason: failure.Type, ReasonCode: failure.ReasonCode, Status: "4.7.5", Detail: detail}
}

// NoAddress is for every host of a domain that has no host with an address (RFC
// 5321 section 5.1).
func NoAddress() Wording {
	return Wording{Refusal: decision.Unreachable, Status: "5.4.4", Permanent: true, Detail: "no mail host of the domain has an address"}
}

// BadLiteral is for a recipient's address literal that is not dialed. Another
// attempt would be for the same address.
func BadLiteral() Wording {
	return Wording{
		Refusal: decision.SpecialAddress, Status: "5.1.2", Permanent: true,
		Detail: "no mail is sent to this address unless Config.AllowMailHost permits it",
	}
}

// FailedLookup returns what reports count of a lookup that failed: one that is bogus, or
// that the servers of the domain fail. What may be the fault of the sender's own resolver
// is not counted.
func FailedLookup(err error) tlsrpt.Failure {
	if failure := tlsrpt.Classify(err); failure.Type == tlsrpt.DNSSECInvalid {
		return failure
	}
	return tlsrpt.Failure{}
}
