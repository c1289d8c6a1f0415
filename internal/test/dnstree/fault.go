package dnstree

import (
	"encoding/base64"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Query is a query that the server received.
type Query struct {
	Name      string // canonical
	Type      uint16
	Transport string // "udp" or "tcp", or "" for Exchange
	// DO, CD and AD are set as in the query (RFC 3225 section 3, RFC 4035
	// section 3.2.2, RFC 6840 section 5.7).
	DO, CD, AD bool
}

// Where selects queries.
type Where func(Query) bool

// Everywhere selects all queries.
func Everywhere(Query) bool { return true }

// At selects the queries for a name. With types, it selects only these types.
func At(name string, types ...uint16) Where {
	name = canonical(name)
	return func(q Query) bool {
		return q.Name == name && (len(types) == 0 || slices.Contains(types, q.Type))
	}
}

// Under selects the queries for a name and all names below it. With types, it
// selects only these types.
func Under(name string, types ...uint16) Where {
	name = canonical(name)
	return func(q Query) bool {
		return dns.IsSubDomain(name, q.Name) && (len(types) == 0 || slices.Contains(types, q.Type))
	}
}

// Fault changes the reply to a query. It gets the reply in wire format, which
// it may modify, and returns the octets to send, which need not be a DNS
// message. If it returns nil, nothing is sent. The reply is not truncated for
// UDP yet. A Fault must be safe for concurrent use.
type Fault func(q Query, reply []byte) []byte

// edit returns a Fault that changes a reply. A reply that is not a DNS message
// is unchanged.
func edit(change func(q Query, reply *dns.Msg)) Fault {
	return func(q Query, reply []byte) []byte {
		msg := new(dns.Msg)
		if msg.Unpack(reply) != nil {
			return reply
		}
		change(q, msg)
		return pack(msg)
	}
}

// pack returns the wire format. It cannot fail, because everything in the tree
// was parsed from text.
func pack(msg *dns.Msg) []byte {
	msg.Compress = true
	wire, err := msg.Pack()
	if err != nil {
		panic("dnstree: " + err.Error())
	}
	return wire
}

type fault struct {
	where Where
	apply Fault
}

type delay struct {
	where Where
	by    time.Duration
}

// Break applies a fault to the replies to some queries until restore is called.
// Faults apply in the order in which they were added.
func (t *Tree) Break(where Where, what Fault) (restore func()) {
	f := &fault{where, what}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, f)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.faults = slices.DeleteFunc(slices.Clone(t.faults), func(x *fault) bool { return x == f })
	}
}

// Slow delays the replies to some queries until restore is called. Several
// delays are added.
func (t *Tree) Slow(where Where, by time.Duration) (restore func()) {
	d := &delay{where, by}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.delays = append(t.delays, d)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.delays = slices.DeleteFunc(slices.Clone(t.delays), func(x *delay) bool { return x == d })
	}
}

// Drop sends no reply.
func Drop(Query, []byte) []byte { return nil }

// ServFail replies SERVFAIL with empty sections.
func ServFail(q Query, reply []byte) []byte { return Rcode(dns.RcodeServerFailure)(q, reply) }

// Rcode replies with a response code and empty sections.
func Rcode(rcode int) Fault {
	return edit(func(_ Query, reply *dns.Msg) { reply.Rcode, reply.Answer, reply.Ns = rcode, nil, nil })
}

// Bogus corrupts every signature in the reply.
func Bogus(q Query, reply []byte) []byte { return edit(breakSignatures)(q, reply) }

func breakSignatures(_ Query, reply *dns.Msg) {
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		if sig, ok := rr.(*dns.RRSIG); ok {
			octets, _ := base64.StdEncoding.DecodeString(sig.Signature)
			octets[len(octets)/2] ^= 1
			sig.Signature = base64.StdEncoding.EncodeToString(octets)
		}
	}
}

// Strip removes signatures and proofs from the reply, as a middlebox without
// DNSSEC does.
func Strip(q Query, reply []byte) []byte {
	unsigned := func(rr dns.RR) bool { return isDNSSEC(rr, dns.TypeNone) }
	return edit(func(_ Query, reply *dns.Msg) {
		reply.Answer = slices.DeleteFunc(reply.Answer, unsigned)
		reply.Ns = slices.DeleteFunc(reply.Ns, unsigned)
	})(q, reply)
}

// Forge replies with only these records, as an attacker without keys does. The
// records are in zone-file syntax with absolute names. Without records, the
// reply is NOERROR with no data.
func Forge(records ...string) Fault {
	forged := (&Zone{name: "."}).parse(records)
	return edit(func(_ Query, reply *dns.Msg) {
		reply.Rcode, reply.Answer, reply.Ns = dns.RcodeSuccess, nil, nil
		for _, rr := range forged {
			reply.Answer = append(reply.Answer, dns.Copy(rr)) // packing modifies the record
		}
	})
}

// SetAD sets the AD bit.
func SetAD(q Query, reply []byte) []byte {
	return edit(func(_ Query, reply *dns.Msg) { reply.AuthenticatedData = true })(q, reply)
}

// Inject adds records to the answer section.
func Inject(records ...string) Fault {
	injected := (&Zone{name: "."}).parse(records)
	return edit(func(_ Query, reply *dns.Msg) {
		for _, rr := range injected {
			reply.Answer = append(reply.Answer, dns.Copy(rr)) // packing modifies the record
		}
	})
}

// Truncate sets TC and removes all sections in replies over UDP.
func Truncate(q Query, reply []byte) []byte {
	if q.Transport != "udp" {
		return reply
	}
	return edit(func(_ Query, reply *dns.Msg) { reply.Truncated, reply.Answer, reply.Ns = true, nil, nil })(q, reply)
}

// isDNSSEC reports whether a record is sent only in reply to queries with DO or
// for its type (RFC 4035 section 3.2.1).
func isDNSSEC(rr dns.RR, qtype uint16) bool {
	switch t := rr.Header().Rrtype; t {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
		return t != qtype && qtype != dns.TypeANY
	default:
		return false
	}
}
