package dnssec

import (
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
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

// key returns the key in the cache of what is known about q.
func (q question) key(kind memory.Kind) memory.Key {
	return memory.Key{Name: q.name, Type: q.rtype, Kind: kind}
}

// reply is a message that answers a question, arranged for validation. It is
// shared and read-only.
type reply struct {
	server    *upstream.Server
	octets    int // of the message
	memory    int // an estimate, of the message unpacked
	rcode     int
	ad        bool
	answer    proof.Section
	authority proof.Section
	foreign   bool // the authority section has records that no answer needs
	extended  []ExtendedError
}

// newReply arranges msg. An rcode other than NOERROR and NXDOMAIN is an error,
// because it says nothing about the name (RFC 7672 section 2.1.1).
func newReply(msg *upstream.Message, q question) (*reply, error) {
	r := &reply{server: msg.Server, octets: msg.Octets, memory: msg.Memory, rcode: msg.Rcode, ad: msg.AuthenticatedData, extended: extendedErrors(msg.Msg)}
	if msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError {
		reason := OtherRcode
		switch msg.Rcode {
		case dns.RcodeServerFailure:
			reason = ServerFailure
		case dns.RcodeRefused:
			reason = Refused
		}
		return nil, r.blame(failure(q, reason, "the server answered %s", upstream.RcodeName(msg.Rcode)))
	}
	relevant := func(rtype uint16) bool { return upstream.Relevant(rtype, q.rtype) }
	r.answer, _ = proof.NewSection(msg.Answer, relevant)
	r.authority, r.foreign = proof.NewSection(msg.Ns, relevant)
	r.authority = r.authority.Separated()
	return r, nil
}

// present checks a reply that holds the records asked for. Its rcode must say so,
// and it must not say that their name is an alias, where there are no records (RFC
// 2181 section 10.1, RFC 6672 section 2.4).
func (r *reply) present(q question) error {
	switch {
	case r.rcode != dns.RcodeSuccess:
		return failure(q, Malformed, "the server answers, and says %s", upstream.RcodeName(r.rcode))
	case r.answer.DNAME(q.name) != nil, q.rtype != dns.TypeCNAME && r.answer.Find(q.name, dns.TypeCNAME) != nil:
		return failure(q, AliasInvalid, "the server answers, and says that the name is an alias")
	default:
		return nil
	}
}

// blame adds the server, and what the server said, to an error.
func (r *reply) blame(e *Error) *Error {
	e.Server = r.server.String()
	e.Extended = r.extended
	return e
}

// blamed names the server in an error about q. It wraps an error about another
// question, further up the chain.
func (r *reply) blamed(e *Error, q question) *Error {
	switch {
	case e.final:
		return e
	case e.Name == q.name && e.Type == Type(q.rtype) && e.Server == "":
		return r.blame(e)
	case e.Name == q.name && e.Type == Type(q.rtype):
		return e
	default:
		return r.blame(e.within(q))
	}
}

// extendedErrors returns the Extended DNS Errors of msg, made safe to print.
func extendedErrors(msg *dns.Msg) []ExtendedError {
	opt := msg.IsEdns0()
	if opt == nil {
		return nil
	}
	var list []ExtendedError
	for _, option := range opt.Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok && len(list) < 8 {
			list = append(list, ExtendedError{Code: ede.InfoCode, Text: names.Mask(ede.ExtraText, 200)})
		}
	}
	return list
}

// unvalidated reads a reply that is not validated. All records in it have the status.
// Those at names of which covers is false do not count: they are asked for separately.
// The answer is open if its last alias leads to one of these, or out of the reply.
func (r *reply) unvalidated(q question, so path, aliases int, status Status, now time.Time, covers func(question) bool) (a *Answer, open bool, err error) {
	a = &Answer{Name: q.name, Status: status, Expires: after(now, proof.MaxTTL)}
	for covers(question{a.Name, q.rtype}) {
		set := r.answer.Find(a.Name, q.rtype)
		if set != nil {
			if err := r.present(question{a.Name, q.rtype}); err != nil {
				return nil, false, err
			}
			a.Expires = earliest(a.Expires, after(now, set.TTL()))
			return a, false, a.hold(set, a.Expires.Sub(now))
		}
		step, ttl, err := r.step(a.Name)
		if err != nil {
			return nil, false, err
		}
		if step == nil {
			break
		}
		step.Status = status
		if so, err = so.follow(*step, q, aliases); err != nil {
			return nil, false, err
		}
		a.Aliases = append(a.Aliases, *step)
		a.Expires = earliest(a.Expires, after(now, ttl))
		a.Name = step.Target
	}
	if len(a.Aliases) > 0 {
		return a, true, nil
	}
	if r.authority.IsReferral() {
		return nil, false, failure(q, NoRecursion, "the server refers to other servers instead of answering")
	}
	if len(r.answer) > 0 {
		return nil, false, failure(q, Malformed, "the answer has records that were not asked for")
	}
	a.deny(r.rcode)
	a.Expires = earliest(a.Expires, after(now, r.authority.NegativeTTL()))
	return a, false, nil
}

// step returns where the alias at name leads, and its TTL, or nil if there is no alias. A
// DNAME may come without the CNAME that it makes: systemd-resolved does not add it.
func (r *reply) step(name string) (step *Alias, ttl uint32, err error) {
	if set := r.answer.DNAME(name); set != nil {
		cname, err := proof.Redirect(name, set, r.answer)
		if err != nil {
			return nil, 0, asError(question{name, dns.TypeCNAME}, err)
		}
		return &Alias{Name: name, Target: cname.Target, DNAME: true}, set.TTL(), nil
	}
	set := r.answer.Find(name, dns.TypeCNAME)
	if set == nil {
		return nil, 0, nil
	}
	target, err := proof.CNAMETarget(set)
	if err != nil {
		return nil, 0, asError(questionOf(set), err)
	}
	return &Alias{Name: name, Target: target}, set.TTL(), nil
}
