package tally

import (
	"sync"
	"testing"
)

// No addition is lost, however many goroutines add.
func TestCounterLosesNothing(t *testing.T) {
	t.Parallel()
	var c Counter
	var adders sync.WaitGroup
	const each = 1000
	for i := range 3 * cells {
		adders.Go(func() {
			for range each {
				c.Add(uint64(i))
			}
		})
	}
	adders.Wait()
	if got, want := c.Read(), uint64(each*(3*cells-1)*3*cells/2); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}
