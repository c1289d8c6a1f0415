package policy

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/internal/protection"
)

// Plan says which mail hosts may receive a domain's mail, in which order, and
// what a session with each of them must prove. Plans are shared between callers
// and read-only. Resolver.Resolve makes them.
type Plan struct {
	// Domain is the recipient domain in A-labels, without final dot.
	Domain string
	// NextHop is the domain or host whose mail hosts these are: Domain, unless
	// the operator configured another.
	NextHop string
	// Via is the next hop that the operator configured, by Override.NextHop or the
	// option Via, in that syntax and with its port. It is empty if there is none.
	Via string
	// MXStatus is the DNSSEC status of the MX records or of their denial;
	// Secure for a next hop that the operator configured.
	MXStatus dnssec.Status
	// ImplicitMX is true if the domain has no MX records and is its own only
	// mail host (RFC 5321 section 5.1).
	ImplicitMX bool
	// Hosts are the mail hosts by MX preference, hosts of equal preference
	// shuffled. Refused hosts stay in the list because loop detection needs the
	// whole list (RFC 8461 section 8.4).
	Hosts []*Host
	// MTASTS is the result of the MTA-STS lookup. Its zero value means that
	// there was none.
	MTASTS MTASTS
	// RequireTLS is true for a plan made with the option of that name. The
	// client must then send REQUIRETLS in its MAIL command (RFC 8689).
	RequireTLS bool
	// Bounce is true for a plan made with RequireTLS and Bounce. The client sends
	// REQUIRETLS to servers that offer it, and the mail to the others too.
	Bounce bool
	// Login is true for a plan made with the option of that name: its hosts are the
	// host that the operator named, and credentials may be sent in a session that is
	// verified.
	Login bool
	// Expires is when the plan must no longer be used: the earliest expiry of
	// the records, signatures and policies that it was made from. Resolver.Holds
	// compares it with the clock.
	Expires time.Time

	protection protection.State
	made       time.Time // by the wall clock alone
	asked      request
	literal    bool // the next hop is an address
	omitted    int  // mail hosts of the worst preference, left out
	// expansion is the name that the next hop is an alias of, if that has the MX records.
	expansion string
}

// Key identifies what the plan was made for: the domain and all options. Of one
// Resolver, plans with equal keys were made for equal calls, though perhaps at
// different times. It says nothing about what the plan demands. It is for caches, such
// as that of TLS sessions, and has no meaning elsewhere.
func (p *Plan) Key() string {
	return strings.Join(append([]string{p.asked.domain}, p.asked.options()...), " ")
}

// Order returns the hosts by preference, hosts of equal preference shuffled for
// each call (RFC 5321 section 5.1). The slice is the caller's.
func (p *Plan) Order() []*Host {
	hosts := slices.Clone(p.Hosts)
	for start := 0; start < len(hosts); {
		end := start + 1
		for end < len(hosts) && hosts[end].Preference == hosts[start].Preference {
			end++
		}
		equal := hosts[start:end]
		rand.Shuffle(len(equal), func(i, j int) { equal[i], equal[j] = equal[j], equal[i] })
		start = end
	}
	return hosts
}

// Allows reports whether host may receive mail of the plan's domain in a session
// that meets the host's level. A host that is not in the plan is not allowed.
func (p *Plan) Allows(host string) bool {
	h := p.Host(host)
	return h != nil && h.Level != Refused
}

// Host returns the plan's entry for an MX host name, or nil. Case and a final dot
// do not matter.
func (p *Plan) Host(name string) *Host {
	for _, h := range p.Hosts {
		if names.Equal(h.Name, name) {
			return h
		}
	}
	return nil
}

// Omitted returns how many mail hosts of the worst preference Hosts leaves out, because
// there are too many. Nothing is known about them, and no mail may be sent to them.
func (p *Plan) Omitted() int { return p.omitted }

// Err returns nil if at least one host may be tried, and otherwise the refusal of
// the first host of the plan, an *Error.
func (p *Plan) Err() error {
	var first *Error
	for _, h := range p.Hosts {
		if h.Level != Refused {
			return nil
		}
		if first == nil {
			first = h.Refusal
		}
	}
	if first == nil {
		return noHost(p.Domain)
	}
	return first
}

// size is about what the plan takes in memory, in octets, without what its hosts share with
// those of other plans. shared is what that takes.
func (p *Plan) size() (own, shared int) {
	own = 450 + len(p.Domain) + len(p.MTASTS.failedText)
	if policy := p.MTASTS.Policy; policy != nil {
		own += 100 + len(policy.Text) + 16*cap(policy.MX) // which package mtasts may have forgotten
	}
	for _, h := range p.Hosts {
		own += 250 + len(h.Name) + 24*(len(h.Addrs)+len(h.ReferenceNames))
		if h.found != nil {
			shared += h.found.Size()
		}
		if h.Refusal != nil {
			own += 500
			var failed *dane.Error
			if errors.As(h.Refusal, &failed) {
				own += 500 * len(failed.Lookups) // without records
			}
		}
	}
	return own, shared
}

// use notes that one more plan is kept, or one less; see survey.Found.
func (p *Plan) use(by int) (octets int) {
	for _, h := range p.Hosts {
		if h.found != nil {
			octets += h.found.Use(by)
		}
	}
	return octets
}
