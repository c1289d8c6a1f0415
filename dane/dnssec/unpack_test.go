package dnssec

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The records that an answer needs are unpacked as the dns package does it, the
// others without data, and a message is as good or as broken for both.
func TestUnpack(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.zones["example.com."].nsec3 = true
	for _, q := range []question{
		{"mx.example.com.", dns.TypeA}, {"none.example.com.", dns.TypeTXT}, {"mx.old.example.com.", dns.TypeA},
		{"example.com.", dns.TypeDNSKEY}, {"plain.com.", dns.TypeDS}, {"example.com.", dns.TypeMX},
	} {
		m := w.reply(new(dns.Msg).SetQuestion(q.name, q.rtype))
		m.Rcode = dns.RcodeBadCookie // an extended one
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 9, ExtraText: "x"})
		foreign := rr(t, `x.example.com. 300 IN HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs.example.com.`)
		m.Ns = append(m.Ns, foreign)
		m.Extra = append(m.Extra, foreign)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for n := 12 + len(wireName(q.name)) + 4; n <= len(wire); n++ {
			want, got := new(dns.Msg), (*dns.Msg)(nil)
			wantErr := want.Unpack(wire[:n])
			got, gotErr := unpack(wire[:n], q.rtype)
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%v, %d octets: error %v, of the dns package %v", q, n, gotErr, wantErr)
			}
			if gotErr != nil {
				continue
			}
			isHIP := isType(dns.TypeHIP)
			for _, rr := range slices.DeleteFunc(slices.Concat(got.Ns, got.Extra), func(rr dns.RR) bool { return !isHIP(rr) }) {
				if bare, ok := rr.(*dns.RFC3597); !ok || bare.Hdr.Name != "x.example.com." || bare.Rdata != "" {
					t.Errorf("%v: kept %v", q, rr)
				}
			}
			for _, m := range []*dns.Msg{want, got} {
				m.Ns, m.Extra = without(m.Ns, isHIP), without(m.Extra, isHIP)
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
	q.Answer = []dns.RR{rr(t, name+" 300 IN A 192.0.2.1"), rr(t, "x. 300 IN HIP 2 20 AQ== y.")}
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
		t.Fatalf("the bomb is a dud: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	msg, err := unpack(bomb, dns.TypeA)
	runtime.ReadMemStats(&after)
	if err != nil || len(msg.Answer) != 2 {
		t.Fatalf("%v, %v", msg, err)
	}
	// Other tests wait while this one runs.
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<10 {
		t.Errorf("%d octets unpack to %d", len(bomb), took)
	}
}
