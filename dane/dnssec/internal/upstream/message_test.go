package upstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// Records that an answer needs are unpacked like the dns package does, and others
// without their data. Both accept and refuse the same messages.
func TestUnpack(t *testing.T) {
	t.Parallel()
	const sig = "8 2 300 20300101000000 20200101000000 1 example.com. AwEAAaz/"
	for _, tt := range []struct {
		q                 Question
		answer, authority []string
	}{
		{Question{Name: "mx.example.com.", Type: dns.TypeA}, []string{"mx.example.com. 300 IN A 192.0.2.1", "mx.example.com. 300 IN RRSIG A " + sig}, nil},
		{Question{Name: "none.example.com.", Type: dns.TypeTXT}, nil, []string{
			"example.com. 300 IN SOA ns.example.com. host.example.com. 1 2 3 4 5", "example.com. 300 IN RRSIG SOA " + sig,
			"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.com. 300 IN NSEC3 1 1 12 AABB 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S A RRSIG",
			"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.com. 300 IN RRSIG NSEC3 " + sig,
		}},
		{Question{Name: "mx.old.example.com.", Type: dns.TypeA}, []string{
			"old.example.com. 300 IN DNAME new.example.com.", "old.example.com. 300 IN RRSIG DNAME " + sig,
			"mx.old.example.com. 300 IN CNAME mx.new.example.com.", "mx.new.example.com. 300 IN A 192.0.2.3",
		}, nil},
		{Question{Name: "example.com.", Type: dns.TypeDNSKEY}, []string{"example.com. 300 IN DNSKEY 257 3 8 AwEAAaz/tAm8", "example.com. 300 IN RRSIG DNSKEY " + sig}, nil},
		{Question{Name: "plain.com.", Type: dns.TypeDS}, nil, []string{"plain.com. 300 IN NSEC x.com. NS RRSIG NSEC", "plain.com. 300 IN RRSIG NSEC " + sig}},
		{Question{Name: "example.com.", Type: dns.TypeMX}, []string{"example.com. 300 IN MX 10 mx.example.com.", "example.com. 300 IN MX 20 mx2.example.com."}, nil},
	} {
		q := tt.q
		m := new(dns.Msg).SetQuestion(q.Name, q.Type)
		m.Response = true
		m.SetEdns0(udpSize, true)
		for _, text := range tt.answer {
			m.Answer = append(m.Answer, dnsdata.RR(t, text))
		}
		for _, text := range tt.authority {
			m.Ns = append(m.Ns, dnsdata.RR(t, text))
		}
		m.Rcode = dns.RcodeBadCookie // an extended one
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 9, ExtraText: "x"})
		foreign := dnsdata.RR(t, `x.example.com. 300 IN HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs.example.com.`)
		m.Ns = append(m.Ns, foreign)
		m.Extra = append(m.Extra, foreign)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for n := 12 + len(q.Name) + 1 + 4; n <= len(wire); n++ {
			want, got := new(dns.Msg), (*dns.Msg)(nil)
			wantErr := want.Unpack(wire[:n])
			got, _, gotErr := unpack(wire[:n], Question{Type: q.Type})
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%v, %d octets: error %v, of the dns package %v", q, n, gotErr, wantErr)
			}
			if gotErr != nil {
				continue
			}
			isHIP := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeHIP }
			for _, rr := range slices.DeleteFunc(slices.Concat(got.Ns, got.Extra), func(rr dns.RR) bool { return !isHIP(rr) }) {
				if bare, ok := rr.(*dns.RFC3597); !ok || bare.Hdr.Name != "x.example.com." || bare.Rdata != "" {
					t.Errorf("%v: kept %v", q, rr)
				}
			}
			for _, m := range []*dns.Msg{want, got} {
				m.Ns, m.Extra = slices.DeleteFunc(m.Ns, isHIP), slices.DeleteFunc(m.Extra, isHIP)
			}
			if want.String() != got.String() {
				t.Errorf("%v, %d octets:\n%v\nof the dns package\n%v", q, n, got, want)
			}
		}
	}
}

// A reply of 64 KiB with a HIP record of 32,000 compressed names, each of which
// unpacks to a thousand octets.
func TestUnpackBomb(t *testing.T) {
	q := new(dns.Msg).SetQuestion("mx.example.com.", dns.TypeA)
	q.Response = true
	name := strings.Repeat(strings.Repeat(`\001`, 63)+".", 3) + strings.Repeat(`\001`, 61) + "."
	q.Answer = []dns.RR{dnsdata.RR(t, name+" 300 IN A 192.0.2.1"), dnsdata.RR(t, "x. 300 IN HIP 2 20 AQ== y.")}
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(wire, []byte{63, 1, 1})
	end := len(wire) - 3 // the name y.
	bomb := append(wire[:end:end], bytes.Repeat(binary.BigEndian.AppendUint16(nil, 0xc000|uint16(at)), (65535-end)/2)...)
	length := bytes.LastIndex(wire, []byte{0, byte(dns.TypeHIP), 0, dns.ClassINET}) + 8
	binary.BigEndian.PutUint16(bomb[length:], uint16(len(bomb)-length-2))
	if err := new(dns.Msg).Unpack(bomb); err != nil {
		t.Fatalf("the message does not unpack: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	msg, _, err := unpack(bomb, Question{Type: dns.TypeA})
	runtime.ReadMemStats(&after)
	if err != nil || len(msg.Answer) != 2 {
		t.Fatalf("%v, %v", msg, err)
	}
	// Not parallel with other tests.
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<10 {
		t.Errorf("%d octets unpack to %d", len(bomb), took)
	}
}

// The buffer for datagrams is reused, so a message must not refer to it.
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
		m.Answer = append(m.Answer, dnsdata.RR(t, "example. 60 IN "+text))
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	query, err := newQuery(Question{Name: "example.", Type: dns.TypeTXT}, false)
	if err != nil {
		t.Fatal(err)
	}
	query.setID(m.Id)
	read, problem := readReply(wire, query, 512)
	if problem != nil {
		t.Fatal(problem)
	}
	before := read.String()
	for i := range wire {
		wire[i] ^= 0xff
	}
	if after := read.String(); after != before {
		t.Errorf("%s\nbecomes\n%s", before, after)
	}
}

// D11: the memory of a message is not underestimated, whatever its records are, and a
// bound on it holds.
func TestD11MemoryIsNotUnderestimated(t *testing.T) { // not parallel with other tests
	var all []string
	for i := range 1 << 16 {
		all = append(all, fmt.Sprintf("TYPE%d", i))
	}
	long := strings.Repeat(strings.Repeat(`\001`, 60)+".", 4)
	for what, record := range map[string]string{
		"bitmaps":   "example. 300 IN NSEC x.example. " + strings.Join(all, " "),
		"addresses": "example. 300 IN A 192.0.2.1",
		"names":     long + " 300 IN NS " + long,
		"keys":      "example. 300 IN DNSKEY 257 3 8 " + strings.Repeat("AwEAAaz/", 60),
	} {
		rr, err := dns.NewRR(record)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg).SetQuestion("example.", rr.Header().Rrtype)
		m.Response, m.Compress = true, true
		for m.Answer = append(m.Answer, rr); m.Len() < 40000 && len(m.Answer) < 400; {
			m.Answer = append(m.Answer, dns.Copy(rr))
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		q := Question{Name: "example.", Type: rr.Header().Rrtype}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		msg, memory, err := unpack(wire, q)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap := int(after.HeapAlloc) - int(before.HeapAlloc)
		t.Logf("%s: %d octets of wire take %d, estimated %d", what, len(wire), heap, memory)
		if heap > memory+memory/8+4096 {
			t.Errorf("%s: %d octets of wire take %d, estimated %d", what, len(wire), heap, memory)
		}
		runtime.KeepAlive(msg)
		q.Memory = memory - 1
		if _, _, err := unpack(wire, q); err != errTooLarge {
			t.Errorf("%s: beyond the bound: %v", what, err)
		}
	}
}
