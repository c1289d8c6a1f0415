package upstream

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
		for _, name := range []string{".", "mx.example.com.", `a\.b\255\\.example.`} {
			q := Question{Name: name, Type: dns.TypeTLSA}
			query, err := newQuery(q, wantAD)
			if err != nil {
				t.Fatal(err)
			}
			want := new(dns.Msg).SetQuestion(q.Name, q.Type)
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
		if _, err := newQuery(Question{Name: long + ".", Type: dns.TypeTLSA}, wantAD); err == nil {
			t.Error("a label of 125 octets is sent")
		}
	}
}
