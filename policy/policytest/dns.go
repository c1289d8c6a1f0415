package policytest

import (
	"slices"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// Question is a question to the DNS.
type Question struct {
	Name string // lower case, with final dot
	Type dnssec.Type
}

// DNSFault changes the reply to a question on its way, and returns what is to be
// sent, whether or not that is a DNS message; nil sends nothing. The reply is in
// wire form (RFC 1035 section 4.1) and belongs to the fault. A DNSFault is called
// concurrently.
type DNSFault func(question Question, reply []byte) []byte

// Drop sends no reply.
func Drop(Question, []byte) []byte { return nil }

// ServFail replies SERVFAIL.
func ServFail(_ Question, reply []byte) []byte { return dnstree.ServFail(dnstree.Query{}, reply) }

// Bogus breaks all signatures in the reply.
func Bogus(_ Question, reply []byte) []byte { return dnstree.Bogus(dnstree.Query{}, reply) }

// Strip removes signatures and proofs, as a middlebox without DNSSEC does.
func Strip(_ Question, reply []byte) []byte { return dnstree.Strip(dnstree.Query{}, reply) }

// Forge replaces the reply by these records, as an attacker on the path does:
// unsigned names accept it, signed ones become bogus. The records are in
// zone-file syntax with absolute names. Without records, the reply says that
// there are none.
func Forge(records ...string) DNSFault {
	forge := dnstree.Forge(records...)
	return func(_ Question, reply []byte) []byte { return forge(dnstree.Query{}, reply) }
}

// BreakDNS breaks the replies to questions for a name, of these types or, without
// types, of any, until restore is called.
func (inet *Internet) BreakDNS(fault DNSFault, name string, types ...dnssec.Type) (restore func()) {
	return inet.tree.Break(dnstree.At(name, numbers(types)...), adapt(fault))
}

// BreakDNSBelow is BreakDNS for a name and all names below it.
func (inet *Internet) BreakDNSBelow(fault DNSFault, name string, types ...dnssec.Type) (restore func()) {
	return inet.tree.Break(dnstree.Under(name, numbers(types)...), adapt(fault))
}

func adapt(fault DNSFault) dnstree.Fault {
	return func(q dnstree.Query, reply []byte) []byte { return fault(question(q), reply) }
}

func question(q dnstree.Query) Question { return Question{Name: q.Name, Type: dnssec.Type(q.Type)} }

// SlowDNS delays every reply until restore is called.
func (inet *Internet) SlowDNS(by time.Duration) (restore func()) {
	return inet.tree.Slow(dnstree.Everywhere, by)
}

// Questions returns how often the DNS was asked for a name and one of the types
// or, without types, any.
func (inet *Internet) Questions(name string, types ...dnssec.Type) int {
	return inet.tree.Count(name, numbers(types)...)
}

// AllQuestions returns every question that the DNS was asked, in order.
func (inet *Internet) AllQuestions() []Question {
	var questions []Question
	for _, q := range inet.tree.Queries(dnstree.Everywhere) {
		questions = append(questions, question(q))
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
