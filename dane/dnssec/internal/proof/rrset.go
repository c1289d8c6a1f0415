package proof

import (
	"slices"

	"github.com/miekg/dns"
)

// MaxTTL is the longest time that any data is kept, in seconds.
const MaxTTL = 24 * 60 * 60

// RRset is the records of one name and type, with the signatures that claim to
// cover them. Signatures are kept with the name and the type that they cover:
// the signature of another owner must never authenticate the RRset.
type RRset struct {
	Name    string // canonical, like the owner of each record and the signers
	Type    uint16
	Records []dns.RR
	Sigs    []*dns.RRSIG
}

// TTL returns the smallest TTL of the records, and MaxTTL at most.
func (set *RRset) TTL() uint32 { return minTTL(set.Records...) }

// minTTL reads a TTL with the most significant bit set as zero (RFC 2181
// section 8).
func minTTL(records ...dns.RR) uint32 {
	least := uint32(MaxTTL)
	for _, rr := range records {
		ttl := rr.Header().Ttl
		if ttl > 1<<31-1 {
			ttl = 0
		}
		least = min(least, ttl)
	}
	return least
}

// Distinct returns the records without duplicates (RFC 2181 section 5.5). It
// compares wire forms, because the text of a record can cost far more than the
// record.
func (set *RRset) Distinct() []dns.RR {
	if len(set.Records) == 1 {
		return set.Records
	}
	seen := make(map[string]bool)
	return slices.DeleteFunc(slices.Clone(set.Records), func(rr dns.RR) bool {
		data := string(rdata(rr))
		again := seen[data]
		seen[data] = true
		return again
	})
}

// Complete returns an error if there are signatures without the records that
// they cover. A server sends both or neither (RFC 4035 section 3.1.1), and
// signatures are not signed themselves (section 2.2).
func (set *RRset) Complete() error {
	if len(set.Records) == 0 {
		return set.fault(SignatureInvalid, "there are signatures without the records")
	}
	return nil
}

// Denies reports whether the RRset holds NSEC or NSEC3 records.
func (set *RRset) Denies() bool {
	return (set.Type == dns.TypeNSEC || set.Type == dns.TypeNSEC3) && len(set.Records) > 0
}

func (set *RRset) claimsSigner(apex string) bool {
	return slices.ContainsFunc(set.Sigs, func(sig *dns.RRSIG) bool { return sig.SignerName == apex })
}
