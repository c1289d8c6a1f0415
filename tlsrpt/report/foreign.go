package report

import (
	"slices"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
)

// foreignReasons has parts of the reason codes that other senders use, and the code of
// [tlsrpt.Reasons] for the same cause. The first that fits decides. The parts are in the
// form of plainCode. They are from the texts and constants of OpenSSL, which Postfix, Exim
// and others send, and from those that mox, Microsoft and Momentum send.
var foreignReasons = [...]struct{ part, code string }{
	{"mx-hosts-mismatch", "mx-not-in-policy"},
	{"has-expired", "leaf-expired"},
	{"certificate-expired", "leaf-expired"},
	{"not-yet-valid", "not-yet-valid"},
	{"self-signed-cert-in-chain", "unknown-authority"},
	{"self-signed-certificate-in-certificate-chain", "unknown-authority"},
	{"self-signed", "self-signed"},
	{"unable-to-get-issuer-cert", "unknown-authority"},
	{"local-issuer-certificate", "unknown-authority"},
	{"unable-to-verify", "unknown-authority"},
	{"untrusted", "unknown-authority"},
	{"hostname-mismatch", "name-not-in-certificate"},
	{"subject-does-not-match-host", "name-not-in-certificate"},
	{"path-length", "path-length"},
	{"pathlen", "path-length"},
	{"too-many-intermediates", "path-length"},
	{"chain-too-long", "path-length"},
	{"purpose", "key-usage"},
	{"key-usage", "key-usage"},
	{"permitted-violation", "name-constraints"},
	{"excluded-violation", "name-constraints"},
	{"subtree-violation", "name-constraints"},
	{"not-authorized-for-this-name", "name-constraints"},
	{"name-constraint", "name-constraints"},
	{"unconstrained-name", "name-constraints"},
	{"too-many-constraints", "name-constraints"},
	{"not-authorized-to-sign", "issuer-not-ca"},
	{"invalid-ca", "issuer-not-ca"},
	{"issuer-mismatch", "no-valid-chain"},
	{"signature-failure", "bad-signature"},
	{"critical-extension", "unknown-critical-extension"},
	{"too-weak", "insecure-algorithm"},
	{"too-small", "insecure-algorithm"},
	{"dane-no-match", "tlsa-no-match"},
	{"no-matching-dane-tlsa", "tlsa-no-match"},
	{"connection-closed", "connection-closed"},
	{"timeout-during-handshake", "tls-no-answer"},
	{"record-header", "tls-record-header"},
	{"protocol-version", "tls-alert-protocol-version-not-supported"},
	{"unsupported-protocol", "tls-alert-protocol-version-not-supported"},
	{"wrong-version-number", "tls-record-header"},
	{"handshake-failure", "tls-alert-handshake-failure"},
	{"no-shared-cipher", "tls-alert-handshake-failure"},
	{"unrecognized-name", "tls-alert-unrecognized-name"},
	{"certificate-required", "tls-alert-certificate-required"},
}

// explain says what a failure means and what to do about it, even if the code is that of
// another sender.
func explain(f tlsrpt.Failure, all []tlsrpt.Reason) (meaning, advice string) {
	if r, ok := tlsrpt.FindReason(f); ok {
		return r.Meaning, r.Advice
	}
	code := plainCode(f.ReasonCode)
	for _, foreign := range foreignReasons {
		if strings.Contains(code, foreign.part) {
			// Senders differ in the result types of these causes. The code says more.
			r := all[slices.IndexFunc(all, func(r tlsrpt.Reason) bool { return r.Code == foreign.code })]
			return r.Meaning, r.Advice
		}
	}
	return tlsrpt.Explain(f)
}

// plainCode returns a code in lower case, with a hyphen for everything between its words.
func plainCode(code string) string {
	words := strings.FieldsFunc(strings.ToLower(code[:min(len(code), maxShown)]), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}
