package policytest

import (
	"slices"
	"time"

	"github.com/miekg/dns"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// DNSFault changes the reply to a question on its way, and returns what is to
// be sent; nil sends nothing. The reply is the fault's own. It is called
// concurrently.
type DNSFault func(question dns.Question, reply *dns.Msg) *dns.Msg

// Drop sends no reply.
func Drop(dns.Question, *dns.Msg) *dns.Msg { return nil }

// ServFail replies SERVFAIL.
func ServFail(q dns.Question, reply *dns.Msg) *dns.Msg {
	return dnstree.ServFail(dnstree.Query{}, reply)
}

// Bogus breaks all signatures in the reply.
func Bogus(q dns.Question, reply *dns.Msg) *dns.Msg {
	return dnstree.Bogus(dnstree.Query{}, reply)
}

// Strip removes signatures and proofs, as a middlebox without DNSSEC does.
func Strip(q dns.Question, reply *dns.Msg) *dns.Msg {
	return dnstree.Strip(dnstree.Query{}, reply)
}

// Forge replaces the reply by these records, as an attacker on the path does:
// what is unsigned gets believed, what is signed becomes bogus. The records are
// in zone-file syntax with absolute names; without any, the reply says that
// there are none.
func Forge(records ...string) DNSFault {
	forge := dnstree.Forge(records...)
	return func(_ dns.Question, reply *dns.Msg) *dns.Msg { return forge(dnstree.Query{}, reply) }
}

// BreakDNS makes the replies to questions for a name go wrong until mend is
// called: for one of the types or, without types, for any.
func (inet *Internet) BreakDNS(fault DNSFault, name string, types ...dnssec.Type) (mend func()) {
	return inet.tree.Break(dnstree.At(name, numbers(types)...), adapt(fault))
}

// BreakDNSBelow is BreakDNS for a name and all names below it.
func (inet *Internet) BreakDNSBelow(fault DNSFault, name string, types ...dnssec.Type) (mend func()) {
	return inet.tree.Break(dnstree.Under(name, numbers(types)...), adapt(fault))
}

func adapt(fault DNSFault) dnstree.Fault {
	return func(q dnstree.Query, reply *dns.Msg) *dns.Msg { return fault(q.Question, reply) }
}

// SlowDNS delays every reply until mend is called.
func (inet *Internet) SlowDNS(by time.Duration) (mend func()) {
	return inet.tree.Slow(dnstree.Everywhere, by)
}

// Questions returns how often the DNS was asked for a name and one of the types
// or, without types, any.
func (inet *Internet) Questions(name string, types ...dnssec.Type) int {
	return inet.tree.Count(name, numbers(types)...)
}

// AllQuestions returns every question that the DNS was asked, in order.
func (inet *Internet) AllQuestions() []dns.Question {
	var questions []dns.Question
	for _, q := range inet.tree.Queries(dnstree.Everywhere) {
		questions = append(questions, q.Question)
	}
	return slices.Clip(questions)
}

// RoundTrips returns how many round trips the questions took, those that were
// under way together counting once. It is exact with SlowDNS on.
func (inet *Internet) RoundTrips() int { return inet.tree.Rounds() }

// ForgetQuestions sets the counts of questions and round trips to zero.
func (inet *Internet) ForgetQuestions() { inet.tree.Reset() }

// DNSAddr returns the address of the recursive name server, for UDP and TCP. It
// is on the real loopback interface.
func (inet *Internet) DNSAddr() string { return inet.tree.Addr() }

// TrustAnchors returns the trust anchors of this internet, the DS records of its
// root zone, in zone-file syntax.
func (inet *Internet) TrustAnchors() string { return inet.tree.Anchors() }

func numbers(types []dnssec.Type) []uint16 {
	list := make([]uint16, len(types))
	for i, t := range types {
		list[i] = uint16(t)
	}
	return list
}
