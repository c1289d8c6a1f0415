package mtasts

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/mxseal/mxseal/mtasts/internal/policytext"
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
		policytext.SameHosts(theirs.policy.MX, mine.policy.MX) &&
		!theirs.expiresAt(now).Before(mine.expiresAt(now))
}

// strength returns that of the policy in force, and -1 if there is none.
func strength(s *state, now time.Time) int {
	if !s.inForce(now) || isFuture(s, now) {
		return -1
	}
	return s.policy.Mode.strength()
}

// strength orders the modes by what they refuse or report.
func (m Mode) strength() int { return slices.Index([]Mode{None, Testing, Enforce}, m) }

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
