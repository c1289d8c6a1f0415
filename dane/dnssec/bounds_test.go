package dnssec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// counting counts the connections of a Dial function that are open.
type counting struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// limit is how many may be open, or 0. Beyond it Dial fails with EMFILE.
	limit int64

	open, most, dialed atomic.Int64
}

func (c *counting) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n := c.open.Add(1)
	if c.limit > 0 && n > c.limit {
		c.open.Add(-1)
		return nil, lacking(network, syscall.EMFILE)
	}
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	c.dialed.Add(1)
	conn, err := c.dial(ctx, network, addr)
	if err != nil {
		c.open.Add(-1)
		return nil, err
	}
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// lacking is the error of a net.Dialer on a host that lacks something.
func lacking(network string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", errno)}
}

// crowd is a world with zones of their own for many names, of which the world answers
// after a tenth of a second.
func crowd(tb testing.TB, n int) (w *world, names []string) {
	w = newWorld(tb)
	w.zone("com.")
	w.unsignedZone("plain.com.")
	for i := range n {
		switch i % 3 {
		case 0:
			zone := fmt.Sprintf("z%d.com.", i)
			w.zone(zone, zone+" 300 IN MX 10 mx."+zone)
			names = append(names, zone)
		case 1:
			names = append(names, fmt.Sprintf("mx%d.plain.com.", i))
		case 2:
			names = append(names, fmt.Sprintf("none%d.com.", i))
		}
	}
	w.latency = 100 * time.Millisecond
	return w, names
}

// all looks up all names at once and returns the errors.
func all(ctx context.Context, r Resolver, names []string) []error {
	errs := make([]error, len(names))
	var callers sync.WaitGroup
	for i, name := range names {
		callers.Go(func() { _, errs[i] = r.Lookup(ctx, name, TypeMX) })
	}
	callers.Wait()
	return errs
}

// lateCancel is a context that is canceled as soon as a lookup holds memory.
type lateCancel struct {
	context.Context
	held   func() int
	cancel func()
}

func (c *lateCancel) cancelIfHeld() {
	if c.held() > 0 {
		c.cancel()
	}
}

func (c *lateCancel) Err() error {
	c.cancelIfHeld()
	return c.Context.Err()
}

func (c *lateCancel) Done() <-chan struct{} {
	c.cancelIfHeld()
	return c.Context.Done()
}

// D10: a lookup whose caller stops waiting just after the lookup got its memory gives the
// memory back.
func TestD10CanceledLookupGivesMemoryBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, names := crowd(t, 1)
		v := w.validator(func(c *Config) { c.Bounds.Memory = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		held := func() int { return v.client.Room.InUse().Memory }
		if _, err := v.Lookup(&lateCancel{ctx, held, cancel}, names[0], TypeMX); !errors.Is(err, context.Canceled) {
			t.Errorf("the error of the lookup is %v", err)
		}
		synctest.Wait()
		if n := held(); n != 0 {
			t.Errorf("%d octets in use afterwards", n)
		}
		if _, err := v.Lookup(t.Context(), names[0], TypeMX); err != nil {
			t.Errorf("the next lookup: %v", err)
		}
	})
}

// D10, SEC-85: a thousand new names at once take no more than what Bounds permits, and all are
// answered. Questions in advance are left out first. Afterwards nothing is in use.
func TestD10ManyNamesStayWithinBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what   string
		bounds Bounds
		names  int
		most   int64 // sockets
		least  int64
	}{
		{"defaults", Bounds{}, 1000, 384, 300},
		{"few sockets", Bounds{Sockets: 40}, 200, 40, 30},
		{"few exchanges", Bounds{Exchanges: 30}, 200, 30, 25},
		{"little memory", Bounds{Memory: 1 << 20}, 200, 16 * 6, 16}, // 16 lookups at a time
		{"one of each", Bounds{1, 1, 1}, 40, 1, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, names := crowd(t, tt.names)
				sockets := &counting{dial: w.dial}
				v := w.validator(func(c *Config) { c.Dial, c.Bounds = sockets.Dial, tt.bounds })
				for i, err := range all(t.Context(), v, names) {
					if err != nil {
						t.Errorf("%s: %v", names[i], err)
					}
				}
				synctest.Wait()
				if most := sockets.most.Load(); most > tt.most || most < tt.least {
					t.Errorf("%d sockets were open at once; want %d to %d", most, tt.least, tt.most)
				}
				if used := v.Stats().InUse; used != (Bounds{}) {
					t.Errorf("%+v is in use after all lookups", used)
				}
			})
		})
	}
}

// D10: while there is little room, questions in advance are not sent. The lookup then asks
// one question after the other.
func TestD10GuessesAreLeftOutFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		bounds     Bounds
		roundTrips time.Duration
	}{
		{Bounds{}, 1},
		{Bounds{Exchanges: 1}, 6}, // the name, and keys and delegations of three zones
		{Bounds{Sockets: 1}, 6},
		{Bounds{Memory: 1}, 6},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, names := crowd(t, 1)
			v := w.validator(func(c *Config) { c.Bounds = tt.bounds })
			began := time.Now()
			if a, err := v.Lookup(t.Context(), names[0], TypeMX); err != nil || a.Status != Secure {
				t.Errorf("%+v, %v", a, err)
			}
			if took := time.Since(began); took != tt.roundTrips*w.latency || len(w.queries) != 6 {
				t.Errorf("%+v: %d questions in %v; want 6 in %d round trips", tt.bounds, len(w.queries), took, tt.roundTrips)
			}
		})
	}
}

// D10, SEC-86: a program that has no files left for sockets waits until others are closed. The lack
// is not held against the server, and not remembered.
func TestD10LookupWaitsForOpenFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, names := crowd(t, 300)
		sockets := &counting{dial: w.dial, limit: 40}
		v := w.validator(func(c *Config) { c.Dial = sockets.Dial })
		for i, err := range all(t.Context(), v, names) {
			if err != nil {
				t.Errorf("%s: %v", names[i], err)
			}
		}
	})
}

// D10: whatever this host lacks for a socket, a lookup fails with Busy. It is looked up
// again at once when there is room, and the first server is then asked first.
func TestD10LackIsNotRemembered(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				w.timeout = 5 * time.Second
				var lacks atomic.Bool
				var mu sync.Mutex
				asked := make(map[string]int)
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if lacks.Load() {
						return nil, lacking(network, errno)
					}
					mu.Lock()
					asked[addr]++
					mu.Unlock()
					return w.dial(ctx, network, addr)
				}
				v := w.validator(func(c *Config) { c.Dial, c.Servers = dial, []string{"192.0.2.1", "192.0.2.2"} })
				lacks.Store(true)
				began := time.Now()
				_, err := v.Lookup(t.Context(), "mx.example.com", TypeA)
				e := new(Error)
				if !errors.As(err, &e) || e.Reason != Busy || e.Status != Indeterminate || !e.Temporary() || !errors.Is(err, errno) {
					t.Errorf("%v", err)
				}
				mentions(t, err, "busy", "ulimit", "Bounds")
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %v, longer than one attempt", took)
				}
				lacks.Store(false)
				synctest.Wait()
				if _, err := v.Lookup(t.Context(), "mx.example.com", TypeA); err != nil {
					t.Errorf("with room again: %v", err)
				}
				if asked["192.0.2.1:53"] == 0 || asked["192.0.2.2:53"] != 0 {
					t.Errorf("asked %v: the lack was held against the first server", asked)
				}
				if s := v.Stats(); s.Busy.Count != 1 || s.Secure.Count != 1 || s.Servers[0].Failures+s.Servers[0].Timeouts != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// D10: a host without an address of the server's family asks the next server.
func TestD10ServerOfMissingFamilyIsPassedOver(t *testing.T) {
	t.Parallel()
	w := mail(t)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "[2001:") {
			return nil, lacking(network, syscall.EADDRNOTAVAIL)
		}
		return w.dial(ctx, network, addr)
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.Dial, c.Servers = dial, []string{"2001:db8::1", "192.0.2.1"} })
}

// D10: a server whose address family this host lacks is not why a name fails to which the
// other servers have no answer. The failure is remembered.
func TestD10MissingFamilyIsNotTheReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.mangle = silentExceptForChecks
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "[2001:") {
				return nil, lacking(network, syscall.EADDRNOTAVAIL)
			}
			return w.dial(ctx, network, addr)
		}
		v := w.validator(func(c *Config) { c.Dial, c.Servers, c.Timeout = dial, []string{"2001:db8::1", "192.0.2.1"}, 0 })
		for range 2 {
			_, err := v.Lookup(t.Context(), "mx.plain.com", TypeA)
			if e := new(Error); !errors.As(err, &e) || e.Reason != Timeout {
				t.Errorf("%v", err)
			}
		}
		if n := v.Stats().Cached; n != 1 {
			t.Errorf("%d failures were remembered", n)
		}
	})
}

// D10: a caller waits for memory until its context ends, or for as long as one lookup may
// take. The error says which, and is not remembered.
func TestD10CallersWaitForMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		v := w.validator(func(c *Config) { c.Bounds.Memory, c.Limits.Duration = 1, 8*time.Second; c.Timeout = time.Minute })
		if _, err := v.Lookup(t.Context(), "deep.ent.example.com", TypeA); err != nil {
			t.Fatal(err)
		}
		ahead := v.LookupAhead(t.Context(), v, "wild.example.com", TypeA)
		if ahead == nil {
			t.Fatal("no lookup ahead while there is room")
		}
		ahead()
		w.settle()
		w.mangle = silentExceptForChecks
		ctx, leave := context.WithCancel(t.Context())
		go v.Lookup(ctx, "first.example.com", TypeA)
		synctest.Wait()
		if v.LookupAhead(t.Context(), v, "ahead.example.com", TypeA) != nil {
			t.Error("a lookup ahead takes room that there is not")
		}

		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := v.Lookup(hasty, "second.example.com", TypeA)
		e := new(Error)
		if !errors.As(err, &e) || e.Reason != Busy || !e.Timeout() {
			t.Errorf("after the deadline: %v", err)
		}
		mentions(t, err, "all 65536 octets of memory for DNS lookups are in use")
		gone, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err = v.Lookup(gone, "third.example.com", TypeA); !errors.As(err, &e) || e.Reason != Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		if s := v.Stats(); s.Busy.Count != 1 || s.Canceled.Count != 1 || s.InUse.Memory != 65536 {
			t.Errorf("%+v", s)
		}
		w.mangle = nil
		leave()
		if _, err := v.Lookup(t.Context(), "mx.example.com", TypeA); err != nil {
			t.Errorf("when the first lookup has ended: %v", err)
		}
	})
}

// silentExceptForChecks makes a server that is slow without end, and not one that is dead.
func silentExceptForChecks(_, _ string, m *dns.Msg) *dns.Msg {
	if isRootSOA(m) {
		return m
	}
	return nil
}

// D10: one that waits for memory in vain is busy, and so are all others that the same
// lookup does not answer.
func TestD10WaitInVainIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.mangle = silentExceptForChecks
		v := w.validator(func(c *Config) { c.Bounds.Memory, c.Limits.Duration = 1, 8*time.Second; c.Timeout = time.Minute })
		var callers sync.WaitGroup
		for i := range 3 {
			callers.Go(func() {
				began := time.Now()
				_, err := v.Lookup(t.Context(), fmt.Sprintf("x%d.example.com", i), TypeA)
				if took := time.Since(began); err == nil || took > 16*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		callers.Wait()
	})
}

// D10: a Trusting keeps to its Bounds as well.
func TestD10TrustingKeepsToBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, names := crowd(t, 300)
		validating(w, func(dns.Question) bool { return true })
		sockets := &counting{dial: w.dial}
		r, err := NewTrusting(TrustingConfig{
			Servers: []string{"127.0.0.1"}, Dial: sockets.Dial, Now: func() time.Time { return w.now }, Bounds: Bounds{Sockets: 20},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range all(t.Context(), r, names) {
			if err != nil {
				t.Errorf("%s: %v", names[i], err)
			}
		}
		if most := sockets.most.Load(); most != 20 {
			t.Errorf("%d sockets were open at once", most)
		}
		sockets.limit = 1
		sockets.open.Store(1)
		_, err = r.Lookup(t.Context(), "other.com", TypeMX)
		if e := new(Error); !errors.As(err, &e) || e.Reason != Busy {
			t.Errorf("without files: %v", err)
		}
		sockets.open.Store(0)
		if _, err := r.Lookup(t.Context(), "other.com", TypeMX); err != nil {
			t.Errorf("with files again: %v", err)
		}
		if s := r.Stats(); s.Busy.Count != 1 || s.Secure.Count != 301 || s.InUse != (Bounds{}) {
			t.Errorf("%+v", s)
		}
	})
}

// D10: the replies that a Trusting reads count as memory of its lookups.
func TestD10RepliesToTrustingAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		w := newWorld(t)
		texts := []string{"com. 300 IN MX 10 mx.com."}
		for i := range 200 {
			texts = append(texts, fmt.Sprintf("large.com. 300 IN TXT %03d%s", i, strings.Repeat("x", 200)))
		}
		w.zone("com.", texts...)
		validating(w, func(dns.Question) bool { return true })
		for bound, large := range map[int]Reason{0: 0, 1: Busy} {
			r, err := NewTrusting(TrustingConfig{
				Servers: []string{"127.0.0.1"}, Dial: w.dial, Now: func() time.Time { return w.now }, Bounds: Bounds{Memory: bound},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Lookup(t.Context(), "com.", TypeMX); err != nil {
				t.Errorf("Bounds.Memory %d: a small reply: %v", bound, err)
			}
			_, err = r.Lookup(t.Context(), "large.com.", TypeTXT)
			e := new(Error)
			errors.As(err, &e)
			if e.Reason != large || (err == nil) != (large == 0) {
				t.Errorf("Bounds.Memory %d: a large reply: %v", bound, err)
			}
			if used := r.Stats().InUse; used != (Bounds{}) {
				t.Errorf("%+v is in use", used)
			}
		}
	})
}

// Negative numbers are errors, as in all configurations of the module.
func TestNegativeNumbersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for what, edit := range map[string]func(*Config){
		"Timeout":          func(c *Config) { c.Timeout = -1 },
		"CacheBytes":       func(c *Config) { c.CacheBytes = -1 },
		"Bounds.Sockets":   func(c *Config) { c.Bounds.Sockets = -1 },
		"Bounds.Exchanges": func(c *Config) { c.Bounds.Exchanges = -1 },
		"Bounds.Memory":    func(c *Config) { c.Bounds.Memory = -1 },
		"Limits.Queries":   func(c *Config) { c.Limits.Queries = -1 },
		"Limits.Memory":    func(c *Config) { c.Limits.Memory = -1 },
		"Limits.Duration":  func(c *Config) { c.Limits.Duration = -1 },
	} {
		config := w.config()
		edit(&config)
		field, _, _ := strings.Cut(what, ".")
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "negative") {
			t.Errorf("New with negative %s: %v", what, err)
		}
		_, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1"}, Timeout: config.Timeout, CacheBytes: config.CacheBytes, Bounds: config.Bounds})
		if (err == nil) != (field == "Limits") {
			t.Errorf("NewTrusting with negative %s: %v", what, err)
		}
	}
}

// C2, SEC-87: while all servers are dead, callers get an error soon, within the bounds, and an answer
// soon after one server is back. Checks of the servers do not wait for the room that
// questions to dead servers have.
func TestC2DeadServersFailSoonWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 200, 6
		w := newWorld(t)
		w.zone("com.")
		var alive atomic.Bool
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			if alive.Load() && server == "192.0.2.2:53" {
				return m
			}
			return nil
		}
		sockets := &counting{dial: w.dial}
		v := w.validator(func(c *Config) {
			c.Dial, c.Servers, c.Bounds, c.Timeout = sockets.Dial, []string{"192.0.2.1", "192.0.2.2"}, Bounds{Sockets: 40}, 0
		})
		var callers sync.WaitGroup
		var mu sync.Mutex
		var slowest time.Duration
		var lastError time.Time
		failed, began := 0, time.Now()
		for i := range perSecond * seconds {
			if i == perSecond*(seconds-3) {
				alive.Store(true)
			}
			callers.Go(func() {
				asked := time.Now()
				_, err := v.Lookup(t.Context(), fmt.Sprintf("none%d.com", i), TypeMX)
				mu.Lock()
				defer mu.Unlock()
				slowest = max(slowest, time.Since(asked))
				if err != nil {
					failed, lastError = failed+1, time.Now()
				}
			})
			time.Sleep(time.Second / perSecond)
		}
		callers.Wait()
		if slowest > 2*time.Second {
			t.Errorf("a caller waited for %v", slowest)
		}
		if late := lastError.Sub(began) - (seconds-3)*time.Second; late > 2*time.Second || failed < 2*perSecond {
			t.Errorf("%d lookups failed, the last %v after a server was back", failed, late)
		}
		if most := sockets.most.Load(); most > 40+2*6 {
			t.Errorf("%d sockets were open at once", most)
		}
	})
}

// An answer counts for the memory of its aliases and records.
func TestSizeOfAnswer(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		answer Answer
		want   int
	}{
		"a denial":    {Answer{Name: "example.net."}, 200 + 12},
		"two aliases": {Answer{Aliases: []Alias{{Name: "a.example.", Target: "bb.example."}, {Name: "b.", Target: "c."}}}, 200 + 100 + 10 + 11 + 100 + 4},
		"two records": {Answer{Records: []Record{{Data: make([]byte, 30)}, {Data: make([]byte, 1000)}}}, 200 + 100 + 30 + 100 + 1000},
	} {
		if got := tt.answer.size(); got != tt.want {
			t.Errorf("%s: %d, want %d", what, got, tt.want)
		}
	}
}
