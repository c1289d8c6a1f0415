package reporter_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// Operators can suppress and remap endpoints. What they return must meet the rules of a
// record; otherwise the sums are kept.
func TestEndpointsHookMustKeepTheRules(t *testing.T) {
	elsewhere := tlsrpt.Endpoint{Mail: "tls@elsewhere.example"}
	nine := make([]tlsrpt.Endpoint, tlsrpt.MaxEndpoints+1)
	for i := range nine {
		nine[i].Mail = fmt.Sprintf("a%d@elsewhere.example", i)
	}
	for name, test := range map[string]struct {
		chosen []tlsrpt.Endpoint
		isLeft bool // the sums wait
	}{
		"suppressed":         {nil, false},
		"remapped":           {[]tlsrpt.Endpoint{elsewhere}, false},
		"two":                {[]tlsrpt.Endpoint{elsewhere, {URL: "https://reports.example/v1"}}, false},
		"http":               {[]tlsrpt.Endpoint{{URL: "http://reports.example/v1"}}, true},
		"not an address":     {[]tlsrpt.Endpoint{{Mail: "elsewhere.example"}}, true},
		"U-labels":           {[]tlsrpt.Endpoint{{Mail: "tls@bücher.example"}}, true},
		"both":               {[]tlsrpt.Endpoint{{Mail: elsewhere.Mail, URL: "https://reports.example/v1"}}, true},
		"neither":            {[]tlsrpt.Endpoint{{}}, true},
		"two in one":         {[]tlsrpt.Endpoint{{URL: "https://reports.example/v1,mailto:victim@example.net"}}, true},
		"injected field":     {[]tlsrpt.Endpoint{{URL: "https://reports.example/v1;rua=mailto:victim@example.net"}}, true},
		"the same twice":     {[]tlsrpt.Endpoint{elsewhere, elsewhere}, true},
		"more than a record": {nine, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.txt["example.com"] = []string{bothTXT}
				w.count("example.com", today, met(noPolicy))
				config := w.config()
				config.Endpoints = func(domain string, found []tlsrpt.Endpoint) []tlsrpt.Endpoint {
					want := []tlsrpt.Endpoint{{URL: "https://reports.example/v1"}, {Mail: "tls@example.com"}}
					if domain != "example.com" || !slices.Equal(found, want) {
						t.Errorf("%s has %v", domain, found)
					}
					clear(found) // they belong to the function
					return test.chosen
				}
				w.start(config)
				wait(allStarted)
				var got []string
				for _, d := range slices.Concat(w.posts(), w.mails()) {
					got = append(got, d.to)
				}
				var want []string
				for _, e := range test.chosen {
					want = append(want, e.Mail+e.URL)
				}
				if test.isLeft {
					want = nil
				}
				slices.Sort(want)
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("reports are sent to %q, want %q", got, want)
				}
				if isLeft := w.left("example.com", today) != nil; isLeft != test.isLeft {
					t.Errorf("the sums are left: %v", isLeft)
				}
				if strings.Contains(w.log.String(), "Config.Endpoints returned") != test.isLeft {
					t.Errorf("log:\n%s", w.log.String())
				}
			})
		})
	}
}

// R4: Reporters that share a Store keep to the interval between two deliveries to one owner
// together, also if its hosts have different names, and deliver what one Reporter would.
func TestR4FleetKeepsTheInterval(t *testing.T) {
	for name, form := range map[string]string{"one domain": "a%d@victim.example", "many hosts": "a@h%d.victim.example"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const domains, interval, reporters = 120, 2 * time.Second, 4
				w := newWorld(t)
				for i := range domains {
					domain := fmt.Sprintf("d%d.example", i)
					w.txt[domain] = []string{"v=TLSRPTv1; rua=mailto:" + fmt.Sprintf(form, i)}
					w.count(domain, today, met(noPolicy))
				}
				time.Sleep(5 * time.Hour) // so that all begin at once
				var stops []func()
				for range reporters {
					config := w.config()
					config.EndpointInterval = interval
					stops = append(stops, w.startFor(config))
				}
				wait(domains*interval + 5*time.Minute)
				var all sync.WaitGroup
				for _, stop := range stops {
					all.Go(stop)
				}
				all.Wait()
				if n := len(w.mails()); n != domains {
					t.Errorf("%d deliveries, want %d", n, domains)
				}
				for i, d := range w.mails()[1:] {
					if apart := d.after - w.mails()[i].after; apart < interval {
						t.Errorf("deliveries %v apart", apart)
					}
				}
			})
		})
	}
}

// R4: while the Store does not say whether a delivery may begin, none does.
func TestR4NoDeliveryWithoutLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{mailTXT}
		w.count("example.com", today, met(noPolicy))
		store := &leaseless{MemoryStore: &w.store}
		config := w.config()
		config.Store = store
		store.fails.Store(true)
		w.start(config)
		wait(5 * time.Hour)
		if len(w.mails()) > 0 {
			t.Error("a report is sent")
		}
		store.fails.Store(false)
		wait(2 * time.Minute)
		if len(w.mails()) != 1 {
			t.Errorf("%d reports; log:\n%s", len(w.mails()), w.log.String())
		}
	})
}

// leaseless is a Store that sometimes cannot lease endpoints.
type leaseless struct {
	*reporter.MemoryStore
	fails atomic.Bool
}

func (l *leaseless) Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (func(), bool, error) {
	if l.fails.Load() && day == 0 {
		return nil, false, errNoContact
	}
	return l.MemoryStore.Lease(ctx, day, domain, d)
}
