package dnssec

import (
	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/names"
)

// question is a name and a type, in class IN.
type question struct {
	name  string // canonical
	rtype uint16
}

func questionOf(set *proof.RRset) question { return question{set.Name, set.Type} }

// newQuestion refuses what cannot be looked up: invalid names, types that are not
// data (RFC 6895 section 3.1), signatures, which are never signed, and DS at the
// root, which has no parent.
func newQuestion(name string, t Type) (question, error) {
	canonical, ok := proof.CanonicalName(name)
	q := question{canonical, uint16(t)}
	switch {
	case !ok:
		return q, failure(question{names.Printable(name, 300), q.rtype}, BadQuestion, "not a domain name")
	case q.rtype == dns.TypeNone, q.rtype == dns.TypeOPT, 128 <= q.rtype && q.rtype <= 255,
		q.rtype == dns.TypeSIG, q.rtype == dns.TypeRRSIG, q.rtype == dns.TypeNSEC3:
		return q, failure(q, BadQuestion, "not a type of records that can be looked up")
	case q.rtype == dns.TypeDS && canonical == ".":
		return q, failure(q, BadQuestion, "the root has no parent zone")
	}
	return q, nil
}

// home returns the name whose zone answers q. DS records are in the zone above
// their owner (RFC 4035 section 4.2).
func (q question) home() string {
	if q.rtype == dns.TypeDS {
		return proof.Parent(q.name)
	}
	return q.name
}

// key is that of what is known about q.
func (q question) key(kind memory.Kind) memory.Key {
	return memory.Key{Name: q.name, Type: q.rtype, Kind: kind}
}
