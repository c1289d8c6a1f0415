package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

// RPT-29, RFC 8460 section 4.3.2.2: what ends a fetch has a kind and a reason code, and a
// text that is short.
func TestFetchErrorSaysWhatFailed(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	other := errors.New("something\nelse")
	invalid := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	dial := func(step guarded.Step, err error) error {
		return fmt.Errorf("x: %w", &guarded.Error{Step: step, Err: err})
	}
	for name, test := range map[string]struct {
		ctx    context.Context
		err    error
		kind   Kind
		reason string
	}{
		"no turn":                              {t.Context(), turn.ErrNone, KindFetch, "http-busy"},
		"end of the time":                      {over, other, KindFetch, "http-timeout"},
		"time-out of the connection":           {t.Context(), os.ErrDeadlineExceeded, KindFetch, "http-timeout"},
		"end without that of TLS":              {t.Context(), guarded.ErrTruncated, KindFetch, "http-truncated"},
		"end before that of the body":          {t.Context(), io.ErrUnexpectedEOF, KindFetch, "http-truncated"},
		"anything else":                        {t.Context(), other, KindFetch, "http-error"},
		"a status":                             {t.Context(), failf(KindFetch, "http-status-404", "no"), KindFetch, "http-status-404"},
		"no address":                           {t.Context(), dial(guarded.Resolve, guarded.ErrNoAddress), KindFetch, "dns-not-found"},
		"special addresses only":               {t.Context(), dial(guarded.Resolve, guarded.ErrSpecialAddress), KindFetch, "http-address-refused"},
		"failed lookup of addresses":           {t.Context(), dial(guarded.Resolve, other), KindFetch, "dns-failure"},
		"no connection":                        {t.Context(), dial(guarded.Connect, other), KindFetch, "http-no-connection"},
		"no connection in time":                {over, dial(guarded.Connect, other), KindFetch, "http-timeout"},
		"time-out of a connection":             {t.Context(), dial(guarded.Connect, os.ErrDeadlineExceeded), KindFetch, "http-timeout"},
		"a handshake that fails":               {t.Context(), dial(guarded.Handshake, other), KindFetch, "http-tls-handshake"},
		"a handshake that does not end":        {over, dial(guarded.Handshake, other), KindFetch, "http-timeout"},
		"a certificate":                        {t.Context(), dial(guarded.Handshake, invalid), KindCertificate, "unknown-authority"},
		"a certificate at the end of the time": {over, dial(guarded.Handshake, invalid), KindCertificate, "unknown-authority"},
		"a certificate, for an unknown reason": {t.Context(), dial(guarded.Handshake, &tls.CertificateVerificationError{Err: other}), KindCertificate, "invalid-certificate"},
		"no CA certificates here":              {t.Context(), dial(guarded.Handshake, x509.SystemRootsError{Err: other}), KindFetch, "no-system-roots"},
	} {
		err := fetchError(test.ctx, "example.com", test.err)
		if err.Kind != test.kind || err.ReasonCode != test.reason || err.Domain != "example.com" {
			t.Errorf("%s: %+v", name, err)
		}
		if text := err.Error(); len(text) > 500 {
			t.Errorf("%s: %q", name, text)
		}
	}
	if err := fetchError(t.Context(), "example.com", dial(guarded.Handshake, invalid)); strings.Contains(err.Error(), "tls:") {
		t.Errorf("the error is about the handshake, not about the certificate: %v", err)
	}
}
