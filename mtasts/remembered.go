package mtasts

// Remembered returns the policy for domain that is in force in memory, or nil,
// without asking anybody. It is for a sender who has to weigh an answer of DNS
// that nobody authenticated, such as a domain that is said not to exist.
func (c *Client) Remembered(domain string) *Policy {
	domain, err := canonicalDomain(domain)
	if err != nil {
		return nil
	}
	known := c.cache.get(domain)
	if known == nil {
		return nil
	}
	return known.at(c.now()).result.Policy
}
