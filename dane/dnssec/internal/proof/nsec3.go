package proof

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/miekg/dns"
)

// nsec3 is an authenticated NSEC3 record. It says that a name with the hash owner
// exists with these types, and that no name has a hash between owner and next.
type nsec3 struct {
	owner, next []byte
	types       []uint16
	optOut      bool
}

// newNSEC3 returns false for a record that is ignored: one with an unknown hash
// algorithm or unknown flags (RFC 5155 sections 8.1 and 8.2), or one whose owner
// is not a hash directly below the apex.
func newNSEC3(rr *dns.NSEC3, apex string) (nsec3, bool) {
	if rr.Hash != dns.SHA1 || rr.Flags > 1 || Parent(rr.Hdr.Name) != apex {
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

// covers reports whether hash lies between owner and next. The last record points
// to the first one, and an only record points to itself.
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
	budget     *Budget
	err        error // the budget is spent; later results do not count
}

func newNSEC3Chain(rr *dns.NSEC3, apex string, b *Budget) *nsec3Chain {
	return &nsec3Chain{apex: apex, salt: rr.Salt, iterations: rr.Iterations, hashes: make(map[string][]byte), budget: b}
}

func (c *nsec3Chain) add(rr *dns.NSEC3, record nsec3) {
	if rr.Salt == c.salt && rr.Iterations == c.iterations {
		c.records = append(c.records, record)
	}
}

// tooCostly reports whether the zone asks for more iterations than the limit.
func (c *nsec3Chain) tooCostly() bool { return int(c.iterations) > c.budget.Limits.NSEC3Iterations }

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
	for name != c.apex && Within(name, c.apex) {
		above := Parent(name)
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

// deny returns nil if the records prove nothing about the question. rcode is that
// of the header, for proofs that do not tell NODATA from NXDOMAIN.
func (c *nsec3Chain) deny(name string, rtype uint16, rcode int) (*Absence, error) {
	if !Within(name, c.apex) {
		return nil, nil
	}
	if c.tooCostly() {
		return &Absence{Rcode: rcode, Insecure: true}, nil
	}
	d := c.denyWithinBudget(name, rtype, rcode)
	return d, c.err
}

func (c *nsec3Chain) denyWithinBudget(name string, rtype uint16, rcode int) *Absence {
	if at := c.match(name); at != nil {
		if !denies(at.types, rtype) {
			return nil
		}
		return &Absence{Rcode: dns.RcodeSuccess, Delegation: isDelegation(at.types)}
	}
	encloser, nextCloser := c.encloser(name)
	if nextCloser == nil {
		return nil
	}
	// RFC 5155 section 9.2: opt-out leaves room for an unsigned delegation. For
	// DS that is all there is to prove (section 8.6).
	if nextCloser.optOut && rtype == dns.TypeDS {
		return &Absence{Rcode: rcode, Insecure: true}
	}
	wildcard := WildcardOf(encloser)
	if c.cover(wildcard) != nil {
		return &Absence{Rcode: dns.RcodeNameError, Insecure: nextCloser.optOut}
	}
	if at := c.match(wildcard); at != nil && denies(at.types, rtype) {
		return &Absence{Rcode: dns.RcodeSuccess, Wildcard: true, Insecure: nextCloser.optOut}
	}
	return nil
}

// provesExpansion reports whether a wildcard at encloser answers for name, because
// the next closer name does not exist (RFC 5155 section 8.8). The expansion is
// insecure if the proof has opt-out or is too costly to check.
func (c *nsec3Chain) provesExpansion(name, encloser string) (proven, insecure bool, err error) {
	if c.tooCostly() {
		return true, true, nil
	}
	covering := c.cover(lastLabels(name, countLabels(encloser)+1))
	if c.err != nil || covering == nil {
		return false, false, c.err
	}
	return true, covering.optOut, nil
}
