package reporter

import (
	"cmp"
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
)

// DetailsOmitted is the reason code of the sum of several failures of one type that
// were too many to be listed one by one.
const DetailsOmitted = "further-failures-summed"

// tally has the sums of one domain on one day. An outcome that is already in it can
// be counted concurrently, by atomic additions. A new outcome needs a lock.
type tally struct {
	seed     maphash.Seed
	domain   string
	policies map[uint64][]*policyTally // by hash
	number   int                       // number of policies
	early    []*policyTally            // the first policies, usually all
	details  int                       // number of details of all policies
}

// maxEarly is the number of policies up to which comparing is faster than hashing.
const maxEarly = 4

// policyTally has the sums of one policy.
type policyTally struct {
	policy              tlsrpt.Policy
	details             map[report.Detail]*detailTally
	recent              atomic.Pointer[detailTally] // the last one that was found
	_                   apart
	successes, failures atomic.Int64
}

// detailTally has the sum of one detail.
type detailTally struct {
	key      report.Detail // with Sessions 0
	_        apart
	sessions atomic.Int64
}

// apart keeps the fields before it and those after it in different cache lines, so
// that reading the former does not wait for writes to the latter.
type apart [64]byte

// find returns the sum of a detail, or nil if there is none. Most failures are the
// same as that of the previous session.
func (p *policyTally) find(key report.Detail) *detailTally {
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

// maxKnownFailures is the number of failures of one outcome that count can look up.
// Very few have two.
const maxKnownFailures = 4

// count counts an outcome if the same was counted before, completely or not at all.
func (t *tally) count(s *tlsrpt.Session, o *tlsrpt.Outcome) bool {
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

// countNew counts an outcome that is new in part, or is not in canonical form.
func (t *tally) countNew(s *tlsrpt.Session, o *tlsrpt.Outcome) {
	p := t.findOrAdd(canonicalPolicy(o.Policy, t.domain))
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
func (p *policyTally) sum(o *tlsrpt.Outcome) *atomic.Int64 {
	if len(o.Failures) > 0 {
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
func (t *tally) find(p *tlsrpt.Policy) *policyTally {
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

func (p *policyTally) isOf(policy *tlsrpt.Policy) bool {
	return p.policy.Type == policy.Type && p.policy.Domain == policy.Domain &&
		slices.Equal(p.policy.Strings, policy.Strings) && slices.Equal(p.policy.MXHosts, policy.MXHosts)
}

// findOrAdd returns the sums of a canonical policy, which it adds if it is new. If
// there are too many policies, those of one type are counted as one without text.
func (t *tally) findOrAdd(p tlsrpt.Policy) *policyTally {
	if known := t.find(&p); known != nil {
		return known
	}
	if t.number >= maxPolicies {
		p = tlsrpt.Policy{Type: p.Type, Domain: t.domain}
		if known := t.find(&p); known != nil {
			return known
		}
	}
	added := &policyTally{policy: clonePolicy(p), details: make(map[report.Detail]*detailTally)}
	hash := hashPolicy(t.seed, &p)
	t.policies[hash] = append(t.policies[hash], added)
	if t.number++; t.number <= maxEarly {
		t.early = append(t.early, added)
	}
	return added
}

// detail returns the sum of a canonical detail, which it adds if it is new. If there
// are too many details, those of one type are counted as one.
func (t *tally) detail(p *policyTally, key report.Detail) *detailTally {
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
	added := &detailTally{key: key}
	p.details[key] = added
	t.details++
	return added
}

// omitted returns the detail that d is counted as if it is not listed by itself.
func omitted(d report.Detail) report.Detail {
	return report.Detail{Type: d.Type, ReasonCode: DetailsOmitted}
}

// merge adds sums to the tally.
func (t *tally) merge(results []report.PolicyResult) {
	for i := range results {
		result := &results[i]
		p := t.findOrAdd(canonicalPolicy(result.Policy, t.domain))
		p.successes.Add(result.Summary.Successes)
		p.failures.Add(result.Summary.Failures)
		for _, d := range result.Details {
			sessions := d.Sessions
			d.Sessions = 0
			t.detail(p, canonicalDetail(d)).sessions.Add(sessions)
		}
	}
}

// drain returns the sums and sets them to 0. Nothing may be counted at the same
// time.
func (t *tally) drain() []report.PolicyResult {
	results := t.results()
	for _, bucket := range t.policies {
		for _, p := range bucket {
			p.successes.Store(0)
			p.failures.Store(0)
			for _, known := range p.details {
				known.sessions.Store(0)
			}
		}
	}
	return results
}

// results returns the sums in the order of a report.
func (t *tally) results() []report.PolicyResult {
	var results []report.PolicyResult
	for _, bucket := range t.policies {
		for _, p := range bucket {
			if result := p.result(); result.Summary != (report.Summary{}) {
				results = append(results, result)
			}
		}
	}
	slices.SortFunc(results, func(a, b report.PolicyResult) int {
		return cmp.Or(
			cmp.Compare(a.Policy.Type, b.Policy.Type),
			cmp.Compare(a.Policy.Domain, b.Policy.Domain),
			slices.Compare(a.Policy.Strings, b.Policy.Strings),
			slices.Compare(a.Policy.MXHosts, b.Policy.MXHosts),
		)
	})
	return results
}

func (p *policyTally) result() report.PolicyResult {
	result := report.PolicyResult{
		Policy:  p.policy,
		Summary: report.Summary{Successes: p.successes.Load(), Failures: p.failures.Load()},
	}
	for key, known := range p.details {
		// A session may have several failures that are counted as one.
		key.Sessions = min(known.sessions.Load(), result.Summary.Failures)
		if key.Sessions > 0 {
			result.Details = append(result.Details, key)
		}
	}
	slices.SortFunc(result.Details, compareDetails)
	return result
}

// compareDetails orders details by frequency, the most frequent first, and then by
// all other fields.
func compareDetails(a, b report.Detail) int {
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

// MergeResults returns the total of two sums of the same domain and day, within the
// limits of what is counted for one domain. It is for a [Store] that keeps the sums
// of a domain in one piece.
func MergeResults(domain string, sums, added []report.PolicyResult) []report.PolicyResult {
	t := newTally(maphash.MakeSeed(), domain)
	t.merge(sums)
	t.merge(added)
	return t.results()
}
