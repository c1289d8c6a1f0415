package dnssec

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

var errCutShort = errors.New("a message that ends early")

// unpack parses a reply to a question for rtype. Records that no answer to it
// needs are kept without their data: some unpack to hundreds of times their
// size, such as HIP, which lists names, or TXT, which lists strings. Of the
// additional section there is nothing but the OPT record. Like the dns package
// it puts up with counts in the header that promise more than there is.
func unpack(wire []byte, rtype uint16) (*dns.Msg, error) {
	const header = 12 // RFC 1035 section 4.1.1
	if len(wire) < header {
		return nil, errCutShort
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(wire[:header]); err != nil {
		return nil, err
	}
	u := &unpacker{wire: wire, off: header}
	for range binary.BigEndian.Uint16(wire[4:]) {
		if u.atEnd() {
			break
		}
		h, err := u.name(4)
		if err != nil {
			return nil, err
		}
		msg.Question = append(msg.Question, dns.Question{Name: h.Name, Qtype: h.Rrtype, Qclass: h.Class})
	}
	needed := func(t uint16) bool { return t == dns.TypeRRSIG || matters(t, question{rtype: rtype}) }
	var err error
	if msg.Answer, err = u.records(binary.BigEndian.Uint16(wire[6:]), needed); err != nil {
		return nil, err
	}
	if msg.Ns, err = u.records(binary.BigEndian.Uint16(wire[8:]), needed); err != nil {
		return nil, err
	}
	isOPT := func(t uint16) bool { return t == dns.TypeOPT }
	if msg.Extra, err = u.records(binary.BigEndian.Uint16(wire[10:]), isOPT); err != nil {
		return nil, err
	}
	if opt := msg.IsEdns0(); opt != nil {
		msg.Rcode |= opt.ExtendedRcode() // RFC 6891 section 6.1.3
	}
	return msg, nil
}

// unpacker reads a message from off on.
type unpacker struct {
	wire []byte
	off  int
}

func (u *unpacker) atEnd() bool { return u.off == len(u.wire) }

// name reads a name, the type and the class, which are of fixed length with
// what follows them.
func (u *unpacker) name(fixed int) (h dns.RR_Header, err error) {
	if h.Name, u.off, err = dns.UnpackDomainName(u.wire, u.off); err != nil {
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
		records = make([]dns.RR, 0, min(n, 8)) // n is what the header promises
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
		if !needed(h.Rrtype) {
			records = append(records, &dns.RFC3597{Hdr: h})
			continue
		}
		rr, _, err := dns.UnpackRRWithHeader(h, u.wire[:u.off], data)
		if err != nil {
			return nil, err
		}
		records = append(records, rr)
	}
	return records, nil
}
