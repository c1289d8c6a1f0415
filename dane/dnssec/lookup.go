package dnssec

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/guess"
	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/flight"
)

// lookup is one top-level lookup: the session with the servers, the chain of
// trust, and the judgement of the replies.
type lookup struct {
	session session
	chain   chain
	judge   judge
	cache   *memory.Cache
	local   bool // special-use names are answered without a server
	private private.Zones
}

func (v *Validator) newLookup(ctx context.Context) *lookup {
	servers, problem := v.client.Servers()
	now := v.now()
	l := &lookup{cache: v.cache, local: v.local, private: v.private}
	l.session = session{
		client:    v.client,
		private:   v.private,
		exchanges: &v.exchanges,
		ctx:       ctx,
		now:       now,
		budget:    newBudget(v.limits, v.skew, v.cache.Signatures(now)),
		servers:   servers,
		problem:   problem,
		started:   make(map[exchangeKey]*flight.Flight[*outcome]),
	}
	l.chain = chain{session: &l.session, anchors: v.anchors, sha1: v.sha1, cache: v.cache, cuts: make(map[string]cutResult)}
	l.judge = judge{session: &l.session, chain: &l.chain}
	return l
}

// failureTTL is how long a failure is remembered (RFC 4035 section 4.7, RFC 9520
// section 3.2). It protects servers that are in trouble, and is short enough for a
// server that was restarted.
const failureTTL = 5 * time.Second

// run answers q, or remembers the failure.
func (l *lookup) run(q question) (*Answer, error) {
	defer l.session.close()
	a, err := l.follow(q, nil)
	if err == nil {
		return a, nil
	}
	e := asError(q, err)
	if problem := l.session.problem; problem != nil && e.Status == Indeterminate {
		e = e.noting(problem)
	}
	if e.Name != q.name || e.Type != Type(q.rtype) {
		e = e.within(q)
	}
	if e.Reason != Busy && !e.fleeting && !errors.Is(l.session.ctx.Err(), context.Canceled) {
		now := l.session.now
		l.cache.Put(q.key(memory.Failure), e, len(e.Error()), now.Add(failureTTL), now)
	}
	return nil, e
}

// follow answers q for a caller who has followed the aliases so far. If the reply
// ends in an alias, the target is asked for by its own name.
func (l *lookup) follow(q question, so path) (*Answer, error) {
	s := &l.session
	key := q.key(memory.Answer)
	if a, ok := l.cache.Get(key, s.now).(*Answer); ok {
		return a, l.extend(so, q, a)
	}
	if l.local && private.IsSpecialUse(q.name) {
		return specialUseAnswer(q, s.now), nil
	}
	if _, err := s.start(exchangeKey{question: q}); err != nil {
		return nil, err
	}
	l.guess(q)
	a, err := l.firstAccepted(q, so, s.ask(q))
	if err != nil {
		return nil, err
	}
	l.cache.Put(key, a, a.size(), a.Expires, s.now)
	return a, nil
}

// firstAccepted answers q by the first reply that is accepted. What may be forged, and
// comes from a server that overtook others, does not count at once if it may hide
// something: a denial or a null MX may make mail bounce, and other text, or an alias, may
// take the place of the record that says that there is a policy.
func (l *lookup) firstAccepted(q question, so path, asked *asking) (*Answer, error) {
	for asked.next() {
		a, open, err := l.answer(q, so, asked.reply)
		if !asked.accept(err) {
			continue
		}
		overtook, isText := len(asked.overtaken) > 0, Type(q.rtype) == TypeTXT
		if overtook && a.Status != Secure && isText {
			if earlier, counts, err := l.askSlower(q, so, asked); counts {
				return earlier, err
			}
		}
		if open {
			rest, err := l.follow(question{a.Name, q.rtype}, append(slices.Clip(so), a.Aliases...))
			if err != nil {
				return nil, err
			}
			a = a.followedBy(rest)
		}
		if overtook && a.Status != Secure && !isText && a.deniesMail() {
			if earlier, counts, err := l.askSlower(q, so, asked); counts {
				return earlier, err
			}
		}
		return a, nil
	}
	return nil, asked.err
}

// askSlower answers q by the servers that another one overtook. The result does not count
// if they have nothing to say.
func (l *lookup) askSlower(q question, so path, asked *asking) (a *Answer, counts bool, err error) {
	slower := &asking{session: &l.session, q: q, only: asked.overtaken, tried: asked.tried}
	a, err = l.firstAccepted(q, so, slower)
	return a, err == nil || slower.err == nil || slower.err.final || !silence(slower.failures), err
}

// guess sends questions for the records that the proof of an answer to q is likely to need
// and that are not known yet. It sends all at once and does not wait, so that proving the
// answer takes no longer than getting it. A wrong guess costs a small query, and a missing
// one costs time: guesses decide nothing else.
func (l *lookup) guess(q question) {
	if l.local && private.IsSpecialUse(q.name) || l.private.Of(q.name) != nil {
		return
	}
	known := func(at string) (guess.Known, *memory.Habits) {
		switch known := l.chain.known(at); {
		case known != nil && known.kind == signed:
			return guess.Signed, l.cache.Habits(at, l.session.now)
		case known != nil && known.kind != sameZone:
			return guess.Ended, nil
		case known != nil, l.cache.Get(memory.Key{Name: at, Kind: memory.Zone}, l.session.now) != nil:
			return guess.Inside, nil
		default:
			return guess.Nothing, nil
		}
	}
	guess.Questions(q.name, q.rtype, known, func(at string, rtype uint16) bool { return l.session.guess(question{at, rtype}) })
}

// extend checks the aliases of a cached answer as if they were followed now.
func (l *lookup) extend(so path, q question, a *Answer) (err error) {
	for _, step := range a.Aliases {
		if so, err = so.follow(step, q, l.session.budget.limits.Aliases); err != nil {
			return err
		}
	}
	return nil
}

// path is the aliases that were followed since the name that the caller asked for.
type path []Alias

// follow appends a step. It fails if the step leads back, or if there are too many.
func (p path) follow(step Alias, q question, limit int) (path, error) {
	p = append(slices.Clip(p), step)
	if len(p) > limit {
		return nil, failure(q, AliasLoop, "more than %d aliases", limit)
	}
	if slices.ContainsFunc(p, func(a Alias) bool { return a.Name == step.Target }) {
		return nil, failure(q, AliasLoop, "%q leads back to itself", step.Target)
	}
	return p, nil
}

// answer judges one reply. It follows the aliases in it, each judged separately,
// and then judges the records or their absence. The answer is open if the last
// alias leads out of the reply. Absence counts only for the name asked for.
func (l *lookup) answer(q question, so path, r *reply) (a *Answer, open bool, err error) {
	if zone := l.private.Of(q.home()); zone != nil {
		inZone := func(at question) bool { return l.private.Of(at.home()) == zone }
		return r.unvalidated(q, so, l.session.budget.limits.Aliases, Insecure, l.session.now, inZone)
	}
	a = &Answer{Name: q.name, Status: Secure, Expires: after(l.session.now, proof.MaxTTL)}
	var zones []*zone // of the aliases
	for {
		at := question{a.Name, q.rtype}
		var step *alias
		switch {
		case l.local && private.IsSpecialUse(at.name), l.private.Of(at.home()) != nil:
			return a, true, nil // the reply does not matter
		case r.answer.DNAME(at.name) != nil:
			step, err = l.dname(at, r)
			if err == nil && q.rtype == dns.TypeCNAME {
				a.weaken(step.judgement)
				set := &proof.RRset{Name: at.name, Type: dns.TypeCNAME, Records: []dns.RR{step.record}}
				return a, false, a.hold(set, step.expires.Sub(l.session.now))
			}
		case r.answer.Find(at.name, at.rtype) != nil:
			err = l.finish(a, at, zones, r)
			if len(a.Aliases) > 0 && isUnsigned(r.answer.Find(at.name, at.rtype)) && isMissing(err) {
				return a, true, l.finishOpen(a, at, zones, r)
			}
			return a, false, err
		case r.answer.Find(at.name, dns.TypeCNAME) != nil:
			step, err = l.cname(at, r)
		case len(a.Aliases) > 0:
			return a, true, l.finishOpen(a, at, zones, r)
		default:
			return a, false, l.finishAbsent(a, at, r)
		}
		if len(a.Aliases) > 0 && isUnsigned(r.answer.Find(at.name, dns.TypeCNAME)) && isMissing(err) {
			return a, true, l.finishOpen(a, at, zones, r)
		}
		if err != nil {
			return nil, false, err
		}
		if so, err = so.follow(step.Alias, q, l.session.budget.limits.Aliases); err != nil {
			return nil, false, err
		}
		a.weaken(step.judgement)
		zones = append(zones, step.zone)
		a.Aliases = append(a.Aliases, step.Alias)
		a.Name = step.Target
		l.guess(question{a.Name, q.rtype})
	}
}

// isUnsigned reports whether an RRset of a reply came without signatures. Some servers
// add the target of an alias from memory, without them.
func isUnsigned(set *proof.RRset) bool { return set != nil && len(set.Sigs) == 0 }

// isMissing reports whether err says that signatures are missing, so that the target of
// an alias has to be asked for by its own name.
func isMissing(err error) bool {
	e := new(Error)
	return errors.As(err, &e) && e.Reason == SignatureMissing && !e.final
}

// alias is one judged step.
type alias struct {
	Alias
	*judgement
	record *dns.CNAME // that a DNAME makes
}

func (l *lookup) dname(at question, r *reply) (*alias, error) {
	set := r.answer.DNAME(at.name)
	j, err := l.judge.set(questionOf(set), set, r)
	if err != nil {
		return nil, err
	}
	if l.chain.anchors.Between(set.Name, at.home()) {
		z, err := l.chain.zone(at.home())
		if err != nil {
			return nil, err
		}
		if z.secure() {
			return nil, failure(at, AliasInvalid, "the DNAME at %q is not in the signed zone %q", set.Name, z.apex)
		}
		j.status, j.expires = Insecure, earliest(j.expires, z.expires)
	}
	record, err := proof.Redirect(at.name, set, r.answer)
	if err != nil {
		return nil, err
	}
	return &alias{Alias{at.name, record.Target, true, j.status}, j, record}, nil
}

func (l *lookup) cname(at question, r *reply) (*alias, error) {
	set := r.answer.Find(at.name, dns.TypeCNAME)
	q := questionOf(set)
	if at.rtype == dns.TypeDS {
		q = at // the records belong to the zone above
	}
	j, err := l.judge.set(q, set, r)
	if err != nil {
		return nil, err
	}
	target, err := proof.CNAMETarget(set)
	if err != nil {
		return nil, err
	}
	return &alias{Alias: Alias{at.name, target, false, j.status}, judgement: j}, nil
}

// finish completes a with the records of the reply. zones are those of its aliases.
func (l *lookup) finish(a *Answer, at question, zones []*zone, r *reply) error {
	if err := r.present(at); err != nil {
		return err
	}
	set := r.answer.Find(at.name, at.rtype)
	j, err := l.judge.set(questionOf(set), set, r)
	if err != nil {
		return err
	}
	a.weaken(j)
	switch {
	case len(a.Aliases) > 0 && a.Status == Secure:
		// Only the zones of the aliases and of the records may prove something.
		zones = append(zones, j.zone)
		err = l.judge.wholeAuthority(at, r, func(z *zone) bool { return contains(zones, z) })
	case len(a.Aliases) == 0 && j.zone.secure():
		_, err = l.judge.wholeProof(j.zone, at, r)
	}
	if err != nil {
		return err
	}
	return a.hold(set, j.expires.Sub(l.session.now))
}

// finishOpen completes a, whose last alias leads out of the reply. Other records of
// the reply may belong to the zone of the target, which is not known yet.
func (l *lookup) finishOpen(a *Answer, at question, zones []*zone, r *reply) error {
	if a.Status != Secure {
		return nil
	}
	return l.judge.wholeAuthority(at, r, func(z *zone) bool { return contains(zones, z) || proof.Within(at.home(), z.apex) })
}

func contains(zones []*zone, z *zone) bool {
	return slices.ContainsFunc(zones, func(other *zone) bool { return other.apex == z.apex })
}

// finishAbsent completes a with the absence of the records.
func (l *lookup) finishAbsent(a *Answer, at question, r *reply) error {
	j, err := l.judge.absence(at, r)
	if err != nil {
		return err
	}
	a.weaken(j)
	a.deny(j.rcode)
	return nil
}

// hold gives the answer the records of set, with the TTL that validation has left.
func (a *Answer) hold(set *proof.RRset, ttl time.Duration) (err error) {
	a.Records, err = newRecords(set, ttl)
	return err
}

// deny makes the answer a denial. rcode is NOERROR or NXDOMAIN.
func (a *Answer) deny(rcode int) { a.NXDomain = rcode == dns.RcodeNameError }

// weaken makes the answer no better than one of the links that it rests on.
func (a *Answer) weaken(j *judgement) {
	a.Status = min(a.Status, j.status)
	a.Expires = earliest(a.Expires, j.expires)
}

// followedBy joins an answer that ended in an alias with that of its target.
func (a *Answer) followedBy(rest *Answer) *Answer {
	return &Answer{
		Name:     rest.Name,
		Aliases:  append(slices.Clip(a.Aliases), rest.Aliases...),
		Records:  rest.Records,
		NXDomain: rest.NXDomain,
		Status:   min(a.Status, rest.Status),
		Expires:  earliest(a.Expires, rest.Expires),
	}
}

// deniesMail reports whether the answer may make mail bounce: it is a denial, or a null MX
// (RFC 7505 section 3).
func (a *Answer) deniesMail() bool {
	return !slices.ContainsFunc(a.Records, func(r Record) bool {
		mx, isMX := r.MX()
		return !isMX || mx.Host != "."
	})
}

// size estimates the memory that the answer takes.
func (a *Answer) size() int {
	size := 200 + len(a.Name)
	for _, step := range a.Aliases {
		size += 100 + len(step.Name) + len(step.Target)
	}
	for _, record := range a.Records {
		size += 100 + len(record.Data)
	}
	return size
}
