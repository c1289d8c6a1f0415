package daemon

import "testing"

// No port is given to two tests, even if no server listens at it yet.
func TestFreePortIsGivenOnce(t *testing.T) {
	given := map[int]bool{}
	for range 500 { // of 10,000: by chance, some would be equal
		port := FreePort(t)
		if given[port] {
			t.Errorf("port %d was given twice", port)
		}
		given[port] = true
	}
}
