package tlsrpt_test

import (
	"crypto/x509"
	"fmt"

	"github.com/mxseal/mxseal/tlsrpt"
)

func ExampleClassify() {
	// An error as returned by a TLS handshake with a mail host.
	err := fmt.Errorf("mx.example.com: %w", x509.UnknownAuthorityError{})

	failure := tlsrpt.Classify(err)
	fmt.Println(failure.Type, failure.ReasonCode)
	// Output: certificate-not-trusted unknown-authority
}

func ExampleExplain() {
	// A failure in a report that was received.
	meaning, advice := tlsrpt.Explain(tlsrpt.Failure{Type: tlsrpt.CertificateExpired, ReasonCode: "leaf-expired"})
	fmt.Println(meaning)
	fmt.Println(advice)
	// Output:
	// the server's certificate has expired
	// renew the certificate, and make the server load it
}

func ExampleRecorder() {
	var recorder tlsrpt.Recorder = tlsrpt.RecorderFunc(func(s *tlsrpt.Session) {
		for _, outcome := range s.Outcomes {
			fmt.Println(s.Domain, outcome.Policy.Type, outcome.Failures)
		}
	})
	recorder.Record(&tlsrpt.Session{
		Domain: "example.com",
		MXHost: "mx.example.com",
		Outcomes: []tlsrpt.Outcome{{
			Policy: tlsrpt.Policy{
				Type:    tlsrpt.STS,
				Domain:  "example.com",
				Strings: []string{"version: STSv1", "mode: testing", "mx: mx.example.com", "max_age: 604800"},
				MXHosts: []string{"mx.example.com"},
			},
			Failures: []tlsrpt.Failure{{Type: tlsrpt.STARTTLSNotSupported}},
		}},
	})
	// Output: example.com sts [{starttls-not-supported }]
}
