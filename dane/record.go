package dane

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// Usage says what a record's certificate is to the server's (RFC 6698 section
// 2.1.1). The zero value is PKIX-TA, which is unusable for mail.
type Usage uint8

// The certificate usages, named by RFC 7218. Only DANETA and DANEEE are used
// for mail (RFC 7672 section 3.1).
const (
	PKIXTA Usage = 0 // an issuer, which a public authority must vouch for
	PKIXEE Usage = 1 // the server's, which a public authority must vouch for
	DANETA Usage = 2 // an issuer: a trust anchor
	DANEEE Usage = 3 // the server's own
)

// Selector says which part of the certificate is meant (RFC 6698 section
// 2.1.2).
type Selector uint8

// The selectors, named by RFC 7218.
const (
	Cert Selector = 0 // the whole certificate, in DER
	SPKI Selector = 1 // its SubjectPublicKeyInfo, in DER
)

// MatchingType says how the data stands for the selected part (RFC 6698
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

// Record is the content of a TLSA record (RFC 6698 section 2.1), of whatever
// value: [Select] tells which can be used. The zero Record is one of usage
// PKIX-TA without data, which is unusable.
type Record struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
	Data         []byte // the certificate association data
}

// maxData is what fits into the RDATA of one record beside the three numbers.
const maxData = 1<<16 - 1 - 3

// ParseRecord reads the presentation form of RFC 6698 section 2.2, "3 1 1
// ab12...", with white space anywhere in the hexadecimal data, or with the
// acronyms of RFC 7218 in place of the numbers, in any case. The result need
// not be usable.
func ParseRecord(s string) (Record, error) {
	// The data is at most two digits per octet; white space may double that.
	if len(s) > 8*maxData {
		return Record{}, errors.New("dane: TLSA record is too long")
	}
	fields := strings.Fields(s)
	if len(fields) < 4 {
		return Record{}, errors.New("dane: a TLSA record is usage, selector, matching type and data, such as \"3 1 1 ab12...\"")
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
		return Record{}, errors.New("dane: the data of a TLSA record is not hexadecimal")
	}
	if len(data) > maxData {
		return Record{}, errors.New("dane: TLSA record is too long")
	}
	return Record{Usage: usage, Selector: selector, MatchingType: matchingType, Data: data}, nil
}

// parseField reads a number or, in any case, the name that String gives one.
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
	return 0, fmt.Errorf("dane: the %s of a TLSA record is a number from 0 to 255 or a name from RFC 7218, not %.20q", field, s)
}

// String returns the presentation form with numbers, "3 1 1 ab12...", as in a
// zone file and as TLS reports want it (RFC 8460 section 4.5).
func (r Record) String() string {
	return r.format(strconv.Itoa(int(r.Usage)), strconv.Itoa(int(r.Selector)), strconv.Itoa(int(r.MatchingType)))
}

// Acronyms returns the presentation form with the names of RFC 7218: "DANE-EE
// SPKI SHA2-256 ab12...".
func (r Record) Acronyms() string {
	return r.format(r.Usage.String(), r.Selector.String(), r.MatchingType.String())
}

func (r Record) format(usage, selector, matchingType string) string {
	return strings.TrimSuffix(usage+" "+selector+" "+matchingType+" "+hex.EncodeToString(r.Data), " ")
}

// MarshalText returns the same as String.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRecord.
func (r *Record) UnmarshalText(text []byte) error {
	record, err := ParseRecord(string(text))
	if err != nil {
		return err
	}
	*r = record
	return nil
}

// FromTLSA returns the content of a TLSA record that a resolver has found. It
// always succeeds, because even a record that makes no sense shows that the
// server supports TLS (RFC 7672 section 2.2). The data is copied.
func FromTLSA(tlsa dnssec.TLSA) Record {
	return Record{
		Usage:        Usage(tlsa.Usage),
		Selector:     Selector(tlsa.Selector),
		MatchingType: MatchingType(tlsa.MatchingType),
		Data:         append([]byte(nil), tlsa.Data...),
	}
}

// MarshalBinary returns the RDATA of RFC 6698 section 2.1.
func (r Record) MarshalBinary() ([]byte, error) {
	if len(r.Data) > maxData {
		return nil, errors.New("dane: TLSA record is too long")
	}
	return append([]byte{byte(r.Usage), byte(r.Selector), byte(r.MatchingType)}, r.Data...), nil
}

// UnmarshalBinary reads the RDATA of RFC 6698 section 2.1. Less than the three
// numbers is malformed; no data after them is read, and unusable.
func (r *Record) UnmarshalBinary(rdata []byte) error {
	if len(rdata) < 3 || len(rdata)-3 > maxData {
		return fmt.Errorf("dane: TLSA RDATA of %d octets", len(rdata))
	}
	*r = Record{
		Usage:        Usage(rdata[0]),
		Selector:     Selector(rdata[1]),
		MatchingType: MatchingType(rdata[2]),
		Data:         append([]byte(nil), rdata[3:]...),
	}
	return nil
}
