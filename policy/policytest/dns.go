package policytest

import (
	"context"
	"slices"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// Question is the name and type of a DNS query.
type Question struct {
	Name string // in lower case, with a final dot
	Type dnssec.Type
}

// DNSFault changes the reply to a question. It gets the reply in wire format
// (RFC 1035 section 4.1), which it may modify, and returns the octets to send,
// which need not be a DNS message. If it returns nil, nothing is sent. It must
// be safe for concurrent use.
type DNSFault func(question Question, reply []byte) []byte

// Drop sends no reply.
func Drop(Question, []byte) []byte { return nil }

// ServFail replies SERVFAIL.
func ServFail(_ Question, reply []byte) []byte { return dnstree.ServFail(dnstree.Query{}, reply) }

// Bogus corrupts all signatures in the reply.
func Bogus(_ Question, reply []byte) []byte { return dnstree.Bogus(dnstree.Query{}, reply) }

// Strip removes signatures and proofs from the reply, as a middlebox without
// DNSSEC does.
func Strip(_ Question, reply []byte) []byte { return dnstree.Strip(dnstree.Query{}, reply) }

// Forge replaces the reply with the given records, as an attacker on the path
// does. Resolvers accept it for unsigned names and treat it as bogus for signed
// names. The records are in zone-file syntax with absolute names. Without
// records, the reply says that the name has no such records.
func Forge(records ...string) DNSFault {
	forge := dnstree.Forge(records...)
	return func(_ Question, reply []byte) []byte { return forge(dnstree.Query{}, reply) }
}

// BreakDNS applies a fault to the replies for a name until restore is called.
// Without types, it applies to all types.
func (inet *Internet) BreakDNS(fault DNSFault, name string, types ...dnssec.Type) (restore func()) {
	return inet.tree.Break(dnstree.At(name, numbers(types)...), adapt(fault))
}

// BreakDNSBelow is like BreakDNS, for a name and all names below it.
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

// Questions returns how many queries the name server received for a name. With
// types, it counts only these types.
func (inet *Internet) Questions(name string, types ...dnssec.Type) int {
	return inet.tree.Count(name, numbers(types)...)
}

// AllQuestions returns all queries that the name server received, in order.
func (inet *Internet) AllQuestions() []Question {
	var questions []Question
	for _, q := range inet.tree.Queries(dnstree.Everywhere) {
		questions = append(questions, question(q))
	}
	return slices.Clip(questions)
}

// RoundTrips returns how many round trips the queries took. Queries that were
// in flight at the same time count as one round trip. The number is exact only
// while SlowDNS is in effect.
func (inet *Internet) RoundTrips() int { return inet.tree.Rounds() }

// ForgetQuestions resets the counts of queries and round trips to zero.
func (inet *Internet) ForgetQuestions() { inet.tree.Reset() }

// DNSAddr returns the "address:port" of the recursive name server, which
// answers over UDP and TCP on the loopback interface.
func (inet *Internet) DNSAddr() string {
	inet.tree.Prepare()
	return inet.tree.Addr()
}

// TrustAnchors returns the trust anchors of this internet: the DS records of
// its root zone, in zone-file syntax.
func (inet *Internet) TrustAnchors() string { return inet.tree.Anchors() }

func numbers(types []dnssec.Type) []uint16 {
	list := make([]uint16, len(types))
	for i, t := range types {
		list[i] = uint16(t)
	}
	return list
}

// ListenDNS makes the recursive name server available at a real address of the
// caller's choice as well, such as "127.0.0.21:53", over UDP and TCP. If the port is
// 0, it takes a free one. It returns the address. Like DNSAddr, it does not
// validate and never sets the AD bit.
func (inet *Internet) ListenDNS(addr string) string { return listening(inet.tree.Listen(addr)) }

// ListenResolver is like ListenDNS, for a recursive resolver that validates. It
// sets the AD bit in secure answers to queries with AD or DO, and replies SERVFAIL
// to queries without CD if the answer is bogus (RFC 4035 section 3.2, RFC 6840
// section 5.8). Programs that do DANE by the AD bit, such as Postfix, can use it.
// It has no cache. Questions and RoundTrips count its queries to the name server,
// not the queries to it. Forge, Bogus and the other faults are between it and the
// name server.
func (inet *Internet) ListenResolver(addr string) string {
	return listening(inet.tree.ListenResolver(addr, inet.validate))
}

func listening(addr string, err error) string {
	if err != nil {
		panic("policytest: " + err.Error())
	}
	return addr
}

// validate returns what a validating resolver makes of a reply.
func (inet *Internet) validate(q dnstree.Query, reply []byte) []byte {
	resolver := inet.DNS()
	defer resolver.Close()
	answer, err := resolver.Lookup(context.Background(), q.Name, dnssec.Type(q.Type))
	switch {
	case err != nil && !q.CD:
		return dnstree.ServFail(q, reply)
	case err == nil && answer.Status == dnssec.Secure && (q.AD || q.DO):
		return dnstree.SetAD(q, reply)
	}
	return reply
}
