package proof

import (
	"errors"

	"github.com/miekg/dns"
)

// rdata returns the RDATA of rr in the canonical form of RFC 4034 section 6.2, or
// nil if it cannot be packed.
func rdata(rr dns.RR) []byte {
	rr = dns.Copy(rr)
	for _, name := range canonicalNames(rr) {
		*name = dns.CanonicalName(*name)
	}
	data, _ := pack(rr)
	return data
}

// RDATA returns the RDATA of rr in wire form, without compression, as it was
// published.
func RDATA(rr dns.RR) ([]byte, error) { return pack(dns.Copy(rr)) }

// pack writes to the header of rr.
func pack(rr dns.RR) ([]byte, error) {
	const header = 11 // RFC 1035 section 4.1.3, with the root as owner
	rr.Header().Name = "."
	wire := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return nil, err
	}
	if end < header {
		return nil, errors.New("the record has no header")
	}
	return wire[header:end:end], nil
}

// canonicalNames returns the names in the RDATA that are converted to lower case:
// those of the types that RFC 4034 section 6.2 lists, except for NSEC, whose next
// name keeps its case (RFC 6840 section 5.1), and HINFO, which has no names.
func canonicalNames(rr dns.RR) []*string {
	switch x := rr.(type) {
	case *dns.NS:
		return []*string{&x.Ns}
	case *dns.MD:
		return []*string{&x.Md}
	case *dns.MF:
		return []*string{&x.Mf}
	case *dns.CNAME:
		return []*string{&x.Target}
	case *dns.SOA:
		return []*string{&x.Ns, &x.Mbox}
	case *dns.MB:
		return []*string{&x.Mb}
	case *dns.MG:
		return []*string{&x.Mg}
	case *dns.MR:
		return []*string{&x.Mr}
	case *dns.PTR:
		return []*string{&x.Ptr}
	case *dns.MINFO:
		return []*string{&x.Rmail, &x.Email}
	case *dns.MX:
		return []*string{&x.Mx}
	case *dns.RP:
		return []*string{&x.Mbox, &x.Txt}
	case *dns.AFSDB:
		return []*string{&x.Hostname}
	case *dns.RT:
		return []*string{&x.Host}
	case *dns.PX:
		return []*string{&x.Map822, &x.Mapx400}
	case *dns.NXT:
		return []*string{&x.NextDomain}
	case *dns.NAPTR:
		return []*string{&x.Replacement}
	case *dns.KX:
		return []*string{&x.Exchanger}
	case *dns.SRV:
		return []*string{&x.Target}
	case *dns.DNAME:
		return []*string{&x.Target}
	default:
		return nil
	}
}
