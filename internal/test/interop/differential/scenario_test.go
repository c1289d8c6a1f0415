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
	Donor question // whose reply has what is put into the altered one
	Index int      // which of several records, or values
}

// A scenario is a question to be asked of a tree, and what is altered. It can
// be repeated: only the keys differ from one time to the next.
type scenario struct {
	tree     treeSpec
	question question
	mutation mutation

	intact, altered *dns.Msg // replies to mutation.At, once prepared
}

// prepare makes the altered reply, before the tree is served. It returns false
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
	// Flags and the pseudo-section are not printed in full, so a kind that
	// changes only these says so.
	if !op.invisible && op.reply.String() == before {
		return false
	}
	s.intact, s.altered = w.ask(m.At), op.reply
	return true
}

// alter alters the reply to a question, if it is one of those to be altered,
// and reports whether it is. An alias that leads to the altered reply has it in
// its own, so that it does not matter whether a validator asks for the target
// by itself.
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

// without returns the records that are not among the others. Signatures of the
// same key are the same record: they are made again with other random numbers.
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

// String prints the scenario as the Go literal that repeats it.
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
