package situations

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// world is the private internet and its mail hosts, by name.
type world struct {
	inet  *policytest.Internet
	hosts map[string]*policytest.Host
	mu    sync.Mutex
}

// site is the part of the world that belongs to one situation.
type site struct {
	*world
	name   string // of the domain, in A-labels
	domain *policytest.Domain
	mx     []string
	policy *policytest.PolicyHost

	reports sync.Mutex
	report  []tlsrpt.Session // the sessions of the recipient, for TLS reports
}

// Record implements tlsrpt.Recorder.
func (s *site) Record(session *tlsrpt.Session) {
	s.reports.Lock()
	defer s.reports.Unlock()
	s.report = append(s.report, *session)
}

// step changes a site. Situations are built from steps.
type step func(*site)

type steps []step

// and returns the steps followed by more.
func (all steps) and(more ...step) steps { return slices.Concat(all, more) }

func (all steps) take(s *site) {
	for _, each := range all {
		each(s)
	}
}

// signed adds the domain, with DNSSEC.
func signed(s *site) { s.domain = s.inet.Domain(s.name) }

// unsigned adds the domain, without DNSSEC.
func unsigned(s *site) { s.domain = s.inet.Domain(s.name, policytest.Unsigned) }

// mx adds a mail host with the next preference: first mx.DOMAIN, then
// mx2.DOMAIN.
func mx(options ...policytest.Option) step {
	return func(s *site) {
		name := "mx." + s.name
		if len(s.mx) > 0 {
			name = "mx2." + s.name
		}
		host(name, options...)(s)
		mxAt(name)(s)
	}
}

// mxAt adds an MX record with the next preference for a host of any domain.
func mxAt(name string) step {
	return func(s *site) {
		s.mx = append(s.mx, name)
		s.domain.MX(s.mx...)
	}
}

// host adds a mail host without an MX record. If its domain does not exist, it
// is added, signed.
func host(name string, options ...policytest.Option) step {
	return func(s *site) {
		added := s.inet.Host(name, options...)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hosts[name] = added
	}
}

// elsewhere adds another domain, without DNSSEC.
func elsewhere(name string) step {
	return func(s *site) { s.inet.Domain(name, policytest.Unsigned) }
}

// records adds records to the domain.
func records(lines ...string) step {
	return func(s *site) { s.domain.Add(lines...) }
}

// tlsaOf publishes the TLSA record of a host below another name of the domain,
// for a host whose own zone has no TLSA records.
func tlsaOf(name, owner string) step {
	return func(s *site) {
		record, err := dane.NewRecord(s.host(name).Certificates()[0], dane.DANEEE, dane.SPKI, dane.SHA256)
		if err != nil {
			panic(err) // the certificate was issued by the demo
		}
		s.domain.Add(fmt.Sprint(dane.RecordName(owner, 25), " TLSA ", record))
	}
}

// policyFor publishes an MTA-STS policy. Without hosts, it lists mx.DOMAIN.
func policyFor(mode string, hosts ...string) step {
	return func(s *site) {
		if len(hosts) == 0 {
			hosts = []string{"mx." + s.name}
		}
		s.policy = s.domain.Policy(mode, hosts...)
	}
}

// blockPolicy prevents fetches of the policy.
func blockPolicy(s *site) { s.policy.Break(policytest.Refuse) }

// spoofPolicyID announces a new policy id, as an attacker who forges DNS can
// do.
func spoofPolicyID(s *site) { s.policy.Announce("spoofed") }

// faulty makes mx.DOMAIN fail.
func faulty(options ...policytest.Option) step {
	return func(s *site) { s.host("mx." + s.name).Break(options...) }
}

// dnsFault breaks the DNS replies for a name. "@" in the name means the domain.
func dnsFault(fault policytest.DNSFault, name string, types ...dnssec.Type) step {
	return func(s *site) { s.inet.BreakDNS(fault, s.expand(name), types...) }
}

// forge replaces the DNS replies for a name. "@" in the name and in the records
// means the domain.
func forge(name string, t dnssec.Type, records ...string) step {
	return func(s *site) {
		forged := make([]string, len(records))
		for i, record := range records {
			forged[i] = s.expand(record)
		}
		s.inet.BreakDNS(policytest.Forge(forged...), s.expand(name), t)
	}
}

func (s *site) expand(text string) string { return strings.ReplaceAll(text, "@", s.name) }

// host returns a mail host of the world, or nil.
func (w *world) host(name string) *policytest.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[name]
}
