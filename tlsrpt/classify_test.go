package tlsrpt_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

// reported is an error of another package with a TLSReport method.
type reported struct {
	resultType, reasonCode string
	err                    error
}

func (r *reported) Error() string               { return "reported" }
func (r *reported) Unwrap() error               { return r.err }
func (r *reported) TLSReport() (string, string) { return r.resultType, r.reasonCode }
func invalid(reason x509.InvalidReason) error   { return x509.CertificateInvalidError{Reason: reason} }
func verification(err error) error              { return &tls.CertificateVerificationError{Err: err} }
func dated(detail string) error {
	return x509.CertificateInvalidError{Reason: x509.Expired, Detail: detail}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	selfSigned := &x509.Certificate{RawSubject: []byte("a"), RawIssuer: []byte("a")}
	issued := &x509.Certificate{RawSubject: []byte("a"), RawIssuer: []byte("b")}
	tests := []struct {
		clause string
		err    error
		want   tlsrpt.ResultType
		reason string
	}{
		{"nothing", nil, "", ""},
		{"RPT-53", tlsrpt.ErrNoSTARTTLS, tlsrpt.STARTTLSNotSupported, ""},
		{"RPT-53 wrapped", fmt.Errorf("mx: %w", tlsrpt.ErrNoSTARTTLS), tlsrpt.STARTTLSNotSupported, ""},

		{"RPT-54", x509.HostnameError{Certificate: issued, Host: "mx.example"}, tlsrpt.CertificateHostMismatch, "name-not-in-certificate"},
		{"RPT-54 in a handshake", verification(x509.HostnameError{Certificate: issued, Host: "mx.example"}), tlsrpt.CertificateHostMismatch, "name-not-in-certificate"},
		{"RPT-54 no mx pattern matches", &reported{"certificate-host-mismatch", "mx-not-in-policy", nil}, tlsrpt.CertificateHostMismatch, "mx-not-in-policy"},

		{"RPT-55", dated("current time 2026-01-02 is after 2026-01-01"), tlsrpt.CertificateExpired, "leaf-expired"},
		{"RPT-56 from the future", verification(dated("current time 2026-01-01 is before 2026-01-02")), tlsrpt.CertificateNotTrusted, "not-yet-valid"},

		{"RPT-55 an issuer", x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{IsCA: true}}, tlsrpt.CertificateExpired, "issuer-expired"},

		{"RPT-56 unknown authority", verification(x509.UnknownAuthorityError{Cert: issued}), tlsrpt.CertificateNotTrusted, "unknown-authority"},
		{"RPT-56 unknown authority, no certificate", x509.UnknownAuthorityError{}, tlsrpt.CertificateNotTrusted, "unknown-authority"},
		{"RPT-56 self-signed", x509.UnknownAuthorityError{Cert: selfSigned}, tlsrpt.CertificateNotTrusted, "self-signed"},
		{"RPT-56 name constraints", invalid(x509.CANotAuthorizedForThisName), tlsrpt.CertificateNotTrusted, "name-constraints"},
		{"RPT-56 not a CA", invalid(x509.NotAuthorizedToSign), tlsrpt.CertificateNotTrusted, "issuer-not-ca"},
		{"RPT-56 path length", invalid(x509.TooManyIntermediates), tlsrpt.CertificateNotTrusted, "path-length"},
		{"RPT-56 key usage", invalid(x509.IncompatibleUsage), tlsrpt.CertificateNotTrusted, "key-usage"},
		{"RPT-56 issuer name", invalid(x509.NameMismatch), tlsrpt.CertificateNotTrusted, "no-valid-chain"},
		{"RPT-56 no chain", invalid(x509.NoValidChains), tlsrpt.CertificateNotTrusted, "no-valid-chain"},
		{"RPT-56 anything else", invalid(x509.InvalidReason(99)), tlsrpt.CertificateNotTrusted, "invalid-certificate"},
		{"RPT-56 constraint", x509.ConstraintViolationError{}, tlsrpt.CertificateNotTrusted, "issuer-not-ca"},
		{"RPT-56 algorithm", x509.InsecureAlgorithmError(x509.SHA1WithRSA), tlsrpt.CertificateNotTrusted, "insecure-algorithm"},
		{"RPT-56 unsupported", x509.ErrUnsupportedAlgorithm, tlsrpt.CertificateNotTrusted, "unsupported-algorithm"},
		{"RPT-56 extension", x509.UnhandledCriticalExtension{}, tlsrpt.CertificateNotTrusted, "unknown-critical-extension"},
		{"RPT-56 roots", x509.SystemRootsError{}, tlsrpt.CertificateNotTrusted, "no-system-roots"},
		{"RPT-56 unknown reason", verification(errors.New("odd")), tlsrpt.CertificateNotTrusted, ""},

		{"RPT-57 alert", &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, tlsrpt.ValidationFailure, "tls-alert-handshake-failure"},
		{"RPT-57 alert alone", tls.AlertError(70), tlsrpt.ValidationFailure, "tls-alert-protocol-version-not-supported"},
		{"RPT-57 no TLS", tls.RecordHeaderError{Msg: "x"}, tlsrpt.ValidationFailure, "tls-record-header"},
		{"RPT-57 crypto/tls", fmt.Errorf("mx: %w", errors.New("tls: no ciphersuite")), tlsrpt.ValidationFailure, "tls-error-no-ciphersuite"},
		{"RPT-53 refused STARTTLS", &textproto.Error{Code: 454, Msg: "no"}, tlsrpt.STARTTLSNotSupported, "starttls-refused"},
		{"RPT-57 old TLS", errors.New("tls: server selected unsupported protocol version 301"), tlsrpt.ValidationFailure, "tls-version"},
		{"RPT-57 unreadable", errors.New("tls: failed to parse certificate from server: x509: negative serial number"), tlsrpt.ValidationFailure, "unreadable-certificate"},
		{"RPT-57 closed", fmt.Errorf("mx: %w", io.EOF), tlsrpt.ValidationFailure, "connection-closed"},
		{"RPT-57 reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, tlsrpt.ValidationFailure, "connection-reset"},
		{"RPT-57 unknown", errors.New("odd"), tlsrpt.ValidationFailure, ""},

		{"RPT-64 registered, tlsa-invalid", &reported{"tlsa-invalid", "no-match", nil}, tlsrpt.TLSAInvalid, "no-match"},
		{"RPT-64 registered, dnssec-invalid", fmt.Errorf("mx: %w", &reported{"dnssec-invalid", "bogus-signature-expired", nil}), tlsrpt.DNSSECInvalid, "bogus-signature-expired"},
		{"RPT-64 registered, dane-required", &reported{"dane-required", "", nil}, tlsrpt.DANERequired, ""},
		{"RPT-64 registered, sts-policy-fetch-error", &reported{"sts-policy-fetch-error", "http-status-404", nil}, tlsrpt.STSPolicyFetchError, "http-status-404"},
		{"RPT-64 registered, sts-policy-invalid", &reported{"sts-policy-invalid", "policy-mode", nil}, tlsrpt.STSPolicyInvalid, "policy-mode"},
		{"RPT-64 registered, sts-webpki-invalid", &reported{"sts-webpki-invalid", "leaf-expired", nil}, tlsrpt.STSWebPKIInvalid, "leaf-expired"},
		{"RPT-64 registered, by a verifier", verification(&reported{"tlsa-invalid", "no-match", nil}), tlsrpt.TLSAInvalid, "no-match"},

		{"RPT-64 not registered", &reported{"weather", "rain", nil}, tlsrpt.ValidationFailure, ""},
		{"RPT-64 not registered, cause is known", &reported{"weather", "rain", x509.UnknownAuthorityError{}}, tlsrpt.CertificateNotTrusted, "unknown-authority"},
		{"RPT-64 not registered, inner is", &reported{"", "", &reported{"dane-required", "x", nil}}, tlsrpt.DANERequired, "x"},

		{"RPT-65 timeout", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "", ""},
		{"RPT-65 context", context.DeadlineExceeded, "", ""},
		{"RPT-65 cancelled", context.Canceled, "", ""},
		{"RPT-65 no connection", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "", ""},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			t.Parallel()
			want := tlsrpt.Failure{Type: test.want, ReasonCode: test.reason}
			if got := tlsrpt.Classify(test.err); got != want {
				t.Errorf("Classify(%v) = %+v, want %+v", test.err, got, want)
			}
		})
	}
}

// A reason code is short and printable whatever a peer wrote (RFC 8460 section
// 4.3.3).
func TestClassifyReasonCodeIsShortASCII(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"a\r\nb\x00c\x7f":         "a??b?c?",
		"grün":                    "gr?n",
		"\xff\xfe":                "??",
		"  x  ":                   "x",
		strings.Repeat("x", 1000): strings.Repeat("x", 64),
	} {
		failure := tlsrpt.Classify(&reported{"validation-failure", code, nil})
		if failure.ReasonCode != want {
			t.Errorf("%q became %q, want %q", code, failure.ReasonCode, want)
		}
	}
}

// Errors of real handshakes with crypto/tls are classified correctly.
func TestClassifyRealHandshakes(t *testing.T) {
	t.Parallel()
	readHello := func(c net.Conn) { c.Read(make([]byte, 1<<14)) }
	tests := map[string]func(net.Conn){
		"tls-alert-unrecognized-name": func(c net.Conn) { tls.Server(c, &tls.Config{}).Handshake() },
		"tls-record-header": func(c net.Conn) {
			readHello(c)
			io.WriteString(c, "220 mx.example ESMTP\r\n")
		},
		"connection-closed": readHello,
	}
	for reason, serve := range tests {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				serve(server)
			}()
			err := tls.Client(client, &tls.Config{ServerName: "mx.example"}).Handshake()
			want := tlsrpt.Failure{Type: tlsrpt.ValidationFailure, ReasonCode: reason}
			if got := tlsrpt.Classify(err); got != want {
				t.Errorf("Classify(%v) = %+v, want %+v", err, got, want)
			}
		})
	}
}
