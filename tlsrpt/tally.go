package tlsrpt

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

const (
	// maxDetails bounds the distinct failures that are counted for one domain
	// on one day, because mail hosts choose some of what tells them apart.
	maxDetails = 1000
	// maxPolicies bounds the distinct policies of one domain on one day, and
	// maxPolicyText the octets of one.
	maxPolicies   = 256
	maxPolicyText = 16 << 10
)

// DetailsOmitted is the reason code of failures of one type that differ in what
// a report does not say, because they were too many to be told one by one.
const DetailsOmitted = "further-failures-summed"

// tally has the sums of one domain on one day. What is in it can be counted
// again concurrently, by atomic additions alone; what is not needs a lock.
type tally struct {
	seed     maphash.Seed
	domain   string
	policies map[uint64][]*policyTally // by hash
	number   int                       // of policies
	early    []*policyTally            // the first ones, which are mostly all
	details  int                       // of all policies together
}

// maxEarly is up to how many policies comparing is quicker than hashing.
const maxEarly = 4

// policyTally has the sums of one policy.
type policyTally struct {
	policy              Policy
	details             map[Detail]*detailTally
	recent              atomic.Pointer[detailTally] // the last one that was found
	_                   apart
	successes, failures atomic.Int64
}

// detailTally has the sum of one detail.
type detailTally struct {
	key      Detail // what tells it apart; Sessions is 0
	_        apart
	sessions atomic.Int64
}

// apart keeps what stands before it out of the cache line of what stands behind
// it, so that those who only read the one do not wait for those who write the
// other.
type apart [64]byte

// find returns the sum of a detail, nil if there is none. A failure is mostly
// that of the session before.
func (p *policyTally) find(key Detail) *detailTally {
	if recent := p.recent.Load(); recent != nil && recent.key == key {
		return recent
	}
	known := p.details[key]
	if known != nil {
		p.recent.Store(known)
	}
	return known
}

func newTally(seed maphash.Seed, domain string) *tally {
	return &tally{seed: seed, domain: domain, policies: make(map[uint64][]*policyTally)}
}

// maxKnownFailures is how many failures of one outcome count can look up.
// Hardly one has two.
const maxKnownFailures = 4

// count counts an outcome if one like it was counted before, all or nothing.
func (t *tally) count(s *Session, o *Outcome) bool {
	p := t.find(&o.Policy)
	if p == nil || len(o.Failures) > maxKnownFailures {
		return false
	}
	var details [maxKnownFailures]*detailTally
	for i, failure := range o.Failures {
		known := p.find(detailOf(s, failure))
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

// countNew counts an outcome of which something is new, or is not in canonical
// form.
func (t *tally) countNew(s *Session, o *Outcome) {
	p := t.findOrMake(canonicalPolicy(o.Policy, t.domain))
	counted := make(map[*detailTally]bool, len(o.Failures))
	for _, failure := range o.Failures {
		known := t.detail(p, canonicalDetail(detailOf(s, failure)))
		if !counted[known] {
			counted[known] = true
			known.sessions.Add(1)
		}
	}
	p.sum(o).Add(1)
}

// detailOf returns what tells a failure of a session from others.
func detailOf(s *Session, f Failure) Detail {
	return Detail{
		Type: f.Type, ReasonCode: f.ReasonCode,
		SendingIP: canonicalAddr(s.SendingIP), ReceivingIP: canonicalAddr(s.ReceivingIP),
		MXHost: s.MXHost, HELO: s.HELO,
	}
}

// sum returns the total that an outcome counts in.
func (p *policyTally) sum(o *Outcome) *atomic.Int64 {
	if len(o.Failures) > 0 {
		return &p.failures
	}
	return &p.successes
}

// hashPolicy is the hash of a policy in a tally. A policy is told by its hash
// and then by comparison, so that many of them cost no more than one. Of the
// lines the last has the most in it that tells policies apart.
func hashPolicy(seed maphash.Seed, p *Policy) uint64 {
	hash := maphash.String(seed, p.Domain) + uint64(len(p.Type))
	for _, s := range p.Strings {
		hash = hash*31 + uint64(len(s))
	}
	if last := len(p.Strings) - 1; last >= 0 {
		hash ^= maphash.String(seed, p.Strings[last])
	}
	return hash
}

// find returns the sums of a policy, nil if there are none.
func (t *tally) find(p *Policy) *policyTally {
	for _, known := range t.early {
		if known.isOf(p) {
			return known
		}
	}
	if t.number <= maxEarly {
		return nil
	}
	for _, known := range t.policies[hashPolicy(t.seed, p)] {
		if known.isOf(p) {
			return known
		}
	}
	return nil
}

func (p *policyTally) isOf(policy *Policy) bool {
	return p.policy.Type == policy.Type && p.policy.Domain == policy.Domain &&
		slices.Equal(p.policy.Strings, policy.Strings) && slices.Equal(p.policy.MXHosts, policy.MXHosts)
}

// findOrMake returns the sums of a canonical policy. When there are too many
// policies, those of one type are summed up as one without text.
func (t *tally) findOrMake(p Policy) *policyTally {
	if known := t.find(&p); known != nil {
		return known
	}
	if t.number >= maxPolicies {
		p = Policy{Type: p.Type, Domain: t.domain}
		if known := t.find(&p); known != nil {
			return known
		}
	}
	made := &policyTally{policy: clonePolicy(p), details: make(map[Detail]*detailTally)}
	hash := hashPolicy(t.seed, &p)
	t.policies[hash] = append(t.policies[hash], made)
	if t.number++; t.number <= maxEarly {
		t.early = append(t.early, made)
	}
	return made
}

// detail returns the sum of a canonical detail. When there are too many, those
// of one type are summed up.
func (t *tally) detail(p *policyTally, key Detail) *detailTally {
	if known := p.details[key]; known != nil {
		return known
	}
	if t.details >= maxDetails {
		key = omitted(key)
		if known := p.details[key]; known != nil {
			return known
		}
	}
	key.MXHost, key.HELO = strings.Clone(key.MXHost), strings.Clone(key.HELO)
	key.ReasonCode = strings.Clone(key.ReasonCode)
	made := &detailTally{key: key}
	p.details[key] = made
	t.details++
	return made
}

// omitted is what remains of a detail that is not told by itself.
func omitted(d Detail) Detail { return Detail{Type: d.Type, ReasonCode: DetailsOmitted} }

// merge adds sums to the tally.
func (t *tally) merge(results []PolicyResult) {
	for i := range results {
		result := &results[i]
		p := t.findOrMake(canonicalPolicy(result.Policy, t.domain))
		p.successes.Add(result.Summary.Successes)
		p.failures.Add(result.Summary.Failures)
		for _, d := range result.Details {
			sessions := d.Sessions
			d.Sessions = 0
			t.detail(p, canonicalDetail(d)).sessions.Add(sessions)
		}
	}
}

// drain returns the sums, and begins anew with those at 0. Nothing may be counted
// meanwhile.
func (t *tally) drain() []PolicyResult {
	results := t.results()
	for _, bucket := range t.policies {
		for _, p := range bucket {
			p.reset()
		}
	}
	return results
}

func (p *policyTally) reset() {
	p.successes.Store(0)
	p.failures.Store(0)
	for _, known := range p.details {
		known.sessions.Store(0)
	}
}

// results returns the sums in the order in which a report has them.
func (t *tally) results() []PolicyResult {
	var results []PolicyResult
	for _, bucket := range t.policies {
		for _, p := range bucket {
			if result := p.result(); result.Summary != (Summary{}) {
				results = append(results, result)
			}
		}
	}
	slices.SortFunc(results, func(a, b PolicyResult) int {
		return cmp.Or(
			cmp.Compare(a.Policy.Type, b.Policy.Type),
			cmp.Compare(a.Policy.Domain, b.Policy.Domain),
			slices.Compare(a.Policy.Strings, b.Policy.Strings),
			slices.Compare(a.Policy.MXHosts, b.Policy.MXHosts),
		)
	})
	return results
}

func (p *policyTally) result() PolicyResult {
	result := PolicyResult{
		Policy:  p.policy,
		Summary: Summary{Successes: p.successes.Load(), Failures: p.failures.Load()},
	}
	for key, known := range p.details {
		// Of failures that are summed up a session may have had several.
		key.Sessions = min(known.sessions.Load(), result.Summary.Failures)
		if key.Sessions > 0 {
			result.Details = append(result.Details, key)
		}
	}
	slices.SortFunc(result.Details, compareDetails)
	return result
}

// compareDetails has the most frequent first, and no other two in any order.
func compareDetails(a, b Detail) int {
	return cmp.Or(
		cmp.Compare(b.Sessions, a.Sessions),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.ReasonCode, b.ReasonCode),
		cmp.Compare(a.MXHost, b.MXHost),
		a.ReceivingIP.Compare(b.ReceivingIP),
		a.SendingIP.Compare(b.SendingIP),
		cmp.Compare(a.HELO, b.HELO),
		cmp.Compare(a.Info, b.Info),
	)
}

// MergeResults adds sums to others of the same domain and day and returns the
// new sums, within the bounds of what is counted for one domain. It is what a
// [Store] does that keeps the sums of a domain in one piece.
func MergeResults(domain string, sums, added []PolicyResult) []PolicyResult {
	t := newTally(maphash.MakeSeed(), domain)
	t.merge(sums)
	t.merge(added)
	return t.results()
}
