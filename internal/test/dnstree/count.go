package dnstree

import (
	"slices"

	"github.com/miekg/dns"
)

// tally records the queries that the server received.
type tally struct {
	queries []Query
	// replied is the last round in which a reply was sent, rounds the last
	// round that has begun.
	replied, rounds int
}

// begin records a query and returns its round, which is one more than the last
// round in which a reply was sent.
func (l *tally) begin(q Query) (round int) {
	l.queries = append(l.queries, q)
	round = l.replied + 1
	l.rounds = max(l.rounds, round)
	return round
}

func (l *tally) end(round int) { l.replied = max(l.replied, round) }

// Count returns how many queries the server received for a name. With types, it
// counts only these types.
func (t *Tree) Count(name string, types ...uint16) int {
	return len(t.Queries(At(name, types...)))
}

// Queries returns the queries since the start or the last Reset, in order.
func (t *Tree) Queries(where Where) []Query {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.log.queries), func(q Query) bool { return !where(q) })
}

// Rounds returns how many round trips the queries since the last Reset took. A
// query that arrives after a reply was sent belongs to a later round than the
// query for that reply. Use Slow, so that no reply is sent before all queries
// of its round have arrived.
func (t *Tree) Rounds() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.rounds
}

// Reset resets all counts. No query should be in progress.
func (t *Tree) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = tally{}
}

// String returns the query as name and type.
func (q Query) String() string { return q.Name + " " + dns.TypeToString[q.Type] }
