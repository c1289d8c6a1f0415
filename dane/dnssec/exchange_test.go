package dnssec

import (
	"reflect"
	"testing"

	"github.com/miekg/dns"
)

// A query is what the dns package makes of the same question.
func TestQueryForm(t *testing.T) {
	t.Parallel()
	long := ""
	for len(long) < 250 {
		long += `\000\.`
	}
	for _, wantAD := range []bool{false, true} {
		c := &client{wantAD: wantAD}
		for _, name := range []string{".", "mx.example.com.", `a\.b\255\\.example.`} {
			q := question{name, dns.TypeTLSA}
			query, err := c.newQuery(q)
			if err != nil {
				t.Fatal(err)
			}
			want := new(dns.Msg).SetQuestion(q.name, q.rtype)
			want.Id = query.id()
			want.CheckingDisabled, want.AuthenticatedData = !wantAD, wantAD
			want.SetEdns0(udpSize, !wantAD)
			wire, err := want.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(query.datagram(), wire) {
				t.Errorf("%s: %x, want %x", name, query.datagram(), wire)
			}
			if n := int(query.stream()[0])<<8 | int(query.stream()[1]); n != len(wire) {
				t.Errorf("%s: length %d in front of %d octets", name, n, len(wire))
			}
		}
		if _, err := c.newQuery(question{long + ".", dns.TypeTLSA}); err == nil {
			t.Error("a label of 125 octets is sent")
		}
	}
}

// What datagrams are read into is used again: a message must keep nothing of
// it, whatever is in it.
func TestMessagesKeepNothingOfTheBuffer(t *testing.T) {
	t.Parallel()
	m := new(dns.Msg).SetQuestion("example.", dns.TypeTXT)
	m.Response = true
	m.SetEdns0(udpSize, true)
	m.IsEdns0().Option = []dns.EDNS0{
		&dns.EDNS0_EDE{InfoCode: 6, ExtraText: "why"}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "aabb"},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "24a5ac1223344556"}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1, 2}},
		&dns.EDNS0_DAU{Code: dns.EDNS0DAU, AlgCode: []uint8{8, 13}}, &dns.EDNS0_PADDING{Padding: []byte{5, 6, 7}},
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{192, 0, 2, 0}},
	}
	for _, text := range []string{
		"A 192.0.2.1", "AAAA 2001:db8::1", "NS ns.example.", "SOA ns.example. host.example. 1 2 3 4 5", `TXT "a\000" b`, "MX 1 mx.example.",
		"SRV 1 2 3 host.example.", "TLSA 3 1 1 aabb", "SSHFP 1 1 aabb", "DS 1 8 2 aabb", "DNSKEY 257 3 8 AwEAAaz/tAm8", "CAA 0 issue ca.example",
		"RRSIG A 8 1 60 20300101000000 20200101000000 1 example. AwEAAaz/", "NSEC a.example. A RRSIG", "CERT 1 2 3 AwEA", "LOC 1 N 1 E 1m",
		"NSEC3 1 0 1 aabb 2t7b4g4vsa5smi47k61mv5bv1a22bojr A", "NSEC3PARAM 1 0 1 aabb", `NAPTR 1 2 "s" "t" "" host.example.`, "APL 1:192.0.2.0/24",
		"HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 ech=AwEA", "SMIMEA 3 1 1 aabb", "OPENPGPKEY AwEA", "URI 1 2 https://a.example",
		`TYPE65001 \# 3 010203`, "EUI48 00-00-5e-00-53-2a", "HINFO a b", "IPSECKEY 10 1 2 192.0.2.38 AwEA", "CSYNC 1 3 A NS", "ZONEMD 1 1 1 aabbccdd",
	} {
		m.Answer = append(m.Answer, rr(t, "example. 60 IN "+text))
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{limit: 512}
	query, err := c.newQuery(question{"example.", dns.TypeTXT})
	if err != nil {
		t.Fatal(err)
	}
	query.setID(m.Id)
	read, err := c.readReply(wire, query)
	if err != nil {
		t.Fatal(err)
	}
	before := read.String()
	for i := range wire {
		wire[i] ^= 0xff
	}
	if after := read.String(); after != before {
		t.Errorf("%s\nbecomes\n%s", before, after)
	}
}
