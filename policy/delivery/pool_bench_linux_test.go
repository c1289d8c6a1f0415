package delivery

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/cputime"
)

// What a message to one host costs a client, in time and in CPU time: a thousand through a
// Pool, next to a connection for each; and over connections whose TLS is resumed, next to
// those with full handshakes. The medians of ten runs of each in turn, and their ratios.
// Finding C13.
func BenchmarkPool(b *testing.B) {
	const runs = 10
	d, _ := dialerOfProcess(b)
	send := func(by func(context.Context, string, []string, []byte) error) {
		if err := by(b.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
			b.Fatal(err)
		}
	}
	alone := func(ctx context.Context, from string, to []string, msg []byte) error {
		return d.SendMail(ctx, from, to, msg)
	}
	through := func(pool *Pool) func(context.Context, string, []string, []byte) error {
		return func(ctx context.Context, from string, to []string, msg []byte) error {
			return pool.SendMail(ctx, from, to, msg)
		}
	}
	for _, bench := range []struct {
		name     string
		pool     *Pool
		messages int // of each run
	}{
		{"reused", &Pool{Dialer: d}, 1000},
		{"resumed", &Pool{Dialer: d, MaxUses: 1}, 200},
	} {
		b.Run(bench.name, func(b *testing.B) {
			defer bench.pool.Close(b.Context())
			pooled := through(bench.pool)
			send(pooled)
			cost := func(by func(context.Context, string, []string, []byte) error) (wall, cpu time.Duration) {
				runtime.GC() // each run pays for its own garbage only
				start, before := time.Now(), cputime.Used(b)
				for range bench.messages {
					send(by)
				}
				return time.Since(start) / time.Duration(bench.messages), (cputime.Used(b) - before) / time.Duration(bench.messages)
			}
			for b.Loop() {
				var wall, cpu [2][]time.Duration // with the pool, and without
				for i := range 2 * runs {
					which := (i + i/2) % 2 // neither is always first
					by := pooled
					if which == 1 {
						by = alone
					}
					w, c := cost(by)
					wall[which], cpu[which] = append(wall[which], w), append(cpu[which], c)
				}
				for _, all := range [][]time.Duration{wall[0], wall[1], cpu[0], cpu[1]} {
					slices.Sort(all)
				}
				b.ReportMetric(float64(cpu[0][runs/2]), "cpu-ns/pool")
				b.ReportMetric(float64(cpu[1][runs/2]), "cpu-ns/full")
				b.ReportMetric(float64(cpu[0][runs/2])/float64(cpu[1][runs/2]), "cpu-pool/full")
				b.ReportMetric(float64(wall[1][runs/2])/float64(wall[0][runs/2]), "rate-pool/full")
			}
		})
	}
}
