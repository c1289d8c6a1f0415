package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// SMTP-38: a plan that expires while hosts are tried is not used for the next host: what has
// changed meanwhile counts, and what failed is not tried again.
func TestWalkRenewsThePlan(t *testing.T) {
	t.Parallel()
	digest := fmt.Sprintf(" TLSA 3 0 1 %x", sha256.Sum256(certificates().good.Certificate[0]))
	other := " TLSA 3 0 1 " + strings.Repeat("00", 32)
	for _, test := range []struct {
		name string
		// passes is the time until the first host fails; the plan lasts for ten seconds.
		passes   time.Duration
		before   string // of the second host: its TLSA record
		change   func(*testing.T, fakedns.Answers)
		dialed   []string
		failure  string // enhanced status code; empty if the message is delivered
		inTLS    bool
		resolved int // how often
	}{
		{name: "it holds", passes: time.Second, before: digest,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+other)
			},
			dialed: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 1},
		{name: "nothing has changed", passes: 30 * time.Second, before: digest, change: func(*testing.T, fakedns.Answers) {},
			dialed: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 2},
		{name: "a key was rolled", passes: 30 * time.Second, before: other,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+digest)
			},
			dialed: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 2},
		{name: "DANE was added", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+other)
			},
			dialed: []string{"192.0.2.1", "192.0.2.2"}, failure: "4.7.5", resolved: 2},
		{name: "the second host is gone", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "example.org. MX 10 mx1.example.net.", "example.org. MX 20 mx3.example.net.")
			},
			dialed: []string{"192.0.2.1", "192.0.2.3"}, inTLS: true, resolved: 2},
		{name: "the first host has another address", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "mx1.example.net. A 192.0.2.3", "mx1.example.net. A 192.0.2.1")
			},
			dialed: []string{"192.0.2.1", "192.0.2.3"}, inTLS: true, resolved: 2},
		{name: "the lookup fails", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) { n["example.org. MX"] = nil },
			dialed: []string{"192.0.2.1"}, failure: "4.4.3", resolved: 2},
		{name: "the domain takes no mail any more", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) { n.Add(t, dnssec.Secure, "example.org. MX 0 .") },
			dialed: []string{"192.0.2.1"}, failure: "5.1.10", resolved: 2},
	} {
		for way, send := range map[string]func(*testing.T, *Dialer) error{
			"Send": func(t *testing.T, d *Dialer) error {
				return d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter))
			},
			"Sessions": func(t *testing.T, d *Dialer) error {
				for session, err := range d.Sessions(t.Context(), "example.org") {
					if err != nil {
						return err
					}
					if session.Failure(sendOver(session.NetConn())) == nil {
						return nil
					}
				}
				return nil
			},
		} {
			t.Run(test.name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					names := fakedns.Answers{}
					names.Add(t, dnssec.Secure, "example.org. MX 10 mx1.example.net.", "example.org. MX 20 mx2.example.net.")
					for i := 1; i <= 3; i++ {
						host := fmt.Sprintf("mx%d.example.net.", i)
						names.Add(t, dnssec.Secure, fmt.Sprintf("%s A 192.0.2.%d", host, i))
						names.Deny(dnssec.Secure, host+" AAAA", "_25._tcp."+host+" TLSA")
					}
					if test.before != "" {
						names.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+test.before)
					}
					w := newWorld(map[string][]script{
						"192.0.2.1": {func(*server) {
							time.Sleep(test.passes)
							test.change(t, names)
						}},
						"192.0.2.2": {withTLS(certificates().good)}, "192.0.2.3": {withTLS(certificates().good)},
					})
					d := w.dialer()
					counted := &countedNames{Resolver: shortly{names}}
					d.Resolver = w.resolver(t, counted, policy.Config{})
					err := send(t, d)
					var failure *policy.Error
					if errors.As(err, &failure) != (test.failure != "") || failure != nil && failure.Status != test.failure {
						t.Errorf("error %v", err)
					}
					if !slices.Equal(w.dialed, test.dialed) {
						t.Errorf("dialed %q, want %q", w.dialed, test.dialed)
					}
					if got := slices.Contains(w.said(w.dialed[len(w.dialed)-1]), "TLS"); test.inTLS && !got {
						t.Error("the session is in cleartext")
					}
					if counted.mx != test.resolved {
						t.Errorf("resolved %d times, want %d", counted.mx, test.resolved)
					}
				})
			})
		}
	}
}

// countedNames counts the lookups of MX records.
type countedNames struct {
	dnssec.Resolver
	mx int
}

func (n *countedNames) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	if t == dnssec.TypeMX {
		n.mx++
	}
	return n.Resolver.Lookup(ctx, name, t)
}

// Records that expire at once do not keep a walk going: the plans of one call are
// bounded, and then the mail waits. A failure by a plan that has expired is not permanent.
func TestWalkRenewsThePlanAFewTimes(t *testing.T) {
	t.Parallel()
	for _, requireTLS := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			names := fakedns.Answers{}
			w := newWorld(map[string][]script{})
			var exchanges []string
			for i := range 10 {
				host, addr := fmt.Sprintf("mx%d.example.net.", i), fmt.Sprintf("192.0.2.%d", i)
				exchanges = append(exchanges, fmt.Sprintf("example.org. MX %d %s", i, host))
				names.Add(t, dnssec.Secure, host+" A "+addr)
				names.Deny(dnssec.Secure, host+" AAAA", "_25._tcp."+host+" TLSA")
				w.scripts[addr] = []script{func(s *server) {
					time.Sleep(20 * time.Second)
					inClearOnly(s)
				}}
			}
			var options []policy.Option
			refusing := 10
			if requireTLS { // fewer, so that all are tried
				options, refusing = append(options, policy.RequireTLS()), 3
			} else {
				for addr := range w.scripts {
					w.scripts[addr] = []script{func(s *server) {
						time.Sleep(20 * time.Second)
						s.say("554 no\r\n")
						s.hear()
					}}
				}
			}
			names.Add(t, dnssec.Secure, exchanges[:refusing]...)
			d := w.dialer()
			counted := &countedNames{Resolver: shortly{names}}
			d.Resolver = w.resolver(t, counted, policy.Config{})
			_, err := d.Dial(t.Context(), "example.org", options...)
			var failure *policy.Error
			if !errors.As(err, &failure) || failure.Permanent {
				t.Errorf("error %v", err)
			}
			if want := min(refusing, 1+maxRenewals); counted.mx != want || len(w.dialed) != want || errors.Is(err, ErrExpired) == requireTLS {
				t.Errorf("resolved %d times and dialed %q, want %d: %v", counted.mx, w.dialed, want, err)
			}
		})
	}
}

// DialHost does not go on to another address of the host by a plan that has expired.
func TestDialHostStopsWhenThePlanExpires(t *testing.T) {
	t.Parallel()
	for passes, want := range map[time.Duration][]string{time.Second: {"192.0.2.1", "192.0.2.2"}, 30 * time.Second: {"192.0.2.1"}} {
		synctest.Test(t, func(t *testing.T) {
			names := fakedns.Answers{}
			names.Add(t, dnssec.Secure, "example.org. MX 10 mx.example.net.")
			names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1", "mx.example.net. A 192.0.2.2")
			names.Deny(dnssec.Secure, "mx.example.net. AAAA", "_25._tcp.mx.example.net. TLSA")
			w := newWorld(map[string][]script{"192.0.2.1": {func(*server) { time.Sleep(passes) }}, "192.0.2.2": {inClearOnly}})
			d := w.dialer()
			d.Resolver = w.resolver(t, shortly{names}, policy.Config{})
			plan, err := d.Resolver.Resolve(t.Context(), "example.org")
			if err != nil {
				t.Fatal(err)
			}
			session, err := d.DialHost(t.Context(), plan, "mx.example.net")
			if err == nil {
				session.Close()
			}
			if errors.Is(err, ErrExpired) != (len(want) == 1) || !slices.Equal(w.dialed, want) {
				t.Errorf("after %v: dialed %q, error %v", passes, w.dialed, err)
			}
		})
	}
}

// instantly are names whose records end at once.
type instantly struct{ fakedns.Answers }

func (n instantly) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	answer, err := n.Answers.Lookup(ctx, name, t)
	if answer != nil {
		answer.Expires = time.Now()
	}
	return answer, err
}

// What Resolve has returned holds at that moment: the first host is tried, however short the
// records last.
func TestWalkTriesTheFirstHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"10.0.0.0": {inClearOnly}})
		names, to := domainNames(t, 1)
		counted := &countedNames{Resolver: instantly{names}}
		d := w.dialer()
		d.Resolver = w.resolver(t, counted, policy.Config{})
		if err := d.SendMail(t.Context(), "s@example.net", to, []byte(letter)); err != nil || counted.mx != 1 {
			t.Errorf("resolved %d times, error %v", counted.mx, err)
		}
	})
}

// A session of a Pool that serves no more messages is followed by a new connection, also if
// the plan expires meanwhile, and not by another session that was kept.
func TestPoolDialsByARenewedPlan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"10.0.0.0": {func(s *server) {
			s.say(greeting)
			for mails := 0; ; {
				line, ok := s.hear()
				verb, _, _ := strings.Cut(line, " ")
				switch {
				case !ok:
					return
				case verb == "MAIL" && mails == 1:
					time.Sleep(20 * time.Second)
					s.say("452 4.5.3 one message for each connection\r\n")
				case verb == "DATA":
					mails++
					s.say("354 go\r\n")
					s.message()
					time.Sleep(time.Second)
					s.say("250 ok\r\n")
				default:
					s.say("250 ok\r\n")
				}
			}
		}}})
		names, to := domainNames(t, 1)
		counted := &countedNames{Resolver: shortly{names}}
		d := w.dialer()
		d.Resolver = w.resolver(t, counted, policy.Config{})
		pool := &Pool{Dialer: d, IdleTime: time.Hour}
		defer pool.Close(t.Context())
		send := func() {
			if err := pool.SendMail(t.Context(), "s@example.net", to, []byte(letter)); err != nil {
				t.Error(err)
			}
		}
		var both sync.WaitGroup
		both.Go(send)
		both.Go(send)
		both.Wait()
		send()
		mails := 0
		for _, line := range w.said("10.0.0.0") {
			if strings.HasPrefix(line, "MAIL ") {
				mails++
			}
		}
		if len(w.dialed) != 3 || mails != 4 || counted.mx != 2 {
			t.Errorf("dialed %q, MAIL %d times, resolved %d times", w.dialed, mails, counted.mx)
		}
	})
}
