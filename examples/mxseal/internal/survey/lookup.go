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

// Zone is a name on the way from the root to a domain. Not every name has a zone of its
// own; its status is then that of the zone above.
type Zone struct {
	Name   string        `json:"name"`
	Status dnssec.Status `json:"status"`
}

// maxZones bounds the lookups of zones. A domain with more labels has no entries for those
// in the middle.
const maxZones = 8

// zones looks up the zones from the root down to the domain.
func (s *Surveyor) zones(ctx context.Context, domain string) []Zone {
	names := []string{"."}
	labels := strings.Split(domain, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		names = append(names, strings.Join(labels[i:], "."))
	}
	if len(names) > maxZones {
		names = append(names[:maxZones/2], names[len(names)-maxZones/2:]...)
	}
	list := make([]Zone, len(names))
	for i, name := range names {
		list[i].Name = name
		answer, err := s.DNS.Lookup(ctx, absolute(name), dnssec.TypeSOA)
		var failed *dnssec.Error
		switch {
		case err == nil:
			list[i].Status = answer.Status
		case errors.As(err, &failed):
			list[i].Status = failed.Status
		}
	}
	return list
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
