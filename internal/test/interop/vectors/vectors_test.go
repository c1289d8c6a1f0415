// Package vectors runs the second readers of the test vectors. They are in Python, and share
// no code with this library.
package vectors

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// Another implementation of the rules comes to the results in the vectors.
func TestVectorsInPython(t *testing.T) {
	t.Parallel()
	python := interop.Need(t, "python3")
	for dir, says := range map[string]string{
		"dane/testdata": "779 chains, 0 differ", "mtasts/testdata": "793 vectors, 0 differ", "policy/internal/decision/testdata": "3968 decisions, 0 differ",
		"tlsrpt/testdata": "254 records, 0 differ", "tlsrpt/report/testdata": "218 reports, 0 differ", "tlsrpt/reporter/testdata": "143 sums, 0 differ", "policy/postfix/testdata": "1024 answers, 0 differ", "policy/delivery/testdata": "1436 conversations, 0 differ",
	} {
		out, err := exec.Command(python, filepath.Join("../../../..", dir, "check.py")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), says) {
			t.Errorf("%s: %v\n%.2000s", dir, err, out)
		}
	}
}
