package policy

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/mtasts"
)

// crowd is DNS with any number of domains dN.example. Four of five have the mail hosts of
// forty providers, two each, and the others a host of their own. Every third provider has
// DANE. Answers are made when they are asked for, so that what stays in memory is what
// this package keeps.
type crowd struct {
	ttl     time.Duration
	lookups atomic.Int64
}

func hashOf(s string) int {
	h := fnv.New32a()
	h.Write([]byte(s))
	return int(h.Sum32())
}

func (c *crowd) Lookup(_ context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	c.lookups.Add(1)
	name = strings.ToLower(name)
	n := hashOf(name)
	answer := &dnssec.Answer{Name: strings.Clone(name), Status: dnssec.Insecure, Expires: time.Now().Add(c.ttl)}
	var records []string
	provider := strings.HasSuffix(name, ".provider.test.")
	if provider && strings.HasSuffix(name, "0.provider.test.") {
		answer.Status = dnssec.Secure
	}
	switch {
	case t == dnssec.TypeMX && n%5 == 0:
		records = []string{"MX 10 mx." + name}
	case t == dnssec.TypeMX:
		records = []string{fmt.Sprintf("MX 10 mx1.p%d.provider.test.", n%40), fmt.Sprintf("MX 20 mx2.p%d.provider.test.", n%40)}
	case t == dnssec.TypeA && strings.HasPrefix(name, "mx"):
		records = []string{fmt.Sprintf("A 11.%d.%d.1", n%250, n/250%250)}
	case t == dnssec.TypeAAAA && provider:
		records = []string{fmt.Sprintf("AAAA 2a00:%x::1", n%65000)}
	case t == dnssec.TypeTLSA && answer.Status == dnssec.Secure:
		records = []string{"TLSA 3 1 1 " + strings.Repeat("ab", 32)}
	}
	for _, text := range records {
		record, err := dnssec.ParseRecord(name + " " + text)
		if err != nil {
			return nil, err
		}
		answer.Records = append(answer.Records, record)
	}
	return answer, nil
}

// policies is a store that has a policy for every tenth domain.
type policies struct{ mtasts.Store }

func (policies) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	if hashOf(domain)%10 != 0 {
		return mtasts.Entry{}, mtasts.ErrNotStored
	}
	return mtasts.Entry{
		Domain: domain, ID: strings.Clone("20260101000000"), Fetched: time.Now().Add(-time.Hour), NextCheck: time.Now().Add(time.Hour), Used: true,
		Text: "version: STSv1\nmode: enforce\nmx: mx." + domain + "\nmx: *.provider.test\nmax_age: 604800\n",
	}, nil
}

func (policies) Put(context.Context, mtasts.Entry) error { return nil }

func crowdDomain(i int) string { return fmt.Sprintf("d%d.example", i) }

func benchResolve(b *testing.B, r *Resolver, domain string) *Plan {
	plan, err := r.Resolve(context.Background(), domain)
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

// The heap for each domain, with plans and policies of all domains in memory, besides what
// a validator caches.
func BenchmarkC8Heap(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 300_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				before := heapsize.Used()
				dns := &crowd{ttl: time.Hour}
				r, err := New(Config{DNS: dns, Store: policies{}, Memory: 2 << 30})
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					benchResolve(b, r, crowdDomain(i))
				}
				b.ReportMetric(float64(heapsize.Used()-before)/float64(n), "octets/domain")
				s := r.Stats()
				if s.Plans != n || s.MTASTS.Domains != n {
					b.Fatalf("%d plans, %d domains", s.Plans, s.MTASTS.Domains)
				}
				b.ReportMetric(float64(s.PlanOctets+s.MTASTS.Octets)/float64(n), "counted/domain")
				r.Close()
			}
		})
	}
}

// Cyclic traffic over 100,000 domains with the default configuration: hits after the first
// round.
func BenchmarkC3Cyclic(b *testing.B) {
	const n = 100_000
	dns := &crowd{ttl: 24 * time.Hour}
	r, err := New(Config{DNS: dns, Store: policies{}})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for i := range n {
		benchResolve(b, r, crowdDomain(i))
	}
	before := r.Stats()
	calls := 0
	for b.Loop() {
		for i := range n {
			benchResolve(b, r, crowdDomain(i))
			calls++
		}
	}
	b.ReportMetric(100*float64(r.Stats().Cached-before.Cached)/float64(calls), "%hits")
	b.ReportMetric(float64(b.Elapsed())/float64(calls), "ns/resolve")
}

// hostile is DNS in which each domain has a host of its own, with many addresses of each
// family and TLSA records.
type hostile struct{ records int }

func (h hostile) Lookup(_ context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	name = strings.ToLower(name)
	answer := &dnssec.Answer{Name: strings.Clone(name), Status: dnssec.Secure, Expires: time.Now().Add(time.Hour)}
	add := func(n int, format string) error {
		for i := range n {
			record, err := dnssec.ParseRecord(name + fmt.Sprintf(format, i))
			if err != nil {
				return err
			}
			answer.Records = append(answer.Records, record)
		}
		return nil
	}
	switch {
	case t == dnssec.TypeMX:
		return answer, add(1, " MX 1 mx%d."+strings.Repeat("long-label-of-a-hostile-domain.", 4)+name)
	case t == dnssec.TypeA:
		return answer, add(h.records, " A 11.1.1.%d")
	case t == dnssec.TypeAAAA:
		return answer, add(h.records, " AAAA 2a00::%d")
	case t == dnssec.TypeTLSA:
		return answer, add(h.records, " TLSA 3 1 2 %02x"+strings.Repeat("ab", 63))
	}
	return answer, nil
}

// largePolicies is a store with a policy of that many octets for each domain.
type largePolicies struct {
	policies
	octets int
}

func (s largePolicies) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	return mtasts.Entry{
		Domain: domain, ID: "1", Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour), Used: true,
		Text: "version: STSv1\nmode: enforce\nmax_age: 604800\n" + strings.Repeat("mx: *."+domain+"\n", s.octets/(len(domain)+8)),
	}, nil
}

// The heap after 10,000 hostile domains, as a part of Config.Memory without the share of
// DNS answers, which is for a validator.
func BenchmarkC3Hostile(b *testing.B) {
	const memory = 32 << 20
	for _, test := range []struct{ records, octets int }{{4, 1_000}, {16, 60_000}} {
		b.Run(fmt.Sprint(test.records, " records, policies of ", test.octets), func(b *testing.B) {
			for b.Loop() {
				before := heapsize.Used()
				r, err := New(Config{DNS: hostile{test.records}, Store: largePolicies{octets: test.octets}, Memory: memory, Precedence: RequireBoth})
				if err != nil {
					b.Fatal(err)
				}
				for i := range 10_000 {
					benchResolve(b, r, crowdDomain(i))
				}
				b.ReportMetric(float64(heapsize.Used()-before)/(memory/16*(16-answersShare)), "x-bound")
				b.ReportMetric(float64(r.Stats().Plans), "plans")
				r.Close()
			}
		})
	}
}

// A plan that is made again while all answers are in the resolver, of a domain with two
// hosts that other domains have as well.
func BenchmarkC8Replan(b *testing.B) {
	dns := &warm{crowd: &crowd{ttl: time.Hour}}
	r, err := New(Config{DNS: dns, Store: policies{}})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var domains []string
	for i := 0; len(domains) < 100; i++ {
		if d := crowdDomain(i); hashOf(d+".")%5 != 0 {
			domains = append(domains, d)
			benchResolve(b, r, d)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d := domains[i%len(domains)]
		r.Forget(d)
		benchResolve(b, r, d)
	}
}

// warm keeps the answers of a crowd, as the cache of a dnssec.Validator does.
type warm struct {
	*crowd
	answers sync.Map // by question
}

type asked struct {
	name string
	t    dnssec.Type
}

func (w *warm) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	if a, ok := w.answers.Load(asked{name, t}); ok {
		return a.(*dnssec.Answer), nil
	}
	a, err := w.crowd.Lookup(ctx, name, t)
	w.answers.Store(asked{name, t}, a)
	return a, err
}

func (w *warm) Recall(_ dnssec.Resolver, name string, t dnssec.Type) (*dnssec.Answer, bool, error) {
	if a, ok := w.answers.Load(asked{name, t}); ok {
		return a.(*dnssec.Answer), true, nil
	}
	return nil, false, nil
}

// Cached calls of Resolve with Stats and events, on one core and on two, in turns. The
// ratio is that of the rates, the median of ten.
func BenchmarkCachedTwoCores(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n, " domains"), func(b *testing.B) {
			r, err := New(Config{DNS: &crowd{ttl: 24 * time.Hour}, Store: policies{}, OnEvent: func(Event) {}})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			domains := make([]string, n)
			for i := range domains {
				domains[i] = crowdDomain(i)
				benchResolve(b, r, domains[i])
			}
			rate := func(cores int) float64 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				const calls = 1_000_000
				done := make(chan bool)
				start := time.Now()
				for core := range cores {
					go func() {
						for i := range calls {
							r.Resolve(context.Background(), domains[(i+core*n/2)%n])
						}
						done <- true
					}()
				}
				for range cores {
					<-done
				}
				return float64(cores*calls) / float64(time.Since(start))
			}
			var ratios, nanoseconds []float64
			for b.Loop() {
				for range 10 {
					one := rate(1)
					ratios = append(ratios, rate(2)/one)
					nanoseconds = append(nanoseconds, 1/one)
				}
			}
			slices.SortFunc(ratios, cmp.Compare)
			slices.SortFunc(nanoseconds, cmp.Compare)
			b.ReportMetric(ratios[len(ratios)/2], "x-two-cores")
			b.ReportMetric(nanoseconds[len(nanoseconds)/2], "ns/resolve")
		})
	}
}
