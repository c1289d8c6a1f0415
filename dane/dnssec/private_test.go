package dnssec

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// privateNet is the world of mail, with a server of its own for some private zones.
type privateNet struct {
	*world
	mu    sync.Mutex
	asked map[string][]string // server to "name type"
}

// privateServer answers for the private zones, and lies about all other names.
const privateServer = "192.0.2.99:53"

func newPrivateNet(t *testing.T, private ...string) *privateNet {
	n := &privateNet{world: mail(t), asked: make(map[string][]string)}
	n.world.zones["example.com."].add(t, "in.example.com. 300 IN CNAME relay.corp.example.com.")
	n.world.zones["example.com."].add(t, "relay.corp.example.com. 300 IN A 192.0.2.200") // public
	n.world.zones["plain.com."].add(t, "in.plain.com. 300 IN CNAME relay.corp.example.com.")
	n.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
		q := m.Question[0]
		n.mu.Lock()
		n.asked[server] = append(n.asked[server], q.Name+" "+dns.Type(q.Qtype).String())
		n.mu.Unlock()
		if server != privateServer {
			return m
		}
		m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, nil
		for _, text := range private {
			record := dnsdata.RR(t, text)
			owner := record.Header().Name
			isAnswer := record.Header().Rrtype == q.Qtype || record.Header().Rrtype == dns.TypeCNAME
			if owner == q.Name {
				m.Rcode = dns.RcodeSuccess
			}
			if owner == q.Name && isAnswer {
				m.Answer = append(m.Answer, record)
			}
		}
		if len(m.Answer) > 0 && m.Answer[0].Header().Rrtype == dns.TypeCNAME {
			target := m.Answer[0].(*dns.CNAME).Target
			m.Answer = append(m.Answer, dnsdata.RR(t, target+" 60 IN A 203.0.113.66")) // whatever it is
		}
		return m
	}
	return n
}

// withPrivate declares zones of the private server.
func withPrivate(zones ...string) func(*Config) {
	return func(c *Config) {
		for _, zone := range zones {
			c.PrivateZones = append(c.PrivateZones, PrivateZone{zone, []string{privateServer}})
		}
	}
}

// D14: a private zone is insecure, also below a signed zone and below a top-level domain
// that does not exist. Its servers are asked about its names and about no others, and
// nothing in it makes a name outside of it, or an alias, more than it is.
func TestD14PrivateZoneIsInsecure(t *testing.T) {
	t.Parallel()
	records := []string{
		"relay.corp.example.com. 60 IN A 203.0.113.1",
		"_25._tcp.relay.corp.example.com. 60 IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"corp.example.com. 60 IN MX 10 relay.corp.example.com.",
		"same.corp.example.com. 60 IN CNAME relay.corp.example.com.",
		"out.corp.example.com. 60 IN CNAME mx.example.com.",
		"loop.corp.example.com. 60 IN CNAME loop2.corp.example.com.",
		"loop2.corp.example.com. 60 IN CNAME loop.corp.example.com.",
		"web.default.svc.cluster.local. 60 IN A 203.0.113.2",
		"relay.internal. 60 IN A 203.0.113.3",
	}
	zones := []string{"corp.example.com", "Cluster.Local.", "relay.internal"}
	for _, tt := range []struct {
		what, name string
		qtype      uint16
		status     Status
		content    string // of the first record; empty means none
		nxdomain   bool
		aliases    []Status
		reason     Reason // if it fails
	}{
		{what: "below a signed zone", name: "relay.corp.example.com.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.1"},
		{what: "the apex", name: "corp.example.com.", qtype: dns.TypeMX, status: Insecure, content: "10 relay.corp.example.com."},
		{what: "TLSA records are not secure", name: "_25._tcp.relay.corp.example.com.", qtype: dns.TypeTLSA, status: Insecure, content: "3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
		{what: "*.cluster.local", name: "web.default.svc.cluster.local.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.2"},
		{what: "relay.internal", name: "relay.internal.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.3"},
		{what: "no such name", name: "none.corp.example.com.", qtype: dns.TypeA, status: Insecure, nxdomain: true},
		{what: "no such type", name: "relay.internal.", qtype: dns.TypeAAAA, status: Insecure},
		{what: "an alias inside", name: "same.corp.example.com.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.66", aliases: []Status{Insecure}},
		{what: "an alias out, into a signed zone", name: "out.corp.example.com.", qtype: dns.TypeA, status: Insecure, content: "192.0.2.1", aliases: []Status{Insecure}},
		{what: "an alias in, from a signed zone", name: "in.example.com.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.1", aliases: []Status{Secure}},
		{what: "an alias in, from an unsigned zone", name: "in.plain.com.", qtype: dns.TypeA, status: Insecure, content: "203.0.113.1", aliases: []Status{Insecure}},
		{what: "a loop", name: "loop.corp.example.com.", qtype: dns.TypeMX, reason: AliasLoop},
		{what: "the zone above", name: "mx.example.com.", qtype: dns.TypeA, status: Secure, content: "192.0.2.1"},
		{what: "a name that ends alike", name: "xcorp.example.com.", qtype: dns.TypeA, status: Secure, nxdomain: true},
		{what: "beside relay.internal", name: "other.internal.", qtype: dns.TypeA, status: Secure, nxdomain: true},
		{what: "DS at the apex", name: "corp.example.com.", qtype: dns.TypeDS, status: Secure},
	} {
		t.Run("D14 "+tt.what, func(t *testing.T) {
			t.Parallel()
			n := newPrivateNet(t, records...)
			a, err := n.lookup(tt.name, tt.qtype, withPrivate(zones...))
			if tt.reason != 0 {
				if e, ok := err.(*Error); !ok || e.Reason != tt.reason {
					t.Errorf("error is %v, want %v", err, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var content string
			if len(a.Records) > 0 {
				content = a.Records[0].Content()
			}
			var aliases []Status
			for _, alias := range a.Aliases {
				aliases = append(aliases, alias.Status)
			}
			if a.Status != tt.status || content != tt.content || a.NXDomain != tt.nxdomain || !slices.Equal(aliases, tt.aliases) {
				t.Errorf("%+v, want %+v", a, tt)
			}
			n.checkAsked(t, zones)
		})
	}
}

// checkAsked checks that the server of the private zones was asked about their names
// only, and that no other server was asked about them.
func (n *privateNet) checkAsked(t *testing.T, zones []string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	for server, questions := range n.asked {
		for _, question := range questions {
			name, rtype, _ := strings.Cut(question, " ")
			isPrivate := slices.ContainsFunc(zones, func(zone string) bool {
				canonical, _ := proof.CanonicalName(zone)
				return proof.Below(name, canonical) || name == canonical && rtype != "DS"
			})
			if isPrivate != (server == privateServer) {
				t.Errorf("%s was asked for %s", server, question)
			}
		}
	}
}

// D14: the longest name counts, servers are optional, and without the configuration the
// same zone is bogus or does not exist.
func TestD14LongestPrivateZoneCounts(t *testing.T) {
	t.Parallel()
	n := newPrivateNet(t, "a.deep.corp.example.com. 60 IN A 203.0.113.9", "b.corp.example.com. 60 IN CNAME a.deep.corp.example.com.")
	n.zones["example.com."].add(t, "c.corp.example.com. 300 IN A 192.0.2.77")
	nested := func(c *Config) {
		c.PrivateZones = []PrivateZone{{Zone: "corp.example.com"}, {"deep.corp.example.com", []string{privateServer}}}
	}
	if a := n.expect(t, "a.deep.corp.example.com.", dns.TypeA, Insecure, nested); len(a.Records) != 1 {
		t.Errorf("the zone with the longest name is not asked: %+v", a)
	}
	if a := n.expect(t, "c.corp.example.com.", dns.TypeA, Insecure, nested); len(a.Records) != 1 {
		t.Errorf("a zone without servers: %+v", a)
	}
	n.checkAsked(t, []string{"deep.corp.example.com."})
	n.expect(t, "c.corp.example.com.", dns.TypeA, Secure)
	// Where the outer zone has an alias into the inner one, the inner servers decide.
	reversed := func(c *Config) {
		c.PrivateZones = []PrivateZone{{"corp.example.com", []string{privateServer}}, {Zone: "deep.corp.example.com"}}
	}
	if a := n.expect(t, "b.corp.example.com.", dns.TypeA, Insecure, reversed); !a.NXDomain {
		t.Errorf("records of another zone were accepted: %+v", a)
	}
}

// D14: no TLSA record is asked for in advance in a private zone below a signed one.
func TestD14NoLookupAheadInPrivateZone(t *testing.T) {
	t.Parallel()
	n := newPrivateNet(t)
	v := n.validator(withPrivate("corp.example.com"))
	if _, err := v.Lookup(t.Context(), "mx.example.com", TypeA); err != nil {
		t.Fatal(err)
	}
	if v.LookupAhead(t.Context(), v, "_25._tcp.mx.example.com", TypeTLSA) == nil {
		t.Error("the zone is not known to be signed")
	}
	if v.LookupAhead(t.Context(), v, "_25._tcp.relay.corp.example.com", TypeTLSA) != nil {
		t.Error("a private zone counts as signed")
	}
	n.settle()
}

// D14: a private zone that cannot be reached is an error, never an answer of the public
// servers.
func TestD14UnreachablePrivateZoneIsAnError(t *testing.T) {
	t.Parallel()
	n := newPrivateNet(t)
	honest := n.mangle
	n.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
		m = honest(server, network, m)
		if server == privateServer {
			m.Rcode = dns.RcodeServerFailure
		}
		return m
	}
	v := n.validator(withPrivate("corp.example.com"))
	a, err := v.Lookup(context.Background(), "relay.corp.example.com", TypeA)
	if e, ok := err.(*Error); !ok || e.Reason != ServerFailure || e.Server != privateServer {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := v.Lookup(context.Background(), "mx.example.com", TypeA); err != nil {
		t.Errorf("other names: %v", err)
	}
	n.settle()
	n.checkAsked(t, []string{"corp.example.com."})
}

// D14: New refuses private zones that would switch validation off for more than they
// are, or would do nothing.
func TestD14BadPrivateZonesAreRefused(t *testing.T) {
	t.Parallel()
	const anchor = "corp.example. DS 1 13 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"
	for _, tt := range []struct {
		what    string
		zones   []PrivateZone
		anchors string
		says    string // empty if New accepts it
	}{
		{"the root", []PrivateZone{{Zone: "."}}, "", "all names"},
		{"no name", []PrivateZone{{}}, "", "not a domain name"},
		{"a malformed name", []PrivateZone{{Zone: "a..b"}}, "", "not a domain name"},
		{"a wildcard", []PrivateZone{{Zone: "*.cluster.local"}}, "", "leave out"},
		{"an anchor", []PrivateZone{{Zone: "Corp.Example"}}, anchor, "trust anchor"},
		{"above an anchor", []PrivateZone{{Zone: "example"}}, anchor, "trust anchor"},
		{"below an anchor", []PrivateZone{{Zone: "lab.corp.example"}}, anchor, ""},
		{"beside an anchor", []PrivateZone{{Zone: "orp.example"}}, anchor, ""},
		{"twice", []PrivateZone{{Zone: "a.example"}, {Zone: "A.example."}}, "", "twice"},
		{"a bad server", []PrivateZone{{"a.example", []string{"resolver"}}}, "", "resolver"},
		{"onion", []PrivateZone{{Zone: "x.onion"}}, "", "special-use"},
		{"localhost, private root", []PrivateZone{{Zone: "localhost"}}, anchor, ""},
		{"public root, cluster.local", []PrivateZone{{Zone: "cluster.local"}}, "", ""},
	} {
		_, err := New(Config{Servers: []string{"192.0.2.53"}, Anchors: tt.anchors, PrivateZones: tt.zones})
		switch {
		case tt.says == "" && err != nil:
			t.Errorf("D14 %s: %v", tt.what, err)
		case tt.says != "" && err == nil:
			t.Errorf("D14 %s: accepted", tt.what)
		case tt.says != "":
			mentions(t, err, tt.says)
		}
	}
}
