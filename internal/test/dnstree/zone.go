package dnstree

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Zone is one zone of a Tree. Its methods are safe for concurrent use.
type Zone struct {
	tree *Tree
	name string
	sets map[string]rrsets // what Add was given, by canonical owner name

	algorithms  []uint8
	digests     []uint8
	undelegated bool
	nsec3       *dns.NSEC3PARAM // nil: NSEC
	optOut      bool
	from, until time.Time

	keys  []*key // nil: unsigned
	index *index // nil: to be built, after any change
}

// rrsets are the RRsets of one name.
type rrsets map[uint16][]dns.RR

// Option changes how a zone is signed.
type Option func(*Zone)

// Unsigned makes a zone without DNSSEC: a signed parent proves that there is no
// DS record.
func Unsigned(z *Zone) { z.algorithms = nil }

// WithoutDS signs a zone but leaves its DS record out of the parent's, which
// proves that there is none: an island of security.
func WithoutDS(z *Zone) { z.undelegated = true }

// Algorithm signs with these algorithms, each with a key of its own, instead of
// ECDSA P-256. One that cannot be signed with, such as 200, gets a key and
// signatures of random octets: to a validator it is unknown.
func Algorithm(algorithms ...uint8) Option {
	return func(z *Zone) { z.algorithms = algorithms }
}

// Digest makes the DS records with these digest types instead of SHA-256. One
// that is not known, such as 200, gets random octets.
func Digest(types ...uint8) Option {
	return func(z *Zone) { z.digests = types }
}

// NSEC3 denies existence by hashed names (RFC 5155), with a salt in hexadecimal.
// With optOut, unsigned delegations have no NSEC3 records, and those that
// remain have the Opt-Out flag.
func NSEC3(iterations uint16, salt string, optOut bool) Option {
	return func(z *Zone) {
		z.nsec3 = &dns.NSEC3PARAM{
			Hdr:        dns.RR_Header{Name: z.name, Rrtype: dns.TypeNSEC3PARAM, Class: dns.ClassINET},
			Hash:       dns.SHA1,
			Iterations: iterations,
			SaltLength: uint8(len(salt) / 2),
			Salt:       salt,
		}
		z.optOut = optOut
	}
}

// Valid sets the inception and expiration of all signatures in the zone. By
// default they are valid for ten years on either side of the present.
func Valid(from, until time.Time) Option {
	return func(z *Zone) { z.from, z.until = from, until }
}

func newZone(t *Tree, name string, options []Option) *Zone {
	z := &Zone{
		tree:       t,
		name:       name,
		sets:       make(map[string]rrsets),
		algorithms: []uint8{dns.ECDSAP256SHA256},
		digests:    []uint8{dns.SHA256},
	}
	z.from, z.until = validity()
	for _, option := range options {
		option(z)
	}
	for _, algorithm := range z.algorithms {
		z.keys = append(z.keys, newKey(name, algorithm))
	}
	return z
}

// Name returns the name of the zone, with final dot.
func (z *Zone) Name() string { return z.name }

// Add puts records into the zone, written as in a zone file whose origin is the
// zone: "@ MX 10 mx", "mx 60 A 192.0.2.1". What is below a delegation or a
// DNAME is kept but never answered.
//
// A DS, SOA or NS set that is given replaces the one which the zone would have
// by itself; DNSKEY records are added to the zone's own.
func (z *Zone) Add(lines ...string) {
	z.AddRR(z.parse(lines)...)
}

// AddRR puts records into the zone.
func (z *Zone) AddRR(records ...dns.RR) {
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	z.add(records)
}

func (z *Zone) add(records []dns.RR) {
	for _, rr := range records {
		name, qtype := canonical(rr.Header().Name), rr.Header().Rrtype
		if !dns.IsSubDomain(z.name, name) {
			panic(fmt.Sprintf("dnstree: %s is not in zone %s", name, z.name))
		}
		rr = dns.Copy(rr)
		rr.Header().Name = name
		if z.sets[name] == nil {
			z.sets[name] = make(rrsets)
		}
		// Answers being sent may still hold the old slice.
		z.sets[name][qtype] = append(slices.Clip(z.sets[name][qtype]), rr)
	}
	z.index = nil
}

// Remove takes the RRsets of these types away from a name, relative to the zone
// or absolute; without types, all of them.
func (z *Zone) Remove(name string, types ...uint16) {
	name = z.absolute(name)
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	for _, t := range types {
		delete(z.sets[name], t)
	}
	if len(types) == 0 || len(z.sets[name]) == 0 {
		delete(z.sets, name)
	}
	z.index = nil
}

// Set replaces, in one step, all RRsets that the lines have records of.
func (z *Zone) Set(lines ...string) {
	records := z.parse(lines)
	z.tree.mu.Lock()
	defer z.tree.mu.Unlock()
	for _, rr := range records {
		delete(z.sets[canonical(rr.Header().Name)], rr.Header().Rrtype)
	}
	z.add(records)
}

func (z *Zone) absolute(name string) string {
	switch {
	case name == "@":
		return z.name
	case dns.IsFqdn(name):
		return canonical(name)
	default:
		return canonical(child(name, z.name))
	}
}

func (z *Zone) parse(lines []string) []dns.RR {
	parser := dns.NewZoneParser(strings.NewReader(strings.Join(lines, "\n")+"\n"), z.name, "")
	parser.SetDefaultTTL(ttl)
	var records []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		panic(fmt.Sprintf("dnstree: zone %s: %v", z.name, err))
	}
	return records
}
