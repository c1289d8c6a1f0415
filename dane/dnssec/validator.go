package dnssec

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/flight"
)

// Config configures a Validator. The zero value asks the servers of
// /etc/resolv.conf and trusts the root keys that IANA publishes.
type Config struct {
	// Servers are recursive DNS servers as "192.0.2.1", "192.0.2.1:53" or
	// "[2001:db8::1]:53", or "tls://192.0.2.1#dns.example" for DNS over TLS.
	// They need not be trusted nor validate, but must pass DNSSEC records on.
	// They are asked in this order; the next one is asked when one fails.
	Servers []string
	// ResolvConf is read if Servers is empty, and read again when it changes; one
	// that names no server then leaves the old ones, and failures say so.
	// Default: /etc/resolv.conf.
	ResolvConf string
	// Anchors are the trust anchors, for the root or any other zone: DS or
	// DNSKEY records in zone-file syntax, with absolute names, one in a line.
	// Other records and revoked keys are errors. If Anchors and AnchorFile are
	// empty, the root keys that IANA publishes are trusted.
	Anchors string
	// AnchorFile names a file of DS or DNSKEY records in zone-file syntax, such
	// as Debian's /usr/share/dns/root.key. Other records and revoked keys in it
	// are ignored. Its keys are trusted in addition to Anchors.
	AnchorFile string
	// Dial connects to a server; network is "udp" or "tcp". Default: a
	// net.Dialer. Over "udp", each Read must return one message.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is a template for connections to "tls://" servers, for its RootCAs.
	// The name to verify comes from Servers. Nil: the system's roots.
	TLS *tls.Config
	// Now is the clock for signatures and TTLs. Default: time.Now.
	Now func() time.Time
	// Timeout bounds one try at one server. Default: 3 seconds.
	Timeout time.Duration
	// CacheBytes bounds the cache, roughly. Default: 16 MiB.
	CacheBytes int
	// Limits bounds the work of one lookup.
	Limits Limits
	// SHA1 turns on the signature algorithms 5 and 7. They are off by default,
	// and zones signed with nothing better are insecure (RFC 9905 section 2).
	SHA1 bool
}

// Validator is a Resolver that proves each answer itself, from the trust
// anchors down. It is safe for concurrent use; use one for all lookups, because
// it holds the cache.
type Validator struct {
	upstreams *upstreams
	anchors   anchors
	client    client
	now       func() time.Time
	limits    Limits
	sha1      bool
	local     bool // special-use names are answered without a server

	cache     *cache
	lookups   flight.Group[question, *Answer]
	exchanges flight.Group[exchangeKey, *reply]
}

// New returns a Validator. It sends nothing; it fails if there is no DNS
// server or no trust anchor to work with.
func New(config Config) (*Validator, error) {
	upstreams, err := newUpstreams(config.Servers, config.ResolvConf, nil)
	if err != nil {
		return nil, err
	}
	anchors, err := newAnchors(config.Anchors, config.AnchorFile, config.SHA1)
	if err != nil {
		return nil, err
	}
	limits := config.Limits.withDefaults()
	client := newClient(config.Dial, config.Timeout, config.TLS, limits.Records)
	return &Validator{
		upstreams: upstreams,
		anchors:   anchors,
		client:    client,
		now:       clock(config.Now),
		limits:    limits,
		sha1:      config.SHA1,
		local:     anchors.areOfIANA(),
		cache:     newCache(cacheBytes(config.CacheBytes)),
		lookups:   flight.Group[question, *Answer]{Limit: limits.Duration},
		exchanges: flight.Group[exchangeKey, *reply]{Limit: client.timeout},
	}, nil
}

func clock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func cacheBytes(n int) int {
	if n <= 0 {
		return 16 << 20
	}
	return n
}

// failureTTL is how long a failure is remembered (RFC 4035 section 4.7, RFC
// 9520 section 3.2): long enough to spare servers that are in trouble, short
// enough for one that was restarted.
const failureTTL = 5 * time.Second

// Lookup returns the records of the type at name, or their proven absence. The
// error is an *Error; it never means that there are no records.
//
// With a root key of IANA among the trust anchors, localhost and the names below
// it are this host, nothing exists below invalid and onion, and no server is
// asked about any of them, not even where an alias leads to one; the answers are
// Insecure. Other trust anchors may belong to a private root, where all names
// have the meaning that it gives them.
func (v *Validator) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	q, err := newQuestion(name, t)
	if err != nil {
		return nil, err
	}
	if a, err := v.cached(q); a != nil || err != nil {
		return a, err
	}
	f := v.lookups.Join(ctx, q, func(ctx context.Context) (*Answer, error) {
		return v.lookup(ctx, q)
	})
	defer v.lookups.Leave(q, f)
	a, err := f.Wait(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, interrupted(q, ctx.Err())
		}
		return nil, err
	}
	return a, nil
}

// newQuestion refuses what cannot be looked up: bad names, the types that are
// no data (RFC 6895 section 3.1), signatures, which are never signed, and DS
// at the root, which has no parent.
func newQuestion(name string, t Type) (question, error) {
	canonical, ok := canonicalName(name)
	q := question{canonical, uint16(t)}
	switch {
	case !ok:
		return q, failure(question{printable(name, 300), q.rtype}, BadQuestion, "not a domain name")
	case q.rtype == dns.TypeNone, q.rtype == dns.TypeOPT, 128 <= q.rtype && q.rtype <= 255,
		q.rtype == dns.TypeSIG, q.rtype == dns.TypeRRSIG, q.rtype == dns.TypeNSEC3:
		return q, failure(q, BadQuestion, "not a type of records that can be looked up")
	case q.rtype == dns.TypeDS && canonical == ".":
		return q, failure(q, BadQuestion, "the root has no parent zone")
	}
	return q, nil
}

// cached returns the answer or the failure that is still good.
func (v *Validator) cached(q question) (*Answer, error) {
	now := v.now()
	if a, ok := v.cache.get(cacheKey{q.name, q.rtype, cachedAnswer}, now).(*Answer); ok {
		return a, nil
	}
	if e, ok := v.cache.get(cacheKey{q.name, q.rtype, cachedFailure}, now).(*Error); ok {
		return nil, e
	}
	return nil, nil
}

// lookup does the work of Lookup, once for all callers.
func (v *Validator) lookup(ctx context.Context, q question) (*Answer, error) {
	s := v.newSession(ctx)
	defer s.close()
	a, err := s.lookup(q, nil)
	if err == nil {
		return a, nil
	}
	e := asError(q, err)
	if s.problem != nil && e.Status == Indeterminate {
		e = e.noting(s.problem)
	}
	if e.Name != q.name || e.Type != Type(q.rtype) {
		e = e.within(q)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		v.cache.put(cacheKey{q.name, q.rtype, cachedFailure}, e, len(e.Error()), s.now.Add(failureTTL), s.now)
	}
	return nil, e
}

// lookup answers q for a caller who has followed the aliases so far. Where the
// reply ends in an alias, the target is asked for by its own name.
func (s *session) lookup(q question, so path) (*Answer, error) {
	key := cacheKey{q.name, q.rtype, cachedAnswer}
	if a, ok := s.v.cache.get(key, s.now).(*Answer); ok {
		return a, s.extend(so, q, a)
	}
	if s.v.answersLocally(q.name) {
		return localAnswer(q, s.now), nil
	}
	if _, err := s.start(s.tries[0], q); err != nil {
		return nil, err
	}
	s.prefetch(q.name)
	var a *Answer
	var open bool
	err := s.ask(q, func(r *reply) (err error) {
		a, open, err = s.answer(q, so, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if open {
		rest, err := s.lookup(question{a.Name, q.rtype}, append(slices.Clip(so), a.Aliases...))
		if err != nil {
			return nil, err
		}
		a = a.followedBy(rest)
	}
	s.v.cache.put(key, a, a.size(), a.Expires, s.now)
	return a, nil
}

// extend checks the aliases of a cached answer as if they were followed now.
func (s *session) extend(so path, q question, a *Answer) (err error) {
	for _, step := range a.Aliases {
		if so, err = so.follow(step, q, s.budget.limits.Aliases); err != nil {
			return err
		}
	}
	return nil
}

// answer judges one reply: it follows the aliases in it, each judged apart,
// and then judges the records or their absence. It is open if the last alias
// leads out of the reply; absence is believed only of the name asked for.
func (s *session) answer(q question, so path, r *reply) (a *Answer, open bool, err error) {
	a = &Answer{Name: q.name, Status: Secure, Expires: after(s.now, maxTTL)}
	var spoke []*zone // for the aliases
	for {
		at := question{a.Name, q.rtype}
		var step *alias
		switch {
		case s.v.answersLocally(at.name):
			return a, true, nil // whatever the reply says about it
		case r.dname(at.name) != nil:
			step, err = s.judgeDNAME(at, r)
			if err == nil && q.rtype == dns.TypeCNAME {
				a.weaken(step.judgement)
				set := &rrset{name: at.name, rtype: dns.TypeCNAME, records: []dns.RR{step.record}}
				a.Records, err = newRecords(set, step.expires.Sub(s.now))
				return a, false, err
			}
		case r.answer.find(at.name, at.rtype) != nil:
			return a, false, s.finish(a, at, spoke, r)
		case r.answer.find(at.name, dns.TypeCNAME) != nil:
			step, err = s.judgeCNAME(at, r)
		case len(a.Aliases) > 0:
			return a, true, s.finishOpen(a, at, spoke, r)
		default:
			return a, false, s.finishAbsent(a, at, r)
		}
		if err != nil {
			return nil, false, err
		}
		if so, err = so.follow(step.Alias, q, s.budget.limits.Aliases); err != nil {
			return nil, false, err
		}
		a.weaken(step.judgement)
		spoke = append(spoke, step.zone)
		a.Aliases = append(a.Aliases, step.Alias)
		a.Name = step.Target
		s.prefetch(a.Name)
	}
}

// alias is one judged step.
type alias struct {
	Alias
	*judgement
	record *dns.CNAME
}

func (s *session) judgeDNAME(at question, r *reply) (*alias, error) {
	set := r.dname(at.name)
	j, err := s.judgeSet(set.question(), set, r)
	if err != nil {
		return nil, err
	}
	if s.v.anchors.between(set.name, home(at)) {
		z, err := s.zone(home(at))
		if err != nil {
			return nil, err
		}
		if z.secure() {
			return nil, failure(at, AliasInvalid, "the DNAME at %q is not in the signed zone %q", set.name, z.apex)
		}
		j.status, j.expires = Insecure, earliest(j.expires, z.expires)
	}
	record, err := r.redirect(at.name, set)
	if err != nil {
		return nil, err
	}
	return &alias{Alias{at.name, record.Target, true, j.status}, j, record}, nil
}

func (s *session) judgeCNAME(at question, r *reply) (*alias, error) {
	set := r.answer.find(at.name, dns.TypeCNAME)
	q := set.question()
	if at.rtype == dns.TypeDS {
		q = at // the zone above speaks for the name
	}
	j, err := s.judgeSet(q, set, r)
	if err != nil {
		return nil, err
	}
	target, err := cnameTarget(set)
	if err != nil {
		return nil, err
	}
	return &alias{Alias: Alias{at.name, target, false, j.status}, judgement: j}, nil
}

// finish completes a with the records of the reply. spoke are the zones of its
// aliases.
func (s *session) finish(a *Answer, at question, spoke []*zone, r *reply) error {
	if err := r.present(at); err != nil {
		return err
	}
	set := r.answer.find(at.name, at.rtype)
	j, err := s.judgeSet(set.question(), set, r)
	if err != nil {
		return err
	}
	a.weaken(j)
	if len(a.Aliases) > 0 {
		err = s.finishAlias(a, at, append(spoke, j.zone), r)
	} else if j.zone.secure() {
		_, err = s.wholeProof(j.zone, at, r)
	}
	if err != nil {
		return err
	}
	a.Records, err = newRecords(set, j.expires.Sub(s.now))
	return err
}

// finishAlias looks at what lies beside aliases and records that are secure: it
// is of the zones that spoke for them.
func (s *session) finishAlias(a *Answer, at question, spoke []*zone, r *reply) error {
	if a.Status != Secure {
		return nil
	}
	return s.wholeAuthority(at, r, func(z *zone) bool { return spokeFor(spoke, z) })
}

// finishOpen does the same for aliases that lead out of the reply. What else it
// has may be of the zone of their end, which is not known yet.
func (s *session) finishOpen(a *Answer, at question, spoke []*zone, r *reply) error {
	if a.Status != Secure {
		return nil
	}
	return s.wholeAuthority(at, r, func(z *zone) bool { return spokeFor(spoke, z) || within(home(at), z.apex) })
}

func spokeFor(spoke []*zone, z *zone) bool {
	return slices.ContainsFunc(spoke, func(other *zone) bool { return other.apex == z.apex })
}

// finishAbsent completes a with the absence of the records.
func (s *session) finishAbsent(a *Answer, at question, r *reply) error {
	j, err := s.judgeAbsence(at, r)
	if err != nil {
		return err
	}
	a.weaken(j)
	a.NXDomain = j.rcode == dns.RcodeNameError
	return nil
}

// weaken makes the answer no better than one of the links it rests on.
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
