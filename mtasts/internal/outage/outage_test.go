package outage

import (
	"fmt"
	"testing"
	"time"
)

// M8: there is one event for each outage, and none while few domains are concerned, or
// only for a short time.
func TestM8OneEventForEachOutage(t *testing.T) {
	t.Parallel()
	var w Watch
	start := time.Unix(1800000000, 0)
	now := start
	failures := func(n, domains int, every time.Duration) (events int) {
		for i := range n {
			now = now.Add(every)
			since, news := w.Failed(fmt.Sprint("d", i%domains), now)
			if news {
				events++
				if since.Before(start) || now.Sub(since) < minTime {
					t.Errorf("since %v at %v", since, now)
				}
			}
		}
		return events
	}
	for i, test := range []struct {
		n, domains int
		every      time.Duration
		want       int
	}{
		{1000, minDomains - 1, time.Minute, 0},
		{100, 100, time.Second, 0},
		{100, minDomains, time.Minute, 1},
		{100, minDomains, time.Minute, 1},
	} {
		if got := failures(test.n, test.domains, test.every); got != test.want {
			t.Errorf("row %d: %d events, want %d", i, got, test.want)
		}
		w.Reached()
		start = now
	}
	failures(20, 20, time.Minute)
	if got := failures(1000, 1000, time.Minute); got != 0 {
		t.Errorf("%d more events of one outage", got)
	}
	if len(w.domains) > minDomains {
		t.Errorf("%d domains are kept", len(w.domains))
	}
}
