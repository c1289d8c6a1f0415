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
	sets map[string]rrsets // as given to Add, by canonical owner name

	algorithms  []uint8
	digests     []uint8
	undelegated bool
	nsec3       *dns.NSEC3PARAM // nil for NSEC
	optOut      bool
	from, until time.Time

	keys        []*key           // nil if unsigned
	delegations map[string]*Zone // the zones that this one delegates to, by name
	index       *index           // nil after a change
}

// rrsets are the RRsets of one name.
type rrsets map[uint16][]dns.RR

// Option changes how a zone is signed.
type Option func(*Zone)

// Unsigned makes a zone without DNSSEC. A signed parent proves that there is no
// DS record.
func Unsigned(z *Zone) { z.algorithms = nil }

// WithoutDS signs a zone but omits its DS record from the parent, which proves
// that there is none. The zone is an island of security.
func WithoutDS(z *Zone) { z.undelegated = true }

// Algorithm signs with these algorithms instead of ECDSA P-256, with one key
// for each. An algorithm that is not supported, such as 200, gets a random key
// and random signatures, so that validators treat it as unknown.
func Algorithm(algorithms ...uint8) Option {
	return func(z *Zone) { z.algorithms = algorithms }
}

// Digest sets the digest types of the DS records. The default is SHA-256. A
// type that is not supported, such as 200, gets a random digest.
func Digest(types ...uint8) Option {
	return func(z *Zone) { z.digests = types }
}

// NSEC3 makes the zone use NSEC3 (RFC 5155). The salt is in hexadecimal. With
// optOut, unsigned delegations have no NSEC3 records, and the Opt-Out flag is
// set in all others.
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
// default they are valid for ten years before and after the current time.
func Valid(from, until time.Time) Option {
	return func(z *Zone) { z.from, z.until = from, until }
}

func newZone(t *Tree, name string, options []Option) *Zone {
	z := &Zone{
		tree:        t,
		name:        name,
		sets:        make(map[string]rrsets),
		delegations: make(map[string]*Zone),
		algorithms:  []uint8{dns.ECDSAP256SHA256},
		digests:     []uint8{dns.SHA256},
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

// Name returns the name of the zone, with a final dot.
func (z *Zone) Name() string { return z.name }

// Add adds records to the zone. They are in zone-file syntax relative to the
// zone, such as "@ MX 10 mx" or "mx 60 A 192.0.2.1". Records below a delegation
// or a DNAME are stored but not used in answers.
//
// A DS, SOA or NS RRset replaces the one that is added automatically. DNSKEY
// records are added to the zone's own.
func (z *Zone) Add(lines ...string) {
	z.AddRR(z.parse(lines)...)
}

// AddRR adds records to the zone.
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
		// Answers in progress may still use the old slice.
		z.sets[name][qtype] = append(slices.Clip(z.sets[name][qtype]), rr)
	}
	z.index = nil
}

// Remove removes RRsets from a name, which is relative to the zone or absolute.
// Without types, it removes all RRsets of the name.
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

// Set replaces, in one step, all RRsets for which there are records in lines.
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
