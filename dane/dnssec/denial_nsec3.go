package dnssec

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/miekg/dns"
)

// nsec3 is an authenticated NSEC3 record: a name with the hash owner exists
// with these types, and none with a hash between owner and next.
type nsec3 struct {
	owner, next []byte
	types       []uint16
	optOut      bool
}

// newNSEC3 returns false for a record to be ignored: with an unknown hash
// algorithm or flags (RFC 5155 sections 8.1 and 8.2), or an owner that is not
// a hash right below the apex.
func newNSEC3(rr *dns.NSEC3, apex string) (nsec3, bool) {
	if rr.Hash != dns.SHA1 || rr.Flags > 1 || parent(rr.Hdr.Name) != apex {
		return nsec3{}, false
	}
	label, _, _ := strings.Cut(rr.Hdr.Name, ".")
	owner, err := base32.HexEncoding.DecodeString(strings.ToUpper(label))
	if err != nil || len(owner) != sha1.Size {
		return nsec3{}, false
	}
	next, err := base32.HexEncoding.DecodeString(strings.ToUpper(rr.NextDomain))
	if err != nil || len(next) != sha1.Size {
		return nsec3{}, false
	}
	return nsec3{owner: owner, next: next, types: rr.TypeBitMap, optOut: rr.Flags&1 != 0}, true
}

// covers reports whether hash lies between owner and next; the last record
// points back to the first, and the only one to itself.
func (n *nsec3) covers(hash []byte) bool {
	afterOwner := bytes.Compare(n.owner, hash) < 0
	beforeNext := bytes.Compare(hash, n.next) < 0
	if bytes.Compare(n.owner, n.next) >= 0 {
		return afterOwner || beforeNext && !bytes.Equal(hash, n.owner)
	}
	return afterOwner && beforeNext
}

// nsec3Chain is the NSEC3 records of one reply with the parameters that they
// share; records with others are ignored (RFC 5155 section 8.2).
type nsec3Chain struct {
	apex       string
	salt       string // hexadecimal
	iterations uint16
	records    []nsec3
	hashes     map[string][]byte
	budget     *budget
	err        error // the budget is spent; what was found since is void
}

func newNSEC3Chain(rr *dns.NSEC3, apex string, b *budget) *nsec3Chain {
	return &nsec3Chain{apex: apex, salt: rr.Salt, iterations: rr.Iterations, hashes: make(map[string][]byte), budget: b}
}

func (c *nsec3Chain) add(rr *dns.NSEC3, record nsec3) {
	if rr.Salt == c.salt && rr.Iterations == c.iterations {
		c.records = append(c.records, record)
	}
}

// tooCostly reports whether the zone asks for more iterations than the limit.
func (c *nsec3Chain) tooCostly() bool { return int(c.iterations) > c.budget.limits.NSEC3Iterations }

// hash returns the hash of name (RFC 5155 section 5), or nil if the budget is
// spent.
func (c *nsec3Chain) hash(name string) []byte {
	if hash, ok := c.hashes[name]; ok {
		return hash
	}
	if c.err == nil {
		c.err = c.budget.hash()
	}
	if c.err != nil {
		return nil
	}
	salt, err := hex.DecodeString(c.salt)
	if err != nil {
		salt = nil // not reached: the dns package made the string
	}
	sum := sha1.Sum(append(wireName(name), salt...))
	for range c.iterations {
		sum = sha1.Sum(append(sum[:], salt...))
	}
	c.hashes[name] = sum[:]
	return sum[:]
}

// match returns the record of name, or nil.
func (c *nsec3Chain) match(name string) *nsec3 {
	hash := c.hash(name)
	for i := range c.records {
		if hash != nil && bytes.Equal(c.records[i].owner, hash) {
			return &c.records[i]
		}
	}
	return nil
}

// cover returns a record that covers name, or nil.
func (c *nsec3Chain) cover(name string) *nsec3 {
	hash := c.hash(name)
	for i := range c.records {
		if hash != nil && c.records[i].covers(hash) {
			return &c.records[i]
		}
	}
	return nil
}

// encloser makes the closest encloser proof of RFC 5155 section 8.3 for a name
// that has no record of its own: the longest ancestor that exists, and the
// record that covers the name one label longer. The latter is nil if the proof
// fails.
func (c *nsec3Chain) encloser(name string) (encloser string, nextCloser *nsec3) {
	for name != c.apex && within(name, c.apex) {
		above := parent(name)
		if found := c.match(above); found != nil {
			if hidesBelow(found.types) {
				return "", nil
			}
			return above, c.cover(name)
		}
		name = above
	}
	return "", nil
}

// deny returns nil if the records prove nothing about q. rcode is that of the
// header, for where nothing better is known.
func (c *nsec3Chain) deny(q question, rcode int) (*denial, error) {
	if !within(q.name, c.apex) {
		return nil, nil
	}
	if c.tooCostly() {
		return &denial{rcode: rcode, insecure: true}, nil
	}
	d := c.denyWithinBudget(q, rcode)
	return d, c.err
}

func (c *nsec3Chain) denyWithinBudget(q question, rcode int) *denial {
	if at := c.match(q.name); at != nil {
		if !denies(at.types, q.rtype) {
			return nil
		}
		return &denial{rcode: dns.RcodeSuccess, delegation: isDelegation(at.types)}
	}
	encloser, nextCloser := c.encloser(q.name)
	if nextCloser == nil {
		return nil
	}
	// RFC 5155 section 9.2: opt-out leaves room for an unsigned delegation. For
	// DS that is all there is to prove (section 8.6).
	if nextCloser.optOut && q.rtype == dns.TypeDS {
		return &denial{rcode: rcode, insecure: true}
	}
	wildcard := wildcardOf(encloser)
	if c.cover(wildcard) != nil {
		return &denial{rcode: dns.RcodeNameError, insecure: nextCloser.optOut}
	}
	if at := c.match(wildcard); at != nil && denies(at.types, q.rtype) {
		return &denial{rcode: dns.RcodeSuccess, wildcard: true, insecure: nextCloser.optOut}
	}
	return nil
}

// provesExpansion says whether a wildcard at encloser answers for name: the
// next closer name does not exist (RFC 5155 section 8.8). The result is Bogus
// without proof and Insecure with one that has opt-out.
func (c *nsec3Chain) provesExpansion(name, encloser string) (Status, error) {
	if c.tooCostly() {
		return Insecure, nil
	}
	nextCloser := lastLabels(name, countLabels(encloser)+1)
	covering := c.cover(nextCloser)
	switch {
	case c.err != nil:
		return Bogus, c.err
	case covering == nil:
		return Bogus, nil
	case covering.optOut:
		return Insecure, nil
	default:
		return Secure, nil
	}
}
