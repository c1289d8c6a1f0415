package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/limits"
)

// silent is a host that accepts connections and says nothing.
func silent(s *server) { io.Copy(io.Discard, s.conn) }

// slowly is a host without TLS that takes some time for each reply of a verb.
func slowly(verb string, delay time.Duration) script {
	return func(s *server) {
		s.say(greeting)
		for {
			line, ok := s.hear()
			if !ok {
				return
			}
			command, _, _ := strings.Cut(line, " ")
			if command == verb {
				time.Sleep(delay)
			}
			switch command {
			case "DATA":
				s.say("354 go\r\n")
				if !s.message() {
					return
				}
				if verb == "." {
					time.Sleep(delay)
				}
				s.say("250 2.0.0 queued as 1\r\n")
			default:
				s.say("250 ok\r\n")
			}
		}
	}
}

// domains is a Dialer with domains d0.example, d1.example and so on, whose only host
// is mx.d0.example and so on, at 10.0.0.0 and so on.
func (w *world) domains(t *testing.T, n int) (d *Dialer, to []string) {
	t.Helper()
	names, to := domainNames(t, n)
	d = w.dialer()
	d.Resolver = w.resolver(t, names, policy.Config{})
	return d, to
}

// domainNames are the records of those domains, and an address in each.
func domainNames(t *testing.T, n int) (names fakedns.Answers, to []string) {
	t.Helper()
	names = fakedns.Answers{}
	for i := range n {
		host := fmt.Sprintf("mx.d%d.example", i)
		names.Add(t, dnssec.Insecure, fmt.Sprintf("d%d.example. MX 10 %s.", i, host))
		names.Add(t, dnssec.Insecure, fmt.Sprintf("%s. A 10.0.%d.%d", host, i/256, i%256))
		names.Deny(dnssec.Insecure, host+". AAAA")
		to = append(to, fmt.Sprintf("x@d%d.example", i))
	}
	return names, to
}

// TestS24StallingDomainsDelayNoOther: SMTP-12: domains that stall do not delay the others.
func TestS24StallingDomainsDelayNoOther(t *testing.T) {
	t.Parallel()
	for _, stalling := range []int{1, 8, 15, 16, 40, 200} {
		t.Run(fmt.Sprint(stalling), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{})
				d, to := w.domains(t, stalling+1)
				for i := range stalling {
					w.scripts[fmt.Sprintf("10.0.%d.%d", i/256, i%256)] = []script{silent}
				}
				w.scripts[fmt.Sprintf("10.0.%d.%d", stalling/256, stalling%256)] = []script{inClearOnly}
				start := time.Now()
				var after time.Duration
				d.Delivered = func(Delivery) { after = time.Since(start) }
				result, err := d.Send(t.Context(), mailOf(letter, to...))
				if len(result.Delivered) != 1 || len(failures(t, err)) != stalling {
					t.Fatalf("%d delivered, error %v", len(result.Delivered), err)
				}
				if want := time.Duration(stalling/limits.AtOnce) * limits.Patience; after > want {
					t.Errorf("delivered after %v, want %v at most", after, want)
				}
			})
		})
	}
}

// TestS24StallingDomainIsLimited: a domain that stalls does not occupy all workers of the caller:
// deliveries beyond the limit fail in a few seconds, and at once when the others have
// been stalling for longer.
func TestS24StallingDomainIsLimited(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		domain, host int
		status       string
	}{
		"per domain": {3, 0, "4.4.5"},
		"per host":   {0, 3, "4.4.5"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{"10.0.0.0": {silent}})
				d, to := w.domains(t, 1)
				d.MaxPerDomain, d.MaxPerHost = test.domain, test.host
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() { d.SendMail(t.Context(), "s@example.net", to, []byte(letter)) })
				}
				synctest.Wait()
				for i, want := range []time.Duration{limits.Patience, 0} {
					start := time.Now()
					err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter))
					if got := failures(t, err); !slices.Equal(got, []string{"x@d0.example: 451 " + test.status}) {
						t.Errorf("failures %q", got)
					}
					if took := time.Since(start); took != want {
						t.Errorf("%d failed after %v, want %v", i, took, want)
					}
					time.Sleep(time.Second)
				}
				if len(w.dialed) != 3 {
					t.Errorf("%d connections", len(w.dialed))
				}
				all.Wait()
				if d.domains.Len() != 0 || d.hosts.Len() != 0 {
					t.Errorf("left: %v, %v", d.domains.Len(), d.hosts.Len())
				}
			})
		})
	}
}

// A limit delays deliveries that do not stall, and fails none of them.
func TestLimitOfQuickDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"10.0.0.0": {slowly("MAIL", time.Second)}})
		d, to := w.domains(t, 1)
		d.MaxPerDomain = 3
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// TestS14TheFinalDot: SMTP-11: DomainTimeout bounds a delivery up to the message. The
// reply to its end has ten minutes of its own, because another attempt would deliver
// it twice.
func TestS14TheFinalDot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		verb    string
		delay   time.Duration
		want    []string
		unknown bool
		after   time.Duration
	}{
		"the reply in time":            {".", 9 * time.Minute, nil, false, 9 * time.Minute},
		"the reply too late":           {".", 11 * time.Minute, []string{"x@d0.example: 451 4.4.2"}, true, 10 * time.Minute},
		"MAIL after the domain's time": {"MAIL", 2 * time.Minute, []string{"x@d0.example: 451 4.4.7"}, false, time.Minute},
		"RCPT after the domain's time": {"RCPT", 2 * time.Minute, []string{"x@d0.example: 451 4.4.7"}, false, time.Minute},
		"DATA after the domain's time": {"DATA", 2 * time.Minute, []string{"x@d0.example: 451 4.4.7"}, false, time.Minute},
		"MAIL in time":                 {"MAIL", 30 * time.Second, nil, false, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Hour) // until the server has given up
				w := newWorld(map[string][]script{"10.0.0.0": {slowly(test.verb, test.delay)}})
				d, to := w.domains(t, 1)
				d.DomainTimeout = time.Minute
				start := time.Now()
				err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter))
				if got := failures(t, err); !slices.Equal(got, test.want) {
					t.Errorf("failures %q, want %q\n%v", got, test.want, err)
				}
				if took := time.Since(start); took != test.after {
					t.Errorf("took %v, want %v", took, test.after)
				}
				if err != nil && err.(*SendError).Undelivered[0].OutcomeUnknown != test.unknown {
					t.Errorf("outcome unknown: %v", !test.unknown)
				}
			})
		})
	}
}

// TestS13StallingHostsLeaveTime: hosts that stall do not use up the time for the domain before the
// next one is tried.
func TestS13StallingHostsLeaveTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // until the servers have given up
		w := newWorld(map[string][]script{"192.0.2.1": {silent}, "192.0.2.2": {silent}, "192.0.2.3": {slowly("EHLO", 4*time.Minute)}, "192.0.2.4": {inClearOnly}})
		d := w.serving(t, policy.Config{})
		d.DomainTimeout = 2 * time.Minute
		start := time.Now()
		err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter))
		if err != nil || time.Since(start) >= 2*time.Minute {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if !slices.Equal(w.dialed, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}) {
			t.Errorf("dialed %q", w.dialed)
		}
		w.dialed = nil
		if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil || w.dialed[0] != "192.0.2.4" {
			t.Errorf("error %v; dialed %q, want those that stalled last", err, w.dialed)
		}
	})
}

// S13, SMTP-22: at whatever step before the message servers stall, the next ones get the mail in the
// time for the domain, and those that stalled are tried last for some minutes.
func TestS13StallsAtEveryStep(t *testing.T) {
	t.Parallel()
	stalling := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"}
	for _, verb := range []string{"greeting", "EHLO", "STARTTLS", "TLS", "EHLO in TLS", "MAIL", "RCPT", "DATA"} {
		for _, domainTimeout := range []time.Duration{time.Minute, 2 * time.Minute, 0} {
			for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
				t.Run(fmt.Sprintf("%s, DomainTimeout %v, %v", verb, domainTimeout, level), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(map[string][]script{"192.0.2.9": {withTLS(certificates().good)}})
						for _, addr := range stalling {
							w.scripts[addr] = []script{stallingAt(verb)}
						}
						d := w.dialer()
						d.Resolver = w.published(t, at(level, stalling[:4]...), at(level, stalling[4:]...), at(level, "192.0.2.9"))
						d.DomainTimeout, d.MaxConnections = domainTimeout, 100
						last := "" // that stalled
						for range 3 {
							w.dialed = nil
							if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
								t.Fatal(err)
							}
							if slices.Contains(w.dialed, last) {
								t.Errorf("dialed %q, and %s had stalled", w.dialed, last)
							}
							if len(w.dialed) > 1 && w.dialed[len(w.dialed)-1] == "192.0.2.9" {
								last = w.dialed[len(w.dialed)-2]
							}
						}
						if last == "" && !(level == policy.Opportunistic && strings.Contains(verb, "TLS")) {
							t.Error("no address stalled")
						}
					})
				})
			}
		}
	}
}

// S13: a host that is slow and within the time of a step, which is five minutes for MAIL (RFC
// 5321 section 4.5.3.2), gets the mail, however many addresses come after it. It has not
// stalled, and neither has one that refuses the mail or closes the connection.
func TestS13SlowIsNotStalled(t *testing.T) {
	t.Parallel()
	addr := func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }
	for name, tt := range map[string]struct {
		first  script
		dialed []string // for each message
	}{
		"slow":    {slowly("MAIL", 4*time.Minute), []string{addr(1)}},
		"refuses": {answering(map[string]string{"MAIL": "450 later\r\n"}), []string{addr(1), addr(3)}},
		"421":     {func(s *server) { s.say("421 busy\r\n") }, []string{addr(1), addr(3)}},
		"closes":  {func(s *server) { s.say(greeting) }, []string{addr(1), addr(2)}},
		"garbage": {func(s *server) { s.say("what?\r\n") }, []string{addr(1), addr(2)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{addr(1): {tt.first}})
				var hosts []mailHost
				for i := 1; i <= 9; i += 2 {
					hosts = append(hosts, at(policy.Opportunistic, addr(i), addr(i+1)))
					w.scripts[addr(i+1)] = []script{inClearOnly}
					if i > 1 {
						w.scripts[addr(i)] = []script{inClearOnly}
					}
				}
				d := w.dialer()
				d.Resolver = w.published(t, hosts...)
				for range 2 {
					w.dialed = nil
					if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(w.dialed, tt.dialed) {
						t.Errorf("dialed %q, want %q", w.dialed, tt.dialed)
					}
				}
			})
		})
	}
}

// stallingAt is a host with TLS that says nothing any more from a step on. "." is the
// reply to a message.
func stallingAt(step string) script { return stallingAfter(0, step) }

// stallingAfter is stallingAt from the time on when the host has taken some messages.
func stallingAfter(messages int64, step string) script {
	var left atomic.Int64 // of these messages
	left.Store(messages)
	return func(s *server) {
		inTLS := ""
		for line, ok := "greeting", true; ok; line, ok = s.hear() {
			verb, _, _ := strings.Cut(line, " ")
			if verb == "EHLO" {
				verb += inTLS
			}
			if verb == step && left.Load() == 0 {
				silent(s)
				return
			}
			reply := map[string]string{"greeting": greeting, "EHLO": "250-mx\r\n250 STARTTLS\r\n", "STARTTLS": "220 go\r\n", "DATA": "354 go\r\n"}[verb]
			s.say(cmp.Or(reply, "250 ok\r\n"))
			switch verb {
			case "DATA":
				s.message()
				if step == "." && left.Load() == 0 {
					silent(s)
					return
				}
				s.say("250 ok\r\n")
				left.Add(-1)
			case "STARTTLS":
				if inTLS = " in TLS"; step == "TLS" {
					silent(s)
				} else if !s.handshake(certificates().good) {
					return
				}
			}
		}
	}
}

// TestS24ClientCountsUntilItEnds: a Client counts for the limits until it ends, in whatever way.
func TestS24ClientCountsUntilItEnds(t *testing.T) {
	t.Parallel()
	for limit, set := range map[string]func(*Dialer){
		"per domain": func(d *Dialer) { d.MaxPerDomain = 2 },
		"per host":   func(d *Dialer) { d.MaxPerHost = 2 },
	} {
		for name, end := range map[string]func(*Client) error{
			"Quit":                  (*Client).Quit,
			"Close":                 (*Client).Close,
			"Close twice":           func(c *Client) error { c.Close(); c.Close(); return nil },
			"Quit of smtp.Client":   func(c *Client) error { return c.Client.Quit() },
			"Quit without a reply":  func(c *Client) error { c.command("SILENCE", 2); c.Quit(); return nil },
			"Quit after the server": func(c *Client) error { c.command("CLOSE", 2); c.Quit(); return nil },
		} {
			t.Run(limit+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(map[string][]script{"10.0.0.0": {func(s *server) {
						s.say(greeting)
						for {
							line, ok := s.hear()
							switch {
							case !ok || line == "CLOSE":
								return
							case line == "SILENCE":
								s.say("250 from now on\r\n")
								io.Copy(io.Discard, s.conn)
								return
							case line == "QUIT":
								s.say("221 bye\r\n")
								return
							}
							s.say("250 ok\r\n")
						}
					}}})
					d, to := w.domains(t, 1)
					set(d)
					dial := func(domain string) (*Client, time.Duration) {
						start := time.Now()
						client, err := d.Dial(t.Context(), domain)
						if err != nil && (hostStatus(err) != "4.4.5" || !err.(*policy.Error).Temporary()) {
							t.Errorf("error %v", err)
						}
						return client, time.Since(start)
					}
					first, _ := dial("d0.example")
					second, _ := dial("D0.Example.")
					if _, took := dial("d0.example"); took != limits.Patience {
						t.Errorf("the third was refused after %v, want %v", took, limits.Patience)
					}
					err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter))
					if got := failures(t, err); !slices.Equal(got, []string{"x@d0.example: 451 4.4.5"}) {
						t.Errorf("failures %q", got)
					}
					end(first)
					third, _ := dial("d0.example")
					if third == nil {
						t.Fatal("the place is not free")
					}
					if fourth, _ := dial("d0.example"); fourth != nil {
						t.Error("two places became free")
					}
					second.Close()
					third.Close()
					if d.domains.Len() != 0 || d.hosts.Len() != 0 {
						t.Errorf("left: %v, %v", d.domains.Len(), d.hosts.Len())
					}
				})
			})
		}
	}
	t.Run("no Client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string][]script{"10.0.0.0": {refusing("421 bye\r\n")}})
			d, _ := w.domains(t, 1)
			for _, domain := range []string{"d0.example", "d1.example", "[10.0.0.9]", "not a domain"} {
				if _, err := d.Dial(t.Context(), domain); err == nil {
					t.Errorf("a session with %s", domain)
				}
			}
			if d.domains.Len() != 0 || d.hosts.Len() != 0 {
				t.Errorf("left: %v, %v", d.domains.Len(), d.hosts.Len())
			}
		})
	})
}

// hostStatus is the status of an error of Dial.
func hostStatus(err error) string {
	var failure *policy.Error
	if errors.As(err, &failure) {
		return failure.Status
	}
	return ""
}
