package memory

import "time"

// Signatures is the part of a Cache that remembers good signatures, for one lookup.
type Signatures struct {
	cache *Cache
	now   time.Time
}

// Signatures returns that part, as it is at now.
func (c *Cache) Signatures(now time.Time) *Signatures { return &Signatures{c, now} }

func (s *Signatures) key(digest [32]byte) Key {
	return Key{Name: string(digest[:]), Kind: proven}
}

// Has reports whether the signature was verified before.
func (s *Signatures) Has(digest [32]byte) bool { return s.cache.Get(s.key(digest), s.now) != nil }

// Add remembers that the signature is good, for as long as its RRset may be kept.
func (s *Signatures) Add(digest [32]byte, ttl uint32) {
	s.cache.Put(s.key(digest), true, 0, s.now.Add(time.Duration(ttl)*time.Second), s.now)
}
