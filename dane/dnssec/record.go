package dnssec

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/zonetext"
	"github.com/mxseal/mxseal/internal/names"
)

// Type is the type of a DNS record, a number that IANA registers (RFC 1035
// section 3.2.2). The zero Type is reserved and cannot be looked up.
type Type uint16

// The types that mail and its security use. Any other number is a valid Type.
const (
	TypeA      Type = 1
	TypeNS     Type = 2
	TypeCNAME  Type = 5
	TypeSOA    Type = 6
	TypePTR    Type = 12
	TypeMX     Type = 15
	TypeTXT    Type = 16
	TypeAAAA   Type = 28
	TypeSRV    Type = 33
	TypeDNAME  Type = 39
	TypeDS     Type = 43
	TypeRRSIG  Type = 46
	TypeNSEC   Type = 47
	TypeDNSKEY Type = 48
	TypeNSEC3  Type = 50
	TypeTLSA   Type = 52
)

// String returns the mnemonic, such as "MX", or the form of RFC 3597 section 5
// for types without one, such as "TYPE65280".
func (t Type) String() string { return dns.Type(t).String() }

// Record is a DNS record of class IN. The zero Record has no data, and every
// accessor returns false for it.
//
// The Data of a record that a [Resolver] returned is shared and read-only.
type Record struct {
	// Name is the owner name in the form of a zone file, with final dot. In an
	// [Answer] it is in lower case.
	Name string
	Type Type
	// TTL is how long the record may be kept, in whole seconds. In an [Answer] it
	// counts from the lookup that went to a server, and the signatures limit it
	// (RFC 4035 section 5.3.3). Use [Answer.Expires] to decide how long to keep an
	// answer.
	TTL time.Duration
	// Data is the RDATA in wire form, as it was published: nothing in it is escaped, also
	// no backslash in the text of a CAA or URI record. Names in it are not compressed.
	Data []byte
}

// MX is the data of an MX record (RFC 1035 section 3.3.9).
type MX struct {
	Preference uint16 // hosts with the lowest preference are tried first
	// Host is the name of the mail host in the form of a zone file, with final dot,
	// in the case in which it was published. The host "." is a null MX (RFC 7505).
	Host string
}

// TLSA is the data of a TLSA record (RFC 6698 section 2.1). Package dane
// interprets it.
type TLSA struct {
	Usage, Selector, MatchingType uint8
	// Data is the certificate association data. It shares memory with the Data of
	// the record.
	Data []byte
}

// Addr returns the address of an A or AAAA record; ok is false if the record has
// another type or malformed data. The address of an AAAA record is never unmapped:
// it may be an IPv4-mapped IPv6 address.
func (r Record) Addr() (addr netip.Addr, ok bool) {
	switch {
	case r.Type == TypeA && len(r.Data) == 4, r.Type == TypeAAAA && len(r.Data) == 16:
		return netip.AddrFromSlice(r.Data)
	default:
		return netip.Addr{}, false
	}
}

// MX returns the data of an MX record; ok is false if the record has another
// type or malformed data.
func (r Record) MX() (mx MX, ok bool) {
	const preference = 2
	if r.Type != TypeMX || len(r.Data) < preference || !proof.IsWireName(r.Data[preference:]) {
		return MX{}, false
	}
	host, _, err := dns.UnpackDomainName(r.Data, preference)
	if err != nil {
		return MX{}, false
	}
	return MX{Preference: binary.BigEndian.Uint16(r.Data), Host: host}, true
}

// TLSA returns the data of a TLSA record; ok is false if the record has another
// type or malformed data. The certificate association data may be empty.
func (r Record) TLSA() (tlsa TLSA, ok bool) {
	if r.Type != TypeTLSA || len(r.Data) < 3 {
		return TLSA{}, false
	}
	return TLSA{Usage: r.Data[0], Selector: r.Data[1], MatchingType: r.Data[2], Data: r.Data[3:]}, true
}

// TXT returns the strings of a TXT record, joined without a separator as MTA-STS
// and TLS-RPT require (RFC 8461 section 3.1); ok is false if the record has another
// type or malformed data. The text may contain any octets.
func (r Record) TXT() (text string, ok bool) {
	if r.Type != TypeTXT || len(r.Data) == 0 {
		return "", false
	}
	var b strings.Builder
	for rest := r.Data; len(rest) > 0; {
		end := 1 + int(rest[0])
		if end > len(rest) {
			return "", false
		}
		b.Write(rest[1:end])
		rest = rest[end:]
	}
	return b.String(), true
}

// String returns the record as a line of a zone file in printable ASCII, such as
// "example.org. 3600 IN MX 10 mx.example.org.". Malformed data and data of unknown
// types have the form of RFC 3597 section 5.
func (r Record) String() string {
	return fmt.Sprintf("%s %d IN %s %s", printable(r.Name), r.TTL/time.Second, r.Type, r.Content())
}

// Content returns the data as String shows it, such as "10 mx.example.org.". Text is
// escaped as in zone files. A CAA or URI record with a backslash has the form of RFC 3597
// section 5, because programs do not agree on how to escape it.
func (r Record) Content() string {
	text, ok := zonetext.Data(uint16(r.Type), r.Data)
	if !ok || r.isMalformed() {
		return zonetext.Hex(r.Data)
	}
	return printable(text)
}

// printable escapes text without shortening it: no escape is more than four times
// as long as what it stands for.
func printable(text string) string { return names.Printable(text, 4*len(text)) }

// isMalformed reports whether the accessor of the type, if there is one, refuses the
// data.
func (r Record) isMalformed() bool {
	ok := true
	switch r.Type {
	case TypeA, TypeAAAA:
		_, ok = r.Addr()
	case TypeMX:
		_, ok = r.MX()
	case TypeTLSA:
		_, ok = r.TLSA()
	case TypeTXT:
		_, ok = r.TXT()
	}
	return !ok
}

// ParseRecord reads one record in zone-file syntax, such as
// "mx.example.org. 3600 IN A 192.0.2.1". It is for tests, and for implementations
// of [Resolver] that have records as text. The name must be absolute. The default
// TTL is one hour. In CAA and URI records, the form of RFC 3597 section 5 is an error.
func ParseRecord(text string) (Record, error) {
	rr, data, err := zonetext.Parse(text)
	if err != nil {
		return Record{}, fmt.Errorf("dnssec: record %.100q: %w", text, err)
	}
	h := rr.Header()
	r := Record{Name: h.Name, Type: Type(h.Rrtype), TTL: time.Duration(h.Ttl) * time.Second, Data: data}
	if r.isMalformed() {
		return Record{}, fmt.Errorf("dnssec: record %.100q: the data is missing or malformed", text)
	}
	return r, nil
}

// newRecords returns the records of an RRset without duplicates. All have the TTL
// that validation has left (RFC 4035 section 5.3.3).
func newRecords(set *proof.RRset, ttl time.Duration) ([]Record, error) {
	distinct := set.Distinct()
	records := make([]Record, len(distinct))
	for i, rr := range distinct {
		data, err := proof.RDATA(rr)
		if err != nil {
			return nil, failure(questionOf(set), Malformed, "the data cannot be packed: %v", err)
		}
		records[i] = Record{Name: set.Name, Type: Type(set.Type), TTL: ttl.Truncate(time.Second), Data: data}
	}
	return records, nil
}
