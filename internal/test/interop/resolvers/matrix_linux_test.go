package resolvers

import (
	"context"
	"errors"
	"fmt"
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
		`tree DNAME wild.nsec3.example.`,
	)...)
	tree.Zone("nsec3.example", dnstree.NSEC3(0, "", false)).Add(append(ordinary, `alias CNAME alias.signed.example.`)...)
	tree.Zone("plain.example", dnstree.Unsigned).Add(ordinary...)
	now := time.Now()
	tree.Zone("expired.example", dnstree.Valid(now.Add(-48*time.Hour), now.Add(-24*time.Hour))).Add(ordinary...)
	if err := tree.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	return tree
}

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
	{"x.tree.signed.example", dnssec.TypeA, "secure 1 1"},
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

// answer asks r, and returns the answer in the form of the table.
func answer(t *testing.T, r dnssec.Resolver, name string, rtype dnssec.Type) (got, detail string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := r.Lookup(ctx, name, rtype)
	var failure *dnssec.Error
	switch {
	case errors.As(err, &failure):
		return failure.Status.String(), err.Error()
	case err != nil:
		return "no *dnssec.Error", err.Error()
	}
	got = fmt.Sprintf("%s %d %d", a.Status, len(a.Aliases), len(a.Records))
	if a.NXDomain {
		got += " no name"
	}
	return got, ""
}

// resolvers are the programs that people run, in the ways in which they run them.
var resolvers = []struct {
	name     string
	programs []string
	start    start
	addr     string
}{
	{"unbound", []string{"unbound"}, unbound(true), "127.0.0.1"},
	{"unbound, no validation", []string{"unbound"}, unbound(false), "127.0.0.1"},
	{"BIND", []string{"named"}, bind("yes"), "127.0.0.1"},
	{"BIND, no validation", []string{"named"}, bind("no"), "127.0.0.1"},
	{"PowerDNS, validate", []string{"pdns_recursor"}, powerDNS("validate"), "127.0.0.1"},
	{"PowerDNS, process", []string{"pdns_recursor"}, powerDNS("process"), "127.0.0.1"},
	{"PowerDNS, process-no-validate", []string{"pdns_recursor"}, powerDNS("process-no-validate"), "127.0.0.1"},
	{"PowerDNS, off", []string{"pdns_recursor"}, powerDNS("off"), "127.0.0.1"},
	{"Knot Resolver", []string{"kresd"}, knot("FORWARD"), "127.0.0.1"},
	{"Knot Resolver, stub", []string{"kresd"}, knot("STUB"), "127.0.0.1"},
	{"dnsmasq", []string{"dnsmasq"}, dnsmasq(), "127.0.0.1"},
	{"dnsmasq, dnssec", []string{"dnsmasq"}, dnsmasq("--dnssec"), "127.0.0.1"},
	{"dnsmasq, proxy-dnssec", []string{"dnsmasq"}, dnsmasq("--proxy-dnssec"), "127.0.0.1"},
	{"systemd-resolved, DNSSEC=yes", []string{"systemd-resolved"}, systemdResolved("yes"), "127.0.0.53"},
	{"systemd-resolved, DNSSEC=allow-downgrade", []string{"systemd-resolved"}, systemdResolved("allow-downgrade"), "127.0.0.53"},
	{"systemd-resolved, DNSSEC=no", []string{"systemd-resolved"}, systemdResolved("no"), "127.0.0.53"},
	{"systemd-resolved, DNSSEC=yes, proxy", []string{"systemd-resolved"}, systemdResolved("yes"), "127.0.0.54"},
	{"systemd-resolved, DNSSEC=no, proxy", []string{"systemd-resolved"}, systemdResolved("no"), "127.0.0.54"},
	{"Docker", nil, docker, "127.0.0.11"},
}

func TestMatrix(t *testing.T) {
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
			v, err := dnssec.New(dnssec.Config{Servers: []string{resolver.addr}, Anchors: tree.Anchors()})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for _, q := range questions {
				if got, detail := answer(t, v, q.name, q.rtype); got != q.want {
					t.Errorf("%s %s: %s, want %s: %s", q.name, q.rtype, got, q.want, detail)
				}
			}
			t.Logf("PROBE %v", v.Probe(t.Context(), "signed.example", "plain.example", "*.wild.signed.example"))
			tr, err := dnssec.NewTrusting(dnssec.TrustingConfig{Servers: []string{resolver.addr}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			for _, q := range questions {
				got, detail := answer(t, tr, q.name, q.rtype)
				if got != q.want {
					t.Logf("TRUSTING %s %s: %s, want %s: %s", q.name, q.rtype, got, q.want, detail)
				}
			}
			t.Logf("TPROBE %v", tr.Probe(t.Context(), "signed.example", "plain.example", "*.wild.signed.example"))
		})
	}
}
