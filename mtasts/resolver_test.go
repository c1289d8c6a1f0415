package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// resolverFunc is a resolver that answers every TXT query with a function.
type resolverFunc func(ctx context.Context) ([]string, error)

func (f resolverFunc) LookupTXT(ctx context.Context, _ string) ([]string, error) { return f(ctx) }

func (f resolverFunc) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// bogus is an error like those of package dnssec.
type bogus struct{ error }

func (bogus) TLSReport() (string, string) { return "dnssec-invalid", "bogus-signature-expired" }

// The reason code of a failed TXT lookup is its cause, that of the resolver if it has
// one. The result type is that of a failed fetch.
func TestDNSFailures(t *testing.T) {
	for reason, failure := range map[string]error{
		"dns-failure":             servfail("x"),
		"dns-timeout":             &net.DNSError{Err: "i/o timeout", IsTimeout: true},
		"bogus-signature-expired": fmt.Errorf("lookup: %w", bogus{errors.New("bogus")}),
	} {
		t.Run(reason, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setTXT(txtAnswer{err: failure})
				r := lookup(t, w.client(t))
				wantError(t, r, mtasts.KindDNS, reason)
				if resultType, code := r.Err.(*mtasts.Error).TLSReport(); resultType != "sts-policy-fetch-error" || code != reason {
					t.Errorf("reported as %q, %q", resultType, code)
				}
			})
		})
	}
}

// A resolver that does not answer delays a message by a few seconds.
func TestDNSTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		silent := resolverFunc(func(ctx context.Context) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		start := time.Now()
		r := lookup(t, newWorld(t).client(t, func(config *mtasts.Config) { config.Resolver = silent }))
		wantError(t, r, mtasts.KindDNS, "dns-timeout")
		if time.Since(start) > 10*time.Second {
			t.Errorf("took %v", time.Since(start))
		}
	})
}

// STS-52: the lookup of the policy host's addresses is part of the fetch.
func TestAddressLookupIsPartOfFetch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		half := resolverFunc(func(ctx context.Context) ([]string, error) { return []string{"v=STSv1; id=1"}, nil })
		start := time.Now()
		r := lookup(t, newWorld(t).client(t, func(config *mtasts.Config) {
			config.Resolver = half
			config.FetchTimeout = 5 * time.Second
		}))
		wantError(t, r, mtasts.KindFetch, "dns-timeout")
		if time.Since(start) != 5*time.Second {
			t.Errorf("took %v", time.Since(start))
		}
	})
}

// STS-13: an alias of the record's name, which the resolver follows, changes
// neither the policy domain nor the policy host.
func TestAliasedRecordKeepsDomain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.txts["_mta-sts.provider.example."] = w.txts["_mta-sts.example.com."]
		w.addrs["mta-sts.provider.example."] = []netip.Addr{netip.MustParseAddr("11.0.0.9")}
		r := lookup(t, w.client(t))
		wantMode(t, r, mtasts.Enforce)
		if r.Domain != domain || fmt.Sprint(w.dials) != "[tcp 11.0.0.1:443]" {
			t.Errorf("domain %q, dialed %q", r.Domain, w.dials)
		}
	})
}

// M13: a Resolver that returns neither records nor an error has not denied them.
func TestM13NoRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{})
		r := lookup(t, w.client(t))
		wantError(t, r, mtasts.KindDNS, "dns-failure")
		if r.State != mtasts.Unknown {
			t.Errorf("%+v", r)
		}
	})
}
