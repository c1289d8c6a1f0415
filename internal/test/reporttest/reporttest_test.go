package reporttest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/internal/test/reporttest"
)

// A report is saved as it is, once.
func TestSaveKeepsReportOnce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(reporttest.Dir, dir)
	for range 2 {
		if err := reporttest.Save([]byte("{} ")); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, error %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || string(text) != "{} " {
		t.Errorf("saved %q, error %v", text, err)
	}
}

// Deliveries in a form that no sender may use are rejected before they are
// parsed.
func TestForbiddenDeliveriesAreRejected(t *testing.T) {
	t.Parallel()
	for _, octets := range []string{"", "{}", "Content-Type: text/plain\r\n\r\nx", "Content-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n"} {
		if _, err := reporttest.Posted([]byte(octets)); err == nil {
			t.Errorf("posted %q: no error", octets)
		}
		if _, err := reporttest.Mailed([]byte(octets)); err == nil {
			t.Errorf("mailed %q: no error", octets)
		}
	}
}
