package reporter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/pacing"
)

// endpoints returns the endpoints of a domain that the Reporter delivers to.
func (r *Reporter) endpoints(ctx context.Context, slot *pacing.Slot, domain string) ([]tlsrpt.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ctx, end := slot.Step(ctx)
	defer end()
	txts, err := r.config.Resolver.LookupTXT(ctx, "_smtp._tls."+domain+".")
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil, tlsrpt.ErrNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the TLSRPT record: %w", err)
	}
	record, err := tlsrpt.SelectRecord(txts)
	if err != nil {
		return nil, err
	}
	chosen, err := r.config.choose(domain, record.Endpoints)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(chosen, func(e tlsrpt.Endpoint) bool { return e.URL == "" && r.config.Mailer == nil }), nil
}

// choose returns what Config.Endpoints chooses, which has to follow the same rules as a
// record.
func (c *Config) choose(domain string, found []tlsrpt.Endpoint) ([]tlsrpt.Endpoint, error) {
	if c.Endpoints == nil {
		return found, nil
	}
	chosen := slices.Clone(c.Endpoints(domain, found))
	if len(chosen) > tlsrpt.MaxEndpoints {
		return nil, fmt.Errorf("Config.Endpoints returned %d endpoints for the domain, more than %d; correct it, the report waits", len(chosen), tlsrpt.MaxEndpoints)
	}
	for i, e := range chosen {
		record, err := tlsrpt.ParseRecord("v=TLSRPTv1; rua=" + e.String())
		if err != nil || len(record.Endpoints) != 1 || record.Endpoints[0] != e || slices.Contains(chosen[:i], e) {
			return nil, fmt.Errorf("Config.Endpoints returned %q for the domain, which is not an endpoint or was returned twice; correct it, the report waits", names.Mask(fmt.Sprintf("%+v", e), maxLogged))
		}
	}
	return chosen, nil
}

// ownerOf returns the registrable domain of the host or mail domain of an endpoint, which
// limits the pace. An owner of a domain has any number of hosts.
func ownerOf(e tlsrpt.Endpoint) string {
	if e.Mail != "" {
		return names.Registrable(e.Mail[strings.LastIndexByte(e.Mail, '@')+1:])
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL
	}
	return names.Registrable(strings.TrimSuffix(names.Fold(u.Hostname()), "."))
}
