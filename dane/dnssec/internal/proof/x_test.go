package proof

import "testing"

// X: dates in errors are readable.
func TestXDates(t *testing.T) {
	t.Parallel()
	if got := date(1772366400); got != "2026-03-01T12:00:00Z" {
		t.Error(got)
	}
}
