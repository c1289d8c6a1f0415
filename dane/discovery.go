package dane

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// Discovery is the result of the lookups for one mail host (RFC 7672 sections
// 2.2.2 and 2.2.3). The State of the zero Discovery is Unknown.
type Discovery struct {
	// Name is the host name in A-labels and lower case, without final dot.
	Name string
	// Addrs are the addresses to connect to, IPv4 first: at least one, and at
	// most 16 of each family. Connect to no other address: the State holds for
	// these only.
	Addrs []netip.Addr
	// AddrStatus is the security of the addresses, aliases included.
	AddrStatus dnssec.Status
	// Aliases lead from Name to the name that has the addresses.
	Aliases []dnssec.Alias

	// State is what DANE requires of a session with the host.
	State State
	// BaseDomain is the TLSA base domain: the name that has the secure TLSA
	// RRset, in A-labels and lower case, without final dot. It is the name for
	// SNI and the first of the [ReferenceNames]. It is empty unless the State is
	// Usable or Unusable.
	BaseDomain string
	// Records is the whole secure TLSA RRset.
	Records []Record
	// Usable are the records that [Select] returns for Records.
	Usable []Record

	// Lookups are the DNS lookups in the order in which they were made. The
	// lookup of one address family may have failed: see [Discover].
	Lookups []Lookup
	// Expires is the time at which the first answer expires, denials included.
	Expires time.Time
}

// State is what DANE requires of a session with a host.
type State uint8

const (
	// Unknown is the zero value: the TLSA records were not looked up. It permits
	// the least; treat it, and every value that is not listed here, as a failed
	// lookup.
	Unknown State = iota
	// NotApplicable means that DANE does not apply to the host. Its addresses are
	// insecure, so that TLSA records are not looked up (RFC 7672 section 2.2.2),
	// or it is an address literal.
	NotApplicable
	// NoRecords means that the host has no secure TLSA records: they are denied,
	// or insecure. DANE requires nothing of the host.
	NoRecords
	// Unusable means that the host has secure TLSA records, none of which can be
	// used. The session must be encrypted (RFC 7672 section 2.2).
	Unusable
	// Usable means that the host has usable TLSA records. The session must be
	// authenticated by one of them.
	Usable
)

// String returns the state in words, such as "not applicable".
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case NotApplicable:
		return "not applicable"
	case NoRecords:
		return "no records"
	case Unusable:
		return "unusable"
	case Usable:
		return "usable"
	}
	return strconv.Itoa(int(s))
}

// Lookup is one DNS lookup of a Discovery. Either Answer or Err is set.
type Lookup struct {
	Name string      // with final dot
	Type dnssec.Type // TypeA, TypeAAAA or TypeTLSA
	// Answer has at most the first 16 records, and none in an [Error].
	Answer *dnssec.Answer
	Err    error
}

// shortened returns the lookup with at most that many records, in memory of their own.
func (l Lookup) shortened(records int) Lookup {
	if l.Answer != nil {
		answer := *l.Answer
		answer.Records = slices.Clone(answer.Records[:min(len(answer.Records), records)])
		l.Answer = &answer
	}
	return l
}
