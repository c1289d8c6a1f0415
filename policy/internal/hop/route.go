package hop

import (
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// MaxHosts bounds the mail hosts of one route; those of the worst preference are
// left out. An RRset of 64 KiB could name thousands.
const MaxHosts = 32

// Route is the list of mail hosts of a next hop, and how it was learned.
type Route struct {
	Status    dnssec.Status
	Exchanges []Exchange // by preference, equal ones shuffled
	Implicit  bool       // no MX records: the domain itself
	// Expansion is the name that has the MX records, when the next hop is an
	// alias of it (RFC 7672 section 2.2.1).
	Expansion string
	Omitted   int // entries over MaxHosts
	// Backup means that the list ends before the sender's own entry.
	Backup  bool
	Expires time.Time
}

// Problem is why mail cannot go to a next hop.
type Problem uint8

const (
	NoProblem Problem = iota
	NoDomain          // the name does not exist
	NullMX            // RFC 7505
	Loop              // no host is better than the sender itself
)

// DirectRoute is the route to a host that the operator configured. It has no MX records
// and is secure by definition (RFC 7672 section 2.2.2). So is an address literal.
func DirectRoute(next Next, expires time.Time) Route {
	return Route{Status: dnssec.Secure, Exchanges: []Exchange{{Name: next.String()}}, Expires: expires}
}

// NewRoute returns the route by the answer for MX records. self are the sender's own names.
func NewRoute(next Next, answer *dnssec.Answer, self map[string]bool) (Route, Problem) {
	if answer.NXDomain {
		return Route{}, NoDomain
	}
	r := Route{Status: answer.Status, Expires: answer.Expires}
	if len(answer.Records) == 0 {
		r.Implicit = true
		r.Exchanges = []Exchange{{Name: next.Name}}
	} else if r.Exchanges = Exchanges(answer.Records); len(r.Exchanges) == 0 {
		return Route{}, NullMX
	} else if len(answer.Aliases) > 0 {
		r.Expansion = strings.TrimSuffix(answer.Name, ".")
	}
	all := len(r.Exchanges)
	r.Exchanges = BeforeSelf(r.Exchanges, self)
	r.Backup = len(r.Exchanges) < all
	if len(r.Exchanges) == 0 {
		return Route{}, Loop
	}
	if over := len(r.Exchanges) - MaxHosts; over > 0 {
		r.Exchanges, r.Omitted = r.Exchanges[:MaxHosts], over
	}
	return r, NoProblem
}
