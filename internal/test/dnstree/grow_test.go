package dnstree

import (
	"net"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// A zone between two others takes over the delegation, whenever it is added.
func TestZoneBetween(t *testing.T) {
	t.Parallel()
	tree := New()
	tree.Zone("a.b.test").Add("@ TXT x")
	if reply := query(tree, "a.b.test", dns.TypeDS); len(reply.Answer) != 2 || reply.Answer[1].(*dns.RRSIG).SignerName != "." {
		t.Fatalf("DS of a.b.test from the root: %v", reply)
	}
	for _, zone := range []string{"test.", "b.test."} {
		tree.Zone(zone)
		reply := query(tree, "a.b.test", dns.TypeDS)
		if len(reply.Answer) != 2 || reply.Answer[1].(*dns.RRSIG).SignerName != zone {
			t.Errorf("DS of a.b.test after adding %s: %v", zone, reply)
		}
	}
	if reply := query(tree, "b.test", dns.TypeDS); len(reply.Answer) != 2 || reply.Answer[1].(*dns.RRSIG).SignerName != "test." {
		t.Errorf("DS of b.test: %v", reply)
	}
	if reply := query(tree, "test", dns.TypeDS); len(reply.Answer) != 2 || reply.Answer[1].(*dns.RRSIG).SignerName != "." {
		t.Errorf("DS of test: %v", reply)
	}
	if _, left := tree.zones["."].delegations["a.b.test."]; left {
		t.Error("the root still delegates to a.b.test")
	}
}

// C14: a new zone costs nothing in zones other than the one that delegates to it,
// and a zone knows its delegations without a search.
func TestC14ZonesAreIndependent(t *testing.T) {
	t.Parallel()
	tree := New()
	tree.Zone("test")
	one := tree.Zone("one.test")
	query(tree, "one.test", dns.TypeTXT)
	query(tree, "test", dns.TypeTXT)
	query(tree, ".", dns.TypeTXT)
	before := one.index
	tree.Zone("two.test")
	if one.index == nil || one.index != before || tree.zones["."].index == nil {
		t.Error("the zone beside the new one, or the root, was discarded")
	}
	if tree.zones["test."].index != nil {
		t.Error("the zone above the new one was not changed")
	}
	if n := len(tree.zones["test."].delegations); n != 2 {
		t.Errorf("%d delegations, want 2", n)
	}
	tree.Prepare()
	if tree.zones["test."].index == nil || tree.zones["two.test."].index != nil {
		t.Error("Prepare is for zones with delegations")
	}
}

func TestListenAnswersOverSockets(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	second, err := tree.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if second == tree.Addr() {
		t.Error("there is no second address")
	}
	if _, err := tree.Listen(second); err == nil {
		t.Error("an address was served twice")
	}
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network}
		reply, _, err := client.Exchange(question("mx.nsec.test", dns.TypeA, 0, false), second)
		if err != nil || len(reply.Answer) != 1 {
			t.Errorf("%s: %v %v", network, reply, err)
		}
	}
	if n := tree.Count("mx.nsec.test"); n != 2 {
		t.Errorf("%d queries, want 2", n)
	}
	tree.Close()
	if c, err := net.Dial("tcp", second); err == nil {
		c.Close()
		t.Error("the second address is served after Close")
	}
}

// The function of a resolver sees the reply with its faults, and what the client
// asked for.
func TestListenResolver(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	tree.Break(At("other.test"), Forge("other.test. TXT forged"))
	questions := make(chan Query, 1)
	addr, err := tree.ListenResolver("127.0.0.1:0", func(q Query, reply []byte) []byte {
		questions <- q
		return edit(func(_ Query, reply *dns.Msg) { reply.AuthenticatedData = true })(q, reply)
	})
	if err != nil {
		t.Fatal(err)
	}
	q := question("other.test", dns.TypeTXT, 1232, true)
	q.AuthenticatedData = true
	client := new(dns.Client)
	reply, _, err := client.Exchange(q, addr)
	if err != nil || !reply.AuthenticatedData || !slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool {
		txt, ok := rr.(*dns.TXT)
		return ok && txt.Txt[0] == "forged"
	}) {
		t.Errorf("%v %v", reply, err)
	}
	if want := (Query{Name: "other.test.", Type: dns.TypeTXT, Transport: "udp", DO: true, AD: true}); len(questions) != 1 {
		t.Errorf("%d questions", len(questions))
	} else if asked := <-questions; asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
	if n := tree.Count("other.test"); n != 0 {
		t.Errorf("%d queries were counted", n)
	}
	q.Opcode = dns.OpcodeNotify
	if reply, _, err := client.Exchange(q, addr); err != nil || reply.Rcode != dns.RcodeNotImplemented {
		t.Errorf("NOTIFY: %v %v", reply, err)
	}
}
