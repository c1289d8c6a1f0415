package mtasts

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/names"
)

// A store that several Clients share has other writers. So what it has replaces a
// policy in memory only if that takes nothing away.

// maxSkew is how far the clocks of Clients that share a store may differ.
const maxSkew = time.Minute

// isFuture reports whether the policy was fetched by a clock that is ahead of this
// one, or was planted to look so.
func isFuture(s *state, now time.Time) bool { return s.fetched.After(now.Add(maxSkew)) }

// mayReplace reports whether theirs, which a store has, may replace mine without a
// fetch: mine has no policy in force, or theirs is at least as strong, names the same
// hosts and expires no earlier.
func mayReplace(theirs, mine *state, now time.Time) bool {
	if !mine.inForce(now) {
		return true
	}
	return theirs.policy != nil && !isFuture(theirs, now) &&
		theirs.policy.Mode.strength() >= mine.policy.Mode.strength() &&
		sameHosts(theirs.policy, mine.policy) &&
		!theirs.expiresAt(now).Before(mine.expiresAt(now))
}

// strength orders the modes by what they refuse or report.
func (m Mode) strength() int { return slices.Index([]Mode{None, Testing, Enforce}, m) }

// sameHosts reports whether two policies have the same patterns, in any order.
func sameHosts(p, q *Policy) bool {
	if p == q || p.Text == q.Text {
		return true
	}
	set := func(patterns []string) map[string]bool {
		m := make(map[string]bool, len(patterns))
		for _, pattern := range patterns {
			m[names.Fold(pattern)] = true
		}
		return m
	}
	return maps.Equal(set(p.MX), set(q.MX))
}

// minStoreKey is the minimum length of Config.StoreKey, in octets.
const minStoreKey = 16

// tag returns the Tag of e: HMAC-SHA-256 of its binary form without Tag.
func (e Entry) tag(key []byte) string {
	e.Tag = ""
	form, _ := e.MarshalBinary() // which never fails
	mac := hmac.New(sha256.New, key)
	mac.Write(form)
	return string(mac.Sum(nil))
}

// isTagged reports whether a Client with that key has put e.
func (e Entry) isTagged(key []byte) bool { return hmac.Equal([]byte(e.Tag), []byte(e.tag(key))) }

// absences remembers for which domains the store said that it has no entry, so that
// mail for them need not wait while the store cannot be read. It keeps hashes with a
// secret seed: two domains have the same one with a chance of about one in 2^40, which
// nobody can influence. It is safe for concurrent use.
type absences struct {
	seed  maphash.Seed
	limit int // of each set

	mu         sync.Mutex
	young, old map[uint64]struct{}
}

// absentPerPolicy is the number of domains for each of [Config.MaxPolicies]. Most
// domains have no policy.
const absentPerPolicy = 4

func newAbsences(maxPolicies int) *absences {
	return &absences{
		seed: maphash.MakeSeed(), limit: min(maxPolicies, 1<<24) * absentPerPolicy, young: map[uint64]struct{}{},
	}
}

func (a *absences) add(domain string) {
	h := maphash.String(a.seed, domain)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep(h)
}

// keep is called with mu held. The older half is forgotten when the younger is full.
func (a *absences) keep(h uint64) {
	if _, ok := a.young[h]; !ok && len(a.young) >= a.limit {
		a.young, a.old = map[uint64]struct{}{}, a.young
	}
	a.young[h] = struct{}{}
}

func (a *absences) has(domain string) bool {
	h := maphash.String(a.seed, domain)
	a.mu.Lock()
	defer a.mu.Unlock()
	_, young := a.young[h]
	_, old := a.old[h]
	if young || old {
		a.keep(h)
	}
	return young || old
}

func (a *absences) remove(domain string) {
	h := maphash.String(a.seed, domain)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.young, h)
	delete(a.old, h)
}
