package dnstree

import (
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// index contains what answers from a zone need: the names that exist, the chain
// of denials, and the signatures created so far. Any change of the zone
// discards it.
type index struct {
	nodes   map[string]*node
	denials []denial // ordered by key
	sigs    map[sigKey][]dns.RR
}

// node is a name that exists: an owner of records or an empty non-terminal.
type node struct {
	sets rrsets
	cut  bool // a delegation; authoritative only for DS and the denial
}

// denial is a record of the NSEC or NSEC3 chain.
type denial struct {
	key    string // the sort key or hash of the owner
	record dns.RR
}

type sigKey struct {
	name  string
	qtype uint16
}

// ready returns the index of the zone. It builds the index if the zone has
// changed.
func (z *Zone) ready() *index {
	if z.index == nil {
		z.index = &index{nodes: z.nodes(), sigs: make(map[sigKey][]dns.RR)}
		switch {
		case z.keys == nil:
		case z.nsec3 != nil:
			z.index.denials = z.chainNSEC3(z.index.nodes)
		default:
			z.index.denials = z.chainNSEC(z.index.nodes)
		}
	}
	return z.index
}

// nodes returns all names that exist in the zone.
func (z *Zone) nodes() map[string]*node {
	all := z.completed()
	nodes := make(map[string]*node)
	for name, sets := range all {
		if !z.occluded(name, all) {
			nodes[name] = z.node(name, sets)
		}
	}
	for _, name := range slices.Collect(maps.Keys(nodes)) {
		for name != z.name {
			name = parent(name)
			if nodes[name] == nil {
				nodes[name] = &node{} // an empty non-terminal
			}
		}
	}
	return nodes
}

// completed returns the records of the zone, including those that follow from
// the tree: SOA, NS and DNSKEY records, and the delegations to the zones below.
func (z *Zone) completed() map[string]rrsets {
	all := make(map[string]rrsets)
	for name, sets := range z.sets {
		all[name] = maps.Clone(sets)
	}
	supply := func(name string, records ...dns.RR) {
		if len(records) == 0 {
			return
		}
		if all[name] == nil {
			all[name] = make(rrsets)
		}
		if t := records[0].Header().Rrtype; all[name][t] == nil {
			all[name][t] = records
		}
	}
	supply(z.name, z.parse([]string{"@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300"})...)
	supply(z.name, z.nameServer())
	if z.keys != nil {
		for _, k := range z.keys {
			all[z.name][dns.TypeDNSKEY] = append(slices.Clip(all[z.name][dns.TypeDNSKEY]), k.record)
		}
		if z.nsec3 != nil {
			supply(z.name, z.nsec3)
		}
	}
	for _, below := range z.delegations {
		supply(below.name, below.nameServer())
		if !below.undelegated {
			supply(below.name, below.ds()...)
		}
	}
	return all
}

// nameServer returns the NS record of the zone. Its target has no address.
func (z *Zone) nameServer() dns.RR {
	return &dns.NS{Hdr: dns.RR_Header{Name: z.name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: ttl}, Ns: "ns.invalid."}
}

// occluded reports whether name is below a delegation or a DNAME, so that the
// zone cannot answer for it.
func (z *Zone) occluded(name string, all map[string]rrsets) bool {
	for name != z.name {
		name = parent(name)
		if all[name][dns.TypeDNAME] != nil || name != z.name && all[name][dns.TypeNS] != nil {
			return true
		}
	}
	return false
}

func (z *Zone) node(name string, sets rrsets) *node {
	if name == z.name || sets[dns.TypeNS] == nil {
		return &node{sets: sets}
	}
	cut := &node{sets: rrsets{dns.TypeNS: sets[dns.TypeNS]}, cut: true}
	if ds := sets[dns.TypeDS]; ds != nil {
		cut.sets[dns.TypeDS] = ds
	}
	return cut
}

// signed returns the records of an RRset and their signatures, if the zone is
// signed. NS records of a delegation are not (RFC 4035 section 2.2).
func (z *Zone) signed(set []dns.RR) []dns.RR {
	head := set[0].Header()
	if z.keys == nil || head.Rrtype == dns.TypeNS && head.Name != z.name {
		return set
	}
	index, key := z.ready(), sigKey{head.Name, head.Rrtype}
	if index.sigs[key] == nil {
		for _, k := range z.keys {
			index.sigs[key] = append(index.sigs[key], k.sign(set, z.from, z.until))
		}
	}
	return slices.Concat(set, index.sigs[key])
}

// chainNSEC returns the NSEC records of the zone in canonical order (RFC 4034
// section 4). Empty non-terminals have none.
func (z *Zone) chainNSEC(nodes map[string]*node) []denial {
	var chain []denial
	for name, n := range nodes {
		if len(n.sets) == 0 {
			continue
		}
		chain = append(chain, denial{sortKey(name), &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
			TypeBitMap: n.types(dns.TypeRRSIG, dns.TypeNSEC),
		}})
	}
	sortChain(chain)
	for i := range chain {
		next := chain[(i+1)%len(chain)].record.Header().Name
		chain[i].record.(*dns.NSEC).NextDomain = next
	}
	return chain
}

// chainNSEC3 returns the NSEC3 records of the zone in hash order (RFC 5155
// section 7.1).
func (z *Zone) chainNSEC3(nodes map[string]*node) []denial {
	hashes := make(map[string]string)
	for name, n := range nodes {
		if len(n.sets) == 0 || z.optOut && n.cut && n.sets[dns.TypeDS] == nil {
			continue
		}
		for hashes[name] == "" { // the empty non-terminals above it too
			hashes[name] = z.hash(name)
			if name == z.name {
				break
			}
			name = parent(name)
		}
	}
	chain := make([]denial, 0, len(hashes))
	for name, hash := range hashes {
		record := &dns.NSEC3{
			Hdr: dns.RR_Header{Name: child(strings.ToLower(hash), z.name),
				Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: ttl},
			Hash: z.nsec3.Hash, Iterations: z.nsec3.Iterations,
			SaltLength: z.nsec3.SaltLength, Salt: z.nsec3.Salt,
			HashLength: 20,
		}
		if z.optOut {
			record.Flags = 1
		}
		switch n := nodes[name]; {
		case len(n.sets) == 0 || n.cut && n.sets[dns.TypeDS] == nil:
			record.TypeBitMap = n.types()
		default:
			record.TypeBitMap = n.types(dns.TypeRRSIG)
		}
		chain = append(chain, denial{hash, record})
	}
	sortChain(chain)
	for i := range chain {
		chain[i].record.(*dns.NSEC3).NextDomain = chain[(i+1)%len(chain)].key
	}
	return chain
}

func sortChain(chain []denial) {
	slices.SortFunc(chain, func(a, b denial) int { return strings.Compare(a.key, b.key) })
}

func (z *Zone) hash(name string) string {
	return dns.HashName(name, z.nsec3.Hash, z.nsec3.Iterations, z.nsec3.Salt)
}

// types returns the types of a name and the types in more, for the type bitmap.
func (n *node) types(more ...uint16) []uint16 {
	types := slices.AppendSeq(more, maps.Keys(n.sets))
	slices.Sort(types)
	return types
}
