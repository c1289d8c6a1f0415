package advice

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// What to do depends on the code, and codes that mean success or too little have no
// advice.
func TestOfExtended(t *testing.T) {
	t.Parallel()
	words := map[uint16]string{
		dns.ExtendedErrorCodeUnsupportedDNSKEYAlgorithm:  "update it",
		dns.ExtendedErrorCodeUnsupportedDSDigestType:     "update it",
		dns.ExtendedErrorCodeStaleAnswer:                 "cannot reach the servers",
		dns.ExtendedErrorCodeForgedAnswer:                "blocks the name",
		dns.ExtendedErrorCodeDNSSECIndeterminate:         "trust anchor",
		dns.ExtendedErrorCodeDNSBogus:                    "clock and the trust anchor",
		dns.ExtendedErrorCodeSignatureExpired:            "check the clock",
		dns.ExtendedErrorCodeSignatureNotYetValid:        "check the clock",
		dns.ExtendedErrorCodeDNSKEYMissing:               "update the trust anchor",
		dns.ExtendedErrorCodeRRSIGsMissing:               "strip DNSSEC records",
		dns.ExtendedErrorCodeNoZoneKeyBitSet:             "administrator must fix it",
		dns.ExtendedErrorCodeNSECMissing:                 "strip DNSSEC records",
		dns.ExtendedErrorCodeCachedError:                 "flush its cache",
		dns.ExtendedErrorCodeNotReady:                    "wait until it has started",
		dns.ExtendedErrorCodeBlocked:                     "blocks the name",
		dns.ExtendedErrorCodeCensored:                    "blocks the name",
		dns.ExtendedErrorCodeFiltered:                    "blocks the name",
		dns.ExtendedErrorCodeProhibited:                  "allow the address of this host",
		dns.ExtendedErrorCodeStaleNXDOMAINAnswer:         "cannot reach the servers",
		dns.ExtendedErrorCodeNotAuthoritative:            "turn recursion on",
		dns.ExtendedErrorCodeNotSupported:                "does not support the question",
		dns.ExtendedErrorCodeNoReachableAuthority:        "port 53 are open",
		dns.ExtendedErrorCodeNetworkError:                "port 53 are open",
		dns.ExtendedErrorCodeInvalidData:                 "administrator must fix it",
		dns.ExtendedErrorCodeSignatureExpiredBeforeValid: "sign the zone again",
		dns.ExtendedErrorCodeUnsupportedNSEC3IterValue:   "update it",
		dns.ExtendedErrorCodeOther:                       "",
		dns.ExtendedErrorCodeTooEarly:                    "",
		dns.ExtendedErrorCodeUnableToConformToPolicy:     "",
		dns.ExtendedErrorCodeSynthesized:                 "",
		dns.ExtendedErrorCodeInvalidQueryType:            "",
		dns.ExtendedErrorCodeInvalidQueryType + 1:        "",
		65535: "",
	}
	for code := range dns.ExtendedErrorCodeToString {
		if _, ok := words[code]; !ok {
			t.Errorf("code %d is not in the table", code)
		}
	}
	for code, word := range words {
		todo := OfExtended(code)
		if (todo == "") != (word == "") || !strings.Contains(todo, word) {
			t.Errorf("%d %s: %q does not say %q", code, dns.ExtendedErrorCodeToString[code], todo, word)
		}
		if len(todo) > 220 {
			t.Errorf("%d: %d octets", code, len(todo))
		}
	}
}
