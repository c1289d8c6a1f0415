package mtasts_test

import (
	"crypto/x509"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

// M8: without CA certificates New fails and says what to do, unless RootCAs are given.
// Package x509 reads the system's roots once, so the test runs in a process of its own.
func TestM8NoRoots(t *testing.T) {
	const child = "MXSEAL_TEST_NO_ROOTS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestM8NoRoots$")
		cmd.Env = append(os.Environ(), child+"=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := mtasts.New(mtasts.Config{}); err == nil || !strings.Contains(err.Error(), "ca-certificates") || !strings.Contains(err.Error(), "RootCAs") {
		t.Errorf("no roots: %v", err)
	}
	if _, err := mtasts.New(mtasts.Config{RootCAs: x509.NewCertPool()}); err != nil {
		t.Errorf("own roots: %v", err)
	}
}
