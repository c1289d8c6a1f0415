package dnssec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// deadServer takes datagrams and connections and is silent until it is alive.
type deadServer struct {
	addr  string
	alive atomic.Bool
}

func startDead(b *testing.B, w *world) *deadServer {
	packets, listener := dnsdata.Listen(b)
	s := &deadServer{addr: packets.LocalAddr().String()}
	var mu sync.Mutex
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		server.Handler = dns.HandlerFunc(func(to dns.ResponseWriter, query *dns.Msg) {
			if s.alive.Load() {
				mu.Lock()
				defer mu.Unlock()
				to.WriteMsg(w.reply(query))
			}
		})
		go server.ActivateAndServe()
		b.Cleanup(func() { server.Shutdown() })
	}
	return s
}

// BenchmarkC2ResolversDead looks up a thousand new names a second for ten seconds, while
// both resolvers are dead. Then one is back. The limits are 512 sockets, 64 MiB beyond the
// cache, 2 s until each caller has its answer, and no error later than 2 s after the
// resolver is back. For comparison, the same lookups run while both are alive.
func BenchmarkC2ResolversDead(b *testing.B) {
	w := newWorld(b)
	w.zone("com.")
	for b.Loop() {
		well, dead := benchCrowd(b, w, false), benchCrowd(b, w, true)
		b.ReportMetric(0, "ns/op")
		for what, run := range map[string]*crowdRun{"well": well, "dead": dead} {
			b.ReportMetric(float64(run.sockets), what+"-sockets")
			b.ReportMetric(float64(run.memory)/(1<<20), what+"-MiB")
			b.ReportMetric(float64(run.goroutines), what+"-goroutines")
			b.ReportMetric(run.slowest.Seconds(), what+"-slowest-s")
			b.ReportMetric(run.p99.Seconds(), what+"-p99-s")
			b.ReportMetric(float64(run.busy), what+"-busy")
		}
		b.ReportMetric(dead.lastError.Seconds(), "last-error-s")
	}
}

type crowdRun struct {
	sockets, goroutines int64
	memory              uint64
	slowest, p99        time.Duration
	busy                uint64
	lastError           time.Duration // after the resolver was back
}

func benchCrowd(b *testing.B, w *world, areDead bool) *crowdRun {
	const perSecond, seconds = 1000, 10
	first, second := startDead(b, w), startDead(b, w)
	first.alive.Store(!areDead)
	second.alive.Store(!areDead)
	sockets := &counting{dial: new(net.Dialer).DialContext}
	v := w.validator(func(c *Config) {
		c.Servers, c.Dial, c.Timeout = []string{first.addr, second.addr}, sockets.Dial, 0
		c.CacheBytes = 1 << 20
	})
	defer v.Close()

	runtime.GC()
	run, before := new(crowdRun), held()
	stop, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for range time.Tick(20 * time.Millisecond) {
			now := held()
			run.memory = max(run.memory, now-min(now, before))
			run.goroutines = max(run.goroutines, int64(runtime.NumGoroutine()))
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	var callers sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var lastError, back time.Time
	lookup := func(i int) {
		began := time.Now()
		_, err := v.Lookup(context.Background(), fmt.Sprintf("none%d.com", i), TypeMX)
		ended := time.Now()
		mu.Lock()
		defer mu.Unlock()
		took = append(took, ended.Sub(began))
		if e := new(Error); errors.As(err, &e) {
			lastError = ended
		}
	}
	ticks := time.NewTicker(time.Second / 100)
	defer ticks.Stop()
	for i := 0; i < perSecond*(seconds+3); i += perSecond / 100 {
		<-ticks.C
		if i == perSecond*seconds {
			back = time.Now()
			second.alive.Store(true)
		}
		for j := range perSecond / 100 {
			callers.Go(func() { lookup(i + j) })
		}
	}
	callers.Wait()
	close(stop)
	<-sampled
	slices.Sort(took)
	run.sockets = sockets.most.Load()
	run.slowest, run.p99 = took[len(took)-1], took[len(took)*99/100]
	run.busy = v.Stats().Busy.Count
	run.lastError = max(0, lastError.Sub(back))
	return run
}

// held is the memory of live objects, by the last collection, and of stacks.
func held() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	return max(samples[0].Value.Uint64(), samples[2].Value.Uint64()) + samples[1].Value.Uint64()
}
