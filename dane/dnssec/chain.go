package dnssec

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

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
	keys    *keySet // if signed
	expires time.Time
}

// zone is the zone that a name is in.
type zone struct {
	apex    string
	keys    *keySet // nil if insecure
	expires time.Time
}

func (z *zone) secure() bool { return z.keys != nil }

// zone walks from the root down to name and returns the zone that name is in.
// It is insecure only if every step down to an unsigned delegation was proven
// (RFC 4035 section 5.2), or if there is no trust anchor above. A trust anchor
// further down counts whatever the zones above it say.
func (s *session) zone(name string) (*zone, error) {
	z := &zone{expires: after(s.now, maxTTL)}
	var lost error // why nothing is known from here on but by an anchor
	ended := false // the parent says that there is nothing below
	for _, at := range ancestors(name) {
		above := z
		if lost != nil || ended {
			above = &zone{expires: z.expires}
		}
		if !above.secure() && len(s.v.anchors[at]) == 0 {
			continue
		}
		c, err := s.cut(above, at)
		if final(err) {
			return nil, err
		}
		if err != nil {
			lost = err
			continue
		}
		z.expires = earliest(z.expires, c.expires)
		switch c.kind {
		case signed:
			z.apex, z.keys = at, c.keys
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

// cut returns what name is to the zone above, asking for it if need be.
func (s *session) cut(above *zone, name string) (*cut, error) {
	if known, ok := s.cuts[name]; ok {
		return known.cut, known.err
	}
	key := cacheKey{name: name, kind: cachedCut}
	if c, ok := s.v.cache.get(key, s.now).(*cut); ok {
		return c, nil
	}
	c, err := s.findCut(above, name)
	s.cuts[name] = cutResult{c, err}
	if err == nil {
		s.v.cache.put(key, c, c.size(), c.expires, s.now)
	}
	return c, err
}

func (c *cut) size() int {
	size := 64
	if c.keys != nil {
		for _, k := range c.keys.keys {
			size += 256 + 2*len(k.rdata)
		}
	}
	return size
}

// findCut proves what name is. A trust anchor for the name itself and the DS
// records above are two paths of which one suffices (RFC 6840 section 5.10).
// Keys that match neither are bogus, and never make the zone unsigned.
func (s *session) findCut(above *zone, name string) (*cut, error) {
	var anchorErr error
	if ds := s.v.anchors[name]; len(ds) > 0 {
		c, err := s.signedCut(name, ds, AnchorMismatch)
		if err == nil || !above.secure() || final(err) {
			return c, err
		}
		anchorErr = err
	}
	ds, c, err := s.delegation(above, name)
	switch {
	case err != nil:
		return nil, err
	case len(ds) > 0:
		child, err := s.signedCut(name, ds, DSMismatch)
		if err != nil {
			return nil, err
		}
		child.expires = earliest(child.expires, c.expires)
		return child, nil
	case anchorErr != nil:
		return nil, anchorErr
	default:
		return c, nil
	}
}

// delegation asks for the DS records of name, which belong to the zone above.
// It returns those that are usable, or else what their absence proves.
func (s *session) delegation(above *zone, name string) (ds []*dns.DS, c *cut, err error) {
	q := question{name, dns.TypeDS}
	err = s.ask(q, func(r *reply) error {
		ds, c, err = s.judgeDS(above, q, r)
		return err
	})
	return ds, c, err
}

func (s *session) judgeDS(above *zone, q question, r *reply) ([]*dns.DS, *cut, error) {
	if set := r.answer.find(q.name, dns.TypeDS); set != nil {
		if err := r.present(q); err != nil {
			return nil, nil, err
		}
		v, err := s.verifyExact(set, above)
		if err != nil {
			return nil, nil, err
		}
		usable, err := s.usableDS(set)
		if err != nil {
			return nil, nil, err
		}
		// RFC 6840 section 5.2: with no usable DS the zone counts as unsigned.
		return usable, &cut{kind: unsigned, expires: v.expires}, nil
	}
	if c, err := s.aliasedCut(above, q, r); c != nil || err != nil {
		return nil, c, err
	}
	p, err := s.proof(above, r)
	if err != nil {
		return nil, nil, err
	}
	d, err := s.deny(p, q, r)
	if err != nil {
		return nil, nil, err
	}
	c := &cut{kind: sameZone, expires: d.expires}
	switch {
	case d.insecure || d.delegation:
		c.kind = unsigned
	case d.rcode == dns.RcodeNameError || d.wildcard:
		c.kind = absent
	}
	return nil, c, nil
}

// aliasedCut recognizes a name that cannot be a delegation because it is an
// alias: there is a CNAME at it or a DNAME above it. It returns nil if the
// reply has no alias.
func (s *session) aliasedCut(above *zone, q question, r *reply) (*cut, error) {
	if set := r.dname(q.name); set != nil && within(set.name, above.apex) {
		v, err := s.verifyExact(set, above)
		if err != nil {
			return nil, err
		}
		return &cut{kind: absent, expires: v.expires}, nil
	}
	if set := r.answer.find(q.name, dns.TypeCNAME); set != nil {
		v, status, err := s.verifyIn(set, above, r)
		if err != nil {
			return nil, err
		}
		c := &cut{kind: sameZone, expires: v.expires}
		switch {
		case status != Secure:
			c.kind = unsigned // opt-out: there may be an unsigned delegation
		case v.expanded():
			c.kind = absent
		}
		return c, nil
	}
	return nil, nil
}

// usableDS returns the DS records with a supported algorithm and digest. Those
// with SHA-1 are ignored beside better ones (RFC 4509 section 3).
func (s *session) usableDS(set *rrset) ([]*dns.DS, error) {
	var usable []*dns.DS
	better := false
	for _, rr := range set.distinct() {
		ds, ok := rr.(*dns.DS)
		if !ok || !supportsAlgorithm(ds.Algorithm, s.v.sha1) || !supportsDigest(ds.DigestType) {
			continue
		}
		better = better || ds.DigestType != dns.SHA1
		usable = append(usable, ds)
	}
	if limit := s.budget.limits.KeysPerZone; len(usable) > limit {
		return nil, &limitError{what: "DS records of one delegation", limit: limit}
	}
	if better {
		usable = slices.DeleteFunc(usable, func(ds *dns.DS) bool { return ds.DigestType == dns.SHA1 })
	}
	return usable, nil
}

// signedCut asks for the DNSKEY RRset of a zone and accepts it if a key that
// one of the DS records stands for signed it (RFC 4035 section 5.2).
func (s *session) signedCut(apex string, ds []*dns.DS, mismatch Reason) (*cut, error) {
	var c *cut
	q := question{apex, dns.TypeDNSKEY}
	err := s.ask(q, func(r *reply) (err error) {
		c, err = s.judgeKeys(q, ds, mismatch, r)
		return err
	})
	return c, err
}

func (s *session) judgeKeys(q question, ds []*dns.DS, mismatch Reason, r *reply) (*cut, error) {
	set := r.answer.find(q.name, dns.TypeDNSKEY)
	if set == nil {
		return nil, failure(q, mismatch, "the DNSKEY RRset is missing")
	}
	if err := r.present(q); err != nil {
		return nil, err
	}
	if limit := s.budget.limits.KeysPerZone; len(set.records) > limit {
		return nil, &limitError{what: "keys of one zone", limit: limit}
	}
	all := &keySet{apex: q.name}
	entry := &keySet{apex: q.name}
	for _, rr := range set.records {
		record, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		key, ok := newZoneKey(record, s.v.sha1)
		if !ok {
			continue
		}
		all.keys = append(all.keys, key)
		matches, err := s.budget.matchesAny(key, ds)
		if err != nil {
			return nil, err
		}
		if matches {
			entry.keys = append(entry.keys, key)
		}
	}
	if len(entry.keys) == 0 {
		return nil, failure(q, mismatch, "none of %d keys matches", len(set.records))
	}
	v, err := s.verifyExact(set, &zone{apex: q.name, keys: entry})
	if err != nil {
		return nil, err
	}
	return &cut{kind: signed, keys: all, expires: v.expires}, nil
}
