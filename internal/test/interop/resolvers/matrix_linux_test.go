package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/dnstree"
	"github.com/mxseal/mxseal/internal/test/interop"
)

// newTree makes the zones that all resolvers are asked about.
func newTree(t *testing.T) *dnstree.Tree {
	t.Helper()
	tree := dnstree.New()
	tree.Zone("example")
	ordinary := []string{
		`@ MX 10 mx`,
		`mx A 192.0.2.1`,
		`_25._tcp.mx TLSA 3 1 1 ` + strings.Repeat("ab", 32),
		`*.wild A 192.0.2.2`,
		`*.wild TXT "any"`,
		`a.ent TXT "below an empty non-terminal"`,
	}
	tree.Zone("signed.example").Add(append(ordinary,
		`big TXT `+strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 6),
		`huge TXT `+strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 24),
		`alias CNAME mx`,
		`chain CNAME alias.nsec3.example.`,
		`toplain CNAME mx.plain.example.`,
		`toexpired CNAME mx.expired.example.`,
		`dangling CNAME missing`,
		`public A 1.1.1.1`,
		`tree DNAME wild.nsec3.example.`,
	)...)
	tree.Zone("nsec3.example", dnstree.NSEC3(0, "", false)).Add(append(ordinary, `alias CNAME alias.signed.example.`)...)
	tree.Zone("plain.example", dnstree.Unsigned).Add(ordinary...)
	tree.Zone("arpa")
	tree.Zone("ipv4only.arpa", dnstree.Unsigned).Add(`@ A 192.0.0.170`, `@ A 192.0.0.171`)
	now := time.Now()
	tree.Zone("expired.example", dnstree.Valid(now.Add(-48*time.Hour), now.Add(-24*time.Hour))).Add(ordinary...)
	if err := tree.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	return tree
}

const belowDNAME = "x.tree.signed.example"

// questions are asked through each resolver, with the answers of one that passes
// everything on.
var questions = []struct {
	name  string
	rtype dnssec.Type
	want  string // the status, the number of aliases and records, and whether the name exists
}{
	{".", dnssec.TypeSOA, "secure 0 1"},
	{"signed.example", dnssec.TypeMX, "secure 0 1"},
	{"signed.example", dnssec.TypeDNSKEY, "secure 0 1"},
	{"signed.example", dnssec.TypeDS, "secure 0 1"},
	{"mx.signed.example", dnssec.TypeA, "secure 0 1"},
	{"mx.signed.example", dnssec.TypeAAAA, "secure 0 0"},
	{"_25._tcp.mx.signed.example", dnssec.TypeTLSA, "secure 0 1"},
	{"_25._tcp.none.signed.example", dnssec.TypeTLSA, "secure 0 0 no name"},
	{"missing.signed.example", dnssec.TypeA, "secure 0 0 no name"},
	{"ent.signed.example", dnssec.TypeTXT, "secure 0 0"},
	{"x.wild.signed.example", dnssec.TypeTXT, "secure 0 1"},
	{"x.wild.signed.example", dnssec.TypeMX, "secure 0 0"},
	{"alias.signed.example", dnssec.TypeA, "secure 1 1"},
	{"chain.signed.example", dnssec.TypeA, "secure 3 1"},
	{"toplain.signed.example", dnssec.TypeA, "insecure 1 1"},
	{"dangling.signed.example", dnssec.TypeA, "secure 1 0 no name"},
	{belowDNAME, dnssec.TypeA, "secure 1 1"},
	{"big.signed.example", dnssec.TypeTXT, "secure 0 1"},
	{"huge.signed.example", dnssec.TypeTXT, "secure 0 1"},
	{"mx.nsec3.example", dnssec.TypeA, "secure 0 1"},
	{"missing.nsec3.example", dnssec.TypeA, "secure 0 0 no name"},
	{"x.wild.nsec3.example", dnssec.TypeTXT, "secure 0 1"},
	{"plain.example", dnssec.TypeDS, "secure 0 0"},
	{"mx.plain.example", dnssec.TypeA, "insecure 0 1"},
	{"missing.plain.example", dnssec.TypeA, "insecure 0 0 no name"},
	{"_25._tcp.mx.plain.example", dnssec.TypeTLSA, "insecure 0 1"},
	{"mx.expired.example", dnssec.TypeA, "bogus"},
	{"missing.expired.example", dnssec.TypeA, "bogus"},
	{"toexpired.signed.example", dnssec.TypeA, "bogus"},
}

// resolver is a program that people run, in one of the ways in which they run it.
type resolver struct {
	name     string
	programs []string
	start    start
	addr     string
	// strips is true if signatures do not pass, so that a Validator gets no answer.
	strips bool
	// validates is true if a Trusting may use the resolver.
	validates bool
	// ignoresCD is true if the resolver does not answer for what it believes to be bogus,
	// although a Validator asks it to.
	ignoresCD bool
	// noDNAME is true if its own validation fails for DNAME records.
	noDNAME bool
}

const (
	local    = "127.0.0.1"
	resolved = "127.0.0.53"
	bypass   = "127.0.0.54" // where systemd-resolved passes everything on
)

var resolvers = []resolver{
	{name: "unbound", programs: []string{"unbound"}, start: unbound(true), addr: local, validates: true},
	{name: "unbound, no validation", programs: []string{"unbound"}, start: unbound(false), addr: local},
	{name: "BIND", programs: []string{"named"}, start: bind("yes"), addr: local, validates: true},
	{name: "BIND, no validation", programs: []string{"named"}, start: bind("no"), addr: local},
	{name: "PowerDNS, validate", programs: []string{"pdns_recursor"}, start: powerDNS("validate"), addr: local, validates: true, ignoresCD: true},
	{name: "PowerDNS, process", programs: []string{"pdns_recursor"}, start: powerDNS("process"), addr: local, validates: true, ignoresCD: true},
	{name: "PowerDNS, process-no-validate", programs: []string{"pdns_recursor"}, start: powerDNS("process-no-validate"), addr: local},
	{name: "PowerDNS, off", programs: []string{"pdns_recursor"}, start: powerDNS("off"), addr: local, strips: true},
	{name: "Knot Resolver", programs: []string{"kresd"}, start: knot("FORWARD"), addr: local, validates: true},
	{name: "Knot Resolver, stub", programs: []string{"kresd"}, start: knot("STUB"), addr: local, strips: true},
	{name: "dnsmasq", programs: []string{"dnsmasq"}, start: dnsmasq(), addr: local},
	{name: "dnsmasq, dnssec", programs: []string{"dnsmasq"}, start: dnsmasq("--dnssec"), addr: local, validates: true, noDNAME: true},
	{name: "dnsmasq, proxy-dnssec", programs: []string{"dnsmasq"}, start: dnsmasq("--proxy-dnssec"), addr: local},
	{name: "systemd-resolved, yes", programs: []string{"systemd-resolved", "ldd"}, start: systemdResolved("yes"), addr: resolved, validates: true},
	{name: "systemd-resolved, allow-downgrade", programs: []string{"systemd-resolved", "ldd"}, start: systemdResolved("allow-downgrade"), addr: resolved, validates: true},
	{name: "systemd-resolved, no", programs: []string{"systemd-resolved", "ldd"}, start: systemdResolved("no"), addr: resolved},
	{name: "systemd-resolved, yes, bypass", programs: []string{"systemd-resolved", "ldd"}, start: systemdResolved("yes"), addr: bypass},
	{name: "systemd-resolved, no, bypass", programs: []string{"systemd-resolved", "ldd"}, start: systemdResolved("no"), addr: bypass},
	{name: "Docker", start: docker, addr: "127.0.0.11"},
}

// given are the names that the probes are asked about.
var given = []string{"signed.example", "plain.example", "*.wild.signed.example"}

// Through each resolver, a Validator finds what is there, or says that the resolver strips
// signatures; a Trusting finds the same, or says that the resolver does not validate. The
// probes say in advance which it is.
func TestEachResolverIsUsedOrFoundOut(t *testing.T) {
	for _, resolver := range resolvers {
		t.Run(resolver.name, func(t *testing.T) {
			for _, program := range append(resolver.programs, "ip") {
				interop.Need(t, program)
			}
			if !inside(t) {
				return
			}
			tree := newTree(t)
			resolver.start(t, newUpstream(t, tree), resolver.addr)

			t.Run("Validator", func(t *testing.T) {
				v, err := dnssec.New(dnssec.Config{Servers: []string{resolver.addr}, Anchors: tree.Anchors()})
				if err != nil {
					t.Fatal(err)
				}
				defer v.Close()
				for _, q := range questions {
					want, detail := q.want, ""
					switch {
					case resolver.strips:
						want, detail = "bogus", "the DNS server strips DNSSEC records"
					case resolver.ignoresCD && want == "bogus":
						want, detail = "indeterminate", "SERVFAIL"
					}
					expect(t, v, q.name, q.rtype, want, detail)
				}
				says := ""
				if resolver.strips {
					says = "strips the signatures: no RRSIG records; let it return DNSSEC records"
				}
				probed(t, v.Probe(t.Context(), given...), resolver.addr, says)
			})

			t.Run("Trusting", func(t *testing.T) {
				tr, err := dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{resolver.addr}})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				for _, q := range questions {
					want, detail := q.want, ""
					switch {
					case !resolver.validates:
						want, detail = "indeterminate", "server-not-validating"
					case want == "bogus", resolver.noDNAME && q.name == belowDNAME:
						want, detail = "indeterminate", "SERVFAIL"
					}
					expect(t, tr, q.name, q.rtype, want, detail)
				}
				says := ""
				if !resolver.validates {
					says = "does not validate; enable validation in it"
				}
				probed(t, tr.Probe(t.Context(), given...), resolver.addr, says)
			})
		})
	}
}

// D15: BIND as a DNS64 server, which makes no addresses for a client that validates. The
// prefix is discovered nevertheless, from the server at a loopback address.
func TestD15DNS64(t *testing.T) {
	for name, prefix := range map[string]string{"well-known": "64:ff9b::/96", "own": "2606:64::/96"} {
		t.Run(name, func(t *testing.T) {
			for _, program := range []string{"named", "ip"} {
				interop.Need(t, program)
			}
			if !inside(t) {
				return
			}
			tree := newTree(t)
			bind("yes", "dns64 "+prefix+" { };")(t, newUpstream(t, tree), local)
			v, err := dnssec.New(dnssec.Config{Servers: []string{local}, Anchors: tree.Anchors(), DiscoverNAT64: true})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			tr, err := dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{local}, DiscoverNAT64: true})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			for _, r := range []dnssec.Resolver{v, tr} {
				a, err := r.Lookup(t.Context(), "public.signed.example", dnssec.TypeAAAA)
				if err != nil || len(a.Records) != 1 {
					t.Fatalf("%T: %+v, %v", r, a, err)
				}
				if addr, _ := a.Records[0].Addr(); !netip.MustParsePrefix(prefix).Contains(addr) {
					t.Errorf("%T: %v", r, addr)
				}
				if status := a.Status; r == v && status != dnssec.Secure {
					t.Errorf("%T: %v", r, status)
				}
			}
			if v.NAT64().String() != prefix {
				t.Errorf("discovered %v", v.NAT64())
			}
		})
	}
}

// expect asks r. If the lookup fails, the error says detail.
func expect(t *testing.T, r dnssec.Resolver, name string, rtype dnssec.Type, want, detail string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := r.Lookup(ctx, name, rtype)
	var failure *dnssec.Error
	if err != nil {
		if !errors.As(err, &failure) || failure.Status.String() != want || !strings.Contains(err.Error(), detail) {
			t.Errorf("%s %s: %v; want %s, %s", name, rtype, err, want, detail)
		}
		return
	}
	got := fmt.Sprintf("%s %d %d", a.Status, len(a.Aliases), len(a.Records))
	if a.NXDomain {
		got += " no name"
	}
	if got != want {
		t.Errorf("%s %s: %s, want %s", name, rtype, got, want)
	}
}

// probed checks the error of a probe. It is nil if says is empty.
func probed(t *testing.T, err error, server, says string) {
	t.Helper()
	var found *dnssec.ProbeError
	switch {
	case says == "" && err == nil:
	case says == "" || !errors.As(err, &found) || found.Server != server+":53" || len(found.Faults) != 1 || !strings.HasPrefix(found.Faults[0], says):
		t.Errorf("the probe says %v, want %q of %s", err, says, server)
	}
}
