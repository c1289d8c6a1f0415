// Package policydns answers the questions of package mtasts by a dnssec.Resolver.
package policydns

import (
	"context"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/special"
)

// Resolver is an mtasts.Resolver that asks DNS.
type Resolver struct{ DNS dnssec.Resolver }

func (r Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, _, err := dnssec.LookupTXT(ctx, r.DNS, name)
	return texts, err
}

// LookupTXTUntil lets package mtasts remember records, and their absence, until they expire.
func (r Resolver) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return dnssec.LookupTXT(ctx, r.DNS, name)
}

// NAT64 returns the prefix of the network's NAT64, for package guarded.
func (r Resolver) NAT64() netip.Prefix { return special.NAT64Of(r.DNS) }

func (r Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return dnssec.LookupNetIP(ctx, r.DNS, network, host)
}

// LookAhead starts the lookup of the MTA-STS record of a domain, until ctx ends, if the
// resolver has the method LookupAhead of dnssec.Validator. Package mtasts then finds the
// record in the cache.
func (r Resolver) LookAhead(ctx context.Context, domain string) {
	if ahead, ok := r.DNS.(interface {
		LookupAhead(ctx context.Context, of dnssec.Resolver, name string, t dnssec.Type) func() (*dnssec.Answer, error)
	}); ok {
		ahead.LookupAhead(ctx, r.DNS, "_mta-sts."+domain+".", dnssec.TypeTXT)
	}
}
