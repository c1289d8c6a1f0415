package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// stalling is a Mailer and a Resolver for hostile domains. Mail to an address with
// "slow" in its domain gets no reply, and neither does a lookup for a domain with
// "mute" in its name.
type stalling struct{ *world }

func (s stalling) SendMail(ctx context.Context, from string, to []string, message []byte) error {
	if strings.Contains(to[0], "slow") {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.sendMail(ctx, from, to, message)
}

func (s stalling) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if strings.Contains(name, "mute") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if strings.Contains(name, "lame") {
		time.Sleep(9 * time.Second)
	}
	return s.world.LookupTXT(ctx, name)
}

func (s stalling) config() reporter.Config {
	config := s.world.config()
	config.Mailer, config.Resolver = s, s
	return config
}

// lastMail returns when the last of the domains good0.example, good1.example, ... got
// its report. It fails if one of them got none.
func lastMail(t *testing.T, w *world, good int) time.Duration {
	t.Helper()
	got := make(map[string]time.Duration)
	for _, m := range w.mails() {
		if strings.Contains(m.to, "@good") {
			got[m.to] = m.after
		}
	}
	if len(got) != good {
		t.Fatalf("%d of %d reports were delivered", len(got), good)
	}
	last := time.Duration(0)
	for _, after := range got {
		last = max(last, after)
	}
	return last
}

// R3: domains with endpoints or name servers that do not answer delay nobody else's
// reports, even if they come first and have many names.
func TestR3UnresponsiveEndpointsDelayNoOther(t *testing.T) {
	const hostile, good = 150, 150
	eight := func(i int, form string) string {
		uris := make([]string, 8)
		for k := range uris {
			uris[k] = fmt.Sprintf(form, k, i)
		}
		return "v=TLSRPTv1; rua=" + strings.Join(uris, ",")
	}
	for name, record := range map[string]func(i int) (domain, txt string){
		"mail, each its own host": func(i int) (string, string) {
			return fmt.Sprintf("bad%d.example", i), eight(i, "mailto:t@slow%d-%d.example")
		},
		"mail, names of one owner": func(i int) (string, string) {
			return fmt.Sprintf("bad%d.evil.example", i), eight(i, "mailto:t@n%d.n%d.slow.example")
		},
		"name servers": func(i int) (string, string) { return fmt.Sprintf("mute%d.example", i), "" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				for i := range hostile {
					domain, txt := record(i)
					w.txt[domain] = []string{txt}
					w.count(domain, today, met(noPolicy))
				}
				for i := range good {
					domain := fmt.Sprintf("good%d.example", i)
					w.txt[domain] = []string{"v=TLSRPTv1; rua=mailto:tls@" + domain}
					w.count(domain, today, met(noPolicy))
				}
				w.start(stalling{w}.config())
				wait(8 * time.Hour)
				if last := lastMail(t, w, good); last > 5*time.Hour {
					t.Errorf("the last report was sent after %v", last)
				}
			})
		})
	}
}

// R3: many names of one owner delay the reports of others by minutes only.
func TestR3ManyNamesDelayOthersByMinutes(t *testing.T) {
	const hostile, good = 800, 100
	for name, record := range map[string]func(i int) (domain, txt string){
		"recipient domains": func(i int) (string, string) { return fmt.Sprintf("lame%d.evil.example", i), "v=TLSRPTv1; rua=ftp:x" },
		"endpoints": func(i int) (string, string) {
			return fmt.Sprintf("bad%d.example", i), fmt.Sprintf("v=TLSRPTv1; rua=mailto:t@n%d.slow.example", i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				for i := range hostile {
					domain, txt := record(i)
					w.txt[domain] = []string{txt}
					w.count(domain, today, met(noPolicy))
				}
				for i := range good {
					domain := fmt.Sprintf("good%d.example", i)
					w.txt[domain] = []string{"v=TLSRPTv1; rua=mailto:tls@" + domain}
					w.count(domain, today, met(noPolicy))
				}
				time.Sleep(5 * time.Hour) // so that all are due at once
				w.start(stalling{w}.config())
				wait(12 * time.Hour)
				if last := lastMail(t, w, good); last > 5*time.Hour+10*time.Minute {
					t.Errorf("the last report was sent after %v", last-5*time.Hour)
				}
			})
		})
	}
}

// R3: an endpoint that is slow, but answers, gets its report.
func TestR3SlowEndpointGetsItsReport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{mailTXT}
		w.count("example.com", today, met(noPolicy))
		config := w.config()
		config.Mailer = reporter.MailerFunc(func(ctx context.Context, from string, to []string, message []byte) error {
			select {
			case <-time.After(4 * time.Minute):
				return w.sendMail(ctx, from, to, message)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		w.start(config)
		wait(allStarted + 5*time.Minute)
		if len(w.mails()) != 1 || w.left("example.com", today) != nil {
			t.Errorf("%d reports; log:\n%s", len(w.mails()), w.log.String())
		}
	})
}

// R3: an endpoint that comes after seven that do not answer gets the report within the
// same attempt.
func TestR3LastOfEightEndpointsGetsReport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var rua strings.Builder
		for i := range 7 {
			fmt.Fprintf(&rua, "mailto:t@slow%d.example,", i)
		}
		w.txt["example.com"] = []string{"v=TLSRPTv1; rua=" + rua.String() + "mailto:tls@example.com"}
		w.count("example.com", today, met(noPolicy))
		time.Sleep(5 * time.Hour) // so that the attempt begins at once
		w.start(stalling{w}.config())
		wait(6 * time.Minute)
		if len(w.mails()) != 1 {
			t.Errorf("%d reports; log:\n%s", len(w.mails()), w.log.String())
		}
	})
}

// R4: a host or mail domain gets at most one delivery per interval, also if one domain
// names eight of its addresses, and also after deliveries that came late.
func TestR4VictimGetsOneDeliveryPerInterval(t *testing.T) {
	for name, uri := range map[string]string{
		"mail":       "mailto:a%d@victim.example",
		"https":      "https://reports.example/%d",
		"other case": "mailto:a%d@Victim.EXAMPLE",
	} {
		for _, interval := range []time.Duration{time.Second, 30 * time.Second} {
			t.Run(fmt.Sprint(name, " ", interval), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					const domains, each = 20, 8
					for i := range domains {
						uris := make([]string, each)
						for k := range uris {
							uris[k] = fmt.Sprintf(uri, k)
						}
						domain := fmt.Sprintf("d%d.example", i)
						w.txt[domain] = []string{"v=TLSRPTv1; rua=" + strings.Join(uris, ",")}
						w.count(domain, today, met(noPolicy))
					}
					for i := range 400 { // they occupy the lanes, so that deliveries come late
						domain := fmt.Sprintf("lame%d.example", i)
						w.txt[domain] = []string{"v=TLSRPTv1; rua=ftp:x"}
						w.count(domain, today, met(noPolicy))
					}
					config := stalling{w}.config()
					config.EndpointInterval = interval
					w.start(config)
					wait(allStarted + domains*each*interval + 10*time.Minute)
					var times []time.Duration
					for _, d := range slices.Concat(w.mails(), w.posts()) {
						times = append(times, d.after)
					}
					if slices.Sort(times); len(times) != domains*each {
						t.Fatalf("%d deliveries", len(times))
					}
					for i := range times[1:] {
						if apart := times[i+1] - times[i]; apart < interval {
							t.Errorf("deliveries %v apart", apart)
						}
					}
				})
			})
		}
	}
}

// R4: when the Reporter ends, no delivery that waits for its turn begins, even if the Mailer
// does not look at its context.
func TestR4NoDeliveryAfterTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["a.example"] = []string{"v=TLSRPTv1; rua=mailto:a@victim.example,mailto:b@victim.example"}
		w.count("a.example", today, met(noPolicy))
		config := w.config()
		deliveries := make(chan string, tlsrpt.MaxEndpoints)
		config.Mailer = reporter.MailerFunc(func(_ context.Context, _ string, to []string, _ []byte) error {
			deliveries <- to[0]
			return errors.New("550 no such user")
		})
		stop := w.startFor(config)
		first := <-deliveries
		stop()
		if len(deliveries) > 0 {
			t.Errorf("a delivery to %s after that to %s, when the Reporter had to end", <-deliveries, first)
		}
	})
}

// R9: a fleet makes as many attempts as one Reporter at a report that is refused, and
// at looking up a record that cannot be looked up.
func TestR9FleetAttemptsAsOne(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"refused":       func(w *world) { w.status = 500 },
		"DNS not there": func(w *world) { w.txtErr = errTemporary },
	} {
		t.Run(name, func(t *testing.T) {
			attempts := func(reporters int) (n int) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					prepare(w)
					w.count("example.com", today, met(noPolicy))
					time.Sleep(5 * time.Hour) // so that all begin at once
					var stops []func()
					for range reporters {
						stops = append(stops, w.startFor(w.config()))
					}
					wait(26 * time.Hour)
					n = len(w.posts()) + w.lookups()
					var all sync.WaitGroup
					for _, stop := range stops {
						all.Go(stop)
					}
					all.Wait()
				})
				return n
			}
			one, twenty := attempts(1), attempts(20)
			if one < 5 || twenty != one {
				t.Errorf("one Reporter makes %d attempts, twenty make %d", one, twenty)
			}
		})
	}
}

// A Reporter that stops returns its leases, so that another one can continue at once.
func TestReporterReturnsLeases(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.status = 500
		w.count("example.com", today, met(noPolicy))
		stop := w.startFor(w.config())
		wait(5 * time.Hour)
		stop()
		if release, ok, err := w.store.Lease(t.Context(), today, "example.com", time.Minute); !ok || err != nil {
			t.Errorf("the lease is not free: %v", err)
		} else {
			release()
		}
	})
}
