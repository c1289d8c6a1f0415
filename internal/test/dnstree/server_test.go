package dnstree

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func start(t testing.TB, tree *Tree) {
	t.Helper()
	if err := tree.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
}

// send sends a query over the network.
func send(t testing.TB, tree *Tree, network string, q *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: time.Minute}
	reply, _, err := client.Exchange(q, tree.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func question(name string, qtype uint16, size uint16, do bool) *dns.Msg {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	if size > 0 {
		q.SetEdns0(size, do)
	}
	return q
}

func TestLongRepliesAreTruncated(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	for _, test := range []struct {
		network   string
		size      uint16
		truncated bool
	}{
		{"udp", 0, true}, {"udp", 1232, true}, {"udp", 4096, false}, {"tcp", 0, false}, {"tcp", 1232, false},
	} {
		reply := send(t, tree, test.network, question("big.nsec.test", dns.TypeTXT, test.size, true))
		if reply.Truncated != test.truncated {
			t.Errorf("%s %d: TC is %t", test.network, test.size, reply.Truncated)
		}
		if test.network == "udp" && reply.Len() > max(512, int(test.size)) {
			t.Errorf("%s %d: %d octets", test.network, test.size, reply.Len())
		}
		if (reply.IsEdns0() != nil) != (test.size > 0) {
			t.Errorf("%s %d: OPT record %v", test.network, test.size, reply.IsEdns0())
		}
	}
}

// RFC 4035 section 3.2.1: replies to queries without DO contain DNSSEC records
// only if the query is for their type.
func TestDNSSECRecordsOnlyWithDO(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	for _, test := range []struct {
		name   string
		qtype  uint16
		do     bool
		dnssec bool
	}{
		{"nsec.test", dns.TypeMX, false, false}, {"nsec.test", dns.TypeMX, true, true},
		{"nope.nsec.test", dns.TypeMX, false, false}, {"nope.nsec3.test", dns.TypeMX, true, true},
		{"nsec.test", dns.TypeNSEC, false, false}, {"unsigned.test", dns.TypeMX, true, false},
	} {
		reply := tree.Exchange(question(test.name, test.qtype, 1232, test.do))
		found := false
		for _, rr := range append(reply.Answer, reply.Ns...) {
			found = found || isDNSSEC(rr, test.qtype)
		}
		if found != test.dnssec {
			t.Errorf("%s DO=%t: %v", test.name, test.do, reply)
		}
	}
}

func TestADOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	tree.Zone("island.test", WithoutDS).Add("@ MX 0 .")
	tree.Zone("unknown.test", Algorithm(200)).Add("@ MX 0 .")
	tree.Zone("below.unknown.test").Add("@ MX 0 .")
	for name, secure := range map[string]bool{
		"nsec.test": true, "nsec3.test": true, "unsigned.test": false, "island.test": false,
		"unknown.test": false, "below.unknown.test": false, "nope.optout.test": false,
		"out.nsec.test": true, "outunsigned.nsec.test": false, "lame.nsec.test": false,
	} {
		q := question(name, dns.TypeMX, 1232, true)
		if tree.Exchange(q).AuthenticatedData {
			t.Errorf("%s: AD without SetAD", name)
		}
		tree.SetAD(true)
		if tree.Exchange(q).AuthenticatedData != secure {
			t.Errorf("%s: AD is %t", name, !secure)
		}
		if tree.Exchange(question(name, dns.TypeMX, 0, false)).AuthenticatedData {
			t.Errorf("%s: AD without being asked for", name)
		}
		tree.SetAD(false)
	}
}

func TestFaultsOfServer(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	const name = "nsec.test"
	ask := func(network string) *dns.Msg {
		q := question(name, dns.TypeMX, 1232, true)
		if network == "" {
			return tree.Exchange(q)
		}
		return send(t, tree, network, q)
	}
	key := tree.zones["nsec.test."].keys[0].record
	sound := func(reply *dns.Msg) bool {
		sig, ok := reply.Answer[1].(*dns.RRSIG)
		return ok && sig.Verify(key, reply.Answer[:1]) == nil
	}
	for _, test := range []struct {
		name  string
		fault Fault
		want  func() bool
	}{
		{"drop", Drop, func() bool { return ask("") == nil }},
		{"servfail", ServFail, func() bool { r := ask("udp"); return r.Rcode == dns.RcodeServerFailure && len(r.Answer) == 0 }},
		{"bogus", Bogus, func() bool { r := ask("udp"); return len(r.Answer) == 2 && !sound(r) }},
		{"strip", Strip, func() bool { r := ask("udp"); return len(r.Answer) == 1 && r.Answer[0].Header().Rrtype == dns.TypeMX }},
		{"forge", Forge("nsec.test. MX 0 evil."), func() bool { r := ask("udp"); return len(r.Answer) == 1 && r.Answer[0].(*dns.MX).Mx == "evil." }},
		{"inject", Inject("nsec.test. MX 0 evil."), func() bool { r := ask("udp"); return len(r.Answer) == 3 && sound(r) }},
		{"truncate", Truncate, func() bool { return ask("udp").Truncated && !ask("tcp").Truncated && len(ask("tcp").Answer) == 2 }},
		{"elsewhere", nil, func() bool { return sound(ask("udp")) }},
	} {
		restore := tree.Break(At("elsewhere.test"), Drop)
		if test.fault != nil {
			restore = tree.Break(At(name, dns.TypeMX, dns.TypeA), test.fault)
		}
		if !test.want() {
			t.Errorf("%s: the fault does not show", test.name)
		}
		restore()
		if r := ask("udp"); !sound(r) {
			t.Errorf("%s: not restored: %v", test.name, r)
		}
	}
	defer tree.Break(Under("test", dns.TypeMX), Drop)()
	if ask("") != nil || tree.Exchange(question("mx.nsec.test", dns.TypeA, 0, false)) == nil {
		t.Error("Under")
	}
}

func TestRoundsAreCounted(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	defer tree.Slow(Everywhere, 200*time.Millisecond)()
	for range 2 {
		var wg sync.WaitGroup
		for _, name := range []string{"nsec.test", "nsec3.test", "test"} {
			wg.Go(func() { send(t, tree, "udp", question(name, dns.TypeDS, 0, false)) })
		}
		wg.Wait()
	}
	if n := tree.Rounds(); n != 2 {
		t.Errorf("%d rounds, want 2", n)
	}
	if n := tree.Count("NSEC.test", dns.TypeDS, dns.TypeA); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	if n := len(tree.Queries(Everywhere)); n != 6 {
		t.Errorf("%d queries, want 6", n)
	}
	tree.Reset()
	if tree.Rounds() != 0 || tree.Count("nsec.test") != 0 {
		t.Error("Reset left something")
	}
}

// Close does not wait for delayed replies.
func TestCloseWhileSlow(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	tree.Slow(Everywhere, time.Hour)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		tree.Exchange(question("test", dns.TypeA, 0, false))
	}()
	tree.Close()
	tree.Close()
	<-asked
}

// WriteTo writes a zone with all its records and signatures.
func TestWriteTo(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	for name, zone := range tree.zones {
		var file bytes.Buffer
		if _, err := zone.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(file.String(), "ns.lame"); zone.keys != nil && strings.Contains(name, "nsec.") && n == 0 {
			t.Errorf("%s: no glue", name)
		}
		var records []dns.RR
		parser := dns.NewZoneParser(&file, "", "")
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			records = append(records, rr)
		}
		if err := parser.Err(); err != nil || records[0].Header().Rrtype != dns.TypeSOA {
			t.Errorf("%s: %v", name, err)
		}
		var authoritative []dns.RR
		for _, rr := range records {
			if n := zone.index.nodes[rr.Header().Name]; n != nil && !n.cut {
				authoritative = append(authoritative, rr)
			}
		}
		if zone.keys != nil {
			verify(t, tree, authoritative)
		}
	}
}

// Queries, changes and faults can be concurrent.
func TestChangesDuringQueries(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	start(t, tree)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				send(t, tree, "udp", question("nope.nsec3.test", dns.TypeMX, 1232, true))
				tree.zones["nsec3.test."].Set("x TXT y")
				tree.Break(Everywhere, Bogus)()
			}
		})
	}
	wg.Wait()
}

func BenchmarkExchange(b *testing.B) {
	tree := newTestTree()
	for _, name := range []string{"mx.nsec.test", "nope.nsec.test", "nope.nsec3.test"} {
		b.Run(name, func(b *testing.B) {
			q := question(name, dns.TypeA, 1232, true)
			for b.Loop() {
				tree.Exchange(q)
			}
		})
	}
}
