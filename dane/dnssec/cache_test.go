package dnssec

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// roundTrips returns how many round trips a lookup takes.
func (w *world) roundTrips(t *testing.T, v *Validator, name string, qtype uint16) int {
	t.Helper()
	start := time.Now()
	defer w.settle()
	if _, err := v.Lookup(t.Context(), name, Type(qtype)); err != nil {
		t.Errorf("%s %s: %v", name, dns.Type(qtype), err)
	}
	return int(time.Since(start) / w.latency)
}

// The DS and DNSKEY RRsets of the chain are requested together with the question. A
// lookup takes one round trip however deep the name is, and nothing known is
// requested again.
func TestDeepNameTakesOneRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.zone("deep.example.com.")
		w.zone("deeper.deep.example.com.", "mx.deeper.deep.example.com. 300 IN A 192.0.2.9")
		w.latency = 10 * time.Millisecond
		for _, tt := range []struct {
			name  string
			qtype uint16
			trips int
		}{
			{"com.", dns.TypeNS, 1},
			{"example.com.", dns.TypeMX, 1},
			{"mx.example.com.", dns.TypeA, 1},
			{"mx.deeper.deep.example.com.", dns.TypeA, 1},
			{"_25._tcp.mx.example.com.", dns.TypeTLSA, 1},
			{"none.example.com.", dns.TypeA, 1},
			{"mx.plain.com.", dns.TypeA, 1},
			{"alias.example.com.", dns.TypeA, 1},
		} {
			if got := w.roundTrips(t, w.validator(), tt.name, tt.qtype); got != tt.trips {
				t.Errorf("%s %s: %d round trips cold", tt.name, dns.Type(tt.qtype), got)
			}
		}

		v := w.validator()
		w.roundTrips(t, v, "example.com.", dns.TypeMX)
		for _, name := range []string{"mx.example.com.", "a.wild.example.com.", "mx.plain.com."} {
			if got := w.roundTrips(t, v, name, dns.TypeA); got != 1 {
				t.Errorf("%s: %d round trips with warm parents", name, got)
			}
			if got := w.roundTrips(t, v, name, dns.TypeA); got != 0 {
				t.Errorf("%s: %d round trips from the cache", name, got)
			}
		}
		w.asked = make(map[string]int)
		w.roundTrips(t, v, "mx.example.com.", dns.TypeAAAA)
		w.roundTrips(t, v, "_25._tcp.mx.example.com.", dns.TypeTLSA)
		w.roundTrips(t, v, "_25._tcp.mx.plain.com.", dns.TypeTLSA)
		if len(w.asked) != 3 {
			t.Errorf("asked again: %v", w.asked)
		}
	})
}

// Equal questions at the same time are sent once.
func TestEqualQuestionsAreSentOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.latency = time.Millisecond
		v := w.validator()
		var group sync.WaitGroup
		for range 50 {
			for _, name := range []string{"mx.example.com.", "example.com.", "mx.plain.com."} {
				group.Go(func() {
					if _, err := v.Lookup(t.Context(), name, TypeA); err != nil {
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		w.settle()
		for question, n := range w.asked {
			if n > 1 {
				t.Errorf("%s was asked %d times", question, n)
			}
		}
	})
}

// Answers, denials, keys and proofs of delegation are kept for their TTL or the
// lifetime of their signatures, whichever is shorter.
func TestAnswersExpireWithTTLAndSignature(t *testing.T) {
	t.Parallel()
	w := mail(t)
	start := w.now
	v := w.validator()
	asked := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := 0
		for _, count := range w.asked {
			n += count
		}
		return n
	}
	lookup := func(at time.Duration, name string, status Status) int {
		t.Helper()
		w.now = start.Add(at)
		before := asked()
		a, err := v.Lookup(context.Background(), name, TypeA)
		w.settle()
		if err != nil || a.Status != status {
			t.Fatalf("%s after %v: %+v, %v", name, at, a, err)
		}
		if !a.Expires.After(w.now) {
			t.Errorf("%s after %v expired at %v", name, at, a.Expires)
		}
		return asked() - before
	}
	for _, tt := range []struct {
		at     time.Duration
		name   string
		status Status
		asks   bool
	}{
		{0, "mx.example.com", Secure, true},
		{299 * time.Second, "mx.example.com", Secure, false},
		{300 * time.Second, "mx.example.com", Secure, true},
		{300 * time.Second, "none.example.com", Secure, true}, // SOA minimum 900
		{1199 * time.Second, "none.example.com", Secure, false},
		{1200 * time.Second, "none.example.com", Secure, true},
		{1200 * time.Second, "mx.plain.com", Insecure, true},
		{1499 * time.Second, "mx.plain.com", Insecure, false},
		{1500 * time.Second, "mx.plain.com", Insecure, true},
	} {
		if got := lookup(tt.at, tt.name, tt.status) > 0; got != tt.asks {
			t.Errorf("%s after %v: asked is %v", tt.name, tt.at, got)
		}
	}
	// A zone that becomes signed is noticed when the proof of its unsigned
	// delegation expires. A zone that is no longer signed is noticed in the same way.
	w.zones["plain.com."].unsigned = false
	w.zones["example.com."].unsigned = true
	lookup(5000*time.Second, "mx.plain.com", Secure)
	lookup(5000*time.Second, "mx.example.com", Insecure)
	// An insecure answer is kept no longer than the proof that it is insecure.
	a, err := v.Lookup(context.Background(), "mx.example.com", TypeA)
	if err != nil || a.Expires.After(w.now.Add(300*time.Second)) {
		t.Errorf("%+v, %v", a, err)
	}
}

// An answer expires no later than any link of the chain that makes it secure, or
// the proof that makes it insecure (RFC 4035 section 5.3.3). The same holds for the
// records that follow from it.
func TestAnswerExpiresWithItsChain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		links []question
	}{
		{"mx.example.com.", []question{
			{".", dns.TypeDNSKEY}, {"com.", dns.TypeDS}, {"com.", dns.TypeDNSKEY},
			{"example.com.", dns.TypeDS}, {"example.com.", dns.TypeDNSKEY}, {"mx.example.com.", dns.TypeA},
		}},
		{"none.example.com.", []question{{"com.", dns.TypeDS}, {"example.com.", dns.TypeDNSKEY}, {"none.example.com.", dns.TypeA}}},
		{"alias.example.com.", []question{{"com.", dns.TypeDS}, {"example.com.", dns.TypeDNSKEY}, {"alias.example.com.", dns.TypeA}}},
		{"a.wild.example.com.", []question{{"a.wild.example.com.", dns.TypeA}}},
		{"mx.plain.com.", []question{{".", dns.TypeDNSKEY}, {"com.", dns.TypeDS}, {"com.", dns.TypeDNSKEY}, {"plain.com.", dns.TypeDS}, {"mx.plain.com.", dns.TypeA}}},
	} {
		for _, link := range tt.links {
			for _, by := range []string{"TTL", "TTL of the proof", "expiration"} {
				w := mail(t)
				proven := false
				w.on(link.name, link.rtype, func(m *dns.Msg) {
					proven = len(m.Ns) > 0
					for _, rr := range append(m.Ns, m.Answer...) {
						if by == "TTL" || by == "TTL of the proof" && isType(dns.TypeNSEC)(rr) {
							rr.Header().Ttl = 60
						}
					}
				})
				if by == "expiration" {
					z := w.at(link.name)
					if link.rtype == dns.TypeDS {
						z = w.above(link.name)
					}
					z.validTo = w.now.Add(time.Minute)
				}
				a, err := w.lookup(tt.name, dns.TypeA)
				if by == "TTL of the proof" && (!proven || w.at(link.name).unsigned) {
					continue
				}
				if err != nil || a.Expires.After(w.now.Add(time.Minute)) && !(by == "expiration" && w.at(link.name).unsigned) {
					t.Errorf("%s, %s of %v: %+v, %v", tt.name, by, link, a, err)
					continue
				}
				for _, r := range a.Records {
					if left := r.TTL; w.now.Add(left).After(a.Expires) {
						t.Errorf("%s, %s of %v: a record lives for %v, the answer for %v", tt.name, by, link, left, a.Expires.Sub(w.now))
					}
				}
			}
		}
	}
}

// SEC-43: failures are cached for a short time, as failures.
func TestFailuresAreCachedBriefly(t *testing.T) {
	t.Parallel()
	w := mail(t)
	start := w.now
	v := w.validator()
	w.on("mx.example.com.", dns.TypeA, strip)
	lookup := func() error {
		_, err := v.Lookup(context.Background(), "mx.example.com", TypeA)
		w.settle()
		return err
	}
	if lookup() == nil {
		t.Fatal("no error")
	}
	w.asked = make(map[string]int)
	w.mangle = nil
	w.now = start.Add(failureTTL - 1)
	var e *Error
	if err := lookup(); !errors.As(err, &e) || e.Status != Bogus || len(w.asked) != 0 {
		t.Errorf("%v after %d questions", err, len(w.asked))
	}
	w.now = start.Add(failureTTL)
	if err := lookup(); err != nil {
		t.Error(err)
	}
}

// C8: Recall says what Lookup would say without a question to a server, and otherwise that
// nothing is known. It says nothing about addresses where the host may know others.
func TestC8RecallSaysWhatLookupWould(t *testing.T) {
	t.Parallel()
	w := mail(t)
	start := w.now
	v := w.validator()
	nat64 := w.validator(func(c *Config) { c.NAT64 = netip.MustParsePrefix("64:ff9b::/96") })
	for _, v := range []*Validator{v, nat64} {
		for _, q := range []question{{"mx.example.com.", dns.TypeA}, {"example.com.", dns.TypeMX}, {"none.example.com.", dns.TypeMX}} {
			isKnown := q.rtype == dns.TypeMX || v.host == nil
			w.now = start
			if a, ok, err := v.Recall(v, q.name, Type(q.rtype)); a != nil || ok || err != nil {
				t.Errorf("%v before the lookup: %+v, %v, %v", q, a, ok, err)
			}
			want, err := v.Lookup(t.Context(), q.name, Type(q.rtype))
			w.settle()
			if err != nil {
				t.Fatal(err)
			}
			a, ok, err := v.Recall(v, strings.ToUpper(q.name), Type(q.rtype))
			if ok != isKnown || err != nil || ok && a != want || !ok && a != nil {
				t.Errorf("%v: %+v, %v, %v; want %+v", q, a, ok, err, want)
			}
			w.now = want.Expires
			if a, ok, err := v.Recall(v, q.name, Type(q.rtype)); a != nil || ok || err != nil {
				t.Errorf("%v after it has expired: %+v, %v, %v", q, a, ok, err)
			}
		}
	}
	w.now = start
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		m.Rcode, m.Answer, m.Ns = dns.RcodeServerFailure, nil, nil
		return m
	}
	fresh := w.validator()
	_, failed := fresh.Lookup(t.Context(), "example.com", TypeMX)
	w.settle()
	if a, ok, err := fresh.Recall(fresh, "example.com", TypeMX); failed == nil || a != nil || ok != (err != nil) || ok && err.Error() != failed.Error() {
		t.Errorf("after %v: %+v, %v, %v", failed, a, ok, err)
	}
	if a, ok, err := v.Recall(nat64, "example.com", TypeMX); a != nil || ok || err != nil {
		t.Errorf("of another Resolver: %+v, %v, %v", a, ok, err)
	}
	if a, ok, err := v.Recall(v, "a..b", TypeMX); a != nil || ok || err != nil {
		t.Errorf("not a name: %+v, %v, %v", a, ok, err)
	}
}
