package policytest

import (
	"fmt"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// Domain is a domain with its own DNS zone. It is safe for concurrent use.
type Domain struct {
	inet *Internet
	name string
	zone *dnstree.Zone
	// implied is true for a top-level domain that was added only because a
	// domain below it was.
	implied bool

	// policy is the policy host; nil if there is none.
	policy     *PolicyHost
	hostPolicy sync.Once
}

// DomainOption sets how a domain is signed.
type DomainOption func(*Signing)

// Signing is how a domain is signed. Options change it. The zero value means an
// ECDSA P-256 key and NSEC.
type Signing struct{ options []dnstree.Option }

func (s *Signing) use(option dnstree.Option) { s.options = append(s.options, option) }

// Unsigned makes a domain without DNSSEC. The parent zone proves that there is
// no DS record.
func Unsigned(s *Signing) { s.use(dnstree.Unsigned) }

// NSEC3 makes the domain prove nonexistence with NSEC3 instead of NSEC.
func NSEC3(s *Signing) { s.use(dnstree.NSEC3(0, "", false)) }

// NSEC3OptOut is like NSEC3, with opt-out (RFC 5155 section 6), as used by
// large top-level domains.
func NSEC3OptOut(s *Signing) { s.use(dnstree.NSEC3(0, "", true)) }

// UnknownAlgorithm signs the domain with an unassigned algorithm, so validators
// treat it as insecure (RFC 4035 section 5.2).
func UnknownAlgorithm(s *Signing) { s.use(dnstree.Algorithm(200)) }

// Domain adds a domain. Without options it is signed, with NSEC. If its
// top-level domain does not exist yet, Domain adds it too, signed.
func (inet *Internet) Domain(name string, options ...DomainOption) *Domain {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	return inet.addDomain(normal(name), options)
}

func (inet *Internet) addDomain(name string, options []DomainOption) *Domain {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		if tld := name[i+1:]; inet.domains[tld] == nil {
			inet.addDomain(tld, nil).implied = true
		}
	}
	var s Signing
	for _, option := range options {
		option(&s)
	}
	d := &Domain{inet: inet, name: name, zone: inet.tree.Zone(name, s.options...)}
	inet.domains[name] = d
	return d
}

// domainOf returns the domain that a host belongs to. That is the closest
// domain at or above it that was added explicitly, or else a new one.
func (inet *Internet) domainOf(host string) *Domain {
	_, above, found := strings.Cut(host, ".")
	if !found {
		panic(fmt.Sprintf("policytest: %q is not a host in a domain", host))
	}
	inet.mu.Lock()
	defer inet.mu.Unlock()
	for name := host; name != ""; _, name, _ = strings.Cut(name, ".") {
		if d := inet.domains[name]; d != nil && !d.implied {
			return d
		}
	}
	if d := inet.domains[above]; d != nil {
		return d
	}
	return inet.addDomain(above, nil)
}

// Name returns the name of the domain, without a final dot.
func (d *Domain) Name() string { return d.name }

// Add adds records to the domain. They are in zone-file syntax, relative to the
// domain, such as "@ TXT hello" or "www CNAME web.example.net.". It returns d.
func (d *Domain) Add(records ...string) *Domain {
	d.zone.Add(records...)
	return d
}

// Set is like Add, but first removes the existing records with the same names
// and types.
func (d *Domain) Set(records ...string) *Domain {
	d.zone.Set(records...)
	return d
}

// Remove removes records from a name, which is relative to the domain; "@" is
// the domain itself. Without types, it removes all records of the name. It
// returns d.
func (d *Domain) Remove(name string, types ...dnssec.Type) *Domain {
	d.zone.Remove(name, numbers(types)...)
	return d
}

// MX replaces the MX records of the domain. The first host gets preference 10,
// the next 20, and so on. A lone "." is a null MX (RFC 7505). It returns d.
func (d *Domain) MX(hosts ...string) *Domain {
	if len(hosts) == 1 && hosts[0] == "." {
		return d.Set("@ MX 0 .")
	}
	var records []string
	for i, host := range hosts {
		records = append(records, fmt.Sprintf("@ MX %d %s.", 10*(i+1), normal(host)))
	}
	return d.Set(records...)
}

// Policy adds a policy host with an MTA-STS policy and publishes the _mta-sts
// record. A domain has one policy host: another call replaces the policy, with a new
// id. The mode is "enforce", "testing" or "none". The max_age of the policy
// is one week. Use PolicyHost.Publish to change the policy, and
// PolicyHost.Break to make its host fail.
func (d *Domain) Policy(mode string, mx ...string) *PolicyHost {
	switch mode {
	case "enforce", "testing", "none":
	default:
		panic(fmt.Sprintf("policytest: policy mode %q is not enforce, testing or none; use Publish for invalid policies", mode))
	}
	d.hostPolicy.Do(func() { d.policy = newPolicyHost(d) })
	d.policy.Publish(policyText(mode, mx))
	return d.policy
}
