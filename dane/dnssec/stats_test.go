package dnssec

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// Stats counts each lookup once, by what came of it and how long its caller waited.
func TestStatsCountEachLookupOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.latency = 30 * time.Millisecond
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			switch q := m.Question[0]; {
			case server == "192.0.2.54:53":
				return nil
			case q.Name == "bogus.example.com.":
				strip(m)
			case q.Name == "fail.example.com.":
				m.Rcode = dns.RcodeServerFailure
			}
			return m
		}
		v := w.validator(func(c *Config) {
			c.PrivateZones = []PrivateZone{{Zone: "private.test", Servers: []string{"192.0.2.54"}}}
		})
		lookup := func(ctx context.Context, name string) { v.Lookup(ctx, name, TypeA) }
		for range 3 {
			for _, name := range []string{"mx.example.com", "mx.plain.com", "bogus.example.com", "fail.example.com"} {
				lookup(t.Context(), name)
			}
		}
		before := v.Stats()
		lookup(t.Context(), "x.private.test")
		gone, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		lookup(gone, "other.example.com")
		w.settle()
		synctest.Wait()
		after := v.Stats()
		for what, n := range map[string][2]uint64{
			"cached":   {after.Cached, 8},
			"secure":   {after.Secure.Count, 1},
			"insecure": {after.Insecure.Count, 1},
			"bogus":    {after.Bogus.Count, 1},
			"failed":   {after.Failed.Count, 2},
			"busy":     {after.Busy.Count, 0},
			"canceled": {after.Canceled.Count, 1},
		} {
			if n[0] != n[1] {
				t.Errorf("%d lookups are %s, want %d", n[0], what, n[1])
			}
		}
		if l := after.Secure; l.Total != w.latency || l.Buckets[5] != 1 || LatencyBounds()[5] != 50*time.Millisecond {
			t.Errorf("a lookup of %v: %+v", w.latency, l)
		}
		if l := after.Failed; l.Total < time.Second || l.Buckets[4]+l.Buckets[5]+l.Buckets[6] != 1 {
			t.Errorf("failures: %+v", l)
		}
		if before.Failed.Count != 1 || after.InUse != (Bounds{}) {
			t.Errorf("a Stats is no copy: %+v, %+v", before, after)
		}
		if len(after.Servers) != 2 {
			t.Fatalf("servers: %+v", after.Servers)
		}
		well, dead := after.Servers[0], after.Servers[1]
		if asked := uint64(len(w.queries)) - dead.Queries; well.Server != "192.0.2.53:53" || well.Zone != "" || well.Queries != asked || well.Replies == 0 ||
			well.Timeouts != 0 || well.Failures != 0 || well.Replies > well.Queries {
			t.Errorf("%d queries: %+v", asked, well)
		}
		if dead.Server != "192.0.2.54:53" || dead.Zone != "private.test." || dead.Queries == 0 || dead.Replies != 0 {
			t.Errorf("%+v", dead)
		}
	})
}

// Reading the cache costs no allocation, and counting what it answers costs little:
// BenchmarkLookup shows how much.
func TestStatsAllocatesNothing(t *testing.T) { // not parallel with other tests
	w := mail(t)
	v := w.validator()
	lookup := func() {
		if _, err := v.Lookup(context.Background(), "mx.example.com.", TypeA); err != nil {
			t.Error(err)
		}
	}
	lookup()
	if n := testing.AllocsPerRun(100, lookup); n != 0 {
		t.Errorf("a cached lookup allocates %v times", n)
	}
	if n := v.Stats().Cached; n < 100 {
		t.Errorf("%d lookups from the cache were counted", n)
	}
}
