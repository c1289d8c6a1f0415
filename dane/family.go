package dane

import (
	"net/netip"
	"slices"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// rank orders hosts by what the security of their addresses permits DANE to do.
type rank int

const (
	notAddressed      rank = iota // no addresses
	insecurelyFound               // DANE does not apply
	securelyAliased               // insecure, but the first alias is secure
	securelyAddressed             // all aliases and the addresses are secure
)

// rankOf returns the case of RFC 7672 section 2.2.2 for addresses that exist.
func rankOf(status dnssec.Status, aliases []dnssec.Alias) rank {
	switch {
	case status == dnssec.Secure:
		return securelyAddressed
	case len(aliases) > 0 && aliases[0].Status == dnssec.Secure:
		return securelyAliased
	default:
		return insecurelyFound
	}
}

// maxAddresses bounds the addresses of one family. Senders try only a few, and an
// RRset of 64 KiB has thousands.
const maxAddresses = 16

// family is the result of the lookup of A or AAAA.
type family struct {
	answer *dnssec.Answer
	addrs  []netip.Addr
}

func newFamily(l Lookup) family {
	f := family{answer: l.Answer}
	for _, record := range l.Answer.Records {
		if len(f.addrs) == maxAddresses {
			break
		}
		if addr, ok := record.Addr(); ok {
			f.addrs = append(f.addrs, addr)
		}
	}
	return f
}

func (f family) rank() rank {
	if len(f.addrs) == 0 {
		return notAddressed
	}
	return rankOf(f.answer.Status, f.answer.Aliases)
}

// agrees reports whether two families have the same rank and the same aliases. A
// family without addresses adds none.
func (f family) agrees(other family) bool {
	return f.rank() == other.rank() && slices.Equal(f.answer.Aliases, other.answer.Aliases)
}
