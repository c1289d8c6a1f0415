package survey

import (
	"context"
	"errors"
	"strings"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// Lookup is a DNS lookup with its answer or error.
type Lookup struct {
	Name    string        `json:"name"`
	Type    string        `json:"type"`
	Status  dnssec.Status `json:"status"`
	Aliases []string      `json:"aliases,omitempty"`
	Records []string      `json:"records,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// lookups returns the lookups that the plan is based on. An address literal needs none. All
// of them are answered from memory, except for that of the MTA-STS record where DANE alone
// decides.
func (s *Surveyor) lookups(ctx context.Context, plan *policy.Plan) []Lookup {
	if plan.Domain[0] == '[' {
		return nil
	}
	list := []Lookup{s.mx(ctx, plan.NextHop)}
	for _, host := range plan.Hosts {
		for _, l := range lookupsOf(host) {
			list = append(list, newLookup(l.Name, l.Type, l.Answer, l.Err))
		}
	}
	_, record := s.txt(ctx, "_mta-sts."+plan.NextHop)
	return append(list, record)
}

// lookupsOf returns the lookups for a host. If they failed, they are in the error.
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

// mx returns the lookup of the MX records.
func (s *Surveyor) mx(ctx context.Context, domain string) Lookup {
	name := absolute(domain)
	answer, err := s.DNS.Lookup(ctx, name, dnssec.TypeMX)
	return newLookup(name, dnssec.TypeMX, answer, err)
}

// txt returns the texts at a name, and their lookup.
func (s *Surveyor) txt(ctx context.Context, name string) ([]string, Lookup) {
	name = absolute(name)
	answer, err := s.DNS.Lookup(ctx, name, dnssec.TypeTXT)
	var texts []string
	if err == nil {
		for _, record := range answer.Records {
			if text, ok := record.TXT(); ok {
				texts = append(texts, text)
			}
		}
	}
	return texts, newLookup(name, dnssec.TypeTXT, answer, err)
}

func newLookup(name string, t dnssec.Type, answer *dnssec.Answer, err error) Lookup {
	l := Lookup{Name: name, Type: t.String()}
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

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }
