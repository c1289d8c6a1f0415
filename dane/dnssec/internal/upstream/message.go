package upstream

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/miekg/dns"
)

// Message is a reply. It belongs to the question that was asked, and nothing else
// about it has been checked.
type Message struct {
	*dns.Msg
	Octets int // in wire form
	Memory int // an estimate of what Msg takes, unpacked
	Server *Server
}

// Relevant reports whether records of the type can be part of an answer to a
// question for qtype.
func Relevant(rtype, qtype uint16) bool {
	switch rtype {
	case qtype, dns.TypeCNAME, dns.TypeDNAME, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeSOA, dns.TypeNS:
		return true
	default:
		return false
	}
}

// readReply parses a message that answers the query. The ID, the question and the TC
// bit are compared before any record is read: this drops a flood of forged messages at
// little cost, and a truncated reply may end in the middle of a record (RFC 2181 section
// 9), so its records do not count. The number of records is limited, because each may be
// 16 octets and unpack to a thousand.
func readReply(wire []byte, query *query, limit int) (*Message, *Error) {
	if len(wire) < 2 || binary.BigEndian.Uint16(wire) != query.id() {
		return nil, &Error{Kind: Malformed, Detail: "a message with another ID"}
	}
	if len(wire) >= 6 && binary.BigEndian.Uint16(wire[4:]) > 1 {
		return nil, &Error{Kind: Malformed, Detail: "a message with several questions"}
	}
	msg, rest, err := unpackHead(wire)
	if err != nil {
		return nil, &Error{Kind: Malformed, Detail: "a message that cannot be parsed"}
	}
	if problem := mismatch(msg, query.Question); problem != "" {
		return nil, &Error{Kind: Malformed, Detail: problem}
	}
	if msg.Truncated || len(msg.Question) == 0 {
		return &Message{Msg: msg, Octets: len(wire)}, nil
	}
	if n := countRecords(wire); n > limit {
		return nil, &Error{Kind: TooManyRecords, Detail: fmt.Sprintf("more than %d records of one reply", limit)}
	}
	memory, err := rest.unpackInto(msg, query.Question)
	if err == errTooLarge {
		return nil, &Error{Kind: TooLarge, Detail: fmt.Sprintf("a reply that would take more than %d octets of memory", query.Memory)}
	}
	if err != nil {
		return nil, &Error{Kind: Malformed, Detail: "a message that cannot be parsed"}
	}
	return &Message{Msg: msg, Octets: len(wire), Memory: memory}, nil
}

// countRecords adds the counts of the header (RFC 1035 section 4.1.1), except for
// the one question.
func countRecords(wire []byte) int {
	n := -1
	for _, at := range []int{4, 6, 8, 10} {
		if len(wire) >= at+2 {
			n += int(binary.BigEndian.Uint16(wire[at:]))
		}
	}
	return n
}

// mismatch returns why msg is not a reply to the question, or "".
func mismatch(msg *dns.Msg, asked Question) string {
	switch {
	case !msg.Response || msg.Opcode != dns.OpcodeQuery:
		return "a message that is not a reply"
	case len(msg.Question) == 0 && (msg.Truncated || saysNothing(msg.Rcode)):
		return ""
	case len(msg.Question) != 1:
		return "a reply without the question"
	}
	q := msg.Question[0]
	if q.Name != asked.Name && dns.CanonicalName(q.Name) != asked.Name || q.Qtype != asked.Type || q.Qclass != dns.ClassINET {
		return "a reply to another question"
	}
	return ""
}

// saysNothing reports whether some servers leave out the question in a reply with the
// rcode. Such a reply only ends the attempt. Nothing else in it is read.
func saysNothing(rcode int) bool {
	switch rcode {
	case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
		return true
	default:
		return false
	}
}

func receiveStream(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, buf)
	return buf, err
}

var (
	errCutShort = errors.New("a message that ends early")
	errTooLarge = errors.New("a message that takes too much memory")
)

// unpack parses a reply to q, and returns an estimate of the memory that it takes.
func unpack(wire []byte, q Question) (*dns.Msg, int, error) {
	msg, u, err := unpackHead(wire)
	if err != nil {
		return nil, 0, err
	}
	memory, err := u.unpackInto(msg, q)
	if err != nil {
		return nil, 0, err
	}
	return msg, memory, nil
}

// unpackInto parses the records of a reply to q. Records that are not Relevant are kept
// without their data: some unpack to hundreds of times their size, such as HIP, which lists
// names, or TXT, which lists strings. Of the additional section only the OPT record has
// data. Like the dns package, unpackInto accepts counts in the header that are too high.
func (u *unpacker) unpackInto(msg *dns.Msg, q Question) (memory int, err error) {
	wire := u.wire
	u.limit = q.Memory
	needed := func(t uint16) bool { return t == dns.TypeRRSIG || Relevant(t, q.Type) }
	if msg.Answer, err = u.records(binary.BigEndian.Uint16(wire[6:]), needed); err != nil {
		return 0, err
	}
	if msg.Ns, err = u.records(binary.BigEndian.Uint16(wire[8:]), needed); err != nil {
		return 0, err
	}
	isOPT := func(t uint16) bool { return t == dns.TypeOPT }
	if msg.Extra, err = u.records(binary.BigEndian.Uint16(wire[10:]), isOPT); err != nil {
		return 0, err
	}
	if opt := msg.IsEdns0(); opt != nil {
		msg.Rcode |= opt.ExtendedRcode() // RFC 6891 section 6.1.3
	}
	return u.memory, nil
}

// unpackHead parses the header and the question. The unpacker that it returns is at the
// records.
func unpackHead(wire []byte) (*dns.Msg, *unpacker, error) {
	const header = 12 // RFC 1035 section 4.1.1
	if len(wire) < header {
		return nil, nil, errCutShort
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(wire[:header]); err != nil {
		return nil, nil, err
	}
	u := &unpacker{wire: wire, off: header}
	for range binary.BigEndian.Uint16(wire[4:]) {
		if u.atEnd() {
			break
		}
		h, err := u.name(4)
		if err != nil {
			return nil, nil, err
		}
		if msg.Question == nil {
			u.first = h.Name
		}
		msg.Question = append(msg.Question, dns.Question{Name: h.Name, Qtype: h.Rrtype, Qclass: h.Class})
	}
	return msg, u, nil
}

// unpacker reads a message, beginning at off.
type unpacker struct {
	wire   []byte
	off    int
	first  string // the name at firstName, when it is known
	memory int    // of the records so far
	limit  int    // of memory, or 0
}

func (u *unpacker) atEnd() bool { return u.off == len(u.wire) }

// firstName is where the first name of a message begins: after the header (RFC 1035
// section 4.1.4). Most names of a reply are a pointer to it.
const firstName = 12

// name reads a name, and the type and class after it. They are part of fixed
// octets, which are skipped.
func (u *unpacker) name(fixed int) (h dns.RR_Header, err error) {
	const pointer = 0xc000 | firstName
	if u.first != "" && len(u.wire)-u.off >= 2 && binary.BigEndian.Uint16(u.wire[u.off:]) == pointer {
		h.Name = u.first
		u.off += 2
	} else if h.Name, u.off, err = dns.UnpackDomainName(u.wire, u.off); err != nil {
		return h, err
	}
	if len(u.wire)-u.off < fixed {
		return h, errCutShort
	}
	h.Rrtype = binary.BigEndian.Uint16(u.wire[u.off:])
	h.Class = binary.BigEndian.Uint16(u.wire[u.off+2:])
	u.off += fixed
	return h, nil
}

// records reads a section of n records, with the data of those that are needed.
func (u *unpacker) records(n uint16, needed func(rtype uint16) bool) (records []dns.RR, err error) {
	if n > 0 {
		records = make([]dns.RR, 0, min(n, 8)) // n comes from the header and may be too high
	}
	for range n {
		if u.atEnd() {
			break
		}
		h, err := u.name(10)
		if err != nil {
			return nil, err
		}
		h.Ttl = binary.BigEndian.Uint32(u.wire[u.off-6:])
		h.Rdlength = binary.BigEndian.Uint16(u.wire[u.off-2:])
		data := u.off
		if u.off += int(h.Rdlength); u.off > len(u.wire) {
			return nil, errCutShort
		}
		rr := dns.RR(&dns.RFC3597{Hdr: h})
		switch {
		case !needed(h.Rrtype):
		case IsText(h.Rrtype):
			rr = &dns.RFC3597{Hdr: h, Rdata: hex.EncodeToString(u.wire[data:u.off])}
		default:
			if rr, _, err = dns.UnpackRRWithHeader(h, u.wire[:u.off], data); err != nil {
				return nil, err
			}
		}
		if u.memory += size(rr); u.limit > 0 && u.memory > u.limit {
			return nil, errTooLarge
		}
		records = append(records, rr)
	}
	return records, nil
}

// IsText reports whether the dns package would change the data: when it writes a record of
// the type, it reads a backslash in the text as the beginning of an escape sequence, but
// leaves it as it is when it reads a record.
func IsText(rtype uint16) bool { return rtype == dns.TypeCAA || rtype == dns.TypeURI }

// size estimates the memory that a record takes. Strings of escaped, hexadecimal or
// base64 text are up to four times as long as the octets that they stand for, and a
// bitmap of types has two octets for each bit.
func size(rr dns.RR) int {
	n := 100 + 4*dns.Len(rr)
	switch rr := rr.(type) {
	case *dns.NSEC:
		n += 2 * cap(rr.TypeBitMap)
	case *dns.NSEC3:
		n += 2 * cap(rr.TypeBitMap)
	}
	return n
}

// RcodeName returns the name of a response code.
func RcodeName(rcode int) string {
	if name := dns.RcodeToString[rcode]; name != "" {
		return name
	}
	return "an unknown code"
}
