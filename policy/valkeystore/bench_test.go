package valkeystore

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// BenchmarkHit compares a hit with a Lookup in the memory of a Client.
func BenchmarkHit(b *testing.B) {
	srv := startServer(b)
	n := newInternet(b, domain)
	store := open(b, at(srv.addr))
	ctx := context.Background()
	lookUp := func(store mtasts.Store) func(*testing.B) {
		client, err := n.visit().client(store)
		if err != nil {
			b.Fatal(err)
		}
		if r, err := client.Lookup(ctx, domain); err != nil || r.Policy == nil {
			b.Fatal(r.Err, err)
		}
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				client.Lookup(ctx, domain)
			}
		}
	}
	b.Run("Client without a Store", lookUp(nil))
	b.Run("Client with a Store", lookUp(store))
	mustGet(b, store, domain)
	b.Run("Store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			store.Get(ctx, domain)
		}
	})
	b.Run("Store in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				store.Get(ctx, domain)
			}
		})
	})
	b.Run("DoCache of the client library", func(b *testing.B) {
		client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{srv.addr}, ForceSingleClient: true})
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		b.ReportAllocs()
		for b.Loop() {
			client.DoCache(ctx, client.B().Get().Key(store.keys.policy(domain)).Cache(), time.Hour)
		}
	})
}

// BenchmarkMiss compares a miss with a PING, and with an exchange of the same
// size over a socket.
func BenchmarkMiss(b *testing.B) {
	srv := startServer(b)
	store := open(b, at(srv.addr))
	ctx := context.Background()
	put(b, store, entry(domain, time.Minute))
	b.Run("Store", func(b *testing.B) {
		before := srv.calls(b, "getrange")
		b.ReportAllocs()
		for b.Loop() {
			store.cache.changed(domain)
			store.Get(ctx, domain)
		}
		b.ReportMetric(float64(srv.calls(b, "getrange")-before)/float64(b.N), "roundtrips/op")
	})
	b.Run("not stored", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			store.Get(ctx, "other.example")
		}
	})
	b.Run("PING", func(b *testing.B) {
		client, err := store.link.get()
		if client == nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			client.Do(ctx, client.B().Ping().Build())
		}
	})
	b.Run("PING over a bare socket", func(b *testing.B) {
		conn, err := net.Dial("tcp", srv.addr)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		reply := make([]byte, 64)
		for b.Loop() {
			if _, err := conn.Write([]byte("PING\r\n")); err != nil {
				b.Fatal(err)
			}
			if _, err := conn.Read(reply); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	srv := startServer(b)
	store := open(b, at(srv.addr))
	e := entry(domain, time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		if err := store.Put(context.Background(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChange measures the time from Put by one relay until another relay
// has the entry in memory.
func BenchmarkChange(b *testing.B) {
	srv := startServer(b)
	one, other := open(b, at(srv.addr)), open(b, at(srv.addr))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	heard := make(chan string, 1)
	other.settle(b)
	go func() { _ = other.Watch(ctx, func(domain string) { heard <- domain }) }()
	<-heard // check all entries
	e := entry(domain, time.Minute)
	for b.Loop() {
		e.Fetched = e.Fetched.Add(time.Millisecond)
		put(b, one, e)
		if d := <-heard; d != domain {
			b.Fatalf("%q has changed: contact was lost", d)
		}
		if _, ok, _ := other.cache.fresh(domain); !ok {
			b.Fatal("not in memory")
		}
	}
}

// BenchmarkReportsAdd adds the sums of a thousand domains. It is compared with
// the same number of increments in one pipeline, which does not detect repeated
// batches.
func BenchmarkReportsAdd(b *testing.B) {
	const domains = 1000
	srv := startServer(b)
	r := open(b, at(srv.addr)).Reports()
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: r})
	if err != nil {
		b.Fatal(err)
	}
	session := &tlsrpt.Session{Outcomes: []tlsrpt.Outcome{{Policy: noPolicy}}}
	b.Run("Flush", func(b *testing.B) {
		for b.Loop() {
			for i := range domains {
				session.Domain = fmt.Sprintf("d%d.example", i)
				recorder.Record(session)
			}
			if err := recorder.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("HINCRBY", func(b *testing.B) {
		client, err := r.store.link.get()
		if client == nil {
			b.Fatal(err)
		}
		for b.Loop() {
			commands := make(valkey.Commands, domains)
			for i := range commands {
				commands[i] = client.B().Hincrby().Key(fmt.Sprintf("d%d.example", i)).Field("successes").Increment(1).Build()
			}
			for _, result := range client.DoMulti(b.Context(), commands...) {
				if err := result.Error(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
