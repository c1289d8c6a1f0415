package differential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A mutation alters the reply to one question. The zero value alters nothing.
type mutation struct {
	Kind  string // a key of kinds
	At    question
	Donor question // the records of its reply are put into the altered one
	Index int      // selects one of several records or values
}

// A scenario is a tree, a question and a mutation. It can be repeated, with
// other keys.
type scenario struct {
	tree     treeSpec
	question question
	mutation mutation

	intact, altered *dns.Msg // replies to mutation.At, after prepare
}

// prepare builds the altered reply before the tree is served. It returns false
// if the mutation does not apply.
func (s *scenario) prepare(w *world) bool {
	s.intact, s.altered = nil, nil
	m := s.mutation
	if m.Kind == "" {
		return true
	}
	op := &operation{mutation: m, world: w, reply: w.ask(m.At), donor: w.ask(m.Donor)}
	before := op.reply.String()
	if !kinds[m.Kind](op) {
		return false
	}
	// Flags and the OPT record are not printed completely, so a mutation that
	// changes only these sets invisible.
	if !op.invisible && op.reply.String() == before {
		return false
	}
	s.intact, s.altered = w.ask(m.At), op.reply
	return true
}

// alter alters the reply to a question if the mutation applies to it, and
// reports whether it does. The reply to an alias that leads to the altered
// reply is altered too, so that it makes no difference whether a validator
// queries the target separately.
func (s *scenario) alter(q question, transport string, reply *dns.Msg) bool {
	at := s.mutation.At
	if s.altered == nil || q.Type != at.Type || !slices.Contains(chain(reply, q), at) {
		return false
	}
	altered := s.altered.Copy()
	if altered.Truncated && transport == "udp" {
		reply.Truncated, reply.Answer, reply.Ns = true, nil, nil
		return true
	}
	reply.Rcode = altered.Rcode
	reply.Answer = append(without(reply.Answer, s.intact.Answer), altered.Answer...)
	reply.Ns = append(without(reply.Ns, s.intact.Ns), altered.Ns...)
	reply.Extra = altered.Extra
	return true
}

// without returns the records that are not in others. Signatures by the same
// key are considered equal, because their random numbers differ each time.
func without(records, others []dns.RR) []dns.RR {
	identity := func(rr dns.RR) string {
		if sig, ok := rr.(*dns.RRSIG); ok {
			return fmt.Sprint(covered(rr), sig.SignerName, sig.KeyTag)
		}
		return rr.String()
	}
	known := make(map[string]bool)
	for _, rr := range others {
		known[identity(rr)] = true
	}
	return slices.DeleteFunc(records, func(rr dns.RR) bool { return known[identity(rr)] })
}

// String returns the Go literal of the scenario.
func (s *scenario) String() string {
	var text strings.Builder
	text.WriteString("&scenario{\n\ttree: treeSpec{\n")
	for _, z := range s.tree {
		fmt.Fprintf(&text, "\t\t%s,\n", strings.TrimPrefix(z.String(), "zoneSpec"))
	}
	literal := func(q question) string { return fmt.Sprintf("question{%q, dns.Type%s}", q.Name, dns.Type(q.Type)) }
	fmt.Fprintf(&text, "\t},\n\tquestion: %s,\n", literal(s.question))
	if m := s.mutation; m.Kind != "" {
		fmt.Fprintf(&text, "\tmutation: mutation{%q, %s, %s, %d},\n", m.Kind, literal(m.At), literal(m.Donor), m.Index)
	}
	text.WriteString("}")
	return text.String()
}
