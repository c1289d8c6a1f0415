package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// A plan that expires while hosts are tried is not used for the next host: what has
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
		dialled  []string
		failure  string // enhanced status code; empty if the message is delivered
		inTLS    bool
		resolved int // how often
	}{
		{name: "it holds", passes: time.Second, before: digest,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+other)
			},
			dialled: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 1},
		{name: "nothing has changed", passes: 30 * time.Second, before: digest, change: func(*testing.T, fakedns.Answers) {},
			dialled: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 2},
		{name: "a key was rolled", passes: 30 * time.Second, before: other,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+digest)
			},
			dialled: []string{"192.0.2.1", "192.0.2.2"}, inTLS: true, resolved: 2},
		{name: "DANE was added", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "_25._tcp.mx2.example.net."+other)
			},
			dialled: []string{"192.0.2.1", "192.0.2.2"}, failure: "4.7.5", resolved: 2},
		{name: "the second host is gone", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "example.org. MX 10 mx1.example.net.", "example.org. MX 20 mx3.example.net.")
			},
			dialled: []string{"192.0.2.1", "192.0.2.3"}, inTLS: true, resolved: 2},
		{name: "the first host has another address", passes: 30 * time.Second,
			change: func(t *testing.T, n fakedns.Answers) {
				n.Add(t, dnssec.Secure, "mx1.example.net. A 192.0.2.3", "mx1.example.net. A 192.0.2.1")
			},
			dialled: []string{"192.0.2.1", "192.0.2.3"}, inTLS: true, resolved: 2},
		{name: "the lookup fails", passes: 30 * time.Second,
			change:  func(t *testing.T, n fakedns.Answers) { n["example.org. MX"] = nil },
			dialled: []string{"192.0.2.1"}, failure: "4.4.3", resolved: 2},
		{name: "the domain takes no mail any more", passes: 30 * time.Second,
			change:  func(t *testing.T, n fakedns.Answers) { n.Add(t, dnssec.Secure, "example.org. MX 0 .") },
			dialled: []string{"192.0.2.1"}, failure: "5.1.10", resolved: 2},
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
					if !slices.Equal(w.dialled, test.dialled) {
						t.Errorf("dialled %q, want %q", w.dialled, test.dialled)
					}
					if got := slices.Contains(w.said(w.dialled[len(w.dialled)-1]), "TLS"); test.inTLS && !got {
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
			if want := min(refusing, 1+maxRenewals); counted.mx != want || len(w.dialled) != want || errors.Is(err, ErrExpired) == requireTLS {
				t.Errorf("resolved %d times and dialled %q, want %d: %v", counted.mx, w.dialled, want, err)
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
			if errors.Is(err, ErrExpired) != (len(want) == 1) || !slices.Equal(w.dialled, want) {
				t.Errorf("after %v: dialled %q, error %v", passes, w.dialled, err)
			}
		})
	}
}
