package dnssec

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/internal/test/heapsize"
)

// canned is a server that returns recorded replies at almost no cost, so that the
// cost of the validator is measured.
type canned struct {
	tb      testing.TB
	w       *world
	mu      sync.RWMutex
	replies map[string][]byte // by the query without its ID
}

func (w *world) canned(tb testing.TB) *canned {
	return &canned{tb: tb, w: w, replies: make(map[string][]byte)}
}

func (c *canned) use(config *Config) {
	config.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		if network != "udp" { // as on a busy machine, where a reply seems to be overdue
			return nil, errors.New("no TCP")
		}
		return &cannedConn{canned: c}, nil
	}
}

func (c *canned) reply(query []byte) []byte {
	c.mu.RLock()
	reply := c.replies[string(query[2:])]
	c.mu.RUnlock()
	if reply == nil {
		reply = c.w.serve("", "udp", query)[0]
		c.mu.Lock()
		c.replies[string(query[2:])] = reply
		c.mu.Unlock()
	}
	return reply
}

type cannedConn struct {
	floodConn
	canned *canned
	reply  []byte
	id     [2]byte
}

func (c *cannedConn) Write(b []byte) (int, error) {
	c.reply = c.canned.reply(b)
	copy(c.id[:], b)
	return len(b), nil
}

func (c *cannedConn) Read(b []byte) (int, error) {
	n := copy(b, c.reply)
	copy(b, c.id[:])
	return n, nil
}

// BenchmarkValidation compares a cold lookup with the signature verifications that
// it needs: root keys, DS and keys of two zones, and the answer. The limit is 1.25
// times the processor time. Each lookup begins with an empty cache and sends all questions again.
func BenchmarkValidation(b *testing.B) {
	for _, kind := range []struct {
		name       string
		root, rest int // bits of RSA keys, or 0 for P-256
	}{
		{"RSA-2048 and P-256", 2048, 0}, // as the root and most zones with TLSA records
		{"P-256", 0, 0},
		{"RSA-2048", 2048, 2048},
		{"RSA-1024", 1024, 1024},
	} {
		w := mail(b)
		for _, z := range w.zones {
			bits := kind.rest
			if z.name == "." {
				bits = kind.root
			}
			key := newKey(b, z.name, dns.ECDSAP256SHA256, 257)
			if bits != 0 {
				key = newRSAKey(b, newKey(b, z.name, dns.RSASHA256, 257).record, bits)
			}
			z.keys = []*testKey{key}
		}
		upstream := w.canned(b)
		v := w.validator(upstream.use)
		cold := func(empty *memory.Cache) {
			v.cache = empty
			a, err := v.Lookup(context.Background(), "_25._tcp.mx.example.com.", TypeTLSA)
			if err != nil || a.Status != Secure {
				b.Fatal(a, err)
			}
		}
		cold(memory.New(0))
		verify := w.verifications(b, upstream)
		b.Run(kind.name, func(b *testing.B) {
			var alone, whole time.Duration
			var empty [turn]*memory.Cache
			for b.Loop() {
				for i := range empty {
					empty[i] = memory.New(0)
				}
				start := cpuTime()
				for range turn {
					verify()
				}
				turned := cpuTime()
				for _, cache := range empty {
					cold(cache)
				}
				alone += turned - start
				whole += cpuTime() - turned
			}
			n := float64(b.N * turn)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(alone.Nanoseconds())/n, "ns/verifications")
			b.ReportMetric(float64(whole.Nanoseconds())/n, "ns/lookup")
			b.ReportMetric(float64(whole)/float64(alone), "x-verifications")
		})
	}
}

// turn is how many lookups and verifications alternate, so that noise affects both.
const turn = 20

// verifications returns a function that makes the same number of signature
// verifications, with the same keys, as a lookup needs for the recorded replies.
func (w *world) verifications(b *testing.B, upstream *canned) func() {
	digest := sha256.Sum256([]byte("the records that are covered"))
	var checks []func() bool
	for _, wire := range upstream.replies {
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			b.Fatal(err)
		}
		for _, rr := range m.Answer {
			sig, ok := rr.(*dns.RRSIG)
			if !ok {
				continue
			}
			signer := w.zones[sig.SignerName].keys[0].signer
			signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil {
				b.Fatal(err)
			}
			checks = append(checks, func() bool {
				switch public := signer.Public().(type) {
				case *rsa.PublicKey:
					return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
				case *ecdsa.PublicKey:
					return ecdsa.VerifyASN1(public, digest[:], signature)
				default:
					return false
				}
			})
		}
	}
	if len(checks) != 6 {
		b.Fatalf("%d verifications", len(checks))
	}
	return func() {
		for _, verifies := range checks {
			if !verifies() {
				b.Fatal("bad signature")
			}
		}
	}
}

// BenchmarkMemory reports the memory of a cached RRset, by the heap of the garbage
// collector and by the estimate of the cache. The estimate must not be lower.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	now := time.Unix(1800000000, 0)
	for _, tt := range []struct {
		what    string
		records []string
	}{
		{"TLSA", []string{"TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}},
		{"A", []string{"A 192.0.2.1", "A 192.0.2.2"}},
		{"MX", []string{"MX 10 mx1.example.com.", "MX 20 mx2.example.com."}},
		{"absent", nil},
	} {
		b.Run(tt.what, func(b *testing.B) {
			for b.Loop() {
				c := memory.New(1 << 30)
				before := heapsize.Used()
				for i := range n {
					a := &Answer{Name: fmt.Sprintf("host%d.example.com.", i), Status: Secure, Expires: now.Add(time.Hour)}
					for _, text := range tt.records {
						a.Records = append(a.Records, record(b, a.Name+" 300 IN "+text))
					}
					c.Put(memory.Key{Name: a.Name, Kind: memory.Answer}, a, a.size(), a.Expires, now)
				}
				used := float64(heapsize.Used() - before)
				_, counted := c.Size()
				b.ReportMetric(used/n, "heap-bytes/RRset")
				b.ReportMetric(float64(counted)/n, "counted-bytes/RRset")
				runtime.KeepAlive(c)
			}
		})
	}
}

// record returns the record in the form that an answer has.
func record(tb testing.TB, text string) Record {
	tb.Helper()
	r, err := ParseRecord(text)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
