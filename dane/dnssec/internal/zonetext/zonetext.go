// Package zonetext writes and reads records in the syntax of zone files.
package zonetext

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// Data returns the data of a record of the type. ok is false if the type is unknown or the
// data is malformed, and for a CAA or URI record with a backslash, because programs do not
// agree on how to escape it: such data has the form of RFC 3597 section 5, which Hex
// returns.
func Data(rtype uint16, data []byte) (text string, ok bool) {
	header := dns.RR_Header{Name: ".", Rrtype: rtype, Class: dns.ClassINET, Rdlength: uint16(len(data))}
	rr, end, err := dns.UnpackRRWithHeader(header, data, 0)
	_, unknown := rr.(*dns.RFC3597)
	if err != nil || unknown || end != len(data) || end == 0 || upstream.IsText(rtype) && bytes.IndexByte(data, '\\') >= 0 {
		return "", false
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String()), true
}

// Hex returns data in the form of RFC 3597 section 5.
func Hex(data []byte) string { return strings.TrimSpace(fmt.Sprintf(`\# %d %x`, len(data), data)) }

// Parse reads one record of class IN. It returns the record and its data in wire form.
func Parse(text string) (rr dns.RR, data []byte, err error) {
	parser := dns.NewZoneParser(strings.NewReader(text+"\n"), "", "") // $INCLUDE is off
	parser.SetDefaultTTL(3600)
	rr, _ = parser.Next()
	if err := parser.Err(); err != nil {
		return nil, nil, err
	}
	if more, _ := parser.Next(); rr == nil || more != nil || rr.Header().Class != dns.ClassINET {
		return nil, nil, errors.New("it is not one record of class IN")
	}
	if upstream.IsText(rr.Header().Rrtype) && strings.Contains(text, `\#`) { // the parser would change a backslash in the data
		return nil, nil, errors.New("give the data as text, not in hexadecimal")
	}
	data, err = proof.RDATA(rr)
	return rr, data, err
}
