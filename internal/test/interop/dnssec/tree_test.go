package dnssec

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// A tree is a DNS of its own, from the root down.
type tree struct {
	zones []*dnsserver.Zone
	// ports are those of the name servers of zones that are not in zones.
	ports map[string]int
}

// A variant is one zone of the tree, and what is asked about it.
type variant struct {
	name    string // below its parent
	signing dnsserver.Signing
	text    string // what the zone has; "": ordinary
	// alter changes the zone after it was signed.
	alter func(t *testing.T, z *dnsserver.Zone)
	// ds returns the DS records in the parent; nil: one with SHA-256.
	ds func(t *testing.T, z *dnsserver.Zone) []dns.RR
	// questions about the zone; nil: common.
	questions []question
	// want is what the comparison must find for these questions, so that a
	// zone that is not as broken as it should be is noticed.
	want map[question]string
	sha1 bool // ours validates SHA-1 signatures (Config.SHA1)
	// lax has the other validators that trust in this zone what they should
	// not, or what ours does not by choice, and why. They may find an answer
	// better than ours does, never worse.
	lax map[string]string
}

// A parent is a top-level domain and the zones below it.
type parent struct {
	name     string
	signing  dnsserver.Signing // Algorithms nil: not signed, and without DS in the root
	alter    func(t *testing.T, z *dnsserver.Zone)
	variants []variant
}

// newTree signs all zones, the leaves first, so that parents have the DS
// records of their children. It returns the tree and the root's anchor file.
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

// addUnsigned delegates "plain" below the zone, without a DS record.
func (tr *tree) addUnsigned(t *testing.T, above *dnsserver.Zone) {
	t.Helper()
	plain := dnsserver.NewZone(t, above.Absolute("plain"), "www A 192.0.2.2\n*.wild A 192.0.2.3\nalias CNAME www\n")
	above.Delegate(t, plain.Name)
	tr.zones = append(tr.zones, plain)
}

// ordinary is a zone with a bit of everything.
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

// online is the signer of zones that knotd signs while it answers.
const online dnsserver.Signer = "mod-onlinesign"

// serve starts the name server of the zones, and returns the ports of all.
func (tr *tree) serve(t *testing.T) map[string]int {
	t.Helper()
	nsd := dnsserver.NSD(t, tr.zones)
	all := maps.Clone(tr.ports)
	for _, zone := range tr.zones {
		all[zone.Name] = nsd
	}
	return all
}
