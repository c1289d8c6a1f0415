package tlsrpt_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

// For any error, the result type is registered and the reason code is short, printable
// ASCII. An error whose TLSReport returns a reason code alone says nothing about TLS.
func FuzzClassify(f *testing.F) {
	f.Add("sts-policy-invalid", "policy-mode", "x")
	f.Add("weather", "r\u00e4in\r\n", "tls: \x00")
	f.Add("", "dns-timeout", "")
	f.Fuzz(func(t *testing.T, resultType, reasonCode, text string) {
		for _, err := range []error{&reported{resultType, reasonCode, nil}, textError(text)} {
			failure := tlsrpt.Classify(err)
			if _, ok := err.(*reported); ok && resultType == "" && reasonCode != "" {
				if failure != (tlsrpt.Failure{}) {
					t.Errorf("%+v, want none", failure)
				}
				continue
			}
			if !failure.Type.Valid() || len(failure.ReasonCode) > 64 ||
				strings.ContainsFunc(failure.ReasonCode, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%+v", failure)
			}
		}
	})
}

type textError string

func (e textError) Error() string { return string(e) }
