package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// errBroken stands for a lookup that failed, for whatever reason.
var errBroken = errors.New("SERVFAIL")

// fakeDNS answers from a map; what is not in it does not exist, insecurely.
// Real DNS, signed and attacked, is in the tests with package policytest.
type fakeDNS struct {
	mu      sync.Mutex
	answers map[string]*dnssec.Answer
	failing map[string]bool
	asked   []string
	ttl     time.Duration
	now     func() time.Time
	wait    chan struct{} // if not nil, each lookup waits for it to be closed
	lookups atomic.Int32
}

func newFakeDNS() *fakeDNS {
	return &fakeDNS{answers: map[string]*dnssec.Answer{}, failing: map[string]bool{}, ttl: time.Hour, now: time.Now}
}

func key(name string, t dnssec.Type) string { return canonical(name) + " " + t.String() }

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

// add adds records, all of one name and type, with a status.
func (f *fakeDNS) add(t testing.TB, status dnssec.Status, records ...string) {
	t.Helper()
	var answer *dnssec.Answer
	for _, text := range records {
		record, err := dnssec.ParseRecord(text)
		if err != nil {
			t.Fatal(err)
		}
		if answer == nil {
			answer = &dnssec.Answer{Name: record.Name, Status: status}
			f.answers[key(record.Name, record.Type)] = answer
		}
		answer.Records = append(answer.Records, record)
	}
}

// deny adds an answer without records.
func (f *fakeDNS) deny(status dnssec.Status, name string, t dnssec.Type, nxdomain bool) {
	f.answers[key(name, t)] = &dnssec.Answer{Name: canonical(name), Status: status, NXDomain: nxdomain}
}

// fail makes a lookup fail.
func (f *fakeDNS) fail(name string, qtype dnssec.Type) { f.failing[key(name, qtype)] = true }

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
	k := key(name, qtype)
	f.asked = append(f.asked, k)
	if f.failing[k] {
		return nil, fmt.Errorf("%s: %w", k, errBroken)
	}
	answer := &dnssec.Answer{Name: canonical(name), Status: dnssec.Insecure, NXDomain: true}
	if known := f.answers[k]; known != nil {
		copied := *known
		answer = &copied
	}
	if answer.Expires.IsZero() {
		answer.Expires = f.now().Add(f.ttl)
	}
	return answer, nil
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
