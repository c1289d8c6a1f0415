package tlsrpt_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

// For any error, the result type is registered and the reason code is short,
// printable ASCII.
func FuzzClassify(f *testing.F) {
	f.Add("sts-policy-invalid", "policy-mode", "x")
	f.Add("weather", "r\u00e4in\r\n", "tls: \x00")
	f.Fuzz(func(t *testing.T, resultType, reasonCode, text string) {
		for _, err := range []error{&reported{resultType, reasonCode, nil}, textError(text)} {
			failure := tlsrpt.Classify(err)
			if !failure.Type.Valid() || len(failure.ReasonCode) > 64 ||
				strings.ContainsFunc(failure.ReasonCode, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%+v", failure)
			}
		}
	})
}

type textError string

func (e textError) Error() string { return string(e) }
