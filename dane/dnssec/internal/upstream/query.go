package upstream

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// udpSize is the EDNS buffer size: it passes without fragmentation nearly
// everywhere, and is more than the 1220 octets of RFC 4035 section 4.1.
const udpSize = 1232

// query is a question in the form in which it is sent.
type query struct {
	Question
	wire []byte // the message, preceded by its length
}

// newQuery writes the query for q: with DO and CD set and AD clear for a validator
// (RFC 4035 sections 4.1, 4.6 and 4.9.2), and with AD alone for one who trusts the
// server.
func newQuery(q Question, wantAD bool) (*query, error) {
	const rd, ad, cd, do = 1 << 8, 1 << 5, 1 << 4, 1 << 15
	flags, extended := uint16(rd|cd), uint16(do)
	if wantAD {
		flags, extended = rd|ad, 0
	}
	const header = 2 + 12
	wire := make([]byte, header+len(q.Name)+1+4+11)
	end, err := dns.PackDomainName(q.Name, wire, header, nil, false)
	if err != nil {
		return nil, &Error{Kind: BadQuestion, Detail: "not a domain name"}
	}
	for i, field := range [...]uint16{0, dns.Id(), flags, 1, 0, 0, 1} {
		binary.BigEndian.PutUint16(wire[2*i:], field)
	}
	wire = wire[:end]
	wire = binary.BigEndian.AppendUint16(wire, q.Type)
	wire = binary.BigEndian.AppendUint16(wire, dns.ClassINET)
	// The OPT record (RFC 6891 section 6.1.2), at the root, without options.
	wire = append(wire, 0)
	for _, field := range [...]uint16{dns.TypeOPT, udpSize, 0, extended, 0} {
		wire = binary.BigEndian.AppendUint16(wire, field)
	}
	binary.BigEndian.PutUint16(wire, uint16(len(wire)-2))
	return &query{q, wire}, nil
}

// datagram returns the message alone.
func (q *query) datagram() []byte { return q.wire[2:] }

// stream returns the message preceded by its length (RFC 1035 section 4.2.2).
func (q *query) stream() []byte { return q.wire }

func (q *query) id() uint16 { return binary.BigEndian.Uint16(q.datagram()) }

func (q *query) setID(id uint16) { binary.BigEndian.PutUint16(q.datagram(), id) }
