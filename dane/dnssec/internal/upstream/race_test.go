package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reaction is what a server of a scripted race does with an attempt.
type reaction struct {
	after time.Duration
	err   *Error // nil: a reply
}

// raceClient returns a Client whose checks get no reply.
func raceClient(t *testing.T, servers []string, options Options) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := New(Config{Servers: servers, Options: options, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// scripted runs a race. The script is by the text of an attempt: the last octet of the
// server, with a "t" over TCP. An attempt that is not in it gets no reply.
func scripted(t *testing.T, c *Client, tried Tried, script map[string]reaction) (asked string, o *Outcome[string], spent int, err error) {
	servers, _ := c.Servers()
	began := time.Now()
	var mu sync.Mutex
	var log []string
	race := Race[string]{Name: "example.com.", Servers: servers, Apex: ".", Tried: tried}
	race.Spend = func() error { spent++; return nil }
	race.Ask = func(ctx context.Context, to Attempt) (string, error) {
		name := orderOf([]Attempt{to})
		mu.Lock()
		log = append(log, fmt.Sprintf("%s@%d", name, time.Since(began).Milliseconds()))
		mu.Unlock()
		does, ok := script[name]
		if !ok || !waits(ctx, does.after) {
			<-ctx.Done()
			return "", &Error{Kind: Timeout, Server: to.Server.String(), Detail: name}
		}
		if does.err != nil {
			failed := *does.err
			failed.Server, failed.Detail = to.Server.String(), name
			return "", &failed
		}
		to.Server.lives(time.Now())
		return name, nil
	}
	o, err = race.Run(t.Context(), c)
	if o == nil {
		o = new(Outcome[string])
	}
	mu.Lock()
	defer mu.Unlock()
	return strings.Join(log, " "), o, spent, err
}

// D6: when the servers are asked, and what the outcome says.
func TestD6Race(t *testing.T) {
	t.Parallel()
	at := func(ms int) reaction { return reaction{after: time.Duration(ms) * time.Millisecond} }
	fails := func(ms int, kind Kind) reaction {
		return reaction{time.Duration(ms) * time.Millisecond, &Error{Kind: kind}}
	}
	plain := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("192.0.2.%d", i+1))
		}
		return names
	}
	for _, tt := range []struct {
		what      string
		servers   []string
		options   Options
		tried     string // attempts that failed and are worth a repetition
		script    map[string]reaction
		asked     string
		won       string
		overtaken string
		failures  string
	}{
		{"the first replies", plain(2), Options{}, "", map[string]reaction{"1": at(100)},
			"1@0", "1", "", ""},
		{"the first is slow", plain(2), Options{}, "", map[string]reaction{"1": at(600), "2": at(10)},
			"1@0 2@250", "2", "1", ""},
		{"the first is slow, and still the first", plain(2), Options{}, "", map[string]reaction{"1": at(300), "2": at(100)},
			"1@0 2@250", "1", "", ""},
		{"the first fails", plain(2), Options{}, "", map[string]reaction{"1": fails(5, Unreachable), "2": at(10)},
			"1@0 2@5", "2", "", "1"},
		{"the first fails after it was overtaken", plain(3), Options{}, "", map[string]reaction{"1": fails(300, TooLarge), "2": at(600), "3": at(5)},
			"1@0 2@250 3@300", "3", "2", "1"},
		{"one server, and UDP is lost", plain(1), Options{}, "", map[string]reaction{"1t": at(10)},
			"1@0 1t@250", "1t", "", ""},
		{"one server refuses over UDP", plain(1), Options{}, "", map[string]reaction{"1": fails(5, TooLarge)},
			"1@0", "", "", "1"},
		{"malformed over UDP", plain(2), Options{}, "", map[string]reaction{"1": fails(5, Malformed), "2": fails(5, Malformed), "1t": at(5)},
			"1@0 2@5 1t@10", "1t", "", "1 2"},
		{"failures in the order of their beginnings", plain(2), Options{Attempts: 1}, "", map[string]reaction{"1": fails(400, TooLarge), "2": fails(10, TooLarge)},
			"1@0 2@250", "", "", "1 2"},
		{"a second race", plain(2), Options{}, "1", map[string]reaction{"2": fails(5, TooLarge), "1t": at(5)},
			"2@0 1t@5", "1t", "", "2"},
		{"rotated", plain(3), Options{Rotate: true}, "", map[string]reaction{"2": at(600), "3": at(10)},
			"2@0 3@250", "3", "2", ""},
		{"plaintext behind TLS", []string{"tls://192.0.2.1", "192.0.2.2"}, Options{Timeout: time.Second}, "", map[string]reaction{"2": at(10)},
			"1@0 2@1000", "2", "", "1"},
		{"TLS behind plaintext", []string{"192.0.2.1", "tls://192.0.2.2"}, Options{}, "", map[string]reaction{"2": at(10)},
			"1@0 2@250", "2", "1", ""},
		{"over TCP from the first attempt on", plain(1), Options{UseTCP: true, Timeout: 600 * time.Millisecond}, "", map[string]reaction{},
			"1t@0 1t@600", "", "", "1t 1t"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := raceClient(t, tt.servers, tt.options)
				servers, _ := c.Servers()
				var tried Tried
				if tt.tried != "" {
					tried = tried.With(Attempt{Server: servers[0]}, true)
				}
				asked, o, spent, err := scripted(t, c, tried, tt.script)
				var overtaken, failures []string
				for _, s := range o.Overtaken {
					overtaken = append(overtaken, fmt.Sprint(s.Addr().As4()[3]))
				}
				for _, err := range o.Failures {
					failures = append(failures, err.(*Error).Detail)
				}
				if err != nil || asked != tt.asked || o.Reply != tt.won || strings.Join(overtaken, " ") != tt.overtaken || strings.Join(failures, " ") != tt.failures {
					t.Errorf("asked %s, won by %q over %v, failures %v, %v", asked, o.Reply, overtaken, failures, err)
				}
				if n := len(strings.Fields(asked)); spent != n-1 && tried == "" || spent != n && tried != "" {
					t.Errorf("%d attempts, %d paid", n, spent)
				}
			})
		})
	}
}

// A race ends with its context, and when there is no budget for the next attempt.
func TestRaceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := raceClient(t, []string{"192.0.2.1", "192.0.2.2"}, Options{Timeout: time.Second})
		servers, _ := c.Servers()
		poor := errors.New("no budget")
		asked := 0
		race := Race[int]{Name: "a.", Servers: servers, Apex: ".", Spend: func() error { return poor }}
		race.Ask = func(ctx context.Context, _ Attempt) (int, error) {
			asked++
			<-ctx.Done()
			return 0, &Error{Kind: TooLarge}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := race.Run(ctx, c); !errors.Is(err, context.DeadlineExceeded) || asked != 1 {
			t.Errorf("%v after %d attempts", err, asked)
		}
		began := time.Now()
		if _, err := race.Run(t.Context(), c); !errors.Is(err, poor) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		race.Servers = nil
		if o, err := race.Run(t.Context(), c); err != nil || o.By.Server != nil || len(o.Failures) > 0 {
			t.Errorf("without servers: %+v, %v", o, err)
		}
	})
}

// D6: the wait for a server follows what it usually takes, within bounds.
func TestD6Patience(t *testing.T) {
	t.Parallel()
	h := new(health)
	if got := h.patience(); got != 250*time.Millisecond {
		t.Errorf("unknown: %v", got)
	}
	for _, tt := range []struct {
		took        time.Duration
		times       int
		least, most time.Duration
	}{
		{time.Millisecond, 50, 150 * time.Millisecond, 150 * time.Millisecond},
		{200 * time.Millisecond, 50, 200 * time.Millisecond, 260 * time.Millisecond},
		{5 * time.Second, 1, 400 * time.Millisecond, 400 * time.Millisecond},
		{5 * time.Millisecond, 100, 150 * time.Millisecond, 160 * time.Millisecond},
	} {
		for range tt.times {
			h.replied(tt.took)
		}
		if got := h.patience(); got < tt.least || got > tt.most {
			t.Errorf("after %d times %v: %v", tt.times, tt.took, got)
		}
	}
}

// D7: what makes a server doubtful and failing.
func TestD7Standing(t *testing.T) {
	t.Parallel()
	start := time.Now()
	type step func(h *health, now time.Time)
	missed := func(name string, ago time.Duration) step {
		return func(h *health, now time.Time) { h.missed(name, now.Add(-ago), now) }
	}
	silentFor := func(name string) step {
		return func(h *health, now time.Time) { h.missed(name, now.Add(-time.Second), now.Add(time.Second)) }
	}
	silence := step(func(h *health, now time.Time) { h.checkedBy(now, &Error{Kind: Timeout}) })
	busy := step(func(h *health, now time.Time) { h.checkedBy(now, &Error{Kind: Busy}) })
	lives := step(func(h *health, now time.Time) { h.lives(now) })
	poor := func(name string) step { return func(h *health, now time.Time) { h.Poor(name, now) } }
	for _, tt := range []struct {
		what  string
		steps []step // a tenth of a second apart
		after time.Duration
		want  standing
	}{
		{"nothing is known", nil, 0, works},
		{"one name is overdue", []step{missed("a.", 0), missed("a.", 0), missed("a.", 0)}, 0, works},
		{"two names are", []step{missed("a.", 0), missed("b.", 0)}, 0, doubtful},
		{"two names, and it replied since they were asked for", []step{lives, missed("a.", time.Second/10), missed("b.", time.Second/5)}, 0, works},
		{"two names, and it replied since, but not of late", []step{lives, silentFor("a."), silentFor("b.")}, 0, doubtful},
		{"two names, and it replied to something", []step{missed("a.", 0), missed("b.", 0), lives}, 0, works},
		{"a check failed, and nothing else", []step{silence}, 0, works},
		{"a check failed, and a name is overdue", []step{missed("a.", 0), silence}, 0, failing},
		{"this was a while ago", []step{missed("a.", 0), silence}, 2 * time.Second, failed},
		{"it lives", []step{missed("a.", 0), silence, lives}, 0, works},
		{"it lived during the check", []step{missed("a.", 0), lives, func(h *health, now time.Time) { h.checkedBy(now.Add(-time.Second), &Error{Kind: Timeout}) }}, 0, works},
		{"there was no room for a check", []step{missed("a.", 0), busy}, 0, works},
		{"useless for one name", []step{poor("a."), poor("a.")}, 0, works},
		{"useless for two names", []step{poor("a."), poor("b.")}, 0, doubtful},
		{"useless for two names, a while ago", []step{poor("a."), poor("b.")}, 31 * time.Second, works},
	} {
		h, now := new(health), start
		for _, step := range tt.steps {
			step(h, now)
			now = now.Add(time.Second / 10)
		}
		if got := h.standing(now.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.what, got, tt.want)
		}
	}
}
