package survey

import (
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
)

// C8: what several plans share counts once, as long as one of them is kept.
func TestC8SharedSurveyCountsOnce(t *testing.T) {
	t.Parallel()
	f := newFound(&dane.Discovery{Name: "mx.example.org"}, time.Now())
	sum := 0
	for i, by := range []int{1, 1, -1, 1, 1, -1, -1, -1, 1, -1} {
		sum += f.Use(by)
		users := int(f.uses.Load())
		want := 0
		if users > 0 {
			want = f.Size()
		}
		if sum != want {
			t.Errorf("step %d: %d users count as %d, want %d", i, users, sum, want)
		}
	}
}
