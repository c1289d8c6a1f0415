// Package sums counts the sessions of one recipient domain on one day.
package sums

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

const (
	// maxDetails limits the distinct failures that are counted for one domain on one
	// day, because mail hosts choose some of the values that distinguish them.
	maxDetails = 1000
	// maxPolicies limits the distinct policies of one domain on one day, and
	// maxPolicyText the octets of each.
	maxPolicies   = 256
	maxPolicyText = 16 << 10
	// maxTexts limits the texts of one domain on one day, in octets. Further policies are
	// counted without text, and further failures by type. maxOctets limits the memory.
	maxTexts  = 256 << 10
	maxOctets = 1 << 20
)

// DetailsOmitted is the reason code of the sum of several failures of one type that
// were too many to be listed one by one.
const DetailsOmitted = "further-failures-summed"

// Tally has the sums of one domain on one day. An outcome that is already in it can
// be counted concurrently, by atomic additions. All other methods need a lock.
type Tally struct {
	seed     maphash.Seed
	domain   string
	room     *Room // nil if only the limits of one domain apply
	policies []*policySum
	first    [1]*policySum           // the array of policies while there is one
	index    map[uint64][]*policySum // by hash; nil while there are few policies
	details  int                     // number of details of all policies
	octets   int                     // of memory
	texts    int                     // octets of the texts
	shares   bool                    // it keeps the texts that it is given, not copies
}

// few is the number of policies or details up to which comparing is faster than hashing.
const few = 8

// policySum has the sums of one policy.
type policySum struct {
	policy              tlsrpt.Policy
	details             []*detailSum
	index               map[report.Detail]*detailSum // nil while there are few details
	recent              atomic.Pointer[detailSum]    // the last one that was found
	_                   apart
	successes, failures atomic.Int64
}

// detailSum has the sum of one detail.
type detailSum struct {
	key      report.Detail // with Sessions 0
	_        apart
	sessions atomic.Int64
}

// apart keeps the fields before it and those after it in different cache lines, so
// that reading the former does not wait for writes to the latter.
type apart [64]byte

// New returns a Tally for a canonical domain. It returns nil if there is no room for it.
func New(seed maphash.Seed, domain string, room *Room) *Tally {
	octets := tallyOctets + 2*len(domain)
	if !room.take(octets, false) {
		return nil
	}
	t := &Tally{seed: seed, domain: strings.Clone(domain), room: room, octets: octets}
	t.policies = t.first[:0]
	return t
}

// Domain returns the domain of the Tally.
func (t *Tally) Domain() string { return t.domain }

// Release returns the room of a Tally that is no longer used.
func (t *Tally) Release() { t.room.release(t.octets) }

// maxKnownFailures is the number of failures of one outcome that Count can look up.
// Very few have two.
const maxKnownFailures = 4

// Count counts an outcome if the same was counted before, completely or not at all.
func (t *Tally) Count(s *tlsrpt.Session, o *tlsrpt.Outcome) bool {
	p := t.find(&o.Policy)
	if p == nil || len(o.Failures) > maxKnownFailures {
		return false
	}
	var details [maxKnownFailures]*detailSum
	for i, failure := range o.Failures {
		key := detailOf(s, failure)
		known := p.find(&key)
		if known == nil || slices.Contains(details[:i], known) { // the same failure twice
			return false
		}
		details[i] = known
	}
	for _, known := range details[:len(o.Failures)] {
		known.sessions.Add(1)
	}
	p.sum(o).Add(1)
	return true
}

// CountNew counts an outcome that is new in part, or is not in canonical form. It
// returns false, and counts nothing, if there is no room.
func (t *Tally) CountNew(s *tlsrpt.Session, o *tlsrpt.Outcome) bool {
	p := t.findOrAdd(canonicalPolicy(o.Policy, t.domain))
	if p == nil {
		return false
	}
	counted := make(map[*detailSum]bool, len(o.Failures))
	for _, failure := range o.Failures {
		known := t.detail(p, canonicalDetail(detailOf(s, failure)))
		if known != nil && !counted[known] {
			counted[known] = true
			known.sessions.Add(1)
		}
	}
	p.sum(o).Add(1)
	return true
}

// detailOf returns the detail for a failure of a session, with Sessions 0.
func detailOf(s *tlsrpt.Session, f tlsrpt.Failure) report.Detail {
	if !f.Type.AboutHost() {
		return report.Detail{Type: f.Type, ReasonCode: f.ReasonCode}
	}
	return report.Detail{
		Type: f.Type, ReasonCode: f.ReasonCode,
		SendingIP: canonicalAddr(s.SendingIP), ReceivingIP: canonicalAddr(s.ReceivingIP),
		MXHost: s.MXHost, HELO: s.HELO,
	}
}

// sum returns the total to which an outcome is added.
func (p *policySum) sum(o *tlsrpt.Outcome) *atomic.Int64 {
	if o.Failed() {
		return &p.failures
	}
	return &p.successes
}

// hashPolicy returns the hash of a policy in a tally. A policy is found by its hash
// and then by comparison, so that the cost does not grow with their number. It
// hashes the last line only, because that one usually differs.
func hashPolicy(seed maphash.Seed, p *tlsrpt.Policy) uint64 {
	hash := maphash.String(seed, p.Domain) + uint64(len(p.Type))
	for _, s := range p.Strings {
		hash = hash*31 + uint64(len(s))
	}
	if last := len(p.Strings) - 1; last >= 0 {
		hash ^= maphash.String(seed, p.Strings[last])
	}
	return hash
}

// find returns the sums of a policy, or nil if there are none.
func (t *Tally) find(p *tlsrpt.Policy) *policySum {
	candidates := t.policies
	if t.index != nil {
		candidates = t.index[hashPolicy(t.seed, p)]
	}
	for _, known := range candidates {
		if known.isOf(p) {
			return known
		}
	}
	return nil
}

func (p *policySum) isOf(policy *tlsrpt.Policy) bool {
	return p.policy.Type == policy.Type && p.policy.Domain == policy.Domain &&
		slices.Equal(p.policy.Strings, policy.Strings) && slices.Equal(p.policy.MXHosts, policy.MXHosts)
}

// find returns the sum of a detail, or nil if there is none. Most failures are the
// same as that of the previous session.
func (p *policySum) find(key *report.Detail) *detailSum {
	if recent := p.recent.Load(); recent != nil && recent.key == *key {
		return recent
	}
	var known *detailSum
	if p.index != nil {
		known = p.index[*key]
	} else if i := slices.IndexFunc(p.details, func(d *detailSum) bool { return d.key == *key }); i >= 0 {
		known = p.details[i]
	}
	if known != nil {
		p.recent.Store(known)
	}
	return known
}

// findOrAdd returns the sums of a canonical policy, which it adds if it is new. If there
// are too many policies or texts, those of one type are counted as one without text. It
// returns nil if there is no room even for that.
func (t *Tally) findOrAdd(p tlsrpt.Policy) *policySum {
	if known := t.find(&p); known != nil {
		return known
	}
	if t.isPlain(&p) || len(t.policies) >= maxPolicies || !t.take(policyOctets, textOfPolicy(&p), true) {
		p = tlsrpt.Policy{Type: p.Type, Domain: t.domain}
		if known := t.find(&p); known != nil {
			return known
		}
		if !t.take(policyOctets, textOfPolicy(&p), false) {
			return nil
		}
	}
	if !t.shares {
		p = clonePolicy(p)
	}
	t.policies = append(t.policies, &policySum{policy: p})
	t.updateIndex()
	return t.policies[len(t.policies)-1]
}

// isPlain reports whether a policy is one that others are counted as.
func (t *Tally) isPlain(p *tlsrpt.Policy) bool {
	return p.Domain == t.domain && len(p.Strings) == 0 && len(p.MXHosts) == 0
}

// take takes memory for a text and what belongs to it, which may be left out or must be
// counted.
func (t *Tally) take(octets, text int, optional bool) bool {
	full := t.texts+text > maxTexts || t.octets+octets+text > maxOctets
	if optional && full || !t.room.take(octets+text, optional) {
		return false
	}
	t.octets += octets + text
	t.texts += text
	return true
}

func (t *Tally) forget(octets, text int) {
	t.room.release(octets + text)
	t.octets -= octets + text
	t.texts -= text
}

// updateIndex adds the last policy to the index, or all if there is none yet.
func (t *Tally) updateIndex() {
	if len(t.policies) <= few {
		return
	}
	unindexed := t.policies[len(t.policies)-1:]
	if t.index == nil {
		t.index, unindexed = make(map[uint64][]*policySum), t.policies
	}
	for _, p := range unindexed {
		hash := hashPolicy(t.seed, &p.policy)
		t.index[hash] = append(t.index[hash], p)
	}
}

// detail returns the sum of a canonical detail, which it adds if it is new. If there
// are too many details or texts, those of one type are counted as one. It returns nil if
// there is no room even for that.
func (t *Tally) detail(p *policySum, key report.Detail) *detailSum {
	if known := p.find(&key); known != nil {
		return known
	}
	if key == Omitted(key) || t.details >= maxDetails || !t.take(detailOctets, textOfDetail(&key), true) {
		key = Omitted(key)
		if known := p.find(&key); known != nil {
			return known
		}
		if t.octets > maxOctets || !t.take(detailOctets, textOfDetail(&key), false) {
			return nil
		}
	}
	t.details++
	if !t.shares {
		key = cloneDetail(key)
	}
	added := &detailSum{key: key}
	p.details = append(p.details, added)
	p.updateIndex()
	return added
}

// updateIndex adds the last detail to the index, or all if there is none yet.
func (p *policySum) updateIndex() {
	if len(p.details) <= few {
		return
	}
	unindexed := p.details[len(p.details)-1:]
	if p.index == nil {
		p.index, unindexed = make(map[report.Detail]*detailSum), p.details
	}
	for _, d := range unindexed {
		p.index[d.key] = d
	}
}

// Omitted returns the detail that d is counted as if it is not listed by itself.
func Omitted(d report.Detail) report.Detail {
	return report.Detail{Type: d.Type, ReasonCode: DetailsOmitted}
}

// Knows reports whether results can be merged without more room, because the tally has
// their policies and failures, at least by type.
func (t *Tally) Knows(results []report.PolicyResult) bool {
	for i := range results {
		policy := canonicalPolicy(results[i].Policy, t.domain)
		p := t.find(&policy)
		if p == nil {
			p = t.find(&tlsrpt.Policy{Type: policy.Type, Domain: t.domain})
		}
		for j := range results[i].Details {
			if p == nil {
				return false
			}
			key := results[i].Details[j]
			key.Sessions = 0
			key = canonicalDetail(key)
			omitted := Omitted(key)
			if p.find(&key) == nil && p.find(&omitted) == nil {
				return false
			}
		}
		if p == nil {
			return false
		}
	}
	return true
}

// Merge adds sums to the tally, which has no Room, or one that has room for Least octets or
// whose sums it Knows.
func (t *Tally) Merge(results []report.PolicyResult) {
	for i := range results {
		result := &results[i]
		p := t.findOrAdd(canonicalPolicy(result.Policy, t.domain))
		if p == nil {
			continue // there is room, so this does not happen
		}
		p.successes.Add(result.Summary.Successes)
		p.failures.Add(result.Summary.Failures)
		for _, d := range result.Details {
			sessions := d.Sessions
			d.Sessions = 0
			if known := t.detail(p, canonicalDetail(d)); known != nil {
				known.sessions.Add(sessions)
			}
		}
	}
}

// Drain returns the sums and sets them to 0. It forgets the policies and details that
// were not counted since the last call. Nothing may be counted at the same time.
func (t *Tally) Drain() []report.PolicyResult {
	results := t.Results()
	kept := t.policies[:0]
	for _, p := range t.policies {
		used := p.successes.Swap(0)+p.failures.Swap(0) > 0
		t.drainDetails(p)
		if used {
			kept = append(kept, p)
		} else {
			t.forget(policyOctets, textOfPolicy(&p.policy))
		}
	}
	if len(kept) < len(t.policies) {
		clear(t.policies[len(kept):])
		t.policies, t.index = kept, nil
		t.updateIndex()
	}
	return results
}

// drainDetails does the same for the details of a policy.
func (t *Tally) drainDetails(p *policySum) {
	kept := p.details[:0]
	for _, d := range p.details {
		if d.sessions.Swap(0) > 0 {
			kept = append(kept, d)
			continue
		}
		t.forget(detailOctets, textOfDetail(&d.key))
		t.details--
	}
	if len(kept) < len(p.details) {
		clear(p.details[len(kept):])
		p.details, p.index = kept, nil
		p.recent.Store(nil)
		p.updateIndex()
	}
}

// Results returns the sums in the order of a report.
func (t *Tally) Results() []report.PolicyResult {
	var results []report.PolicyResult
	for _, p := range t.policies {
		if result := p.result(); result.Summary != (report.Summary{}) {
			results = append(results, result)
		}
	}
	slices.SortFunc(results, comparePolicies)
	return results
}

func (p *policySum) result() report.PolicyResult {
	result := report.PolicyResult{
		Policy:  p.policy,
		Summary: report.Summary{Successes: p.successes.Load(), Failures: p.failures.Load()},
	}
	if len(p.details) > 0 {
		result.Details = make([]report.Detail, 0, len(p.details))
	}
	for _, known := range p.details {
		detail := known.key
		// A session may have several failures that are counted as one.
		detail.Sessions = min(known.sessions.Load(), result.Summary.MaxSessions(detail.Type))
		if detail.Sessions > 0 {
			result.Details = append(result.Details, detail)
		}
	}
	slices.SortFunc(result.Details, CompareDetails)
	return result
}
