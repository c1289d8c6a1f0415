package upstream

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// FuzzReadReply reads arbitrary bytes as the reply to the question that they hold.
// What is accepted answers that question and has no more records than the limit. It has
// none if it is truncated or has no question.
func FuzzReadReply(f *testing.F) {
	for _, wire := range dnsdata.Replies(f) {
		f.Add(wire)
		f.Add(wire[:len(wire)/2])
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 512
		asked := Question{Name: "example.com.", Type: dns.TypeA}
		if msg := new(dns.Msg); msg.Unpack(wire) == nil && len(msg.Question) == 1 {
			asked = Question{Name: dns.CanonicalName(msg.Question[0].Name), Type: msg.Question[0].Qtype}
		}
		query, err := newQuery(asked, false)
		if err != nil || len(wire) < 2 {
			return
		}
		query.setID(uint16(wire[0])<<8 | uint16(wire[1]))
		m, problem := readReply(wire, query, limit)
		if problem != nil {
			return
		}
		n := len(m.Answer) + len(m.Ns) + len(m.Extra)
		if n > limit || n > 0 && (m.Truncated || len(m.Question) != 1) {
			t.Fatalf("%d records", n)
		}
		if len(m.Question) == 0 && !m.Truncated && !saysNothing(m.Rcode) {
			t.Fatalf("%s without a question", dns.RcodeToString[m.Rcode])
		}
		if len(m.Question) == 1 && dns.CanonicalName(m.Question[0].Name) != asked.Name {
			t.Fatalf("a reply to %v, asked for %v", m.Question, asked)
		}
	})
}
