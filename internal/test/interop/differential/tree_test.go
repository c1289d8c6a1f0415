package differential

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// zoneSpec describes a zone. It is plain data, so that a tree can be printed,
// reduced and stored.
type zoneSpec struct {
	Name       string
	Algorithms []uint8 // one key for each; nil means unsigned
	Digests    []uint8 // of the DS records; nil means no DS records (an island of security)
	NSEC3      bool
	Iterations uint16
	Salt       string
	OptOut     bool
	Shift      int // days by which all signatures are in the past (negative) or in the future
	// Key rollovers:
	OneDS    bool   // only the first key has DS records
	SpareDS  bool   // a DS record for a key that is not published yet
	SpareKey uint16 // flags of a published key that signs nothing; 0 means no such key
	Records  []string
}

// treeSpec lists the zones of a tree, parents before children. The first zone
// is the root.
type treeSpec []zoneSpec

// question is a name and a type.
type question struct {
	Name string
	Type uint16
}

func (q question) String() string { return q.Name + " " + dns.Type(q.Type).String() }

func (q question) query() *dns.Msg {
	query := new(dns.Msg).SetQuestion(q.Name, q.Type)
	query.CheckingDisabled = true
	query.SetEdns0(dns.DefaultMsgSize, true)
	return query
}

// world is a tree built from its specification.
type world struct {
	*dnstree.Tree
	spec  treeSpec
	zones map[string]*dnstree.Zone
	// usurped contains signatures by a zone for names that are now in a child
	// zone.
	usurped map[question][]*dns.RRSIG
}

const day = 24 * time.Hour

// validity returns the validity of signatures that are shifted by some days.
// The shift exceeds any tolerance for wrong clocks.
func validity(shift int) (from, until time.Time) {
	at := time.Now().Add(time.Duration(shift) * day)
	return at.Add(-20 * day), at.Add(20 * day)
}

func (z *zoneSpec) options() []dnstree.Option {
	from, until := validity(z.Shift)
	options := []dnstree.Option{dnstree.Valid(from, until)}
	if z.NSEC3 {
		options = append(options, dnstree.NSEC3(z.Iterations, z.Salt, z.OptOut))
	}
	if z.Algorithms == nil {
		return append(options, dnstree.Unsigned)
	}
	options = append(options, dnstree.Algorithm(z.Algorithms...))
	if z.Digests == nil {
		return append(options, dnstree.WithoutDS)
	}
	return append(options, dnstree.Digest(z.Digests...))
}

// build builds the tree. Its keys are new each time. Everything else follows
// from the specification.
func build(spec treeSpec) *world {
	w := &world{spec: spec, zones: make(map[string]*dnstree.Zone), usurped: make(map[question][]*dns.RRSIG)}
	for i, z := range spec {
		if i == 0 {
			root := func(made *dnstree.Zone) { w.zones["."] = made }
			w.Tree = dnstree.New(append(z.options(), root)...)
		} else {
			w.usurp(z)
			w.zones[z.Name] = w.Zone(z.Name, z.options()...)
		}
		w.zones[z.Name].Add(z.Records...)
	}
	for _, z := range spec {
		w.roll(z)
	}
	return w
}

// ask returns the tree's reply to a question.
func (w *world) ask(q question) *dns.Msg { return w.reply(q.query()) }

// reply returns the tree's reply to a query. Where the tree has none, it is SERVFAIL, as
// from a resolver that cannot ask the servers of a zone.
func (w *world) reply(query *dns.Msg) *dns.Msg {
	if reply := w.Exchange(query); reply != nil {
		return reply
	}
	reply := new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
	return reply.SetEdns0(dns.DefaultMsgSize, true)
}

// zone returns the zone that contains name.
func (spec treeSpec) zone(name string) zoneSpec {
	best := spec[0]
	for _, z := range spec {
		if dns.IsSubDomain(z.Name, name) && len(z.Name) > len(best.Name) {
			best = z
		}
	}
	return best
}

// usurp makes the parent zone sign the records of a zone that is not delegated
// yet.
func (w *world) usurp(z zoneSpec) {
	above := w.zones[w.spec.zone(parent(z.Name)).Name]
	for _, line := range z.Records {
		rr, err := dns.NewRR("$ORIGIN " + z.Name + "\n" + line)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", line, err))
		}
		q := question{rr.Header().Name, rr.Header().Rrtype}
		above.AddRR(rr)
		for _, rr := range w.ask(q).Answer {
			if sig, ok := rr.(*dns.RRSIG); ok && sig.Hdr.Name == q.Name && sig.TypeCovered == q.Type {
				w.usurped[q] = append(w.usurped[q], sig)
			}
		}
		above.Remove(q.Name, q.Type)
	}
}

// roll adds the keys and DS records of a key rollover.
func (w *world) roll(z zoneSpec) {
	if z.SpareKey != 0 && z.Algorithms != nil {
		w.zones[z.Name].AddRR(spareKey(z.Name, z.SpareKey))
	}
	if z.Name == "." || z.Digests == nil || z.Algorithms == nil || !z.OneDS && !z.SpareDS {
		return
	}
	ds := slices.DeleteFunc(w.ask(question{z.Name, dns.TypeDS}).Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype != dns.TypeDS
	})
	if z.OneDS {
		ds = ds[:min(len(ds), len(z.Digests))]
	}
	if z.SpareDS {
		ds = append(ds, spareKey(z.Name, dns.ZONE|dns.SEP).ToDS(dns.SHA256))
	}
	above := w.zones[w.spec.zone(parent(z.Name)).Name]
	above.AddRR(ds...)
}

func spareKey(zone string, flags uint16) *dns.DNSKEY {
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: flags, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	if _, err := key.Generate(256); err != nil {
		panic(err)
	}
	return key
}

// askShifted returns the reply of a tree with all signatures shifted by days.
// It must not be called while the tree is served.
func (w *world) askShifted(q question, days int) *dns.Msg {
	w.shift(func(int) int { return days })
	reply := w.ask(q)
	w.shift(func(own int) int { return own })
	return reply
}

func (w *world) shift(days func(own int) int) {
	for _, z := range w.spec {
		dnstree.Valid(validity(days(z.Shift)))(w.zones[z.Name])
		w.zones[z.Name].AddRR() // discards the existing signatures
	}
}

// parent returns a name without its first label.
func parent(name string) string {
	if _, rest, _ := strings.Cut(name, "."); rest != "" {
		return rest
	}
	return "."
}

func child(label, name string) string {
	if name == "." {
		return label + "."
	}
	return label + "." + name
}
