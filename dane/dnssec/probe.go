package dnssec

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/dane/dnssec/internal/probe"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// ProbeError reports that a DNS server lacks something that a Validator or a Trusting
// needs.
type ProbeError struct {
	Server string // in the form of Config.Servers
	// Faults describe what is wrong, and what to do, in sentences for the administrator.
	Faults []string
	// Err is the *Error of the first lookup that failed with this server alone, or
	// nil.
	Err error
}

// Error returns the server and its faults.
func (e *ProbeError) Error() string {
	return fmt.Sprintf("dnssec: DNS server %s: %s", e.Server, strings.Join(e.Faults, "; "))
}

// Unwrap returns Err.
func (e *ProbeError) Unwrap() error { return e.Err }

// Probe checks whether each server returns the records that validation needs. Call
// it when a program starts, or to find out why lookups fail. Each server is asked
// separately, without the cache:
//
//   - for the keys of the zones of the trust anchors, over UDP and TCP;
//   - for the SOA records of these zones, and for the TLSA records of a name in each
//     that does not exist;
//   - if a root key of IANA is trusted, for the DS records of a top-level domain
//     that is signed, and of one that is not;
//   - for the SOA records of the names given. With other trust anchors, give a name
//     in a signed zone and one in an unsigned zone;
//   - for names that do not exist below each wildcard given, as in "*.example.org". Give
//     one that has records in a signed zone: some forwarders drop the proofs that come
//     with records of wildcards, and nothing else shows it.
//
// The error wraps a *[ProbeError] for each server that fails. It is nil if none does.
func (v *Validator) Probe(ctx context.Context, names ...string) error {
	return probeEach(v.client, func(s *upstream.Server) *probe.Result {
		alone := v.only(s)
		p := probe.Probe{Client: alone.client, Server: s, Resolver: probed{alone}, Names: names}
		p.Zones, p.Keys, p.Delegations = slices.Sorted(maps.Keys(v.anchors)), true, v.anchors.OfIANA()
		return p.Run(ctx)
	})
}

// only returns a Validator with an empty cache that asks s alone.
func (v *Validator) only(s *upstream.Server) *Validator {
	return &Validator{
		front:   v.front.only(s),
		anchors: v.anchors,
		limits:  v.limits,
		skew:    v.skew,
		sha1:    v.sha1,
		private: v.private,
	}
}

// Probe checks whether each server validates and can be reached over UDP and TCP, or over
// TLS. It is like [Validator.Probe], but asks for the root zone only, and for the names
// given. It cannot find out whether someone forges the answers that a server gets.
func (t *Trusting) Probe(ctx context.Context, names ...string) error {
	return probeEach(t.client, func(s *upstream.Server) *probe.Result {
		alone := &Trusting{t.front.only(s), t.limits, nil}
		p := probe.Probe{Client: alone.client, Server: s, Resolver: probed{alone}, Names: names, Zones: []string{"."}}
		return p.Run(ctx)
	})
}

// probeEach probes all servers of the client at once.
func probeEach(client *upstream.Client, run func(*upstream.Server) *probe.Result) error {
	servers, problem := client.Servers()
	faults := make([]error, len(servers))
	var probes sync.WaitGroup
	for i, s := range servers {
		probes.Go(func() {
			if found := run(s); len(found.Faults) > 0 {
				faults[i] = &ProbeError{Server: s.String(), Faults: found.Faults, Err: found.Err}
			}
		})
	}
	probes.Wait()
	if problem != nil {
		problem = fmt.Errorf("dnssec: %w", problem)
	}
	return errors.Join(append(faults, problem)...)
}

// probed is a Resolver as a probe sees it.
type probed struct{ resolver Resolver }

// Lookup implements probe.Resolver.
func (p probed) Lookup(ctx context.Context, name string, rtype uint16) (probe.Answer, error) {
	a, err := p.resolver.Lookup(ctx, name, Type(rtype))
	if err != nil {
		return probe.Answer{}, err
	}
	return probe.Answer{Secure: a.Status == Secure, Status: a.Status.String(), Records: len(a.Records)}, nil
}

// Explain implements probe.Resolver.
func (p probed) Explain(name string, rtype uint16, err error) (cause, fault string) {
	e := asError(question{name, rtype}, err)
	cause = e.cause()
	switch e.Reason {
	case AnchorMismatch:
		return cause, "has other keys than the trust anchors: the anchors are outdated, or the answers are forged; " + e.advice()
	case NotValidating:
		return cause, "does not validate; " + probe.EnableValidation + ", or use a Validator, which validates itself"
	case DenialMissing:
		return cause, "does not return proofs of non-existence: no valid NSEC or NSEC3 records; " + probe.EnableDNSSEC
	default:
		return cause, fmt.Sprintf("fails to answer for %s of %q: %s; %s", e.Type, e.Name, cause, e.advice())
	}
}
