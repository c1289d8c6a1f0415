package policy

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
)

// errBroken is the error of a lookup that failed, for whatever reason.
var errBroken = fakedns.ErrServFail

// fakeDNS notes what it is asked.
type fakeDNS struct {
	mu      sync.Mutex
	answers fakedns.Answers
	asked   []string
	ttl     time.Duration
	now     func() time.Time
	wait    chan struct{} // if not nil, each lookup waits for it to be closed
	lookups atomic.Int32
}

func newFakeDNS() *fakeDNS {
	return &fakeDNS{answers: fakedns.Answers{}, ttl: time.Hour, now: time.Now}
}

func key(name string, t dnssec.Type) string { return fakedns.Key(name, t) }

// add adds records, all of one name and type, with a status.
func (f *fakeDNS) add(t testing.TB, status dnssec.Status, records ...string) {
	t.Helper()
	f.answers.Add(t, status, records...)
}

// deny adds an answer without records.
func (f *fakeDNS) deny(status dnssec.Status, name string, t dnssec.Type, nxdomain bool) {
	f.answers[key(name, t)] = &dnssec.Answer{Name: fakedns.Canonical(name), Status: status, NXDomain: nxdomain}
}

// fail makes a lookup fail.
func (f *fakeDNS) fail(name string, qtype dnssec.Type) { f.answers[key(name, qtype)] = nil }

func (f *fakeDNS) Lookup(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
	f.lookups.Add(1)
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, key(name, qtype))
	answer, err := f.answers.Lookup(ctx, name, qtype)
	if err == nil {
		if known := f.answers[key(name, qtype)]; known == nil || known.Expires.IsZero() {
			answer.Expires = f.now().Add(f.ttl)
		}
	}
	return answer, err
}

func (f *fakeDNS) wasAsked(name string, qtype dnssec.Type) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.asked {
		if k == key(name, qtype) {
			return true
		}
	}
	return false
}

// addHost adds a host with one address and, if there are, TLSA records.
func (f *fakeDNS) addHost(t testing.TB, status dnssec.Status, name string, tlsa ...string) {
	t.Helper()
	f.add(t, status, name+". A 192.0.2.1")
	f.deny(status, name, dnssec.TypeAAAA, false)
	f.deny(status, "_25._tcp."+name, dnssec.TypeTLSA, true)
	for i, record := range tlsa {
		tlsa[i] = "_25._tcp." + name + ". TLSA " + record
	}
	if len(tlsa) > 0 {
		f.add(t, status, tlsa...)
	}
}

// newResolver makes a Resolver over f; the rest of the configuration is given.
func (f *fakeDNS) newResolver(t testing.TB, config Config) *Resolver {
	t.Helper()
	config.DNS = f
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

const someKey = "3 1 1 0000000000000000000000000000000000000000000000000000000000000001"

// resolverFunc is a function that is a dnssec.Resolver.
type resolverFunc func(context.Context, string, dnssec.Type) (*dnssec.Answer, error)

func (f resolverFunc) Lookup(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
	return f(ctx, name, qtype)
}
