package mtasts

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// textPerPolicy is what the policies in the cache may take, on average, in
// octets. Policies are small; this bounds the memory that large ones take.
const textPerPolicy = 4 << 10

// cache holds the states of domains. Those with a policy are apart from those
// without: a flood of domains that have none, as a spammer's senders make up,
// must not push out policies in force. It is safe for concurrent use.
type cache struct {
	mu       sync.Mutex
	policies *simplelru.LRU[string, *state]
	others   *simplelru.LRU[string, *state]
	size     int64 // of policies, in octets
	maxSize  int64
}

func newCache(limit int) (*cache, error) {
	c := &cache{maxSize: int64(limit) * textPerPolicy}
	var err error
	c.policies, err = simplelru.NewLRU(limit, func(_ string, s *state) { c.size -= s.result.Policy.size() })
	if err != nil {
		return nil, err
	}
	c.others, err = simplelru.NewLRU[string, *state](limit, nil)
	return c, err
}

// get returns the state of domain, or nil.
func (c *cache) get(domain string) *state {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.policies.Get(domain); ok {
		return s
	}
	s, _ := c.others.Get(domain)
	return s
}

// put replaces the state of domain.
func (c *cache) put(domain string, s *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policies.Remove(domain)
	if s.result.Policy == nil {
		c.others.Add(domain, s)
		return
	}
	c.others.Remove(domain)
	c.size += s.result.Policy.size()
	c.policies.Add(domain, s)
	for c.size > c.maxSize && c.policies.Len() > 1 {
		c.policies.RemoveOldest()
	}
}

// size is about what the policy takes in memory, in octets. The patterns are
// parts of the text.
func (p *Policy) size() int64 { return int64(len(p.Text) + 16*cap(p.MX)) }
