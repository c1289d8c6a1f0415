package maps_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/maps"
	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/metrics"
)

// manyDomains is DNS with any number of domains whose mail hosts have TLSA records.
type manyDomains struct{}

func (manyDomains) Lookup(_ context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	name = strings.TrimSuffix(name, ".") + "."
	answer := &dnssec.Answer{Name: name, Status: dnssec.Secure, Expires: time.Now().Add(time.Hour)}
	text := ""
	switch {
	case t == dnssec.TypeMX:
		text = name + " MX 10 mx." + name
	case t == dnssec.TypeA:
		text = name + " A 192.0.2.1"
	case t == dnssec.TypeTLSA:
		text = name + " TLSA 3 1 1 " + strings.Repeat("ab", 32)
	default:
		return answer, nil
	}
	record, err := dnssec.ParseRecord(text)
	answer.Records = []dnssec.Record{record}
	return answer, err
}

// load asks for domains in turn, with clients that wait for each reply. It returns requests per second.
func load(b *testing.B, path string, clients, domains, requests int) float64 {
	b.Helper()
	var running sync.WaitGroup
	began := time.Now()
	for each := range clients {
		running.Go(func() {
			c, err := net.Dial("unix", path)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			request := make([]byte, 0, 100)
			for i := range requests / clients {
				text := "QUERY d" + strconv.Itoa((each*7919+i*31)%domains) + ".example"
				request = append(append(strconv.AppendInt(request[:0], int64(len(text)), 10), ':'), text...)
				if _, err := c.Write(append(request, ',')); err != nil {
					b.Error(err)
					return
				}
				if reply, err := r.ReadSlice(','); err != nil || !strings.Contains(string(reply), ":OK dane-only ") {
					b.Errorf("%s: %q, %v", text, reply, err)
					return
				}
			}
		})
	}
	running.Wait()
	return float64(requests) / time.Since(began).Seconds()
}

// serveBare is a netstring server that answers from a map and does nothing else.
func serveBare(l net.Listener, table map[string]string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r, w := bufio.NewReader(c), bufio.NewWriter(c)
			for {
				digits, err := r.ReadString(':')
				if err != nil {
					return
				}
				n, _ := strconv.Atoi(strings.TrimSuffix(digits, ":"))
				octets := make([]byte, n+1)
				if _, err := io.ReadFull(r, octets); err != nil {
					return
				}
				text := table[string(octets[:n])]
				fmt.Fprintf(w, "%d:%s,", len(text), text)
				if w.Flush() != nil {
					return
				}
			}
		}()
	}
}

// BenchmarkAnswersFromMemory compares the socketmap with a bare server, by the same clients in turn.
func BenchmarkAnswersFromMemory(b *testing.B) {
	const clients, requests, rounds = 8, 20_000, 4
	for _, domains := range []int{1_000, 40_000, 100_000} {
		b.Run(fmt.Sprint(domains, " domains"), func(b *testing.B) {
			resolver, err := policy.New(policy.Config{DNS: manyDomains{}, RootCAs: x509.NewCertPool()})
			if err != nil {
				b.Fatal(err)
			}
			defer resolver.Close()
			dir := b.TempDir()
			listen := func(name string) net.Listener {
				l, err := net.Listen("unix", filepath.Join(dir, name))
				if err != nil {
					b.Fatal(err)
				}
				return l
			}
			ours, bare := listen("ours"), listen("bare")
			defer bare.Close()
			numbers, err := metrics.New(metrics.Config{Resolver: resolver, Maps: []string{"QUERY"}}) // as in the daemon
			if err != nil {
				b.Fatal(err)
			}
			all := maps.New(maps.Config{
				Resolver: resolver, Settings: func() maps.Settings { return maps.Settings{} }, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
				Answered: func(a maps.Answer) { numbers.Answered(a.Map, a.Level, a.Lost, a.Took) },
			}).All()
			server := socketmap.New(all, slog.New(slog.DiscardHandler))
			go server.Serve(ours)
			defer server.Shutdown(b.Context())
			table := make(map[string]string, domains)
			for i := range domains {
				name := fmt.Sprintf("d%d.example", i)
				reply := all["QUERY"](b.Context(), name)
				if reply.Status != socketmap.Found {
					b.Fatal(errors.New(reply.Text))
				}
				table["QUERY "+name] = "OK " + reply.Text
			}
			go serveBare(bare, table)
			for b.Loop() {
				var sums [2]float64
				for range rounds {
					runtime.GC()
					sums[0] += load(b, ours.Addr().String(), clients, domains, requests)
					runtime.GC()
					sums[1] += load(b, bare.Addr().String(), clients, domains, requests)
				}
				b.ReportMetric(sums[0]/rounds, "answers/s")
				b.ReportMetric(sums[1]/rounds, "bare/s")
				b.ReportMetric(sums[0]/sums[1], "ratio")
			}
		})
	}
}

// BenchmarkIdleConnections measures the memory of many clients that wait.
func BenchmarkIdleConnections(b *testing.B) {
	const clients = 1_000
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	server := socketmap.New(map[string]socketmap.Map{"QUERY": func(context.Context, string) socketmap.Reply { return socketmap.Reply{Status: socketmap.NotFound} }}, slog.New(slog.DiscardHandler))
	go server.Serve(l)
	defer server.Shutdown(b.Context())
	memory := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse+m.StackInuse) / (1 << 20)
	}
	for b.Loop() {
		before := memory()
		conns := make([]net.Conn, clients)
		for i := range conns {
			if conns[i], err = net.Dial("unix", l.Addr().String()); err != nil {
				b.Fatal(err)
			}
			fmt.Fprint(conns[i], "7:QUERY x,")
			if _, err := io.ReadFull(conns[i], make([]byte, len("9:NOTFOUND ,"))); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(memory()-before, "MiB")
		for _, c := range conns {
			c.Close()
		}
	}
}

// BenchmarkAnswer measures one answer from memory, without a connection.
func BenchmarkAnswer(b *testing.B) {
	resolver, err := policy.New(policy.Config{DNS: manyDomains{}, RootCAs: x509.NewCertPool()})
	if err != nil {
		b.Fatal(err)
	}
	defer resolver.Close()
	query := maps.New(maps.Config{Resolver: resolver, Settings: func() maps.Settings { return maps.Settings{} }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}).All()["QUERY"]
	b.ReportAllocs()
	for b.Loop() {
		if query(b.Context(), "d1.example").Status != socketmap.Found {
			b.Fatal("no policy")
		}
	}
}
