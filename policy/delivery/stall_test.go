package delivery

import (
	"context"
	"fmt"
	"iter"
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

// slowNames are names of which some get no answer.
type slowNames struct {
	fakedns.Answers
	stalls func(name string) bool
}

func (n *slowNames) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	if n.stalls(strings.TrimSuffix(name, ".")) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n.Answers.Lookup(ctx, name, t)
}

// sender is a Dialer or a Pool.
type sender interface {
	Send(context.Context, Mail, ...policy.Option) (Result, error)
	Sessions(context.Context, string, ...policy.Option) iter.Seq2[*Session, error]
}

// TestS24StallsAtEveryStepDelayNoOther: SMTP-12: eight domains stall, each with a mail host of its own, and the
// ninth gets its mail at once: whatever the step is at which they stall, and however the
// mail is sent.
func TestS24StallsAtEveryStepDelayNoOther(t *testing.T) {
	t.Parallel()
	const stalling = 8
	// each calls f for all domains, for the ninth when the others have stalled.
	each := func(to []string, f func(address string)) {
		var others sync.WaitGroup
		for _, address := range to[:stalling] {
			others.Go(func() { f(address) })
		}
		synctest.Wait()
		f(to[stalling])
		others.Wait()
	}
	ways := map[string]func(t *testing.T, s sender, to []string, delivered func(Delivery)){
		"one message": func(t *testing.T, s sender, to []string, _ func(Delivery)) {
			s.Send(t.Context(), mailOf(letter, to...))
		},
		"a message to each": func(t *testing.T, s sender, to []string, _ func(Delivery)) {
			each(to, func(address string) { s.Send(t.Context(), mailOf(letter, address)) })
		},
		"Sessions": func(t *testing.T, s sender, to []string, delivered func(Delivery)) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			each(to, func(address string) {
				_, domain, _ := strings.Cut(address, "@")
				for session, err := range s.Sessions(ctx, domain) {
					if err != nil {
						return
					}
					err = sendOver(session.NetConn())
					if session.Failure(err) == nil {
						delivered(Delivery{Recipients: []string{address}})
						return
					}
				}
			})
		},
	}
	inSession := []string{"MAIL", "RCPT", "DATA", "."}
	for _, from := range []struct {
		name  string
		steps []string
		pool  bool
		kept  bool // the sessions that stall have been kept since another message
	}{
		{name: "Dialer", steps: slices.Concat([]string{"MX", "address", "connection", "greeting", "EHLO", "STARTTLS", "TLS", "EHLO in TLS"}, inSession)},
		{name: "Pool", steps: slices.Concat([]string{"MX", "address", "connection", "greeting", "EHLO", "STARTTLS", "TLS", "EHLO in TLS"}, inSession), pool: true},
		{name: "Pool, kept", steps: append([]string{"RSET"}, inSession...), pool: true, kept: true},
	} {
		for _, step := range from.steps {
			for way, send := range ways {
				t.Run(fmt.Sprintf("%s, %s, %s", from.name, step, way), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						defer time.Sleep(2 * time.Hour) // until the servers have given up
						w := newWorld(map[string][]script{"10.0.0.8": {inClearOnly}})
						w.silent = make(map[string]bool)
						names, to := domainNames(t, stalling+1)
						d := w.dialer()
						d.Resolver = w.resolver(t, &slowNames{names, func(name string) bool {
							return step == "MX" && strings.HasPrefix(name, "d") && name != "d8.example" ||
								step == "address" && strings.HasPrefix(name, "mx.") && name != "mx.d8.example"
						}}, policy.Config{})
						for i := range stalling {
							addr := fmt.Sprintf("10.0.0.%d", i)
							w.silent[addr] = step == "connection"
							w.scripts[addr] = []script{stallingAt(step)}
							if from.kept {
								w.scripts[addr] = []script{stallingAfter(1, step), stallingAt(step)}
							}
						}
						pool := &Pool{Dialer: d}
						defer pool.Close(t.Context())
						if from.kept {
							if _, err := pool.Send(t.Context(), mailOf(letter, to...)); err != nil {
								t.Fatal(err)
							}
						}
						start, took := time.Now(), time.Duration(-1)
						var mu sync.Mutex
						d.Delivered = func(delivery Delivery) {
							mu.Lock()
							defer mu.Unlock()
							if delivery.Recipients[0] == to[stalling] {
								took = time.Since(start)
							}
						}
						if from.pool {
							send(t, pool, to, d.Delivered)
						} else {
							send(t, d, to, d.Delivered)
						}
						if took < 0 || took > 10*time.Millisecond { // the checks of a Pool take some
							t.Errorf("the ninth got its mail after %v", took)
						}
					})
				})
			}
		}
	}
}
