package dnssec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// fleet is several recursive servers of one world. What each does with a question is
// decided when the question arrives.
type fleet struct {
	*world
	// behave returns how long the server takes, or no answer. log is held.
	behave func(server, network string, q dns.Question) (delay time.Duration, answers bool)
	// bend may change the reply of a server.
	bend func(server string, m *dns.Msg)

	questions sync.WaitGroup

	log  sync.Mutex
	sent []sent
	open map[dns.Question]int // attempts under way at authenticated servers
	// overtaken are questions to plaintext servers while an authenticated one was asked.
	overtaken []sent
}

// sent is a question that arrived at a server.
type sent struct {
	server, network string
	question        dns.Question
	at              time.Time
}

func newFleet(w *world) *fleet { return &fleet{world: w, open: make(map[dns.Question]int)} }

func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	near, far := net.Pipe()
	c := &fleetConn{Conn: near, fleet: f, server: strings.TrimSuffix(addr, ":53"), network: network}
	f.questions.Go(func() { c.serve(far) })
	return c, nil
}

// fleetConn is the near end of a connection to a server of a fleet.
type fleetConn struct {
	net.Conn
	fleet           *fleet
	server, network string
	asked           dns.Question // guarded by fleet.log
}

func (c *fleetConn) authenticated() bool { return strings.HasPrefix(c.server, "127.") }

func (c *fleetConn) serve(far net.Conn) {
	defer far.Close()
	wire, err := receiveQuery(far, c.network)
	query := new(dns.Msg)
	if err != nil || query.Unpack(wire) != nil {
		return
	}
	delay, answers := c.fleet.arrived(c, query.Question[0])
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		far.Read(make([]byte, 1)) // until the near end is closed
	}()
	defer func() { far.Close(); <-gone }()
	if !answers {
		<-gone
		return
	}
	late := time.NewTimer(delay)
	defer late.Stop()
	select {
	case <-late.C:
		c.fleet.mu.Lock()
		m := c.fleet.reply(query)
		if c.fleet.bend != nil {
			c.fleet.bend(c.server, m)
		}
		c.fleet.mu.Unlock()
		sendReply(far, c.network, m)
		<-gone
	case <-gone:
	}
}

// arrived notes a question.
func (f *fleet) arrived(c *fleetConn, q dns.Question) (time.Duration, bool) {
	f.log.Lock()
	defer f.log.Unlock()
	f.sent = append(f.sent, sent{c.server, c.network, q, time.Now()})
	switch {
	case q.Name == "." && q.Qtype == dns.TypeSOA: // a check
	case c.authenticated():
		c.asked = q
		f.open[q]++
	case f.open[q] > 0:
		f.overtaken = append(f.overtaken, f.sent[len(f.sent)-1])
	}
	return f.behave(c.server, c.network, q)
}

// Close ends the attempt.
func (c *fleetConn) Close() error {
	c.fleet.log.Lock()
	if c.asked.Name != "" {
		c.fleet.open[c.asked]--
		// The attempt was over, and only its connection was not closed yet.
		now := time.Now()
		c.fleet.overtaken = slices.DeleteFunc(c.fleet.overtaken, func(s sent) bool { return s.question == c.asked && s.at.Equal(now) })
		c.asked = dns.Question{}
	}
	c.fleet.log.Unlock()
	return c.Conn.Close()
}

// countTo returns how many questions were sent to the server, without checks, and forgets
// them.
func (f *fleet) countTo(server string) (n int) {
	f.log.Lock()
	defer f.log.Unlock()
	for i, s := range f.sent {
		if s.server == server && !(s.question.Name == "." && s.question.Qtype == dns.TypeSOA) {
			f.sent[i].server = ""
			n++
		}
	}
	return n
}

func (f *fleet) validator(servers ...string) *Validator {
	v := f.world.validator(func(c *Config) { c.Servers, c.Dial, c.Timeout = servers, f.dial, 0 })
	f.tb.Cleanup(f.questions.Wait)
	return v
}

// timed looks up a name and returns how long it took.
func timed(t *testing.T, r Resolver, name string, rtype Type) (*Answer, time.Duration, error) {
	began := time.Now()
	a, err := r.Lookup(t.Context(), name, rtype)
	return a, time.Since(began), err
}

const near = 5 * time.Millisecond

// D6: servers that are silent cost a cold lookup a fraction of a second, the next lookup
// nothing, and no status.
func TestD6SilentServersCostLittle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what          string
		servers       []string
		works         string
		first, second time.Duration // at most
	}{
		{"1 of 2", []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.2", 300 * time.Millisecond, 4 * near},
		{"2 of 3", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, "192.0.2.3", 550 * time.Millisecond, 4 * near},
		{"the second of 2", []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1", 4 * near, 4 * near},
		{"1 of 2, both on this host", []string{"127.0.0.1", "127.0.0.2"}, "127.0.0.2", 300 * time.Millisecond, 2 * near},
		{"one on this host before another", []string{"127.0.0.1", "192.0.2.2"}, "192.0.2.2", 1900 * time.Millisecond, 1500 * time.Millisecond},
	} {
		for _, q := range []struct {
			name, next string
			status     Status
		}{
			{"alias.example.com", "a.wild.example.com", Secure},
			{"mx.plain.com", "back.plain.com", Insecure},
			{"none.example.com", "none.com", Secure},
			{"away.example.com", "none.away.example.com", Insecure},
		} {
			t.Run(tt.what+" "+q.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(mail(t))
					f.behave = func(server, _ string, _ dns.Question) (time.Duration, bool) { return near, server == tt.works }
					v := f.validator(tt.servers...)
					a, took, err := timed(t, v, q.name, TypeA)
					if err != nil || a.Status != q.status {
						t.Fatalf("%+v, %v", a, err)
					}
					if took > tt.first {
						t.Errorf("the first lookup took %v", took)
					}
					time.Sleep(2 * time.Second) // the checks end
					_, took, err = timed(t, v, q.next, TypeA)
					if e := new(Error); errors.As(err, &e) && e.Reason == Timeout || took > tt.second {
						t.Errorf("the second lookup took %v: %v", took, err)
					}
				})
			})
		}
	}
}

// D6: what the first questions of a lookup learn is used by the next ones: a silent server
// is not waited for at each of them.
func TestD6LearnsWithinOneLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 5 {
			zone := fmt.Sprintf("z%d.", i)
			w.zone(zone, fmt.Sprintf("a.%s 60 IN CNAME a.z%d.", zone, i+1))
		}
		w.zone("z5.", "a.z5. 60 IN A 192.0.2.1")
		f := newFleet(w)
		f.bend = func(_ string, m *dns.Msg) {
			m.Answer = without(m.Answer, func(rr dns.RR) bool { return rr.Header().Name != m.Question[0].Name })
		}
		f.behave = func(server, _ string, _ dns.Question) (time.Duration, bool) { return near, server == "192.0.2.2" }
		a, took, err := timed(t, f.validator("192.0.2.1", "192.0.2.2"), "a.z0", TypeA)
		if err != nil || a.Status != Secure || took > 400*time.Millisecond {
			t.Errorf("%+v, %v after %v", a, err, took)
		}
	})
}

// D6: one check finds out that a server is back, and it is then the first again.
func TestD6CheckFindsServerBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(mail(t))
		dead := true
		f.behave = func(server, _ string, _ dns.Question) (time.Duration, bool) {
			return near, !dead || server == "192.0.2.2"
		}
		v := f.validator("192.0.2.1", "192.0.2.2")
		lookup := func(i int) {
			t.Helper()
			if _, took, err := timed(t, v, fmt.Sprintf("n%d.wild.example.com", i), TypeA); err != nil || took > 300*time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
		}
		for i := range 20 {
			lookup(i)
			time.Sleep(100 * time.Millisecond)
		}
		if f.countTo("192.0.2.1"); f.countTo("192.0.2.2") == 0 {
			t.Fatal("the second server was not asked")
		}
		lookup(20)
		if n := f.countTo("192.0.2.1"); n != 0 {
			t.Errorf("%d questions to a server that is known to fail", n)
		}
		f.log.Lock()
		dead = false
		f.log.Unlock()
		for i := range 20 {
			lookup(30 + i)
			time.Sleep(100 * time.Millisecond)
		}
		f.countTo("192.0.2.1")
		f.countTo("192.0.2.2")
		lookup(60)
		if first, second := f.countTo("192.0.2.1"), f.countTo("192.0.2.2"); first == 0 || second != 0 {
			t.Errorf("two seconds after it is back: %d questions to the first server, %d to the second", first, second)
		}
	})
}

// D6, SEC-87: while all servers are dead, a lookup fails within 2 s, and later ones at once. The
// error says so, and is not remembered: 2 s after one server is back there is none.
func TestD6AllDeadFailsSoon(t *testing.T) {
	t.Parallel()
	for _, servers := range [][]string{
		{"192.0.2.1"}, {"192.0.2.1", "192.0.2.2"}, {"192.0.2.1", "192.0.2.2", "192.0.2.3"},
		{"127.0.0.1", "192.0.2.2", "192.0.2.3"}, {"tls://192.0.2.1", "192.0.2.2", "192.0.2.3"},
		{"tls://192.0.2.1", "127.0.0.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"},
	} {
		for _, every := range []time.Duration{10 * time.Millisecond, 700 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprint(servers, every), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(mail(t))
					dead := true
					f.behave = func(server, _ string, _ dns.Question) (time.Duration, bool) {
						return near, !dead && server == servers[len(servers)-1]
					}
					v := f.validator(servers...)
					_, took, err := timed(t, v, "mx.example.com", TypeA)
					e := new(Error)
					if !errors.As(err, &e) || e.Reason != Timeout || e.Status != Indeterminate || took > 2*time.Second {
						t.Errorf("%v after %v", err, took)
					}
					if err != nil {
						mentions(t, err, "does not reply to anything", servers[0])
					}
					var back time.Time
					for i := range 40 {
						time.Sleep(every)
						_, took, err := timed(t, v, "mx.example.com", TypeA)
						if now := time.Now(); (err == nil) != !back.IsZero() && (back.IsZero() || now.Sub(back) > 2*time.Second) {
							t.Errorf("%v after the servers were back: %v", now.Sub(back), err)
						}
						// Behind an authenticated server, a lookup may come between the end of a verdict and
						// the next one.
						limit := 100 * time.Millisecond
						if strings.HasPrefix(servers[0], "tls://") {
							limit = 700 * time.Millisecond
						}
						if took > limit && every < time.Second && back.IsZero() || took > 1500*time.Millisecond {
							t.Errorf("lookup %d took %v", i, took)
						}
						if i == 20 {
							f.log.Lock()
							dead, back = false, time.Now()
							f.log.Unlock()
						}
					}
					if n := f.countTo(servers[0]); n > 60 && every < time.Second {
						t.Errorf("%d questions to a dead server", n)
					}
				})
			})
		}
	}
}

// D7: a server stays the first, whatever happens to names whose own servers are slow or
// silent.
func TestD7SlowNamesDoNotDemoteServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		for i := range 20 {
			w.zone(fmt.Sprintf("slow%d.com.", i), fmt.Sprintf("mx.slow%d.com. 60 IN A 192.0.2.1", i))
		}
		f := newFleet(w)
		f.behave = func(_, _ string, q dns.Question) (time.Duration, bool) {
			return near, !strings.Contains(q.Name, "slow")
		}
		v := f.validator("192.0.2.1", "192.0.2.2")
		if _, err := v.Lookup(t.Context(), "com", TypeNS); err != nil {
			t.Fatal(err)
		}
		var slow sync.WaitGroup
		for i := range 20 {
			slow.Go(func() {
				if a, err := v.Lookup(t.Context(), fmt.Sprintf("mx.slow%d.com", i), TypeA); err == nil {
					t.Errorf("%+v", a)
				}
			})
		}
		elsewhere := 0
		for i := range 60 {
			time.Sleep(110 * time.Millisecond)
			f.countTo("192.0.2.2")
			if _, took, err := timed(t, v, fmt.Sprintf("n%d.wild.example.com", i), TypeA); err != nil || took > 4*near {
				t.Errorf("%v after %v", err, took)
			}
			f.log.Lock()
			for _, s := range f.sent {
				if s.server == "192.0.2.2" && strings.Contains(s.question.Name, "wild") {
					elsewhere++
				}
			}
			f.log.Unlock()
		}
		slow.Wait()
		if elsewhere != 0 {
			t.Errorf("%d questions about other names went to the second server", elsewhere)
		}
		// The same without other names in between.
		for i := range 5 {
			if a, err := v.Lookup(t.Context(), fmt.Sprintf("x.slow%d.com", i), TypeA); err == nil {
				t.Errorf("%+v", a)
			}
		}
		f.countTo("192.0.2.2")
		if _, took, err := timed(t, v, "last.wild.example.com", TypeA); err != nil || took > 4*near || f.countTo("192.0.2.2") != 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// D7: a server that fails checks, and replies to other questions, does not fail.
func TestD7ReplyIsSignOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(mail(t))
		f.behave = func(_, _ string, q dns.Question) (time.Duration, bool) {
			return 700 * time.Millisecond, q.Name != "." || q.Qtype != dns.TypeSOA
		}
		v := f.validator("192.0.2.1")
		for i := range 10 {
			if a, err := v.Lookup(t.Context(), fmt.Sprintf("n%d.wild.example.com", i), TypeA); err != nil || a.Status != Secure {
				t.Errorf("%+v, %v", a, err)
			}
			time.Sleep(time.Second / 3)
		}
	})
}

// D7: a server to which an attacker's name servers return keys without signatures stays the
// first. One that strips those of the root does not.
func TestD7StrippedZonesDoNotDemoteServer(t *testing.T) {
	t.Parallel()
	for zones, want := range map[string]int{"evil": 0, ".": 1} {
		synctest.Test(t, func(t *testing.T) {
			w := mail(t)
			for i := range 3 {
				w.zone(fmt.Sprintf("evil%d.com.", i), fmt.Sprintf("mx.evil%d.com. 60 IN A 192.0.2.1", i))
			}
			f := newFleet(w)
			f.behave = func(string, string, dns.Question) (time.Duration, bool) { return near, true }
			f.bend = func(server string, m *dns.Msg) {
				if q := m.Question[0]; server == "192.0.2.1" && q.Qtype == dns.TypeDNSKEY && (strings.HasPrefix(q.Name, "evil") || zones == ".") {
					strip(m)
				}
			}
			v := f.validator("192.0.2.1", "192.0.2.2")
			for i := range 3 {
				if a, err := v.Lookup(t.Context(), fmt.Sprintf("mx.evil%d.com", i), TypeA); err != nil || a.Status != Secure {
					t.Errorf("%+v, %v", a, err) // the second server has the signatures
				}
			}
			f.countTo("192.0.2.1")
			f.countTo("192.0.2.2")
			if _, err := v.Lookup(t.Context(), "a.wild.example.com", TypeA); err != nil {
				t.Error(err)
			}
			if n := f.countTo("192.0.2.2"); n > 0 != (want > 0) {
				t.Errorf("%q without signatures: then %d questions to the second server", zones, n)
			}
		})
	}
}

// D14: a server of a private zone is checked with a name of that zone only.
func TestD14ChecksAskForPrivateNamesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(mail(t))
		f.behave = func(server, _ string, _ dns.Question) (time.Duration, bool) { return near, server == "192.0.2.1" }
		v := f.world.validator(func(c *Config) {
			c.Servers, c.Dial = []string{"192.0.2.1"}, f.dial
			c.PrivateZones = []PrivateZone{{Zone: "corp.example.com", Servers: []string{"192.0.2.98", "192.0.2.99"}}}
		})
		defer f.questions.Wait()
		_, took, err := timed(t, v, "relay.corp.example.com", TypeA)
		if err == nil || took > 2*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		checks := 0
		f.log.Lock()
		defer f.log.Unlock()
		for _, s := range f.sent {
			if s.server == "192.0.2.1" {
				t.Errorf("%v was sent to the public server", s.question)
			}
			if s.question.Name == "corp.example.com." && s.question.Qtype == dns.TypeSOA {
				checks++
			} else if s.question.Name != "relay.corp.example.com." {
				t.Errorf("%v was sent to a server of the zone", s.question)
			}
		}
		if checks == 0 {
			t.Error("no check")
		}
	})
}

// Decision "Overtaking": an authenticated server that is merely slow is waited for, and no
// plaintext server is asked instead.
func TestSlowAuthenticatedServerIsNotOvertaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		slow   time.Duration
		silent bool
	}{{600 * time.Millisecond, false}, {1250 * time.Millisecond, false}, {2900 * time.Millisecond, true}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(mail(t))
			f.behave = func(server, _ string, q dns.Question) (time.Duration, bool) {
				switch isCheck := q.Name == "." && q.Qtype == dns.TypeSOA; {
				case server == "192.0.2.2" || isCheck && tt.silent:
					return near, true
				default:
					return tt.slow, true
				}
			}
			v := f.validator("127.0.0.1", "192.0.2.2")
			for i := range 3 {
				if a, err := v.Lookup(t.Context(), fmt.Sprintf("n%d.wild.example.com", i), TypeA); err != nil || a.Status != Secure {
					t.Errorf("%v: %+v, %v", tt.slow, a, err)
				}
			}
			if n := f.countTo("192.0.2.2"); n != 0 {
				t.Errorf("%v: %d questions to the plaintext server", tt.slow, n)
			}
		})
	}
}

// Decision "Overtaking": an insecure denial from a server that overtook another counts only
// if the other says the same, or nothing. What the other says counts. Other answers count at
// once.
func TestOvertakingDenialNeedsTheOther(t *testing.T) {
	t.Parallel()
	records := func(m *dns.Msg) {}
	nxdomain := func(m *dns.Msg) {
		m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, []dns.RR{soa}
	}
	nodata := func(m *dns.Msg) { m.Answer, m.Ns = nil, []dns.RR{soa} }
	servfail := func(m *dns.Msg) { m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil }
	refused := func(m *dns.Msg) { m.Rcode, m.Answer, m.Ns = dns.RcodeRefused, nil, nil }
	const slow, quick = 900 * time.Millisecond, 450 * time.Millisecond
	for _, tt := range []struct {
		what          string
		name          string
		first, second func(m *dns.Msg) // nil: silent
		want          string           // "records", "NXDOMAIN", "NODATA" or a reason
		least, most   time.Duration
	}{
		{"records first", "mx.plain.com.", records, nxdomain, "records", slow, slow + quick},
		{"records first, then none of the type", "mx.plain.com.", records, nodata, "records", slow, slow + quick},
		{"the same", "mx.plain.com.", nxdomain, nxdomain, "NXDOMAIN", slow, slow + quick},
		{"another denial", "mx.plain.com.", nodata, nxdomain, "NODATA", slow, slow + quick},
		{"silence", "mx.plain.com.", nil, nxdomain, "NXDOMAIN", 3 * time.Second, 4 * time.Second},
		{"a failure", "mx.plain.com.", servfail, nxdomain, "servfail", slow, slow + quick},
		{"a refusal", "mx.plain.com.", refused, nxdomain, "NXDOMAIN", slow, slow + quick},
		{"records from both", "mx.plain.com.", records, records, "records", 0, quick},
		{"a secure denial", "none.example.com.", records, records, "NXDOMAIN", 0, quick},
		{"behind an alias", "away.example.com.", records, func(m *dns.Msg) {
			if m.Question[0].Name == "away.example.com." {
				m.Answer = without(m.Answer, func(rr dns.RR) bool { return rr.Header().Name != "away.example.com." })
			} else {
				nodata(m)
			}
		}, "records", slow, slow + quick},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(mail(t))
				concerned := func(q dns.Question) bool {
					return q.Qtype == dns.TypeA && (q.Name == tt.name || q.Name == "mx.plain.com.")
				}
				f.behave = func(server, _ string, q dns.Question) (time.Duration, bool) {
					if server == "192.0.2.1" && concerned(q) {
						return slow, tt.first != nil
					}
					return near, true
				}
				f.bend = func(server string, m *dns.Msg) {
					switch {
					case !concerned(m.Question[0]):
					case server == "192.0.2.1":
						tt.first(m)
					default:
						tt.second(m)
					}
				}
				a, took, err := timed(t, f.validator("192.0.2.1", "192.0.2.2"), tt.name, TypeA)
				if got := outcomeOf(a, err); got != tt.want || took < tt.least || took > tt.most {
					t.Errorf("%s after %v; want %s (%v)", got, took, tt.want, err)
				}
			})
		})
	}
}

// Decision "Overtaking": a null MX makes mail bounce like a denial (RFC 7505 section 3), so it
// counts from a server that overtook another only if the other has nothing to say.
func TestOvertakingNullMXNeedsTheOther(t *testing.T) {
	t.Parallel()
	const name, slow = "plain.com.", 900 * time.Millisecond
	null := []string{name + " 60 IN MX 0 ."}
	for _, tt := range []struct {
		what    string
		genuine []string
		forged  []string
		silent  bool // the first server
		want    string
		least   time.Duration
	}{
		{"of a domain with mail hosts", []string{name + " 60 IN MX 10 mx.plain.com."}, null, false, "mx.plain.com.", slow},
		{"twice, with other preferences", []string{name + " 60 IN MX 10 mx.plain.com."}, []string{name + " 60 IN MX 0 .", name + " 60 IN MX 5 ."}, false, "mx.plain.com.", slow},
		{"of a domain that has one", null, null, false, ".", slow},
		{"and silence", nil, null, true, ".", slow},
		{"beside a host", []string{name + " 60 IN MX 10 mx.plain.com."}, []string{name + " 60 IN MX 0 .", name + " 60 IN MX 10 other.plain.com."}, false, ". other.plain.com.", 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(mail(t))
				f.behave = func(server, _ string, q dns.Question) (time.Duration, bool) {
					if server == "192.0.2.1" && q.Qtype == dns.TypeMX {
						return slow, !tt.silent
					}
					return near, true
				}
				f.bend = func(server string, m *dns.Msg) {
					if m.Question[0].Qtype != dns.TypeMX {
						return
					}
					records := tt.genuine
					if server == "192.0.2.2" {
						records = tt.forged
					}
					m.Rcode, m.Answer, m.Ns = dns.RcodeSuccess, nil, nil
					for _, record := range records {
						m.Answer = append(m.Answer, dnsdata.RR(t, record))
					}
				}
				a, took, err := timed(t, f.validator("192.0.2.1", "192.0.2.2"), name, TypeMX)
				if err != nil {
					t.Fatal(err)
				}
				var hosts []string
				for _, r := range a.Records {
					mx, _ := r.MX()
					hosts = append(hosts, mx.Host)
				}
				slices.Sort(hosts)
				if got := strings.Join(slices.Compact(hosts), " "); got != tt.want || took < tt.least || tt.least == 0 && took >= slow {
					t.Errorf("%s after %v; want %s", got, took, tt.want)
				}
			})
		})
	}
}

// Decision "Overtaking": a server that overtook another does not hide an MTA-STS record by
// other text, or by an alias that leads to servers that do not answer.
func TestOvertakingServerHidesNoRecord(t *testing.T) {
	t.Parallel()
	const name, dead = "_mta-sts.plain.com.", "dead.plain.com."
	for _, tt := range []struct {
		what   string
		forged string
		silent bool // the first server
		fails  bool // the first server
		leads  bool // the first server, to a name without an answer
		want   string
	}{
		{"text", name + ` 60 IN TXT "other"`, false, false, false, "v=STSv1; id=1;"},
		{"silence", name + ` 60 IN TXT "other"`, true, false, false, "other"},
		{"a failure", name + ` 60 IN TXT "other"`, false, true, false, ""},
		{"alias", name + " 60 IN CNAME " + dead, false, false, false, "v=STSv1; id=1;"},
		{"alias of the first", name + ` 60 IN TXT "other"`, false, false, true, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(mail(t))
				f.zones["plain.com."].add(t, name+` 60 IN TXT "v=STSv1; id=1;"`)
				f.behave = func(server, _ string, q dns.Question) (time.Duration, bool) {
					if server == "192.0.2.1" && q.Name == name {
						return 900 * time.Millisecond, !tt.silent
					}
					return near, q.Name != dead
				}
				f.bend = func(server string, m *dns.Msg) {
					switch {
					case m.Question[0].Name != name:
					case server == "192.0.2.2":
						m.Answer = []dns.RR{dnsdata.RR(t, tt.forged)}
					case tt.fails:
						m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil
					case tt.leads:
						m.Answer = []dns.RR{dnsdata.RR(t, name+" 60 IN CNAME "+dead)}
					}
				}
				texts, err := f.validator("192.0.2.1", "192.0.2.2").LookupTXT(t.Context(), name)
				if tt.want == "" {
					if e := new(Error); !errors.As(err, &e) || tt.fails && e.Reason != ServerFailure {
						t.Errorf("%q, %v", texts, err)
					}
					return
				}
				if err != nil || !slices.Equal(texts, []string{tt.want}) {
					t.Errorf("%q, %v; want %q", texts, err, tt.want)
				}
			})
		})
	}
}

var soa, _ = dns.NewRR("plain.com. 3600 IN SOA ns.invalid. host.invalid. 1 3600 600 86400 900")

// outcomeOf names the outcome of a lookup.
func outcomeOf(a *Answer, err error) string {
	e := new(Error)
	switch {
	case errors.As(err, &e):
		return e.Reason.String()
	case a.NXDomain:
		return "NXDOMAIN"
	case len(a.Records) == 0:
		return "NODATA"
	default:
		return "records"
	}
}

// Decision "Overtaking", for a Trusting: what is not authenticated counts from a server that
// overtook another only if the other has nothing to say. Decision "Trusting": a server
// without AD for the root is not used, not even if the other is slow.
func TestOvertakingTrustingNeedsTheOther(t *testing.T) {
	t.Parallel()
	const slow, quick = 900 * time.Millisecond, 450 * time.Millisecond
	for _, tt := range []struct {
		what        string
		first       string // "AD", "no AD", "servfail" or "silent"
		second      string // the same, or "not validating"
		want        string
		least, most time.Duration
	}{
		{"both authenticated", "AD", "AD", "secure", 0, quick},
		{"the second is not", "AD", "no AD", "secure", slow, slow + quick},
		{"neither is", "no AD", "no AD", "insecure", slow, slow + quick},
		{"the first is silent", "silent", "no AD", "insecure", 3 * time.Second, 4 * time.Second},
		{"the first fails", "servfail", "no AD", "servfail", slow, slow + quick},
		{"the first cannot", "notimp", "no AD", "server-error", slow, slow + quick},
		{"the first refuses", "refused", "no AD", "insecure", slow, slow + quick},
		{"the second does not validate", "AD", "not validating", "secure", slow, slow + quick},
		{"the first is silent, the second does not validate", "silent", "not validating", "server-not-validating", 3 * time.Second, 8 * time.Second},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(mail(t))
				f.behave = func(server, _ string, q dns.Question) (time.Duration, bool) {
					if server == "127.0.0.1" && q.Name != "." {
						return slow, tt.first != "silent"
					}
					return near, true
				}
				f.bend = func(server string, m *dns.Msg) {
					does := tt.second
					if server == "127.0.0.1" {
						does = tt.first
					}
					strip(m)
					if m.AuthenticatedData = does == "AD" || isRootSOA(m) && does != "not validating"; !isRootSOA(m) {
						m.Rcode = map[string]int{"servfail": dns.RcodeServerFailure, "notimp": dns.RcodeNotImplemented, "refused": dns.RcodeRefused}[does]
					}
				}
				r, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1", "127.0.0.2"}, Dial: f.dial, Now: func() time.Time { return f.now }})
				if err != nil {
					t.Fatal(err)
				}
				defer f.questions.Wait()
				defer r.Close()
				a, took, err := timed(t, r, "mx.example.com", TypeA)
				got := ""
				if e := new(Error); errors.As(err, &e) {
					got = e.Reason.String()
				} else {
					got = a.Status.String()
				}
				if got != tt.want || took < tt.least || took > tt.most {
					t.Errorf("%s after %v; want %s (%v)", got, took, tt.want, err)
				}
			})
		})
	}
}

// D17: a server that is slow to answer for keys and delegations, or does not answer for
// those of names that do not exist, as systemd-resolved with DNSSEC switched off. Our own
// speculative questions do not delay mail to a dead domain.
func TestD17DeadDomainsAreNotDelayed(t *testing.T) {
	t.Parallel()
	isKeys := func(q dns.Question) bool { return q.Qtype == dns.TypeDS || q.Qtype == dns.TypeDNSKEY }
	for what, tt := range map[string]struct {
		behave func(network string, q dns.Question) (time.Duration, bool)
		most   time.Duration
	}{
		"no answer for the keys of what does not exist": {func(_ string, q dns.Question) (time.Duration, bool) {
			return near, !isKeys(q) || !strings.Contains(q.Name, "dead")
		}, 4 * near},
		"all keys are slow": {func(_ string, q dns.Question) (time.Duration, bool) {
			if isKeys(q) {
				return 800 * time.Millisecond, true
			}
			return near, true
		}, 1700 * time.Millisecond}, // the keys of a zone below, after those above
		"keys over TCP only": {func(network string, q dns.Question) (time.Duration, bool) {
			return near, !isKeys(q) || network == "tcp"
		}, 300 * time.Millisecond},
	} {
		for _, optOut := range []bool{false, true} {
			t.Run(fmt.Sprint(what, optOut), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := mail(t)
					w.zones["com."].nsec3, w.zones["com."].optOut = optOut, optOut
					f := newFleet(w)
					f.behave = func(_, network string, q dns.Question) (time.Duration, bool) { return tt.behave(network, q) }
					v := f.validator("127.0.0.53")
					for _, name := range []string{"dead.com", "mx.dead.com", "deader.com", "dead.example.com", "dead.nowhere"} {
						for _, rtype := range []Type{TypeMX, TypeA, TypeAAAA} {
							a, took, err := timed(t, v, name, rtype)
							if err != nil || !a.NXDomain || took > tt.most {
								t.Errorf("%s %s: %+v, %v after %v", rtype, name, a, err, took)
							}
						}
					}
				})
			})
		}
	}
}
