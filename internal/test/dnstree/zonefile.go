package dnstree

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// WriteTo writes the signed zone as a zone file for other name servers. It
// includes denial records and glue.
func (z *Zone) WriteTo(w io.Writer) (int64, error) {
	z.tree.mu.Lock()
	records := z.records()
	z.tree.mu.Unlock()
	var file bytes.Buffer
	for _, rr := range records {
		fmt.Fprintln(&file, rr)
	}
	return file.WriteTo(w)
}

// records returns all records of the zone, the SOA record first.
func (z *Zone) records() []dns.RR {
	index := z.ready()
	records := slices.Clone(z.signed(index.nodes[z.name].sets[dns.TypeSOA]))
	for _, name := range slices.Sorted(maps.Keys(index.nodes)) {
		n := index.nodes[name]
		for _, t := range n.types() {
			if t != dns.TypeSOA {
				records = append(records, z.signed(n.sets[t])...)
			}
		}
	}
	for _, d := range index.denials {
		records = append(records, z.signed([]dns.RR{d.record})...)
	}
	for _, name := range slices.Sorted(maps.Keys(z.sets)) {
		for t, set := range z.sets[name] {
			if index.isGlue(name) && t != dns.TypeNS && t != dns.TypeDS {
				records = append(records, set...)
			}
		}
	}
	return records
}

// isGlue reports whether a name is at or below a delegation.
func (x *index) isGlue(name string) bool {
	for x.nodes[name] == nil {
		name = parent(name)
	}
	return x.nodes[name].cut
}
