package mtasts

import "context"

// Remembered returns the policy for domain that is in force in memory or in the
// Store, or nil, without a look at DNS. It is for a sender who has to weigh an answer of DNS
// that nobody authenticated, such as a domain that is said not to exist.
func (c *Client) Remembered(domain string) *Policy {
	domain, err := canonicalDomain(domain)
	if err != nil {
		return nil
	}
	known := c.cache.get(domain)
	if known == nil || known.unread {
		known = c.recall(context.Background(), domain)
	}
	return known.at(c.now()).policy
}
