package unboundbench

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// hostileZones is how many names there are of each kind.
const hostileZones = 30

// hostileKind is a kind of names that are made to be costly.
type hostileKind struct {
	what  string
	label string // begins the names of its zones
	qtype uint16
	// below is what stands before the zone in the name.
	below string
	// build makes a zone.
	build func(tree *dnstree.Tree, zone string)
}

func (k hostileKind) zone(i int) string { return fmt.Sprintf("%s%d.example", k.label, i) }
func (k hostileKind) name(i int) string { return k.below + k.zone(i) + "." }

var hostileKinds = []hostileKind{
	{"a deep name that does not exist", "deep", dns.TypeTLSA, strings.Repeat("a.", 60), func(tree *dnstree.Tree, zone string) {
		tree.Zone(zone).Add("x 3600 IN A 192.0.2.1")
	}},
	{"a deep name that does not exist, NSEC3 with 100 iterations", "hash", dns.TypeTLSA, strings.Repeat("a.", 60), func(tree *dnstree.Tree, zone string) {
		tree.Zone(zone, dnstree.NSEC3(100, "ab", false)).Add("x 3600 IN A 192.0.2.1")
	}},
	{"a random name of six labels", "six", dns.TypeTLSA, "a.b.c.d.e.f.", func(tree *dnstree.Tree, zone string) {
		tree.Zone(zone).Add("x 3600 IN A 192.0.2.1")
	}},
	{"eight signed zones, one below the other", "cuts", dns.TypeTLSA, strings.Repeat("a.", 8), func(tree *dnstree.Tree, zone string) {
		lowest := tree.Zone(zone)
		for range 7 {
			zone = "a." + zone
			lowest = tree.Zone(zone)
		}
		lowest.Add("a 3600 IN TLSA 3 1 1 " + strings.Repeat("ab", 32))
	}},
	{"seven aliases, each in a zone of its own", "alias", dns.TypeTLSA, "x.", func(tree *dnstree.Tree, zone string) {
		for i := range 7 {
			from, to := zone, fmt.Sprintf("to%d-%s", i+1, zone)
			if i > 0 {
				from = fmt.Sprintf("to%d-%s", i, zone)
			}
			tree.Zone(from).Add("x 3600 IN CNAME x." + to + ".")
		}
		tree.Zone("to7-" + zone).Add("x 3600 IN TLSA 3 1 1 " + strings.Repeat("ab", 32))
	}},
	{"a large RRset", "large", dns.TypeTXT, "_mta-sts.", func(tree *dnstree.Tree, zone string) {
		var lines []string
		for i := range 200 {
			lines = append(lines, fmt.Sprintf(`_mta-sts 3600 IN TXT "%d %s"`, i, strings.Repeat("x", 200)))
		}
		tree.Zone(zone).Add(lines...)
	}},
}
