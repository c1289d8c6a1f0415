package dane

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
)

// Usage is the certificate usage of a record (RFC 6698 section 2.1.1). The zero
// value is PKIX-TA, which is unusable for mail.
type Usage uint8

// The certificate usages, named by RFC 7218. Only DANETA and DANEEE are used
// for mail (RFC 7672 section 3.1).
const (
	PKIXTA Usage = 0 // an issuer, below a public certificate authority
	PKIXEE Usage = 1 // the server's own, below a public certificate authority
	DANETA Usage = 2 // an issuer, which is a trust anchor
	DANEEE Usage = 3 // the server's own
)

// Selector is the part of the certificate that a record is about (RFC 6698
// section 2.1.2).
type Selector uint8

// The selectors, named by RFC 7218.
const (
	Cert Selector = 0 // the whole certificate, in DER
	SPKI Selector = 1 // its SubjectPublicKeyInfo, in DER
)

// MatchingType is the form in which a record has the selected part (RFC 6698
// section 2.1.3).
type MatchingType uint8

// The matching types, named by RFC 7218.
const (
	Full   MatchingType = 0 // the part itself
	SHA256 MatchingType = 1 // its SHA2-256 digest
	SHA512 MatchingType = 2 // its SHA2-512 digest
)

// String returns the acronym of RFC 7218, such as "DANE-EE", or the number.
func (u Usage) String() string {
	switch u {
	case PKIXTA:
		return "PKIX-TA"
	case PKIXEE:
		return "PKIX-EE"
	case DANETA:
		return "DANE-TA"
	case DANEEE:
		return "DANE-EE"
	case 255:
		return "PrivCert"
	}
	return strconv.Itoa(int(u))
}

// String returns the acronym of RFC 7218, such as "SPKI", or the number.
func (s Selector) String() string {
	switch s {
	case Cert:
		return "Cert"
	case SPKI:
		return "SPKI"
	case 255:
		return "PrivSel"
	}
	return strconv.Itoa(int(s))
}

// String returns the acronym of RFC 7218, such as "SHA2-256", or the number.
func (m MatchingType) String() string {
	switch m {
	case Full:
		return "Full"
	case SHA256:
		return "SHA2-256"
	case SHA512:
		return "SHA2-512"
	case 255:
		return "PrivMatch"
	}
	return strconv.Itoa(int(m))
}

// Record is the content of a TLSA record (RFC 6698 section 2.1). It can have any
// values; [Select] returns the records that can be used. The zero Record has usage
// PKIX-TA and no data, and is unusable.
type Record struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
	Data         []byte // the certificate association data
}

// maxData is the room for data in the RDATA of one record, after the three numbers.
const maxData = 1<<16 - 1 - 3

// ParseRecord reads the presentation form of RFC 6698 section 2.2, such as
// "3 1 1 ab12...". The hexadecimal data may contain white space. Instead of the
// numbers there may be the acronyms of RFC 7218, in any case. The result need not
// be usable. The error is an [*Error] for [ErrRecord].
func ParseRecord(s string) (Record, error) {
	// The data has two digits per octet, and white space may be between them.
	if len(s) > 8*maxData {
		return Record{}, malformed("it is too long")
	}
	fields := strings.Fields(s)
	if len(fields) < 4 {
		return Record{}, malformed("it must be usage, selector, matching type and data, such as \"3 1 1 ab12...\"")
	}
	usage, err := parseField[Usage]("usage", fields[0])
	if err != nil {
		return Record{}, err
	}
	selector, err := parseField[Selector]("selector", fields[1])
	if err != nil {
		return Record{}, err
	}
	matchingType, err := parseField[MatchingType]("matching type", fields[2])
	if err != nil {
		return Record{}, err
	}
	data, err := hex.DecodeString(strings.Join(fields[3:], ""))
	if err != nil {
		return Record{}, malformed("the data is not hexadecimal")
	}
	if len(data) > maxData {
		return Record{}, malformed("it is too long")
	}
	return Record{Usage: usage, Selector: selector, MatchingType: matchingType, Data: data}, nil
}

// parseField reads a number or, in any case, the acronym that String returns.
func parseField[T interface {
	~uint8
	String() string
}](field, s string) (T, error) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return T(n), nil
	}
	for n := range 256 {
		if strings.EqualFold(T(n).String(), s) {
			return T(n), nil
		}
	}
	return 0, malformed("the %s must be a number from 0 to 255 or an acronym of RFC 7218, not %s", field, names.Quote(s, 20))
}

// String returns the presentation form with numbers, such as "3 1 1 ab12...", as
// in a zone file and in TLS reports (RFC 8460 section 4.5).
func (r Record) String() string {
	return r.format(strconv.Itoa(int(r.Usage)), strconv.Itoa(int(r.Selector)), strconv.Itoa(int(r.MatchingType)))
}

// Acronyms returns the presentation form with the acronyms of RFC 7218, such as
// "DANE-EE SPKI SHA2-256 ab12...".
func (r Record) Acronyms() string {
	return r.format(r.Usage.String(), r.Selector.String(), r.MatchingType.String())
}

func (r Record) format(usage, selector, matchingType string) string {
	return strings.TrimSuffix(usage+" "+selector+" "+matchingType+" "+hex.EncodeToString(r.Data), " ")
}

// MarshalText returns the text of String.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the form that [ParseRecord] reads.
func (r *Record) UnmarshalText(text []byte) error {
	record, err := ParseRecord(string(text))
	if err != nil {
		return err
	}
	*r = record
	return nil
}

// FromTLSA returns the content of a TLSA record that a resolver found. It accepts
// all values, because even an unusable record means that the server supports TLS
// (RFC 7672 section 2.2). The data is copied.
func FromTLSA(tlsa dnssec.TLSA) Record {
	return Record{
		Usage:        Usage(tlsa.Usage),
		Selector:     Selector(tlsa.Selector),
		MatchingType: MatchingType(tlsa.MatchingType),
		Data:         append([]byte(nil), tlsa.Data...),
	}
}

// MarshalBinary returns the RDATA of RFC 6698 section 2.1. The error is an
// [*Error] for [ErrRecord].
func (r Record) MarshalBinary() ([]byte, error) {
	if len(r.Data) > maxData {
		return nil, malformed("it is too long")
	}
	return append([]byte{byte(r.Usage), byte(r.Selector), byte(r.MatchingType)}, r.Data...), nil
}

// UnmarshalBinary reads the RDATA of RFC 6698 section 2.1. RDATA of less than
// three octets is malformed: the error is an [*Error] for [ErrRecord]. A record
// without data is read, and is unusable.
func (r *Record) UnmarshalBinary(rdata []byte) error {
	if len(rdata) < 3 || len(rdata)-3 > maxData {
		return malformed("the RDATA has %d octets", len(rdata))
	}
	*r = Record{
		Usage:        Usage(rdata[0]),
		Selector:     Selector(rdata[1]),
		MatchingType: MatchingType(rdata[2]),
		Data:         append([]byte(nil), rdata[3:]...),
	}
	return nil
}
