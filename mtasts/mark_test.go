package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// noDNS is a Resolver that fails.
type noDNS struct{}

func (noDNS) LookupTXT(context.Context, string) ([]string, error) { return nil, errors.New("no DNS") }
func (noDNS) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no DNS")
}

// M7: asking a Mark counts as a use. Otherwise the policy of a domain that gets mail all
// the time, by plans that others keep, would be forgotten before those of domains to which
// an attacker made the sender write once.
func TestM7AMarkThatIsAskedKeepsThePolicy(t *testing.T) {
	t.Parallel()
	c, err := New(Config{RootCAs: x509.NewCertPool(), Memory: minMemory, Resolver: noDNS{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	known := func(domain string) *state {
		p, err := ParsePolicy("version: STSv1\nmode: enforce\nmx: mx." + domain + "\nmax_age: 604800\n")
		if err != nil {
			t.Fatal(err)
		}
		return &state{domain: domain, policy: p, id: "1", fetched: now, made: now, next: now.Add(time.Hour), used: true}
	}
	c.remember(known("busy.example"))
	c.remember(known("idle.example"))
	r, err := c.Lookup(t.Context(), "busy.example")
	if err != nil || r.Policy == nil || !r.Mark.Unchanged() {
		t.Fatal(r, err)
	}
	c.remember(known("busy.example").at(now)) // as after a refresh
	if r, err = c.Lookup(t.Context(), "busy.example"); err != nil {
		t.Fatal(err)
	}
	refreshed := known("busy.example")
	refreshed.policy = r.Policy
	c.remember(refreshed) // of the same policy
	for i := range 10_000 {
		c.remember(known(fmt.Sprintf("hostile%d.example", i)))
		if r.Mark.Unchanged() {
			continue
		}
		// Another domain has the same counter.
		if r, err = c.Lookup(t.Context(), "busy.example"); err != nil || r.Policy == nil {
			t.Fatalf("the policy of a domain in use is forgotten: %+v, %v", r, err)
		}
	}
	if c.memory.Get("idle.example") != nil {
		t.Error("memory has room for all, so the test shows nothing")
	}
	if s := c.memory.Get("busy.example"); s == nil || s.policy == nil {
		t.Error("the policy of a domain in use is forgotten")
	}
}
