package mtasts_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/mtasts"
)

const sixMX = "version: STSv1\r\nmode: enforce\r\nmx: aspmx.l.example.com\r\nmx: alt1.aspmx.l.example.com\r\n" +
	"mx: alt2.aspmx.l.example.com\r\nmx: alt3.aspmx.l.example.com\r\nmx: alt4.aspmx.l.example.com\r\nmx: *.mail.example.net\r\n" +
	"max_age: 604800\r\n"

func BenchmarkParsePolicy(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mtasts.ParsePolicy(sixMX); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRecord(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mtasts.ParseRecord("v=STSv1; id=20160831085700Z;"); err != nil {
			b.Fatal(err)
		}
	}
}

// The worst place for a match is the last pattern.
func BenchmarkMatchMX(b *testing.B) {
	policy, err := mtasts.ParsePolicy(sixMX)
	if err != nil {
		b.Fatal(err)
	}
	for name, host := range map[string]string{
		"first": "aspmx.l.example.com", "wildcard": "mx1.mail.example.net", "none": "mx1.mail.example.org",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.MatchMX(host)
			}
		})
	}
}

// A hit in memory, next to reading the clock, which is the part of it that cannot
// be saved. -cpu 1,2,... shows how hits scale with cores, for one domain and for
// many.
func BenchmarkLookup(b *testing.B) {
	w := newWorld(b)
	store := newMemStore()
	domains := make([]string, 1<<12)
	for i := range domains {
		domains[i] = fmt.Sprintf("d%d.example", i)
		putInForce(b, store, domains[i])
	}
	c := w.client(b, withStore(store))
	ctx := context.Background()
	for _, domain := range domains {
		if r, err := c.Lookup(ctx, domain); err != nil || r.Policy == nil {
			b.Fatal(err, r.Err)
		}
	}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Lookup(ctx, domains[0])
		}
	})
	b.Run("hit in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Lookup(ctx, domains[0])
			}
		})
	})
	b.Run("hits of many in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(domains)); pb.Next(); i++ {
				c.Lookup(ctx, domains[i%len(domains)])
			}
		})
	})
	b.Run("clock alone", func(b *testing.B) {
		for b.Loop() {
			time.Now()
		}
	})
	b.Run("clock alone in parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			var now time.Time
			for pb.Next() {
				now = time.Now()
			}
			runtime.KeepAlive(now)
		})
	})
}

// putInForce stores a policy of two mx that needs no lookup.
func putInForce(b *testing.B, store mtasts.Store, domain string) {
	b.Helper()
	now := time.Now()
	err := store.Put(context.Background(), mtasts.Entry{
		Domain: domain, ID: "20260101T000000", Text: twoMX,
		Fetched: now, Expires: now.Add(week), NextCheck: now.Add(12 * time.Hour), Used: true,
	})
	if err != nil {
		b.Fatal(err)
	}
}

const twoMX = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\nmx: mx2.mail.example.com\r\nmax_age: 604800\r\n"

// oneStore has the same entry for every domain, and stores nothing.
type oneStore struct {
	*memStore
	entry mtasts.Entry
}

func (s oneStore) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	e := s.entry
	e.Domain, e.ID, e.Text = strings.Clone(domain), strings.Clone(e.ID), strings.Clone(e.Text)
	return e, nil
}

// The memory used by a million policies of two mx.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	first := newMemStore()
	putInForce(b, first, "x.example")
	e, _ := first.Get(context.Background(), "x.example")
	for b.Loop() {
		c := newWorld(b).client(b, withStore(oneStore{first, e}), func(config *mtasts.Config) { config.MaxPolicies, config.Memory = n, 2<<30 })
		before := heapsize.Used()
		for i := range n {
			if r, err := c.Lookup(context.Background(), fmt.Sprintf("domain%d.example", i)); err != nil || r.Policy == nil {
				b.Fatal(err, r.Err)
			}
		}
		b.ReportMetric(float64(heapsize.Used()-before)/n, "bytes/policy")
		runtime.KeepAlive(c)
	}
}

// Fetches of policies from an HTTPS server on the loopback interface, in the same
// process, each with its own handshake. -cpu 1 measures one core that does the
// work of both sides.
func BenchmarkRefresh(b *testing.B) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, twoMX)
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	w := newWorld(b)
	w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=1"}})
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	var fetched atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			// A new client knows nothing, so each lookup is a fetch. The certificate
			// of the server is valid for example.com and its subdomains.
			c, err := mtasts.New(mtasts.Config{Resolver: w, RootCAs: roots, Dial: dial})
			if err != nil {
				b.Error(err)
				return
			}
			if r, err := c.Lookup(context.Background(), domain); err != nil || r.Policy == nil {
				b.Error(err, r.Err)
				return
			}
			fetched.Add(1)
		}
	})
	b.ReportMetric(float64(fetched.Load())/b.Elapsed().Minutes(), "fetches/min")
}
