package dnssec

import (
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// chain follows the chain of trust from the trust anchors down. It belongs to one
// session.
type chain struct {
	session *session
	anchors anchor.Set
	sha1    bool
	cache   *memory.Cache
	cuts    map[string]cutResult // those that this session has looked for
}

type cutResult struct {
	cut *cut
	err error
}

// zone is the zone that a name is in.
type zone struct {
	apex    string
	keys    *proof.KeySet // nil if insecure
	expires time.Time
}

func (z *zone) secure() bool { return z.keys != nil }

// zone walks from the root down to name and returns the zone that name is in. It is
// insecure only if every step down to an unsigned delegation was proven (RFC 4035
// section 5.2), or if there is no trust anchor above. A trust anchor further down
// counts regardless of the zones above it.
func (c *chain) zone(name string) (*zone, error) {
	z := &zone{expires: after(c.session.now, proof.MaxTTL)}
	var lost error // why nothing is known below, except through an anchor
	ended := false // the parent says that there is nothing below
	for _, at := range proof.Ancestors(name) {
		above := z
		if lost != nil || ended {
			above = &zone{expires: z.expires}
		}
		if !above.secure() && len(c.anchors[at]) == 0 {
			continue
		}
		found, err := c.cut(above, at)
		if final(err) {
			return nil, err
		}
		if err != nil {
			lost = err
			continue
		}
		z.expires = earliest(z.expires, found.expires)
		switch found.kind {
		case signed:
			z.apex, z.keys = at, found.keys
			lost, ended = nil, false
		case unsigned:
			z.apex, z.keys = at, nil
		case absent:
			ended = true
		}
	}
	if lost != nil {
		return nil, lost
	}
	return z, nil
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func after(now time.Time, seconds uint32) time.Time {
	return now.Add(time.Duration(seconds) * time.Second)
}

// cutKind says what a name is to the zone above it.
type cutKind uint8

const (
	sameZone cutKind = iota // a name in the zone above: no delegation
	absent                  // no such name, so no delegation at it or below
	unsigned                // proven to be delegated without usable DS records
	signed                  // delegated, with authenticated keys
)

// cut is what is proven about one name on the way down from a trust anchor.
type cut struct {
	kind    cutKind
	keys    *proof.KeySet // if signed
	expires time.Time
}

// known returns what is known about name without asking, or nil.
func (c *chain) known(name string) *cut {
	if known := c.cuts[name]; known.cut != nil {
		return known.cut
	}
	cached, _ := c.cache.Get(memory.Key{Name: name, Kind: memory.Cut}, c.session.now).(*cut)
	return cached
}

// isInSignedZone reports whether name is in a signed zone as far as the cache knows.
func isInSignedZone(c *memory.Cache, name string, now time.Time) bool {
	for at := name; ; at = proof.Parent(at) {
		known, _ := c.Get(memory.Key{Name: at, Kind: memory.Cut}, now).(*cut)
		switch {
		case known != nil && known.kind == signed:
			return c.Habits(at, now).Records.Load() > 0
		case known != nil && known.kind != sameZone, at == ".":
			return false
		}
	}
}

// cut returns what name is to the zone above. It asks if that is not known.
func (c *chain) cut(above *zone, name string) (*cut, error) {
	if known, ok := c.cuts[name]; ok {
		return known.cut, known.err
	}
	key := memory.Key{Name: name, Kind: memory.Cut}
	if cached, ok := c.cache.Get(key, c.session.now).(*cut); ok {
		return cached, nil
	}
	found, err := c.find(above, name)
	c.cuts[name] = cutResult{found, err}
	if err == nil {
		c.learn(above, found)
		size := 64
		if found.keys != nil {
			for _, k := range found.keys.Keys {
				size += k.Size()
			}
		}
		c.cache.Put(key, found, size, found.expires, c.session.now)
	}
	return found, err
}

// learn notes a delegation from a signed zone, for guesses about others.
func (c *chain) learn(above *zone, found *cut) {
	if !above.secure() {
		return
	}
	switch h := c.cache.Habits(above.apex, c.session.now); found.kind {
	case signed:
		h.Signed.Add(1)
	case unsigned:
		h.Unsigned.Add(1)
	}
}

// find proves what name is. A trust anchor for the name itself and the DS records
// above are two paths, one of which suffices (RFC 6840 section 5.10). Keys that
// match neither are bogus, and never make the zone unsigned.
func (c *chain) find(above *zone, name string) (*cut, error) {
	var anchorErr error
	if ds := c.anchors[name]; len(ds) > 0 {
		found, err := c.signedCut(name, ds, AnchorMismatch)
		if err == nil || !above.secure() || final(err) {
			return found, err
		}
		anchorErr = err
	}
	ds, found, err := c.delegation(above, name)
	switch {
	case err != nil:
		return nil, err
	case len(ds) > 0:
		child, err := c.signedCut(name, ds, DSMismatch)
		if err != nil {
			return nil, err
		}
		child.expires = earliest(child.expires, found.expires)
		return child, nil
	case anchorErr != nil:
		return nil, anchorErr
	default:
		return found, nil
	}
}

// delegation asks for the DS records of name, which belong to the zone above. It
// returns the usable ones, and what the reply says if there are none.
func (c *chain) delegation(above *zone, name string) ([]*dns.DS, *cut, error) {
	q := question{name, dns.TypeDS}
	asked := c.session.ask(q)
	for asked.next() {
		ds, found, err := c.judgeDS(above, q, asked.reply)
		if asked.accept(err) {
			return ds, found, nil
		}
	}
	return nil, nil, asked.err
}

func (c *chain) judgeDS(above *zone, q question, r *reply) ([]*dns.DS, *cut, error) {
	now, budget := c.session.now, c.session.budget.proofs
	if set := r.answer.Find(q.name, dns.TypeDS); set != nil {
		if err := r.present(q); err != nil {
			return nil, nil, err
		}
		v, err := proof.Verify(set, above.keys, now, budget)
		if err != nil {
			return nil, nil, err
		}
		usable, err := proof.UsableDS(set, c.sha1, budget)
		if err != nil {
			return nil, nil, err
		}
		// RFC 6840 section 5.2: without a usable DS the zone counts as unsigned.
		return usable, &cut{kind: unsigned, expires: after(now, v.TTL)}, nil
	}
	if found, err := c.aliasedCut(above, q, r); found != nil || err != nil {
		return nil, found, err
	}
	denials, err := proof.CollectDenials(r.authority, above.keys, now, budget)
	if err != nil {
		return nil, nil, err
	}
	a, err := denials.Deny(q.name, q.rtype, r.rcode)
	if err != nil {
		return nil, nil, err
	}
	found := &cut{kind: sameZone, expires: after(now, min(a.TTL, r.authority.NegativeTTL()))}
	switch {
	case a.Insecure || a.Delegation:
		found.kind = unsigned
	case a.Rcode == dns.RcodeNameError || a.Wildcard:
		found.kind = absent
	}
	return nil, found, nil
}

// aliasedCut recognizes a name that cannot be a delegation because it is an alias:
// there is a CNAME record at it or a DNAME record above it. It returns nil if the
// reply has no alias.
func (c *chain) aliasedCut(above *zone, q question, r *reply) (*cut, error) {
	now, budget := c.session.now, c.session.budget.proofs
	if set := r.answer.DNAME(q.name); set != nil && proof.Within(set.Name, above.apex) {
		v, err := proof.Verify(set, above.keys, now, budget)
		if err != nil {
			return nil, err
		}
		return &cut{kind: absent, expires: after(now, v.TTL)}, nil
	}
	if set := r.answer.Find(q.name, dns.TypeCNAME); set != nil {
		v, insecure, err := proof.VerifyAnswer(set, r.authority, above.keys, now, budget)
		if err != nil {
			return nil, err
		}
		found := &cut{kind: sameZone, expires: after(now, v.TTL)}
		switch {
		case insecure:
			found.kind = unsigned // opt-out: there may be an unsigned delegation
		case v.Expanded:
			found.kind = absent
		}
		return found, nil
	}
	return nil, nil
}

// signedCut asks for the DNSKEY RRset of a zone. It accepts the RRset if a key that
// matches one of the DS records signed it (RFC 4035 section 5.2).
func (c *chain) signedCut(apex string, ds []*dns.DS, mismatch Reason) (*cut, error) {
	q := question{apex, dns.TypeDNSKEY}
	asked := c.session.ask(q)
	for asked.next() {
		found, err := c.judgeKeys(q, ds, mismatch, asked.reply)
		if asked.accept(err) {
			return found, nil
		}
	}
	return nil, asked.err
}

func (c *chain) judgeKeys(q question, ds []*dns.DS, mismatch Reason, r *reply) (*cut, error) {
	now, budget := c.session.now, c.session.budget.proofs
	set := r.answer.Find(q.name, dns.TypeDNSKEY)
	if set == nil {
		return nil, failure(q, mismatch, "the DNSKEY RRset is missing")
	}
	if err := r.present(q); err != nil {
		return nil, err
	}
	all, entry, err := proof.KeysOf(set, ds, c.sha1, budget)
	if err != nil {
		return nil, err
	}
	if len(entry.Keys) == 0 {
		return nil, failure(q, mismatch, "none of %d keys matches", len(set.Records))
	}
	v, err := proof.Verify(set, entry, now, budget)
	if err != nil {
		return nil, err
	}
	return &cut{kind: signed, keys: all, expires: after(now, v.TTL)}, nil
}
