package dnsserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// A Zone is the content of a zone file. It is unsigned after NewZone and signed
// after Sign. Its Records can be changed after signing.
type Zone struct {
	Name    string // canonical, with a final dot
	Records []dns.RR

	unsigned string // the text before signing
	keyDir   string // contains the keys, which are used again
}

// NewZone returns a zone with a SOA record, a name server, and the records in
// text, which are relative to the zone.
func NewZone(t testing.TB, name, text string) *Zone {
	t.Helper()
	head := `$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
`
	z := &Zone{Name: name, Records: parse(t, name, head+text), keyDir: t.TempDir()}
	z.unsigned = z.Text()
	return z
}

func parse(t testing.TB, origin, text string) []dns.RR {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(text), origin, origin)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatalf("zone %s: %v", origin, err)
	}
	return records
}

// Text returns the zone file.
func (z *Zone) Text() string {
	var text strings.Builder
	for _, rr := range z.Records {
		// The dns package writes the class of an unknown type as CLASS1, which
		// Knot DNS cannot read.
		text.WriteString(strings.Replace(rr.String(), "\tCLASS1\t", "\tIN\t", 1))
		text.WriteByte('\n')
	}
	return text.String()
}

// Delegate adds the name server and the DS records of a child zone. It must be
// called before z is signed.
func (z *Zone) Delegate(t testing.TB, child string, ds ...dns.RR) {
	t.Helper()
	z.Records = append(z.Records, parse(t, z.Name, child+" 300 IN NS ns."+child)...)
	z.Records = append(z.Records, parse(t, z.Name, "ns."+child+" 300 IN A 192.0.2.53")...)
	z.Records = append(z.Records, ds...)
	z.unsigned = z.Text()
}

// Keys returns the DNSKEY records at the apex with the SEP flag, or all if none
// has it.
func (z *Zone) Keys() []*dns.DNSKEY {
	var all, entry []*dns.DNSKEY
	for _, rr := range z.Records {
		key, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		all = append(all, key)
		if key.Flags&dns.SEP != 0 {
			entry = append(entry, key)
		}
	}
	if len(entry) == 0 {
		return all
	}
	return entry
}

// DS returns the DS records for the zone's Keys with this digest type.
func (z *Zone) DS(digest uint8) []dns.RR {
	var set []dns.RR
	for _, key := range z.Keys() {
		ds := key.ToDS(digest)
		ds.Hdr.Ttl = 300
		set = append(set, ds)
	}
	return set
}

// Remove removes the records for which match returns true. It returns their
// number.
func (z *Zone) Remove(match func(dns.RR) bool) int {
	before := len(z.Records)
	z.Records = slices.DeleteFunc(z.Records, match)
	return before - len(z.Records)
}

// Signatures returns the RRSIG records at a name that cover a type. The name is
// relative to the zone; "" is the apex. Type ANY means all types.
func (z *Zone) Signatures(name string, covered uint16) []*dns.RRSIG {
	var found []*dns.RRSIG
	for _, rr := range z.Records {
		sig, ok := rr.(*dns.RRSIG)
		if !ok || !z.owns(rr, name) {
			continue
		}
		if covered == dns.TypeANY || sig.TypeCovered == covered {
			found = append(found, sig)
		}
	}
	return found
}

// Find returns the records of a type at a name, which is relative to the zone.
func (z *Zone) Find(name string, rrtype uint16) []dns.RR {
	var found []dns.RR
	for _, rr := range z.Records {
		if rr.Header().Rrtype == rrtype && z.owns(rr, name) {
			found = append(found, rr)
		}
	}
	return found
}

func (z *Zone) owns(rr dns.RR, name string) bool {
	return dns.CanonicalName(rr.Header().Name) == z.Absolute(name)
}

// Absolute returns the full name of a name relative to the zone.
func (z *Zone) Absolute(name string) string {
	switch {
	case name == "":
		return z.Name
	case z.Name == ".":
		return name + "."
	default:
		return name + "." + z.Name
	}
}

// RRs returns the records of an answer as miekg/dns has them. The error says which is
// not in zone-file syntax.
func RRs(answer *dnssec.Answer) ([]dns.RR, error) {
	var list []dns.RR
	for _, record := range answer.Records {
		rr, err := dns.NewRR(record.String())
		if err != nil {
			return nil, fmt.Errorf("%v is not in zone-file syntax: %w", record, err)
		}
		list = append(list, rr)
	}
	return list, nil
}
