package dnstree

import (
	"slices"

	"github.com/miekg/dns"
)

// tally is what the server has been asked.
type tally struct {
	queries []Query
	// replied is the last round of which a reply has been sent, rounds the
	// last that has begun.
	replied, rounds int
}

// begin notes a query and returns its round: one more than the last round of
// which the client may have seen a reply.
func (l *tally) begin(q Query) (round int) {
	l.queries = append(l.queries, q)
	round = l.replied + 1
	l.rounds = max(l.rounds, round)
	return round
}

func (l *tally) end(round int) { l.replied = max(l.replied, round) }

// Count returns how often a name was asked for, with one of the types; without
// types, with any.
func (t *Tree) Count(name string, types ...uint16) int {
	return len(t.Queries(At(name, types...)))
}

// Queries returns what was asked since the start or the last Reset, in order.
func (t *Tree) Queries(where Where) []Query {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.log.queries), func(q Query) bool { return !where(q) })
}

// Rounds returns how many round trips the queries since the last Reset took:
// a query that arrived after a reply was sent is a round later than what was
// replied to. It counts well when a delay (see Slow) keeps the replies from
// overtaking the queries of the same round.
func (t *Tree) Rounds() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.rounds
}

// Reset forgets all counts. No query should be under way.
func (t *Tree) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = tally{}
}

// String returns the query as name and type.
func (q Query) String() string { return q.Name + " " + dns.TypeToString[q.Type] }
