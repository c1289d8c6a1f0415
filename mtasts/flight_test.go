package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
)

// A flight leaves nothing behind in the Client or in the context of Run, which both live for
// as long as the program. The test does not run beside others, because it measures the heap.
func TestFlightsLeaveNothingBehind(t *testing.T) {
	c, err := New(Config{RootCAs: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.fly(ctx, "example.com", refresh)
	before := heapsize.Used()
	const flights = 20_000
	for range flights {
		c.fly(ctx, "example.com", refresh)
	}
	if left := heapsize.Used() - before; left > flights*50 {
		t.Errorf("%d flights leave %d octets", flights, left)
	}
}

// STS-54: a lookup that does not wait for the end of a flight gets what is known by then. If
// that is no policy, it is an answer for a few seconds. What the flight works on stays as it
// is.
func TestImpatientLookupGetsWhatIsKnown(t *testing.T) {
	for name, test := range map[string]struct {
		publish time.Duration // when the flight knows something
		expires time.Duration // when the policy expires that it knows; 0 for none
		after   time.Duration // when the lookup is answered
		policy  bool          // whether with the policy
	}{
		"a policy in force":                   {0, time.Hour, patience, true},
		"a policy that is known late":         {7 * time.Second, time.Hour, defaultFirstWait, true},
		"no policy":                           {0, 0, defaultFirstWait, false},
		"a policy that expires in the middle": {0, 3 * time.Second, defaultFirstWait, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Config{RootCAs: x509.NewCertPool()})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				f, _ := c.flights.Claim("example.com")
				s := &state{domain: "example.com"}
				if test.expires > 0 {
					s = aState(t, Enforce, "mx", time.Now().Add(test.expires-time.Hour))
				}
				before := *s
				began := time.Now()
				time.AfterFunc(test.publish, func() { f.Publish(outcome{lookUp, s}) })
				synctest.Wait()
				known, err := c.wait(t.Context(), f, true)
				if err != nil || time.Since(began) != test.after {
					t.Fatalf("after %v: %v", time.Since(began), err)
				}
				if (known.state.policy != nil) != test.policy {
					t.Errorf("policy %v", known.state.policy)
				}
				pending := known.state.problems != nil && errors.Is(known.state.problems.err, errPending)
				if pending == test.policy || pending && !known.state.next.Equal(time.Now().Add(soon)) {
					t.Errorf("pending %t; next %v", pending, known.state.next)
				}
				if *s != before {
					t.Errorf("the flight has %+v now, and had %+v", *s, before)
				}
			})
		})
	}
}
