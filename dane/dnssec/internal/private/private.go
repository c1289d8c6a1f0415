// Package private knows the names that do not have their public meaning: special-use
// names, and the zones that an operator declares private. These are outside the chain of
// trust by the operator's word (negative trust anchors, RFC 7646), and may have servers of
// their own.
package private

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// Zone is a private zone.
type Zone struct {
	Name string // canonical
	// Servers answer for the zone. If there are none, the servers for all other names do.
	Servers []*upstream.Server
}

// Zones maps names to the private zones of these names.
type Zones map[string]*Zone

// Of returns the private zone that name is in: of several, the one with the longest name.
// It returns nil if name is in none.
func (z Zones) Of(name string) *Zone {
	for len(z) > 0 && name != "." {
		if found := z[name]; found != nil {
			return found
		}
		name = proof.Parent(name)
	}
	return nil
}

// Add adds a zone. It refuses the root, and zones at or below which there is a trust
// anchor, because they would be signed and unsigned at once.
func (z Zones) Add(name string, servers []string, anchors anchor.Set) error {
	canonical, ok := proof.CanonicalName(name)
	switch {
	case !ok || name == "":
		return fmt.Errorf("private zone %q is not a domain name", name)
	case canonical == ".":
		return fmt.Errorf("private zone %q would make all names insecure: name the zones that are private", name)
	case anchors.OfIANA() && IsSpecialUse(canonical):
		return fmt.Errorf("private zone %q is special-use, so no server is asked about it: leave it out", name)
	case strings.HasPrefix(canonical, "*."):
		return fmt.Errorf("private zone %q has a wildcard: leave out \"*.\", because a zone covers all names below it", name)
	case z[canonical] != nil:
		return fmt.Errorf("private zone %q is given twice: give it once, with all its servers", name)
	}
	for zone := range anchors {
		if proof.Within(zone, canonical) {
			return fmt.Errorf("private zone %q contains the trust anchor of %q: remove one of them", name, zone)
		}
	}
	added := &Zone{Name: canonical}
	for _, text := range servers {
		s, err := upstream.ParseServer(text)
		if err != nil {
			return fmt.Errorf("private zone %q: %w", name, err)
		}
		same := func(other *upstream.Server) bool { return other.String() == s.String() }
		if !slices.ContainsFunc(added.Servers, same) {
			added.Servers = append(added.Servers, s)
		}
	}
	z[canonical] = added
	return nil
}
