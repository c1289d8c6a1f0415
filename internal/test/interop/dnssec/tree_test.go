package dnssec

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// A tree is a private DNS, from the root down.
type tree struct {
	zones []*dnsserver.Zone
	// ports contains the ports of the name servers of zones that are not in
	// zones.
	ports map[string]int
}

// A variant is one zone of the tree with the questions about it.
type variant struct {
	name    string // the label below its parent
	signing dnsserver.Signing
	text    string // the content of the zone; "" means ordinary
	// alter changes the zone after signing.
	alter func(t *testing.T, z *dnsserver.Zone)
	// ds returns the DS records in the parent zone. If nil, there is one with
	// SHA-256.
	ds func(t *testing.T, z *dnsserver.Zone) []dns.RR
	// questions are the questions about the zone. If nil, they are common.
	questions []question
	// want contains the expected results for some questions, to detect a zone
	// that is not broken as intended.
	want map[question]string
	sha1 bool // ours accepts SHA-1 signatures (Config.SHA1)
	// lax maps a validator to the reason why it accepts answers from this zone
	// that ours does not accept, by its fault or by our choice. Its status may
	// be better than ours, but not worse.
	lax map[string]string
}

// A parent is a top-level domain with the zones below it.
type parent struct {
	name     string
	signing  dnsserver.Signing // if Algorithms is nil, it is unsigned and has no DS records in the root
	alter    func(t *testing.T, z *dnsserver.Zone)
	variants []variant
}

// newTree signs all zones, children first, so that parents contain the DS
// records of their children. It returns the tree and the trust anchor file.
func newTree(t *testing.T, parents []parent) (*tree, string) {
	t.Helper()
	tr := &tree{ports: map[string]int{}}
	root := dnsserver.NewZone(t, ".", "")
	for _, p := range parents {
		tr.addParent(t, root, p)
	}
	root.Sign(t, dnsserver.Signing{Signer: dnsserver.BIND, Algorithms: []uint8{dns.RSASHA256}})
	tr.zones = append([]*dnsserver.Zone{root}, tr.zones...)
	var anchors strings.Builder
	for _, key := range root.Keys() {
		anchors.WriteString(key.String() + "\n")
	}
	file := filepath.Join(t.TempDir(), "root.key")
	dnsserver.WriteFile(t, file, anchors.String())
	return tr, file
}

func (tr *tree) addParent(t *testing.T, root *dnsserver.Zone, p parent) {
	t.Helper()
	top := dnsserver.NewZone(t, p.name+".", "")
	for _, v := range p.variants {
		tr.addVariant(t, top, v)
	}
	tr.addUnsigned(t, top)
	tr.zones = append(tr.zones, top)
	if p.signing.Algorithms == nil {
		root.Delegate(t, top.Name)
		return
	}
	top.Sign(t, p.signing)
	root.Delegate(t, top.Name, top.DS(dns.SHA256)...)
	if p.alter != nil {
		p.alter(t, top)
	}
}

func (tr *tree) addVariant(t *testing.T, top *dnsserver.Zone, v variant) {
	t.Helper()
	text := v.text
	if text == "" {
		text = ordinary
	}
	zone := dnsserver.NewZone(t, v.name+"."+top.Name, text)
	if v.signing.Signer == online {
		tr.ports[zone.Name] = dnsserver.KnotOnline(t, zone)
	} else {
		tr.addUnsigned(t, zone)
		zone.Sign(t, v.signing)
		tr.zones = append(tr.zones, zone)
	}
	ds := zone.DS(dns.SHA256)
	if v.ds != nil {
		ds = v.ds(t, zone)
	}
	top.Delegate(t, zone.Name, ds...)
	if v.alter != nil {
		v.alter(t, zone)
	}
}

// addUnsigned adds a delegation of "plain" without a DS record.
func (tr *tree) addUnsigned(t *testing.T, above *dnsserver.Zone) {
	t.Helper()
	plain := dnsserver.NewZone(t, above.Absolute("plain"), "www A 192.0.2.2\n*.wild A 192.0.2.3\nalias CNAME www\n")
	above.Delegate(t, plain.Name)
	tr.zones = append(tr.zones, plain)
}

// ordinary is a zone with all common kinds of records.
var ordinary = `
@ MX 10 mail
@ MX 20 Backup.MAIL
@ TXT "v=spf1 -all"
www A 192.0.2.1
www A 192.0.2.10
www AAAA 2001:db8::1
mail A 192.0.2.4
_25._tcp.mail TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
backup.mail A 192.0.2.5
*._tcp.backup.mail TLSA 2 0 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
a.b.ent TXT "below two empty non-terminals"
*.wild A 192.0.2.6
*.wild TXT "any"
explicit.wild A 192.0.2.7
below.deep.wild TXT "stops the wildcard at deep.wild"
*.wildalias CNAME www
*.wildbroken CNAME missing
alias CNAME www
second CNAME alias
dangling CNAME missing
emptyalias CNAME b.ent
tosecure CNAME www.bind-13.nsec.
toinsecure CNAME www.plain.bind-13.nsec.
tobogus CNAME www.altered-signature.nsec.
nowhere CNAME www.missing.nsec.
dname DNAME tree
www.tree A 192.0.2.8
*.wild.tree A 192.0.2.9
dnameinsecure DNAME plain.bind-13.nsec.
dnamebogus DNAME altered-signature.nsec.
dnamewild DNAME wild
UPPER.Case MX 5 MAIL.upper.case
UPPER.Case SRV 1 2 25 MAIL.upper.case
caa CAA 0 issue "ca.example"
svc HTTPS 1 . alpn=h2
strange TYPE65280 \# 4 01020304
under_score\.dot A 192.0.2.11
\000nul A 192.0.2.12
a.*.star A 192.0.2.13
big TXT ` + strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 16) + `
`

// online is the signer of zones that knotd signs on demand.
const online dnsserver.Signer = "mod-onlinesign"

// serve starts the name servers and returns the ports of all zones.
func (tr *tree) serve(t *testing.T) map[string]int {
	t.Helper()
	nsd := dnsserver.NSD(t, tr.zones)
	all := maps.Clone(tr.ports)
	for _, zone := range tr.zones {
		all[zone.Name] = nsd
	}
	return all
}
