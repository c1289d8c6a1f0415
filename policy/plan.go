package policy

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
)

// Plan says which mail hosts may receive a domain's mail, in which order, and
// what a session with each must prove. Plans are shared between callers and
// read-only.
type Plan struct {
	// Domain is the recipient domain in A-labels, without final dot.
	Domain string
	// NextHop is the domain or host whose mail hosts these are: Domain, unless
	// the operator configured another.
	NextHop string
	// MXStatus is the DNSSEC status of the MX records, or of their denial;
	// Secure for a next hop that the operator configured.
	MXStatus dnssec.Status
	// ImplicitMX is true when the domain has no MX records, and is its own
	// only mail host (RFC 5321 section 5.1).
	ImplicitMX bool
	// Hosts are the mail hosts by MX preference, equal ones shuffled. Refused
	// hosts stay in the list, marked, because the order of the whole list
	// matters for loop detection (RFC 8461 section 8.4).
	Hosts []*Host
	// MTASTS is what MTA-STS said; its zero value says that it was not asked.
	MTASTS MTASTS
	// RequireTLS is true for a plan made with the option of that name. The
	// client must then say REQUIRETLS in its MAIL command (RFC 8689).
	RequireTLS bool
	// Expires is when the plan must be made anew: the earliest end of all that
	// went into it.
	Expires time.Time

	made        time.Time
	asked       request
	tlsOptional bool // made with TLSOptional, and not with RequireTLS
	literal     bool // the next hop is an address
	omitted     int  // mail hosts left out, the worst
}

// Host is one mail host of a Plan. It is shared and read-only.
type Host struct {
	// Name is the MX exchange in A-labels, without final dot, as the MX record
	// names it and never as an alias leads on; an IP address for an address
	// literal.
	Name string
	// Preference is that of the MX record; 0 when there is none.
	Preference uint16
	// Port is the TCP port.
	Port uint16
	// Addrs are the addresses whose security status decided. Connect to no
	// others: another lookup could have another outcome.
	Addrs []netip.Addr
	// Level is what a session must prove.
	Level Level
	// By is what decided the level.
	By Mechanism
	// Why says in one sentence how the level came about.
	Why string
	// RouteAuthenticated is true when the domain's owner named this host: by
	// secure MX records, or by the allow-list of an MTA-STS policy. Without it
	// an authenticated session is with the host named, and nobody knows
	// whether the host is the right one (RFC 7672 section 2.2.1).
	RouteAuthenticated bool
	// Refusal is why a Refused host is refused; nil otherwise.
	Refusal *Error
	// ServerName is the name for SNI: the TLSA base domain where DANE decides,
	// the MX host name otherwise (RFC 7672 section 8.1, RFC 8461 section 7.1).
	// Empty for an address literal.
	ServerName string
	// TLSA are the records that DANE authenticates the host by: those usable
	// of a secure RRset.
	TLSA []dane.Record
	// ReferenceNames are the names that a DANE-TA certificate may be for
	// (RFC 7672 section 3.2.2).
	ReferenceNames []string
	// DANE is what discovery found at the host, or nil when it was not asked.
	DANE *dane.Host

	demands demands
	refusal refusal
	plan    *Plan
	trust   *trust
}

// holds reports whether the plan is still good. A clock that was set back to
// before it was made leaves nothing good, and neither does one that stood still
// while the machine was suspended: both clocks must say so.
func (p *Plan) holds(now time.Time) bool {
	return now.Before(p.Expires) && now.Round(0).Before(p.Expires) && !now.Round(0).Before(p.made)
}

// Order returns the hosts by preference, with equal ones shuffled afresh
// (RFC 5321 section 5.1). The slice is the caller's.
func (p *Plan) Order() []*Host {
	hosts := make([]*Host, len(p.Hosts))
	copy(hosts, p.Hosts)
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

// Allows reports whether host may receive mail of the plan's domain, at the
// level that the plan gives it. A host that is not in the plan is not allowed:
// nothing is known of it.
func (p *Plan) Allows(host string) bool {
	h := p.Host(host)
	return h != nil && h.Level != Refused
}

// Host returns the plan's entry for an MX host name, in any case and with or
// without final dot, or nil.
func (p *Plan) Host(name string) *Host {
	for _, h := range p.Hosts {
		if sameName(h.Name, name) {
			return h
		}
	}
	return nil
}

// Err returns nil when at least one host may be tried, and otherwise why the
// first host of the plan is refused.
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
		return &Error{Domain: p.Domain, Status: "4.4.4", Detail: "no mail host is known"}
	}
	return first
}

// size is about what a plan takes in memory, in octets, with the DNS answers and
// the policy that it holds on to.
func (p *Plan) size() int {
	size := 500
	if p.MTASTS.Policy != nil {
		size += len(p.MTASTS.Policy.Text)
	}
	size += len(p.MTASTS.failedText)
	for _, h := range p.Hosts {
		size += 700 + len(h.Name) + len(h.Why)
		if h.DANE == nil {
			continue
		}
		size += 24 * len(h.DANE.Addrs)
		for _, record := range h.DANE.Records {
			size += 2 * (40 + len(record.Data))
		}
		for _, lookup := range h.DANE.Lookups {
			if lookup.Answer != nil {
				size += 200 + 150*(len(lookup.Answer.Records)+len(lookup.Answer.Aliases))
			}
		}
	}
	return size
}
