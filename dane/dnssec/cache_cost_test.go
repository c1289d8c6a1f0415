package dnssec

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/internal/test/heapsize"
)

// 100,000 RRsets take no more of the heap than the bound of the cache, whether all
// fit or half of them are evicted.
func TestCacheStaysWithinItsMemory(t *testing.T) { // not parallel with other tests
	const n = 100_000
	now := time.Unix(1800000000, 0)
	for _, bound := range []int{100 << 20, 40 << 20} {
		before := heapsize.Used()
		c := memory.New(bound)
		for i := range n {
			name := fmt.Sprintf("_25._tcp.mx%d.example.com.", i)
			tlsa := record(t, name+" 300 IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")
			a := &Answer{Name: name, Status: Secure, Expires: now.Add(time.Hour), Records: []Record{tlsa}}
			c.Put(memory.Key{Name: a.Name, Type: dns.TypeTLSA, Kind: memory.Answer}, a, a.size(), a.Expires, now)
		}
		used := int(heapsize.Used() - before)
		entries, _ := c.Size()
		t.Logf("%d MiB: %d RRsets, %d octets each", bound>>20, entries, used/entries)
		if used > bound {
			t.Errorf("%d octets in use, the bound is %d", used, bound)
		}
		if all := bound == 100<<20; all != (entries == n) || entries < n/3 {
			t.Errorf("%d RRsets are kept in %d octets", entries, bound)
		}
		runtime.KeepAlive(c)
	}
}

// A lookup that the cache answers allocates nothing, except for the final dot of
// the name.
func TestCachedLookupAllocatesNothing(t *testing.T) { // not parallel with other tests
	w := mail(t)
	v := w.validator()
	for name, limit := range map[string]float64{"_25._tcp.mx.example.com.": 0, "_25._tcp.mx.example.com": 1, "none.example.com.": 0} {
		if _, err := v.Lookup(context.Background(), name, TypeTLSA); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if n := testing.AllocsPerRun(100, func() { v.Lookup(context.Background(), name, TypeTLSA) }); n > limit {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
