package memory

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// value is what the tests remember of a domain.
type value struct{ domain string }

func put(m *Memory[*value], domain string, class Class, size int) (v *value, forgotten []*value) {
	v = &value{domain}
	return v, m.Put(domain, v, class, size)
}

func count(m *Memory[*value]) (domains, octets int) {
	for class := range classes {
		n, size := m.Use(class)
		domains, octets = domains+n, octets+size
	}
	return domains, octets
}

// A domain is in one of the classes, and its last value replaces the others.
func TestPutReplaces(t *testing.T) {
	t.Parallel()
	m := New[*value](10<<20, 0)
	for _, class := range []Class{Without, Protected, Large, Protected, BackingOff, Without, Protected} {
		v, _ := put(m, "example.com", class, 10)
		if m.Get("example.com") != v {
			t.Error("an old value comes back")
		}
		if domains, octets := count(m); domains != 1 || octets != 10+overhead {
			t.Errorf("one domain is remembered %d times, in %d octets", domains, octets)
		}
		if domains, _ := m.Use(class); domains != 1 {
			t.Errorf("it is not of class %d", class)
		}
	}
	// A value that was replaced meanwhile is not what a caller wants to remove.
	old := m.Get("example.com")
	v, _ := put(m, "example.com", Protected, 10)
	if m.Remove("example.com", old); m.Get("example.com") != v {
		t.Error("a newer value is removed")
	}
	m.Remove("example.com", v)
	m.Remove("example.com", v)
	if domains, octets := count(m); m.Get("example.com") != nil || domains != 0 || octets != 0 {
		t.Error("a removed domain is still there")
	}
}

// Each class is limited in number. The least recently used are removed first.
func TestLimitInNumber(t *testing.T) {
	t.Parallel()
	m := New[*value](10<<20, 10)
	for i := range 100 {
		put(m, fmt.Sprint("small", i), Protected, 100)
		put(m, fmt.Sprint("none", i), Without, 0)
		put(m, fmt.Sprint("broken", i), BackingOff, 0)
		m.Get("small0")
	}
	for _, class := range []Class{Protected, Without, BackingOff} {
		if n, _ := m.Use(class); n != 10 {
			t.Errorf("%d domains of class %d", n, class)
		}
	}
	for domain, stays := range map[string]bool{"small0": true, "small99": true, "small98": true, "small95": true, "small80": false, "small1": false} {
		if (m.Get(domain) != nil) != stays {
			t.Errorf("%s stays: %v, want %v", domain, !stays, stays)
		}
	}
}

// C5: however many other domains are put, and in whichever order, a policy is forgotten
// only to make room for another policy, and a large one only for a large one. Those that
// back off have room of their own.
func TestC5PoliciesAreForgottenLast(t *testing.T) {
	t.Parallel()
	const octets, size = 8 << 20, 1000 - overhead
	m := New[*value](octets, 0)
	must := func(class Class, n int, forgets ...Class) {
		t.Helper()
		for i := range n {
			v, forgotten := put(m, fmt.Sprint(class, "-", i), class, size)
			if m.Get(v.domain) != v {
				t.Fatalf("the newest domain %s is not kept", v.domain)
			}
			for _, gone := range forgotten {
				var of Class
				fmt.Sscan(gone.domain, &of)
				if !slices.Contains(forgets, of) {
					t.Fatalf("%s is forgotten for %s", gone.domain, v.domain)
				}
			}
			if _, used := count(m); used > octets {
				t.Fatalf("%d octets", used)
			}
		}
	}
	const all = octets / 1000
	must(BackingOff, all/16)
	must(Large, all/4)
	must(Protected, all*13/16-all/4)
	must(Without, all/8)
	must(Without, 3*all, Without)
	must(BackingOff, 3*all, BackingOff)
	for class, want := range map[Class]int{BackingOff: all / 16, Large: all / 4, Protected: all*13/16 - all/4, Without: all / 8} {
		if n, _ := m.Use(class); n < want-2 || n > want+2 {
			t.Errorf("%d domains of class %d, want %d", n, class, want)
		}
	}
	if m.HasRoom() {
		t.Error("there is room for another policy")
	}
	must(Large, 2*all, Large)
	must(Protected, 2*all, Protected)

	// What policies do not need is for the others.
	for i := range 2 * all {
		name := fmt.Sprint(Protected, "-", i)
		m.Remove(name, m.Get(name))
	}
	before, _ := m.Use(Without)
	must(Without, 3*all, Without)
	if after, _ := m.Use(Without); after < before+all/2 {
		t.Errorf("%d domains without a policy, %d before there was more room", after, before)
	}
}

// All shards share the bounds, and each domain is found in its shard.
func TestShardsShareBounds(t *testing.T) {
	t.Parallel()
	const octets = 8 * octetsPerShard
	m := New[*value](octets, 0)
	if len(m.shards) != 8 {
		t.Fatalf("%d shards", len(m.shards))
	}
	for i := range 20_000 {
		if v, _ := put(m, fmt.Sprint("d", i), Protected, 100); m.Get(v.domain) != v {
			t.Fatalf("%s is not found", v.domain)
		}
	}
	n := 0
	for v := range m.All(Protected, Large) {
		if m.Get(v.domain) != v {
			t.Fatalf("%s is yielded and not found", v.domain)
		}
		n++
	}
	if counted, used := m.Use(Protected); n != counted || used > octets*13/16 || used < octets*13/16-200 {
		t.Errorf("%d values, %d counted, %d octets", n, counted, used)
	}
}

// The counts are right and the bounds hold after any calls.
func TestBoundsHoldDuringConcurrentCalls(t *testing.T) {
	t.Parallel()
	base := seed.New(t)
	m := New[*value](2*octetsPerShard, 0)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(base, uint64(g)))
			for range 20_000 {
				domain := fmt.Sprint("d", random.IntN(3000))
				switch random.IntN(10) {
				case 0:
					m.Remove(domain, m.Get(domain))
				case 1, 2, 3:
					put(m, domain, Class(random.IntN(int(classes))), random.IntN(2000))
				default:
					if v := m.Get(domain); v != nil && v.domain != domain {
						t.Errorf("%s is %s", domain, v.domain)
					}
				}
			}
		})
	}
	group.Wait()
	var domains, octets int
	for i := range m.shards {
		domains += len(m.shards[i].entries)
		for _, e := range m.shards[i].entries {
			octets += int(e.size)
			if m.shards[i].rings[e.class].entries[e.index] != e {
				t.Errorf("%s is not in its place", e.domain)
			}
		}
	}
	if n, size := count(m); n != domains || size != octets || octets > 2*octetsPerShard {
		t.Errorf("%d domains of %d octets, counted %d of %d", domains, octets, n, size)
	}
}

// Hits in the memory alone, of domains with and without a policy, by 64
// goroutines if in parallel.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	m := New[*value](64<<20, 0)
	domains := map[string][]string{}
	for i := range n {
		with, without := fmt.Sprintf("domain%d.example.org", i), fmt.Sprintf("other%d.example.org", i)
		put(m, with, Protected, 300)
		put(m, without, Without, 200)
		domains["policy"] = append(domains["policy"], with)
		domains["none"] = append(domains["none"], without)
	}
	for _, class := range []string{"policy", "none"} {
		names := domains[class]
		b.Run(class+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Get(names[0])
			}
		})
		b.Run(class+"/many in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i++ {
					m.Get(names[i%n])
				}
			})
		})
	}
}
