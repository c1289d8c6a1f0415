package maps_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/maps"
	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// world has a domain of each kind.
func world(t *testing.T) *policytest.Internet {
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	inet.Domain("both.example", policytest.Unsigned).MX("mx.dane.example").Policy("enforce", "mx.dane.example")
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	inet.Domain("unusable.example").MX("mx.unusable.example")
	inet.Host("mx.unusable.example", policytest.TLSA("0 0 1"))
	inet.Domain("broken.example").MX("mx.broken.example")
	inet.Host("mx.broken.example")
	inet.BreakDNS(policytest.Bogus, "broken.example", dnssec.TypeMX)
	inet.Domain("null.example").MX(".")
	inet.Domain("encrypted.example").MX(".")
	inet.Domain("authenticated.example").MX(".")
	inet.Domain("xn--bcher-kva.example").MX("mx.dane.example")
	inet.Domain("elsewhere.example").MX("mx.dane.example")
	inet.Domain("pinned.example").MX("mx.plain.example")
	return inet
}

func TestAnswersOfTheMaps(t *testing.T) {
	t.Parallel()
	inet := world(t)
	var pin dane.Record
	if err := pin.UnmarshalText([]byte("2 1 1 " + strings.Repeat("ab", 32))); err != nil {
		t.Fatal(err)
	}
	resolver := inet.Resolver(func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{"elsewhere.example": {NextHop: "[mx.plain.example]"}, "pinned.example": {Pin: []dane.Record{pin}},
			"encrypted.example": {Floor: policy.Encrypted}, "authenticated.example": {Floor: policy.Authenticated}}
	})
	var log bytes.Buffer
	var settings maps.Settings
	var noted maps.Answer // about the last answer
	all := maps.New(maps.Config{
		Resolver: resolver, Settings: func() maps.Settings { return settings }, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Answered: func(a maps.Answer) { noted = a },
	}).All()
	const (
		daneOnly = "OK dane-only protocols=>=TLSv1.2"
		sts      = "OK secure match=mx.sts.example servername=hostname"
	)
	for _, test := range []struct{ name, key, want string }{
		{"QUERY", "dane.example", daneOnly},
		{"QUERY", "DANE.Example", daneOnly},
		{"QUERY", "bücher.example", daneOnly},
		{"QUERY", "xn--bcher-kva.example", daneOnly},
		{"QUERY", "sts.example", sts + " protocols=>=TLSv1.2"},
		{"QUERYwithTLSRPT", "sts.example", sts + " protocols=>=TLSv1.2 policy_type=sts policy_domain=sts.example mx_host_pattern=mx.sts.example" +
			" { policy_string = version: STSv1 } { policy_string = mode: enforce } { policy_string = mx: mx.sts.example } { policy_string = max_age: 604800 }"},
		{"sts", "sts.example", sts},
		{"QUERY", "plain.example", "NOTFOUND"},
		{"QUERY", "broken.example", "TEMP"},
		{"QUERY", "null.example", "NOTFOUND"},
		{"QUERY", "encrypted.example", "OK encrypt protocols=>=TLSv1.2"},
		{"QUERY", "authenticated.example", "TEMP"},
		{"QUERY", "nosuch.example", "NOTFOUND"},
		{"QUERY", ".example", "NOTFOUND"},
		{"QUERY", "", "NOTFOUND"},
		{"QUERY", "[mx.dane.example]:25", "NOTFOUND"},
		{"QUERY", "mx.dane.example:25", "NOTFOUND"},
		{"QUERY", "192.0.2.1", "NOTFOUND"},
		{"QUERY", "[192.0.2.1]", "NOTFOUND"},
		{"QUERY", "private/socket", "NOTFOUND"},
		{"QUERY", "elsewhere.example", "TEMP"},
		{"exim", "dane.example mx.dane.example", "OK dane"},
		{"exim", "dane.example MX.dane.example.", "OK dane"},
		{"exim", "sts.example mx.sts.example", "OK verify"},
		{"exim", "both.example mx.dane.example", "OK dane verify"},
		{"exim", "unusable.example mx.unusable.example", "OK encrypt"},
		{"exim", "plain.example mx.plain.example", "NOTFOUND"},
		{"exim", "sts.example evil.example", "OK refuse"},
		{"exim", "broken.example mx.broken.example", "TEMP"},
		{"exim", "elsewhere.example mx.plain.example", "OK refuse"},
		{"exim", "pinned.example mx.plain.example", "OK refuse"},
		{"exim", "null.example mx", "NOTFOUND"},
		{"exim", "encrypted.example mx", "OK encrypt"},
		{"exim", "authenticated.example mx", "OK refuse"},
		{"exim", "plain.example", "PERM"},
	} {
		noted = maps.Answer{}
		reply := all[test.name](t.Context(), test.key)
		if domain, _, _ := strings.Cut(test.key, " "); noted.Map != "" && (noted.Map != test.name || noted.Domain != domain || noted.Reason != reply.Reason()) {
			t.Errorf("%s %s: noted as %+v", test.name, test.key, noted)
		}
		if word, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(test.want, "OK ")), " "); noted.Map != "" && !strings.HasPrefix(noted.Level, word) {
			t.Errorf("%s %s: noted as %s, want %s", test.name, test.key, noted.Level, word)
		}
		got := []string{socketmap.Temporary: "TEMP", socketmap.Permanent: "PERM", socketmap.NotFound: "NOTFOUND", socketmap.Found: "OK " + reply.Text}[reply.Status]
		if got != test.want {
			t.Errorf("%s %s: %s %s, want %s", test.name, test.key, got, reply.Text, test.want)
		}
		if reply.Status == socketmap.Temporary && reply.Text == "" {
			t.Errorf("%s %s waits for no reason", test.name, test.key)
		}
	}
	settings.NextHops = true
	for key, want := range map[string]socketmap.Status{
		"[mx.dane.example]": socketmap.Found, "[mx.dane.example]:25": socketmap.Found, "mx.dane.example:25": socketmap.Found,
		"[mx.plain.example]": socketmap.NotFound, "[192.0.2.1]:25": socketmap.NotFound, "[mx.dane.example": socketmap.NotFound,
	} {
		if reply := all["QUERY"](t.Context(), key); reply.Status != want || want == socketmap.Found && reply.Text != strings.TrimPrefix(daneOnly, "OK ") {
			t.Errorf("%s: %+v", key, reply)
		}
	}
	// What is lost is logged, and once.
	for range 2 {
		if reply := all["QUERY"](t.Context(), "both.example"); reply.Status != socketmap.Found {
			t.Errorf("%+v", reply)
		}
	}
	if n := strings.Count(log.String(), "domain=both.example answer=secure weaker=true reason=insecure-mx"); n != 1 {
		t.Errorf("%d lines in %s", n, log.String())
	}
	settings.DeferInsecureMX = true
	if reply := all["QUERY"](t.Context(), "both.example"); reply.Status != socketmap.Temporary {
		t.Errorf("%+v", reply)
	}
}

// slowResolver has a plan only after a time. Like a policy.Resolver, it goes on with a lookup only while a
// caller waits.
type slowResolver struct {
	plan    *policy.Plan
	takes   time.Duration
	waiting chan int // the callers that wait
	done    chan struct{}
	began   time.Time
}

func (s *slowResolver) Resolve(ctx context.Context, _ string, _ ...policy.Option) (*policy.Plan, error) {
	s.waiting <- <-s.waiting + 1
	defer func() { s.waiting <- <-s.waiting - 1 }()
	if s.began.IsZero() {
		s.began = time.Now()
		done := s.done
		time.AfterFunc(s.takes, func() { close(done) })
	}
	select {
	case <-s.done:
		return s.plan, nil
	case <-ctx.Done():
		n := <-s.waiting
		s.waiting <- n
		if n == 1 {
			s.began = time.Time{} // the last caller has left: all is lost
			s.done = make(chan struct{})
		}
		return nil, &policy.Error{Status: "4.4.7", Err: ctx.Err()}
	}
}

// A domain that is not resolved in time is answered at once for a while, and its lookup goes on.
func TestSlowDomainIsAnsweredAtOnce(t *testing.T) {
	inet := world(t)
	plan, err := inet.Resolver().Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, patience := range map[string]time.Duration{"QUERY": 15 * time.Second, "exim": 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			slow := &slowResolver{plan: plan, takes: 20 * time.Second, waiting: make(chan int, 1), done: make(chan struct{})}
			slow.waiting <- 0
			tested := maps.New(maps.Config{Resolver: slow, Settings: func() maps.Settings { return maps.Settings{} }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
			all := tested.All()
			key := map[string]string{"QUERY": "dane.example", "exim": "dane.example mx.dane.example"}[name]
			ask := func() (socketmap.Reply, time.Duration) {
				began := time.Now()
				reply := all[name](t.Context(), key)
				return reply, time.Since(began)
			}
			if reply, took := ask(); reply.Status != socketmap.Temporary || took != patience {
				t.Errorf("%s: %+v after %v", name, reply, took)
			}
			for range 3 {
				if reply, took := ask(); reply.Status != socketmap.Temporary || took > time.Second {
					t.Errorf("%s: %+v after %v", name, reply, took)
				}
			}
			if until, found := tested.Slow()["dane.example"]; !found || time.Until(until) <= 0 {
				t.Errorf("%s: slow until %v", name, until)
			}
			time.Sleep(20*time.Second - time.Since(slow.began))
			synctest.Wait()
			if reply, took := ask(); reply.Status != socketmap.Found || took > 0 {
				t.Errorf("%s: %+v after %v", name, reply, took)
			}
			time.Sleep(10 * time.Second) // for which that is remembered
			if slow := tested.Slow(); len(slow) != 0 {
				t.Errorf("%s: %v is still slow", name, slow)
			}
		})
	}
}

// The lookup of a client that lost its place goes on, and that of one that left for another reason does not.
func TestLookupOfCrowdedClientGoesOn(t *testing.T) {
	inet := world(t)
	plan, err := inet.Resolver().Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{socketmap.ErrCrowded, nil} {
		synctest.Test(t, func(t *testing.T) {
			slow := &slowResolver{plan: plan, takes: 20 * time.Second, waiting: make(chan int, 1), done: make(chan struct{})}
			slow.waiting <- 0
			query := maps.New(maps.Config{Resolver: slow, Settings: func() maps.Settings { return maps.Settings{} }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}).All()["QUERY"]
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(2*time.Second, func() { cancel(cause) })
			if reply := query(ctx, "dane.example"); reply.Status != socketmap.Temporary {
				t.Errorf("%+v", reply)
			}
			synctest.Wait()
			n := <-slow.waiting
			slow.waiting <- n
			if goesOn := n > 0; goesOn != (cause != nil) {
				t.Errorf("%v: %d callers wait", cause, n)
			}
			time.Sleep(time.Minute)
		})
	}
}

// failing is a Resolver that returns an error.
type failing struct{ error }

func (f failing) Resolve(context.Context, string, ...policy.Option) (*policy.Plan, error) {
	return nil, f.error
}

// An error of any kind makes the mail wait.
func TestErrorsMakeMailWait(t *testing.T) {
	for _, err := range []error{errors.New("other"), net.ErrClosed, &policy.Error{Status: "4.4.3"}, context.Canceled} {
		all := maps.New(maps.Config{Resolver: failing{err}, Settings: func() maps.Settings { return maps.Settings{} }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}).All()
		for name, each := range all {
			if reply := each(t.Context(), "a.example mx.example"); reply.Status != socketmap.Temporary {
				t.Errorf("%s, %v: %+v", name, err, reply)
			}
		}
	}
}
