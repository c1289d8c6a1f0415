// Package interop has what the tests against other programs share.
package interop

import (
	"os"
	"os/exec"
	"testing"
)

// Need returns the path of a program that a test cannot do without. Where the
// program is missing the test is skipped, so that "go test ./..." works on any
// machine, unless the environment promises it (CI=true or MXSEAL_INTEROP=1):
// there a comparison that did not take place is a failure.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case required():
		t.Fatalf("this test compares with %s, and it cannot be found: %v", program, err)
	default:
		t.Skipf("NOT COMPARED: this test needs %s: %v", program, err)
	}
	return ""
}

func required() bool {
	return os.Getenv("CI") == "true" || os.Getenv("MXSEAL_INTEROP") == "1"
}
