package policy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

// maxHosts bounds the mail hosts of one plan; those of the worst preference are
// left out. An RRset of 64 KiB could name thousands.
const maxHosts = 32

// route is the list of mail hosts of a next hop, and how it was learned.
type route struct {
	status    dnssec.Status
	exchanges []hop.Exchange // by preference, equal ones shuffled
	implicit  bool           // no MX records: the domain itself
	// expansion is the name that has the MX records, when the next hop is an
	// alias of it (RFC 7672 section 2.2.1).
	expansion string
	omitted   int // entries over maxHosts
	// backup means that the list ends before the sender's own entry.
	backup  bool
	expires time.Time
}

// findRoute looks up the MX records of the next hop. A host that the operator
// configured has none to look up and is secure by definition (RFC 7672 section
// 2.2.2). So is an address literal.
func (r *Resolver) findRoute(ctx context.Context, q question) (route, *Error) {
	next := q.hop
	if next.Direct {
		return route{
			status:    dnssec.Secure,
			exchanges: []hop.Exchange{{Name: next.String()}},
			expires:   r.now().Add(maxPlanAge),
		}, nil
	}
	answer, err := r.dns.Lookup(ctx, next.Name+".", dnssec.TypeMX)
	if err != nil {
		return route{}, mxLookup(q, err)
	}
	if answer == nil || answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure {
		return route{}, mxLookup(q, errNoStatus)
	}
	if answer.NXDomain {
		return route{}, r.conclude(ctx, q, answer.Status, noDomain(), new(MTASTS))
	}
	found := route{status: answer.Status, expires: answer.Expires}
	if len(answer.Records) == 0 {
		found.implicit = true
		found.exchanges = []hop.Exchange{{Name: next.Name}}
	} else if found.exchanges = hop.Exchanges(answer.Records); len(found.exchanges) == 0 {
		return route{}, r.conclude(ctx, q, answer.Status, nullMX(), new(MTASTS))
	} else if len(answer.Aliases) > 0 {
		found.expansion = strings.TrimSuffix(answer.Name, ".")
	}
	all := len(found.exchanges)
	found.exchanges = hop.BeforeSelf(found.exchanges, r.self)
	found.backup = len(found.exchanges) < all
	if len(found.exchanges) == 0 {
		return route{}, r.conclude(ctx, q, answer.Status, loop(), new(MTASTS))
	}
	if over := len(found.exchanges) - maxHosts; over > 0 {
		found.exchanges, found.omitted = found.exchanges[:maxHosts], over
	}
	return found, nil
}

// conclude returns the error for a next hop to which no mail can go, according to
// DNS answers of which the weakest has the given status. failure is permanent. It
// becomes temporary for a next hop that the operator configured, and if the answer
// may be forged: it is not secure, and DANE is mandatory (RFC 7672 section 2.2.1) or
// an enforced MTA-STS policy names mail hosts (RFC 8461 section 5.1). While the store
// cannot be read, there may be such a policy. known is the policy; if it was not
// looked up yet, it is now.
func (r *Resolver) conclude(ctx context.Context, q question, status dnssec.Status, failure *Error, known *MTASTS) *Error {
	switch {
	case q.hop.Configured:
		return failure.atNextHop(q.hop)
	case status == dnssec.Secure:
		return failure
	case q.wishes.RequireDANE:
		return failure.unproven(ByOperator|ByDANE, nil)
	case q.noMTASTS:
		return failure
	}
	_, err := r.mtasts.Remembered(ctx, q.hop.Name)
	if err != nil && !errors.Is(err, mtasts.ErrNoPolicy) && !errors.Is(err, mtasts.ErrDomain) {
		return failure.unproven(ByMTASTS, err)
	}
	if !known.Asked && known.Err == nil {
		*known = r.askMTASTS(ctx, q)
	}
	if known.fact() == decision.MTASTSEnforce || !known.Asked {
		return failure.unproven(ByMTASTS, known.Err)
	}
	return failure
}

// denied reports whether the route leads to no host that has an address, and no
// lookup failed. status is the weakest one of the answers that say so. A list that
// was cut short has hosts of which nothing is known.
func (r *route) denied(found []hostFacts) (status dnssec.Status, denied bool) {
	if r.omitted > 0 || r.backup {
		return 0, false
	}
	status = r.status
	for _, facts := range found {
		var failure *dane.Error
		switch {
		case errors.Is(facts.err, errNotAHost):
			continue // only the MX record says so
		case !errors.Is(facts.err, dane.ErrNoAddress) || !errors.As(facts.err, &failure):
			return 0, false
		}
		for _, lookup := range failure.Lookups {
			if lookup.Answer == nil || lookup.Answer.Status != dnssec.Secure {
				status = dnssec.Insecure
			}
		}
	}
	return status, true
}
