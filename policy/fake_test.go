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

	"github.com/miekg/dns"

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

func key(name string, qtype uint16) string {
	return strings.ToLower(dns.Fqdn(name)) + " " + dns.TypeToString[qtype]
}

// add adds records, all of one name and type, with a status.
func (f *fakeDNS) add(t testing.TB, status dnssec.Status, records ...string) {
	t.Helper()
	var answer *dnssec.Answer
	for _, record := range records {
		rr, err := dns.NewRR(record)
		if err != nil {
			t.Fatal(err)
		}
		header := rr.Header()
		if answer == nil {
			answer = &dnssec.Answer{Name: header.Name, Status: status}
			f.answers[key(header.Name, header.Rrtype)] = answer
		}
		answer.Records = append(answer.Records, rr)
	}
}

// deny adds an answer without records.
func (f *fakeDNS) deny(status dnssec.Status, name string, qtype uint16, rcode int) {
	f.answers[key(name, qtype)] = &dnssec.Answer{Name: dns.Fqdn(name), Status: status, Rcode: rcode}
}

// fail makes a lookup fail.
func (f *fakeDNS) fail(name string, qtype uint16) { f.failing[key(name, qtype)] = true }

func (f *fakeDNS) Lookup(ctx context.Context, name string, qtype uint16) (*dnssec.Answer, error) {
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
	answer := &dnssec.Answer{Name: dns.CanonicalName(name), Status: dnssec.Insecure, Rcode: dns.RcodeNameError}
	if known := f.answers[k]; known != nil {
		copied := *known
		answer = &copied
	}
	if answer.Expires.IsZero() {
		answer.Expires = f.now().Add(f.ttl)
	}
	return answer, nil
}

func (f *fakeDNS) wasAsked(name string, qtype uint16) bool {
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
	f.deny(status, name, dns.TypeAAAA, dns.RcodeSuccess)
	f.deny(status, "_25._tcp."+name, dns.TypeTLSA, dns.RcodeNameError)
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
	return r
}

const someKey = "3 1 1 0000000000000000000000000000000000000000000000000000000000000001"
