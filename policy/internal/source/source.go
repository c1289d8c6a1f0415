// Package source is where the facts for a plan come from: from lookups, or from memory
// alone.
package source

import (
	"context"
	"errors"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/policydns"
	"github.com/mxseal/mxseal/policy/internal/survey"
)

// Lookups looks up what is not in memory.
type Lookups struct {
	DNS    dnssec.Resolver
	MTASTS *mtasts.Client
	Hosts  *survey.Table
	Now    func() time.Time
}

// MX returns the answer for MX records of a domain.
func (l *Lookups) MX(ctx context.Context, domain string) (*dnssec.Answer, error) {
	return l.DNS.Lookup(ctx, domain+".", dnssec.TypeMX)
}

// Survey returns what is found at the hosts. It calls meanwhile while lookups are under way.
func (l *Lookups) Survey(ctx context.Context, hosts []survey.Host, meanwhile func()) []survey.Facts {
	return survey.Ask(ctx, l.DNS, l.Hosts, hosts, l.Now, meanwhile)
}

// LookAhead starts the lookup of the MTA-STS record of a domain, which may turn out not to
// be needed. It ends with stop.
func (l *Lookups) LookAhead(ctx context.Context, domain string) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	policydns.Resolver{DNS: l.DNS}.LookAhead(ctx, domain)
	return stop
}

// Policy returns the MTA-STS policy of a domain.
func (l *Lookups) Policy(ctx context.Context, domain string) (mtasts.Result, error) {
	return l.MTASTS.Lookup(ctx, domain)
}

// Remembered returns the MTA-STS policy of a domain as memory or the store has it.
func (l *Lookups) Remembered(ctx context.Context, domain string) (*mtasts.Policy, error) {
	return l.MTASTS.Remembered(ctx, domain)
}

// Memory answers as Lookups does, from memory alone. It asks nobody and never waits, so
// contexts do not matter. What memory does not have is an error, and [Memory.Missed] is true
// from then on: what was made from the answers must not be used.
type Memory struct {
	DNS    Recaller
	MTASTS *mtasts.Client
	Hosts  *survey.Table
	Now    func() time.Time

	missed bool
}

// Recaller is a Resolver that also answers from memory alone, as dnssec.Validator does.
type Recaller interface {
	dnssec.Resolver
	Recall(of dnssec.Resolver, name string, t dnssec.Type) (a *dnssec.Answer, ok bool, err error)
}

var errMissed = errors.New("source: not in memory")

// Missed reports whether something was asked that memory does not have.
func (m *Memory) Missed() bool { return m.missed }

// MX returns the answer for MX records of a domain.
func (m *Memory) MX(_ context.Context, domain string) (*dnssec.Answer, error) {
	answer, ok, err := m.DNS.Recall(m.DNS, domain+".", dnssec.TypeMX)
	if !ok {
		return nil, m.miss()
	}
	return answer, err
}

// Survey calls meanwhile, and returns what the table has of the hosts.
func (m *Memory) Survey(_ context.Context, hosts []survey.Host, meanwhile func()) []survey.Facts {
	meanwhile()
	facts, ok := survey.Known(m.Hosts, hosts, m.Now())
	if !ok {
		err := m.miss()
		for i := range facts {
			facts[i] = survey.Facts{Err: err}
		}
	}
	return facts
}

// LookAhead does nothing.
func (m *Memory) LookAhead(context.Context, string) (stop func()) { return func() {} }

// Policy returns the MTA-STS policy of a domain.
func (m *Memory) Policy(_ context.Context, domain string) (mtasts.Result, error) {
	result, ok, err := m.MTASTS.Recall(domain)
	if !ok {
		return mtasts.Result{}, m.miss()
	}
	return result, err
}

// Remembered fails, because the store may have the policy of another client.
func (m *Memory) Remembered(context.Context, string) (*mtasts.Policy, error) { return nil, m.miss() }

func (m *Memory) miss() error {
	m.missed = true
	return errMissed
}
