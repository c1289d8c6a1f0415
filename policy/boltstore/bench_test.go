package boltstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/mtasts"
)

// largeFile returns the path of a file with n policies in force.
func largeFile(b *testing.B, n int) string {
	b.Helper()
	path := tempFile(b)
	s := open(b, path, Config{})
	now := time.Now()
	for i := range n {
		e := entry(i)
		e.Used = true
		e.Text, e.FailingSince, e.Failed, e.Failures = text, time.Time{}, 0, nil
		e.Fetched, e.Expires, e.NextCheck = now, now.Add(7*24*time.Hour), now.Add(12*time.Hour)
		if err := s.Put(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkOpen measures how long it takes to open a million policies, how much memory
// the open file needs, and its size.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := largeFile(b, n)
			var kept int64
			for b.Loop() {
				b.StopTimer()
				before := heapsize.Used()
				b.StartTimer()
				s, err := Open(path, Config{})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				kept = heapsize.Used() - before
				s.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(kept)/1024, "KiB-heap")
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/float64(n), "octets/policy")
		})
	}
}

// BenchmarkCommit measures what transactions with one change and with four write to a
// file of a million policies, on random domains.
func BenchmarkCommit(b *testing.B) {
	const n = 1_000_000
	path := largeFile(b, n)
	for _, changes := range []int{1, 4} {
		b.Run(fmt.Sprint(changes), func(b *testing.B) {
			s := open(b, path, Config{})
			random := rand.New(rand.NewPCG(1, 2))
			var octets int64
			for b.Loop() {
				octets += commitSome(b, s, random, n, changes)
			}
			b.ReportMetric(float64(octets)/1024/float64(b.N*changes), "KiB/change")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkLookup compares lookups of policies that are only in the file, of
// policies that are in memory, and of the store alone. The file has a hundred
// thousand policies.
func BenchmarkLookup(b *testing.B) {
	const n = 100_000
	s := open(b, largeFile(b, n), Config{})
	client, err := mtasts.New(mtasts.Config{Store: s, MaxPolicies: 1000})
	if err != nil {
		b.Fatal(err)
	}
	domains := make([]string, n)
	for i := range domains {
		domains[i] = entry(i).Domain
	}
	lookup := func(b *testing.B, pick func() string) {
		b.ReportAllocs()
		for b.Loop() {
			if r, err := client.Lookup(context.Background(), pick()); err != nil || r.Policy == nil {
				b.Fatal(r, err)
			}
		}
	}
	b.Run("memory", func(b *testing.B) { lookup(b, func() string { return domains[0] }) })
	b.Run("after eviction", func(b *testing.B) { lookup(b, func() string { return domains[rand.IntN(n)] }) })
	b.Run("store alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(context.Background(), domains[rand.IntN(n)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPut measures the cost of a change for the caller, and its total cost
// until it is on disk, in transactions of 4096 changes.
func BenchmarkPut(b *testing.B) {
	s := open(b, tempFile(b), Config{})
	for i := 0; b.Loop(); i++ {
		if err := s.Put(context.Background(), entry(i%1_000_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAll measures an iteration over the file, as done to find policies
// that need a refresh.
func BenchmarkAll(b *testing.B) {
	const n = 100_000
	s := open(b, largeFile(b, n), Config{})
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range s.All(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}
