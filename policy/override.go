package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

// Override changes the configuration for one recipient domain. Its zero value
// changes nothing.
type Override struct {
	// NextHop replaces the domain's MX records. For "relay.example.net", the MX records
	// of that name are looked up; "[relay.example.net]" or "[192.0.2.1]" is the host
	// itself. A port may follow, as in "[relay.example.net]:587". A configured name is
	// secure by definition (RFC 7672 section 2.2.2). The MTA-STS policy is that of
	// NextHop, not of the recipient domain (RFC 8461 section 3.4).
	NextHop string

	// Floor raises Config.Floor for this domain.
	Floor Level

	// RequireRoute is Config.RequireRoute for this domain.
	RequireRoute bool

	// RequireDANE makes DANE mandatory for this domain (RFC 7672 section 6).
	RequireDANE bool

	// Pin are TLSA records that replace those in DNS, as if they were found
	// securely. They also apply to mail with TLS-Required: No. If the MX records
	// are not secure, the certificate for a DANE-TA pin (usage 2) must be for the
	// domain itself, because the authority certifies other hosts as well.
	Pin []dane.Record

	// NoDANE and NoMTASTS switch off a standard for this domain, for example if
	// its records are known to be wrong (RFC 7672 section 9.1).
	NoDANE, NoMTASTS bool
}

// HostOverride changes the configuration for one mail host. Its zero value changes
// nothing.
//
// Host names come from the MX records of other domains, and may be chosen by an attacker.
// So a HostOverride lowers nothing except the DANE of this host. The host must still be in
// the recipient domain's allow-list, have the certificate that an enforced MTA-STS policy
// demands, and meet Config.Floor, Override and the options of the call.
type HostOverride struct {
	// NoDANE switches off DANE for this host, for example if its TLSA records are
	// known to be wrong (RFC 7672 section 9.1). MTA-STS then decides about it, also
	// for domains with secure MX records. While DANE is mandatory for a domain, the
	// host is refused.
	NoDANE bool

	// Pin are TLSA records that replace those of this host in DNS, at whatever port. A
	// session must match one of them, even for mail with TLS-Required: No. They do not
	// excuse MTA-STS, because they say nothing about who named the host. The
	// certificate for a DANE-TA pin (usage 2) must be for the name of the host.
	// Override.Pin takes precedence.
	Pin []dane.Record

	// Floor raises Config.Floor for this host.
	Floor Level
}

// overrides are the settings for single domains and hosts, as New has read them.
type overrides struct {
	domains map[string]domainOverride
	ask     func(domain string) (Override, bool) // Config.OverrideFor
	hosts   map[string]HostOverride              // by Host.Name
	// What Config says for all domains.
	noDANE, requireDANE bool
	port                uint16
}

// domainOverride is a checked copy of an Override.
type domainOverride struct {
	Override
	hop *hop.Next // nil for the domain itself
}

func newOverrides(config Config, port uint16) (*overrides, error) {
	o := &overrides{
		domains:     make(map[string]domainOverride, len(config.Overrides)),
		ask:         config.OverrideFor,
		hosts:       make(map[string]HostOverride, len(config.HostOverrides)),
		noDANE:      config.NoDANE,
		requireDANE: config.RequireDANE,
		port:        port,
	}
	for domain, override := range config.Overrides {
		name, err := canonicalDomain(domain)
		if err != nil {
			return nil, fmt.Errorf("policy: Config.Overrides: %q: %w", domain, err)
		}
		if _, again := o.domains[name]; again {
			return nil, fmt.Errorf("policy: Config.Overrides: %q: two overrides are for the domain %s; remove one", domain, name)
		}
		if o.domains[name], err = o.read(override); err != nil {
			return nil, fmt.Errorf("policy: Config.Overrides: %q: %w", domain, err)
		}
	}
	for host, override := range config.HostOverrides {
		name, err := hostName(host)
		if err != nil {
			return nil, fmt.Errorf("policy: Config.HostOverrides: %q: %w", host, err)
		}
		if _, again := o.hosts[name]; again {
			return nil, fmt.Errorf("policy: Config.HostOverrides: %q: two overrides are for the mail host %s; remove one", host, name)
		}
		if o.hosts[name], err = o.readForHost(override); err != nil {
			return nil, fmt.Errorf("policy: Config.HostOverrides: %q: %w", host, err)
		}
	}
	return o, nil
}

// hostName returns Host.Name of the host that a HostOverride is for.
func hostName(host string) (string, error) {
	if !names.IsLiteral(host) {
		return canonicalDomain(host)
	}
	addr, err := names.ParseLiteral(host[1 : len(host)-1])
	return addr.String(), err
}

// of returns the override for a domain; the zero value if there is none.
func (o *overrides) of(domain string) (domainOverride, error) {
	override, found := o.domains[domain]
	if found || o.ask == nil || names.IsLiteral(domain) {
		return override, nil
	}
	given, found := o.ask(domain)
	if !found {
		return domainOverride{}, nil
	}
	override, err := o.read(given)
	if err != nil {
		return domainOverride{}, fmt.Errorf("Config.OverrideFor: %w", err)
	}
	return override, nil
}

var errFloor = errors.New("the field Floor is not a Level; use one of the constants")

// read checks and copies an Override.
func (o *overrides) read(override Override) (domainOverride, error) {
	switch {
	case (override.NoDANE || o.noDANE) && (override.RequireDANE || o.requireDANE):
		return domainOverride{}, errors.New("NoDANE and RequireDANE exclude each other, also if one of them is in Config; remove one")
	case override.Floor > Authenticated:
		return domainOverride{}, errFloor
	}
	pin, err := readPin(override.Pin)
	if err != nil {
		return domainOverride{}, err
	}
	read := domainOverride{Override: override}
	read.Pin = pin
	if override.NextHop != "" {
		next, err := hop.Parse(override.NextHop, o.port)
		if err != nil {
			return domainOverride{}, fmt.Errorf("the field NextHop %q: %w", names.Printable(override.NextHop, maxText), err)
		}
		read.hop = &next
	}
	return read, nil
}

// readForHost checks and copies a HostOverride.
func (o *overrides) readForHost(override HostOverride) (HostOverride, error) {
	switch {
	case override.Floor > Authenticated:
		return HostOverride{}, errFloor
	case override.NoDANE && o.requireDANE && len(override.Pin) == 0:
		return HostOverride{}, errors.New("NoDANE and Config.RequireDANE exclude each other; remove one, or pin records")
	}
	pin, err := readPin(override.Pin)
	override.Pin = pin
	return override, err
}

// readPin returns the records of a pin that DANE would use. It copies them, because
// the caller may change them later.
func readPin(pin []dane.Record) ([]dane.Record, error) {
	cloned := slices.Clone(pin)
	for i := range cloned {
		cloned[i].Data = slices.Clone(cloned[i].Data)
	}
	usable := dane.Select(cloned)
	if len(pin) > 0 && len(usable) == 0 {
		return nil, errors.New("the field Pin has no usable record; use DANE-TA or DANE-EE records")
	}
	return usable, nil
}
