package flight_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/flight"
)

func TestWorkIsDoneOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, int]
		var runs atomic.Int32
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				f := group.Join(t.Context(), "a", func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return int(runs.Add(1)), nil
				})
				defer group.Leave("a", f)
				if n, err := f.Wait(t.Context()); n != 1 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			})
		}
		callers.Wait()
	})
}

func TestCallerThatLeavesDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, int]
		work := func(ctx context.Context) (int, error) {
			select {
			case <-time.After(time.Minute):
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first := group.Join(impatient, "a", work)
		second := group.Join(t.Context(), "a", work)
		if first != second {
			t.Fatal("the work was started twice")
		}
		if _, err := first.Wait(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient caller got %v", err)
		}
		group.Leave("a", first)
		if n, err := second.Wait(t.Context()); n != 1 || err != nil {
			t.Errorf("the other got %d, %v", n, err)
		}
		group.Leave("a", second)
	})
}

func TestWorkEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, int]
		ended := false
		f := group.Join(t.Context(), "a", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended = true
			return 0, ctx.Err()
		})
		group.Leave("a", f)
		synctest.Wait()
		if !ended {
			t.Error("no caller is left, and the work goes on")
		}
	})
}

func TestForgottenWorkIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, string]
		answer := func(text string) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { time.Sleep(time.Second); return text, nil }
		}
		old := group.Join(t.Context(), "a", answer("old"))
		group.ForgetFunc(func(key string) bool { return key == "a" })
		fresh := group.Join(t.Context(), "a", answer("fresh"))
		for f, want := range map[*flight.Flight[string]]string{old: "old", fresh: "fresh"} {
			if got, err := f.Wait(t.Context()); got != want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
			group.Leave("a", f)
		}
	})
}

func TestWorkEndsAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := flight.Group[string, int]{Limit: time.Second}
		began := time.Now()
		f := group.Join(t.Context(), "a", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		defer group.Leave("a", f)
		if _, err := f.Wait(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The caller that made a claim does the work; the others wait for it, and
// nothing but Finish ends it.
func TestClaimIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, int]
		f, isNew := group.Claim("a")
		if !isNew {
			t.Fatal("the first claim is not new")
		}
		if n, ok := f.Interim(); ok {
			t.Errorf("%d is published", n)
		}
		f.Publish(6)
		f.Publish(7)
		began := time.Now()
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				other, isNew := group.Claim("a")
				if other != f || isNew {
					t.Error("the work was claimed twice")
				}
				impatient, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := other.Wait(impatient); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the impatient caller got %v", err)
				}
				if n, ok := other.Interim(); n != 7 || !ok {
					t.Errorf("%d is published, %v", n, ok)
				}
				<-other.Done()
				if n, err := other.Outcome(); n != 1 || err != nil || !other.Began().Equal(began) {
					t.Errorf("%d, %v, began %v", n, err, other.Began())
				}
			})
		}
		time.Sleep(time.Minute)
		group.Finish("a", f, 1, nil)
		callers.Wait()
		if _, isNew := group.Claim("a"); !isNew {
			t.Error("a flight that is over is joined")
		}
	})
}

// A caller can join a claim; that it leaves does not end the claim.
func TestJoinedClaimGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string, int]
		claim, _ := group.Claim("a")
		joined := group.Join(t.Context(), "a", func(context.Context) (int, error) {
			t.Error("the work was started twice")
			return 0, nil
		})
		group.Leave("a", joined)
		if again, isNew := group.Claim("a"); again != claim || isNew {
			t.Error("the claim ended with a caller that left")
		}
		group.Finish("a", claim, 1, nil)
		if n, err := joined.Wait(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// quick is a Work that is done at once, or not, or panics at first.
type quick struct {
	done, panics bool
	did          atomic.Int32
	proceed      chan struct{} // AtOnce waits for it if it is not nil
}

func (q *quick) AtOnce() (int, bool, error) {
	if q.proceed != nil {
		<-q.proceed
	}
	if q.panics {
		panic("at once")
	}
	return 1, q.done, nil
}

func (q *quick) Do(ctx context.Context) (int, error) {
	q.did.Add(1)
	return 2, ctx.Err()
}

// Work that is done at once has no goroutine and no second run; other work has one run in a
// goroutine, also after a panic, so that no other caller waits in vain.
func TestWorkAtOnce(t *testing.T) {
	for _, tt := range []struct {
		what  string
		work  *quick
		value int
		did   int32
	}{
		{"done", &quick{done: true}, 1, 0},
		{"not done", &quick{}, 2, 1},
		{"a panic", &quick{panics: true}, 2, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				group := flight.Group[string, int]{Limit: time.Minute}
				work := tt.work
				work.proceed = make(chan struct{})
				var callers sync.WaitGroup
				callers.Go(func() {
					defer func() {
						if recovered := recover(); (recovered != nil) != work.panics {
							t.Errorf("recovered %v", recovered)
						}
					}()
					f := group.JoinAtOnce(t.Context(), "a", work)
					defer group.Leave("a", f)
					if n, err := f.Wait(t.Context()); n != tt.value || err != nil {
						t.Errorf("the first: %d, %v", n, err)
					}
				})
				synctest.Wait()
				callers.Go(func() { // joins the first, whose work is not called again
					f := group.JoinAtOnce(t.Context(), "a", &quick{done: true})
					defer group.Leave("a", f)
					if n, err := f.Wait(t.Context()); n != tt.value || err != nil {
						t.Errorf("the second: %d, %v", n, err)
					}
				})
				synctest.Wait()
				close(work.proceed)
				callers.Wait()
				if n := work.did.Load(); n != tt.did {
					t.Errorf("Do was called %d times", n)
				}
				if f := group.JoinRunning("a"); f != nil {
					t.Error("the flight has not ended")
				}
			})
		})
	}
}
