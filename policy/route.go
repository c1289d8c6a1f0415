package policy

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// maxHosts bounds the mail hosts of one plan; the worst by preference are left
// out. An RRset of 64 KiB could name thousands.
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
	expires   time.Time
}

// findRoute looks up the MX records of hop. What the operator names as host
// needs none and is secure by definition (RFC 7672 section 2.2.2); so is an
// address literal, which leaves nothing to be found.
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
		return route{}, lookupFailure("the MX records cannot be had", err)
	}
	if answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure {
		return route{}, lookupFailure("the MX records cannot be had", errNoStatus)
	}
	if answer.NXDomain {
		return route{}, r.unlessForged(q, answer.Status, &Error{
			Permanent: true, Status: "5.1.2", Err: ErrNoDomain,
		})
	}
	found := route{status: answer.Status, expires: answer.Expires}
	if len(answer.Records) == 0 {
		found.implicit = true
		found.exchanges = []exchange{{name: hop.name}}
	} else if found.exchanges = exchanges(answer.Records); len(found.exchanges) == 0 {
		return route{}, r.unlessForged(q, answer.Status, nullMX())
	} else if len(answer.Aliases) > 0 {
		found.expansion = strings.TrimSuffix(answer.Name, ".")
	}
	found.exchanges = r.beforeSelf(found.exchanges)
	if len(found.exchanges) == 0 {
		return route{}, r.unlessForged(q, answer.Status, &Error{
			Permanent: true, Status: "5.4.6",
			Detail: "the best mail host of the domain is this host itself", Err: ErrLoop,
		})
	}
	if over := len(found.exchanges) - maxHosts; over > 0 {
		found.exchanges, found.omitted = found.exchanges[:maxHosts], over
	}
	return found, nil
}

// unlessForged makes the end of a domain wait where it rests on an answer that
// nobody authenticated, and something stronger speaks against it: mandatory DANE
// (RFC 7672 section 2.2.1), or an enforced policy, which names mail hosts
// (RFC 8461 section 5.1).
func (r *Resolver) unlessForged(q question, status dnssec.Status, failure *Error) *Error {
	if status == dnssec.Secure {
		return failure
	}
	against := ByOperator | ByDANE
	if !q.wishes.requireDANE {
		remembered := r.mtasts.Remembered(q.hop.name)
		if q.noMTASTS || remembered == nil || remembered.Mode != mtasts.Enforce {
			return failure
		}
		against = ByMTASTS
	}
	failure.Permanent, failure.SMTPCode, failure.By = false, 0, against
	failure.Status = "4" + strings.TrimPrefix(failure.Status, "5")
	failure.Detail = "the mail waits, since an answer that is not secure says so"
	return failure
}

// nullMX is RFC 7505 section 4.
func nullMX() *Error {
	return &Error{Permanent: true, SMTPCode: 556, Status: "5.1.10", Detail: "the domain accepts no mail", Err: ErrNullMX}
}

// exchanges returns the MX records in the order in which they are tried: by
// preference, equal ones shuffled (RFC 5321 section 5.1). "." among other
// records is a publisher's error and names no host (RFC 7505 section 3); where
// there is nothing else, whatever its preference, nothing is left.
func exchanges(records []dnssec.Record) []exchange {
	var list []exchange
	for _, record := range records {
		mx, _ := record.MX() // without a name if the record is malformed
		if mx.Host == "." {
			continue
		}
		name, err := asciiDomain(mx.Host)
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

// beforeSelf ends the list before the sender's own entry: itself and all that
// are no better (RFC 5321 section 5.1). That comes before any thought of
// security (RFC 7672 section 2.2.1).
func (r *Resolver) beforeSelf(list []exchange) []exchange {
	for _, own := range list {
		if r.self[own.name] {
			return slices.DeleteFunc(list, func(e exchange) bool { return e.preference >= own.preference })
		}
	}
	return list
}
