package sums

import (
	"sync/atomic"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Room bounds what many tallies hold together, in octets. What may be left out, the texts of
// policies and the details of failures, is taken only while less than half of it is used. The
// rest is for totals. Its methods are safe for concurrent use.
type Room struct {
	max  int64
	used atomic.Int64
}

// NewRoom returns a Room for a number of octets.
func NewRoom(octets int) *Room { return &Room{max: int64(octets)} }

// Used returns the octets that are in use.
func (r *Room) Used() int64 { return r.used.Load() }

// Has reports whether there is room for that many octets of totals, even if texts are taken
// before.
func (r *Room) Has(octets int) bool {
	return int64(octets) <= r.max/2 && r.used.Load()+int64(octets) <= r.max
}

// take takes octets, for what may be left out or for totals. A nil Room has no limit.
func (r *Room) take(octets int, optional bool) bool {
	if r == nil {
		return true
	}
	limit := r.max
	if optional {
		limit /= 2
	}
	if r.used.Add(int64(octets)) <= limit {
		return true
	}
	r.used.Add(-int64(octets))
	return false
}

func (r *Room) release(octets int) {
	if r != nil {
		r.used.Add(-int64(octets))
	}
}

// The octets of memory that a domain, a policy and a detail take without their texts: here,
// and once more in the batch for the Store.
const (
	tallyOctets  = 256
	policyOctets = 384
	detailOctets = 448
)

// textOfPolicy returns the octets of the texts of a policy.
func textOfPolicy(p *tlsrpt.Policy) int {
	size := len(p.Domain)
	for _, list := range [...][]string{p.Strings, p.MXHosts} {
		for _, s := range list {
			size += len(s) + 16
		}
	}
	return size
}

// textOfDetail returns the octets of the texts of a detail.
func textOfDetail(d *report.Detail) int {
	return len(d.ReasonCode) + len(d.MXHost) + len(d.HELO) + len(d.Info)
}

// resultTypes is the number of result types (RFC 8460 section 4.3), and policyTypes that of
// policy types.
const (
	resultTypes = 11
	policyTypes = 3
)

// Least returns the octets that a Tally of these results takes at most if they are counted
// by type.
func Least(domain string, results []report.PolicyResult) int {
	octets := tallyOctets + 2*len(domain) + min(len(results), policyTypes)*(policyOctets+len(domain))
	for i := range results {
		octets += min(len(results[i].Details), resultTypes) * (detailOctets + len(DetailsOmitted))
	}
	return octets
}
