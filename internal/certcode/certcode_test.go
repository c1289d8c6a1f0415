package certcode_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/mxseal/mxseal/internal/certcode"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// A server sends an authority whose only name is a serial number, which may be as long as a
// handshake. The error names it only if it is short, and says in any case that the authority
// is unknown.
func TestSerialNumbersInErrorsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		octets int
		named  bool
	}{{20, true}, {21, false}, {240 << 10, false}} {
		serial := func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*tt.octets-1)), big.NewInt(1))
			if tt.octets == 21 {
				c.SerialNumber.Rsh(c.SerialNumber, 6) // one bit more than 20 octets have
			}
		}
		root, impostor := testpki.Root(t, ""), testpki.Root(t, "", serial)
		chain := testpki.Chain(root.Server(t, []string{"mx.example"}), impostor)
		options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: testpki.Now}
		options.Intermediates.AddCert(impostor.Cert)
		_, err := chain[0].Verify(options)
		var unknown x509.UnknownAuthorityError
		if !errors.As(err, &unknown) || tt.named != (err.Error() == certcode.Bounded(err, chain).Error()) {
			t.Errorf("%d octets: %.300s", tt.octets, certcode.Bounded(err, chain))
		}
		bounded := certcode.Bounded(fmt.Errorf("wrapped: %w", err), chain)
		if got := bounded.Error(); len(got) > 400 {
			t.Errorf("%d octets: an error of %d octets", tt.octets, len(got))
		}
		if got, want := certcode.Of(bounded), certcode.Of(err); got != want || got == "" {
			t.Errorf("%d octets: reported as %q, want %q", tt.octets, got, want)
		}
	}
	other := errors.New("another error")
	if got := certcode.Bounded(other, nil); got != other {
		t.Errorf("got %v", got)
	}
}
