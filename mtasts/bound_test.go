package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// M10: the fetches in progress are bounded, in total, for each registrable domain and
// for each address, however many callers leave before they end. A domain for which
// there is no turn has not failed.
func TestM10StallingPolicyHosts(t *testing.T) {
	for name, test := range map[string]struct {
		domain func(i int) string
		addr   func(i int) string
		most   int64
	}{
		"unrelated":         {func(i int) string { return fmt.Sprintf("d%d.example", i) }, func(i int) string { return fmt.Sprintf("11.0.%d.%d", i/250, i%250) }, 128},
		"one domain's":      {func(i int) string { return fmt.Sprintf("d%d.evil.co.uk", i) }, func(i int) string { return fmt.Sprintf("11.0.%d.%d", i/250, i%250) }, 4},
		"one address":       {func(i int) string { return fmt.Sprintf("d%d.co.uk", i) }, func(int) string { return "11.0.0.1" }, 16},
		"one domain's name": {func(i int) string { return fmt.Sprintf("d%d.evil.example", i) }, func(int) string { return "11.0.0.1" }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				var open, most atomic.Int64
				const domains = 500
				for i := range domains {
					w.txts["_mta-sts."+test.domain(i)+"."] = txtAnswer{txts: []string{"v=STSv1; id=1;"}, ttl: time.Hour}
					w.addrs["mta-sts."+test.domain(i)+"."] = []netip.Addr{netip.MustParseAddr(test.addr(i))}
				}
				w.addrs[policyHost+"."] = []netip.Addr{netip.MustParseAddr("11.1.1.1")}
				c := w.client(t, func(config *mtasts.Config) {
					config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if addr == "11.1.1.1:443" {
							return w.Dial(ctx, network, addr)
						}
						most.Store(max(most.Load(), open.Add(1)))
						client, server := net.Pipe()
						go func() { // reads, and never answers
							buffer := make([]byte, 1<<10)
							for {
								if _, err := server.Read(buffer); err != nil {
									open.Add(-1)
									return
								}
							}
						}()
						return client, nil
					}
				})
				var callers sync.WaitGroup
				for caller := range 20 {
					callers.Go(func() {
						for i := caller; i < domains; i += 20 {
							ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
							if _, err := c.Lookup(ctx, test.domain(i)); !errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("%s: %v", test.domain(i), err)
							}
							cancel()
						}
					})
				}
				callers.Wait()
				if n := most.Load(); n != test.most {
					t.Errorf("%d connections at the same time, want %d", n, test.most)
				}
				if name != "unrelated" {
					wantMode(t, lookup(t, c), mtasts.Enforce) // another domain's policy host
				}
				time.Sleep(3 * time.Second)
				r, err := c.Lookup(t.Context(), test.domain(domains-1))
				if err != nil {
					t.Fatal(err)
				}
				wantError(t, r, mtasts.KindFetch, "http-busy")
				if r.Reportable() || time.Until(r.NextCheck) > 5*time.Second {
					t.Errorf("%+v", r)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				w.publishAt(test.domain(domains-1), "11.1.1.1")
				if r, err := c.Lookup(t.Context(), test.domain(domains-1)); err != nil || r.Policy == nil {
					t.Errorf("the domain without a turn: %+v, %v", r, err)
				}
				if open.Load() != 0 {
					t.Errorf("%d connections are left", open.Load())
				}
			})
		})
	}
}
