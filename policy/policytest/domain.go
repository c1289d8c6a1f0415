package policytest

import (
	"fmt"
	"strings"

	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// Domain is a DNS zone of its own.
type Domain struct {
	inet *Internet
	name string
	zone *dnstree.Zone
	// implied is true for a top-level domain that nobody asked for.
	implied bool
}

// DomainOption says how a domain is signed.
type DomainOption func(*signing)

type signing struct{ options []dnstree.Option }

func (s *signing) use(option dnstree.Option) { s.options = append(s.options, option) }

// Unsigned makes a domain without DNSSEC; the zone above proves that.
func Unsigned(s *signing) { s.use(dnstree.Unsigned) }

// NSEC3 denies existence in the domain by hashed names instead of NSEC.
func NSEC3(s *signing) { s.use(dnstree.NSEC3(0, "", false)) }

// NSEC3OptOut is NSEC3 with opt-out, as large top-level domains have it.
func NSEC3OptOut(s *signing) { s.use(dnstree.NSEC3(0, "", true)) }

// UnknownAlgorithm signs with an algorithm that nobody knows, which makes the
// domain insecure.
func UnknownAlgorithm(s *signing) { s.use(dnstree.Algorithm(200)) }

// Domain adds a domain. It is signed, down from the root, unless an option says
// otherwise. The top-level domain above it is added first if it is not there,
// signed as well.
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
	var s signing
	for _, option := range options {
		option(&s)
	}
	d := &Domain{inet: inet, name: name, zone: inet.tree.Zone(name, s.options...)}
	inet.domains[name] = d
	return d
}

// domainOf returns the domain that a host belongs to: the closest one at or
// above it that was asked for, or a new one.
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

// Name returns the name of the domain, without final dot.
func (d *Domain) Name() string { return d.name }

// Add puts records into the domain, in zone-file syntax relative to it:
// "@ TXT hello", "www CNAME web.example.net.".
func (d *Domain) Add(records ...string) *Domain {
	d.zone.Add(records...)
	return d
}

// Set is Add for records that replace what was there under their name and type.
func (d *Domain) Set(records ...string) *Domain {
	d.zone.Set(records...)
	return d
}

// Remove takes the records of these types away from a name that is relative to
// the domain ("@" for itself); without types, all of them.
func (d *Domain) Remove(name string, types ...uint16) *Domain {
	d.zone.Remove(name, types...)
	return d
}

// MX says which hosts take the domain's mail, the first with preference 10, the
// next with 20 and so on, in place of those it had.
func (d *Domain) MX(hosts ...string) *Domain {
	var records []string
	for i, host := range hosts {
		records = append(records, fmt.Sprintf("@ MX %d %s.", 10*(i+1), normal(host)))
	}
	return d.Set(records...)
}

// Policy publishes an MTA-STS policy, and the _mta-sts record that announces
// it, from a new policy host. The mode is "enforce", "testing" or "none"; the
// policy is valid for a week. PolicyHost.Publish changes it, and Break its host.
func (d *Domain) Policy(mode string, mx ...string) *PolicyHost {
	switch mode {
	case "enforce", "testing", "none":
	default:
		panic(fmt.Sprintf("policytest: the mode of a policy is enforce, testing or none, and not %q; Publish takes any text", mode))
	}
	p := newPolicyHost(d)
	p.Publish(policyText(mode, mx))
	return p
}
