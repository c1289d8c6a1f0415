// Package survey gathers what a sender finds about a domain: DNS records, the MTA-STS
// policy, the plan that follows from them, where reports go, and, on request, what every
// address of every mail host does. Subcommands judge and show it.
//
// survey.go is the order of the work, lookup.go the DNS, session.go and certificate.go a
// connection, and verdict.go what all of it means in one word.
package survey

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Result is what was found about one domain.
type Result struct {
	Domain  string  `json:"domain"`
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why"`
	// Problems are the failures of single mail hosts and addresses.
	Problems []string       `json:"problems,omitempty"`
	Lookups  []Lookup       `json:"lookups,omitempty"`
	Plan     *policy.Plan   `json:"plan,omitempty"`
	Error    *policy.Error  `json:"error,omitempty"` // why there is no plan; otherwise nil
	MTASTS   *policy.MTASTS `json:"mta_sts,omitempty"`
	Reports  *Reports       `json:"reports,omitempty"`
	// Zones are the names from the root down to the domain, with their DNSSEC status.
	Zones []Zone `json:"zones,omitempty"`
	// Sessions are the results of connecting.
	Sessions []*Session `json:"sessions,omitempty"`
	// Time is when the survey began.
	Time time.Time `json:"time"`
}

// Name returns the domain in A-labels, if it is a domain.
func (r *Result) Name() string {
	if r.Plan != nil {
		return r.Plan.Domain
	}
	return r.Domain
}

// Reports is where a domain wants TLS reports (RFC 8460 section 3).
type Reports struct {
	To    []string `json:"to,omitempty"`
	Error string   `json:"error,omitempty"` // why To is empty
	// Missing is true if the domain asks for no reports.
	Missing bool `json:"-"`
}

// Surveyor makes surveys. Its fields are set before the first one.
type Surveyor struct {
	*cli.Sender
	Connect  bool
	HELO     string        // empty means the name of this machine
	Timeout  time.Duration // for each domain
	Progress cli.Progress
}

// atOnce limits the number of domains that are surveyed concurrently.
const atOnce = 8

// All surveys all domains concurrently. The channels are in the order of the domains.
func (s *Surveyor) All(ctx context.Context, domains []string) []chan *Result {
	results := make([]chan *Result, len(domains))
	places := make(chan struct{}, atOnce)
	for i, domain := range domains {
		results[i] = make(chan *Result, 1)
		go func() {
			places <- struct{}{}
			results[i] <- s.Survey(ctx, domain)
			<-places
		}()
	}
	return results
}

// Survey surveys one domain.
func (s *Surveyor) Survey(ctx context.Context, domain string) *Result {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	defer s.Progress.Done(domain)
	s.Progress.Begin(domain, "asking for DNS records and the MTA-STS policy")

	r := &Result{Domain: domain, Time: s.Now().UTC()}
	plan, err := s.Resolve(ctx, domain)
	if err != nil {
		return s.withoutPlan(ctx, r, err)
	}
	r.Plan = plan
	r.Lookups = s.lookups(ctx, plan)
	if plan.Domain[0] != '[' {
		r.MTASTS = s.policy(ctx, plan)
		r.Reports = s.reports(ctx, r)
		r.Zones = s.zones(ctx, plan.NextHop)
	}
	if s.Connect {
		r.Sessions = s.sessions(ctx, r)
	}
	r.judge()
	return r
}

// withoutPlan completes the result of a domain without a plan.
func (s *Surveyor) withoutPlan(ctx context.Context, r *Result, err error) *Result {
	r.Verdict = Unreachable
	if !errors.As(err, &r.Error) {
		r.Error = &policy.Error{Domain: r.Domain, Err: err}
	}
	r.Why = "no mail can be sent to it now"
	if r.Error.Permanent {
		r.Why = "no mail can be sent to it"
	}
	var failed *dnssec.Error
	if r.Error.Err == nil || errors.As(err, &failed) { // otherwise the name is invalid
		r.Lookups = []Lookup{s.mx(ctx, r.Error.Domain)}
	}
	return r
}

// policy returns the MTA-STS policy of the next hop, also where DANE alone decides: other
// senders do not use DANE.
func (s *Surveyor) policy(ctx context.Context, plan *policy.Plan) *policy.MTASTS {
	if plan.MTASTS.Asked {
		return &plan.MTASTS
	}
	found, err := s.MTASTS().Lookup(ctx, plan.NextHop)
	if err != nil {
		return &policy.MTASTS{Err: err}
	}
	return &policy.MTASTS{
		Asked: true, Policy: found.Policy, ID: found.ID, Fetched: found.Fetched, Expires: found.Expires, Err: found.Err,
	}
}

// reports returns where the reports of a domain go, and adds the lookup to the result.
func (s *Surveyor) reports(ctx context.Context, r *Result) *Reports {
	texts, l := s.txt(ctx, "_smtp._tls."+r.Plan.NextHop)
	r.Lookups = append(r.Lookups, l)
	if l.Error != "" {
		return &Reports{Error: "the lookup failed"}
	}
	record, err := tlsrpt.SelectRecord(texts)
	if err != nil {
		return &Reports{Error: err.Error(), Missing: errors.Is(err, tlsrpt.ErrNoRecord)}
	}
	found := new(Reports)
	for _, endpoint := range record.Endpoints {
		found.To = append(found.To, endpoint.String())
	}
	return found
}

// helo returns the name for EHLO.
func (s *Surveyor) helo() string {
	name, _ := os.Hostname()
	return cmp.Or(s.HELO, name, "localhost")
}
