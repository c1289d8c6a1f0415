package hop

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
)

// Exchange is one entry of the list of mail hosts.
type Exchange struct {
	Name       string // in A-labels, without final dot; as found when malformed
	Preference uint16
	Malformed  bool // not a host name: an address (DANE-36), or nonsense
}

// Exchanges returns the MX records in the order in which they are tried: by
// preference, equal ones shuffled (RFC 5321 section 5.1). "." among other
// records is a publisher's error and names no host (RFC 7505 section 3). If there
// is nothing else, whatever its preference, the list is empty.
func Exchanges(records []dnssec.Record) []Exchange {
	list := make([]Exchange, 0, len(records))
	for _, record := range records {
		mx, _ := record.MX() // without a name if the record is malformed
		if mx.Host == "." {
			continue
		}
		name, err := names.Canonical(mx.Host)
		if err != nil {
			name = strings.TrimSuffix(mx.Host, ".")
		}
		list = append(list, Exchange{Name: name, Preference: mx.Preference, Malformed: err != nil})
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b Exchange) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := make(map[string]bool) // without a size, which keeps it off the heap while it is small
	return slices.DeleteFunc(list, func(e Exchange) bool {
		again := seen[e.Name]
		seen[e.Name] = true
		return again
	})
}

// BeforeSelf removes the sender's own entry and all that are no better (RFC 5321
// section 5.1). This comes before all security decisions (RFC 7672 section
// 2.2.1).
func BeforeSelf(list []Exchange, self map[string]bool) []Exchange {
	for _, own := range list {
		if self[own.Name] {
			return slices.DeleteFunc(list, func(e Exchange) bool { return e.Preference >= own.Preference })
		}
	}
	return list
}
