package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// result is the result for one domain.
type result struct {
	Domain  string        `json:"domain"`
	Verdict verdict       `json:"verdict"`
	Why     string        `json:"why"`
	Lookups []lookup      `json:"lookups,omitempty"`
	Plan    *policy.Plan  `json:"plan,omitempty"`
	Error   *policy.Error `json:"error,omitempty"` // why there is no plan; otherwise nil
	// Sessions are the results of -connect.
	Sessions []*session `json:"sessions,omitempty"`
}

// lookup is a DNS lookup with its answer or error.
type lookup struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Status  dnssec.Status `json:"status"`
	Aliases []string      `json:"aliases,omitempty"`
	Records []string      `json:"records,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// checker checks domains.
type checker struct {
	settings
	dns      dnssec.Resolver
	resolver *policy.Resolver
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	now      func() time.Time
	progress progress
}

func newChecker(w settings, d deps) (*checker, error) {
	validator, err := dnssec.New(d.dns)
	if err != nil {
		return nil, err
	}
	d.policy.DNS = validator
	resolver, err := policy.New(d.policy)
	if err != nil {
		return nil, err
	}
	c := &checker{settings: w, dns: validator, resolver: resolver, dial: d.policy.Dial, now: d.policy.Now}
	if c.dial == nil {
		c.dial = new(net.Dialer).DialContext
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.helo == "" {
		name, _ := os.Hostname()
		c.helo = cmp.Or(name, "localhost")
	}
	return c, nil
}

// check checks one domain.
func (c *checker) check(ctx context.Context, domain string) *result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer c.progress.done(domain)
	c.progress.begin(domain, "asking for DNS records and the MTA-STS policy")

	r := &result{Domain: domain}
	plan, err := c.resolver.Resolve(ctx, domain)
	if err != nil {
		return c.withoutPlan(ctx, r, err)
	}
	r.Plan = plan
	r.Verdict, r.Why = judge(plan)
	r.Lookups = c.lookups(ctx, plan)
	if c.connect && plan.Err() == nil {
		r.Sessions = c.sessions(ctx, r)
		r.Verdict, r.Why = judgeSessions(r.Sessions, r.Verdict, r.Why)
	}
	return r
}

// withoutPlan completes the result of a domain without a plan.
func (c *checker) withoutPlan(ctx context.Context, r *result, err error) *result {
	r.Verdict = unreachable
	if !errors.As(err, &r.Error) {
		r.Error = &policy.Error{Domain: r.Domain, Err: err}
	}
	r.Why = "no mail can be sent to it now"
	if r.Error.Permanent {
		r.Why = "no mail can be sent to it"
	}
	var failed *dnssec.Error
	if r.Error.Err == nil || errors.As(err, &failed) { // otherwise the name is invalid
		r.Lookups = []lookup{c.mx(ctx, r.Error.Domain)}
	}
	return r
}

// mx returns the lookup of the MX records, which is repeated from the cache.
func (c *checker) mx(ctx context.Context, domain string) lookup {
	name := strings.TrimSuffix(domain, ".") + "."
	answer, err := c.dns.Lookup(ctx, name, dnssec.TypeMX)
	return newLookup(name, dnssec.TypeMX, answer, err)
}

// lookups returns the lookups that the plan is based on. An address literal
// needs none.
func (c *checker) lookups(ctx context.Context, plan *policy.Plan) []lookup {
	if plan.Domain[0] == '[' {
		return nil
	}
	list := []lookup{c.mx(ctx, plan.NextHop)}
	for _, host := range plan.Hosts {
		for _, l := range lookupsOf(host) {
			list = append(list, newLookup(l.Name, l.Type, l.Answer, l.Err))
		}
	}
	return list
}

// lookupsOf returns the lookups for a host. If they failed, they are in the
// error.
func lookupsOf(host *policy.Host) []dane.Lookup {
	if host.DANE != nil {
		return host.DANE.Lookups
	}
	var failed *dane.Error
	if host.Refusal != nil && errors.As(host.Refusal, &failed) {
		return failed.Lookups
	}
	return nil
}

func newLookup(name string, t dnssec.Type, answer *dnssec.Answer, err error) lookup {
	l := lookup{Name: name, Type: t.String()}
	if err != nil {
		l.Error = err.Error()
		var failed *dnssec.Error
		if errors.As(err, &failed) {
			l.Status = failed.Status
		}
		return l
	}
	l.Status = answer.Status
	for _, alias := range answer.Aliases {
		l.Aliases = append(l.Aliases, alias.Target+" ("+alias.Status.String()+")")
	}
	for _, record := range answer.Records {
		l.Records = append(l.Records, record.Content())
	}
	return l
}
