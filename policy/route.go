package policy

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// maxHosts bounds the mail hosts of one plan; those of the worst preference are
// left out. An RRset of 64 KiB could name thousands.
const maxHosts = 32

// exchange is one entry of the host list.
type exchange struct {
	name       string // in A-labels, without final dot; as found when malformed
	preference uint16
	malformed  bool // not a host name: an address (DANE-36), or nonsense
}

// route is the list of mail hosts of a next hop, and how it was learned.
type route struct {
	status    dnssec.Status
	exchanges []exchange // by preference, equal ones shuffled
	implicit  bool       // no MX records: the domain itself
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
	hop := q.hop
	if hop.direct {
		return route{
			status:    dnssec.Secure,
			exchanges: []exchange{{name: hop.String()}},
			expires:   r.now().Add(maxPlanAge),
		}, nil
	}
	answer, err := r.dns.Lookup(ctx, hop.name+".", dnssec.TypeMX)
	if err != nil {
		return route{}, mxLookup(err)
	}
	if answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure {
		return route{}, mxLookup(errNoStatus)
	}
	if answer.NXDomain {
		return route{}, r.conclude(ctx, q, answer.Status, noDomain(), new(MTASTS))
	}
	found := route{status: answer.Status, expires: answer.Expires}
	if len(answer.Records) == 0 {
		found.implicit = true
		found.exchanges = []exchange{{name: hop.name}}
	} else if found.exchanges = exchanges(answer.Records); len(found.exchanges) == 0 {
		return route{}, r.conclude(ctx, q, answer.Status, nullMX(), new(MTASTS))
	} else if len(answer.Aliases) > 0 {
		found.expansion = strings.TrimSuffix(answer.Name, ".")
	}
	all := len(found.exchanges)
	found.exchanges = r.beforeSelf(found.exchanges)
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
	case q.hop.configured:
		return failure.atNextHop(q.hop)
	case status == dnssec.Secure:
		return failure
	case q.wishes.requireDANE:
		return failure.unproven(ByOperator|ByDANE, nil)
	case q.noMTASTS:
		return failure
	}
	_, err := r.mtasts.Remembered(ctx, q.hop.name)
	if err != nil && !errors.Is(err, mtasts.ErrNoPolicy) && !errors.Is(err, mtasts.ErrDomain) {
		return failure.unproven(ByMTASTS, err)
	}
	if !known.Asked && known.Err == nil {
		*known = r.askMTASTS(ctx, q)
	}
	if known.fact() == mtastsEnforce || !known.Asked {
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

// exchanges returns the MX records in the order in which they are tried: by
// preference, equal ones shuffled (RFC 5321 section 5.1). "." among other
// records is a publisher's error and names no host (RFC 7505 section 3). If there
// is nothing else, whatever its preference, the list is empty.
func exchanges(records []dnssec.Record) []exchange {
	var list []exchange
	for _, record := range records {
		mx, _ := record.MX() // without a name if the record is malformed
		if mx.Host == "." {
			continue
		}
		name, err := canonicalDomain(mx.Host)
		if err != nil {
			name = strings.TrimSuffix(mx.Host, ".")
		}
		list = append(list, exchange{name: name, preference: mx.Preference, malformed: err != nil})
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b exchange) int { return cmp.Compare(a.preference, b.preference) })
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(e exchange) bool {
		again := seen[e.name]
		seen[e.name] = true
		return again
	})
}

// beforeSelf removes the sender's own entry and all that are no better (RFC 5321
// section 5.1). This comes before all security decisions (RFC 7672 section
// 2.2.1).
func (r *Resolver) beforeSelf(list []exchange) []exchange {
	for _, own := range list {
		if r.self[own.name] {
			return slices.DeleteFunc(list, func(e exchange) bool { return e.preference >= own.preference })
		}
	}
	return list
}
