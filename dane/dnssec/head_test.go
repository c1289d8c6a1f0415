package dnssec

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// D3: a reply that is truncated inside a record, or has nothing but its header, leads to
// TCP at once. Its records do not count, and its ID and question do.
func TestD3TruncatedRecordLeadsToTCP(t *testing.T) {
	t.Parallel()
	for what, cut := range map[string]func(m *dns.Msg, wire []byte) []byte{
		"D3 inside a record": func(_ *dns.Msg, wire []byte) []byte { return wire[:len(wire)-len(wire)/3] },
		"D3 header and question": func(m *dns.Msg, wire []byte) []byte {
			return wire[:12+len(m.Question[0].Name)+1+4]
		},
		"D3 header only": func(_ *dns.Msg, wire []byte) []byte { return append(wire[:4:4], make([]byte, 8)...) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				overUDP := true
				w.mangle = func(_, network string, m *dns.Msg) *dns.Msg { overUDP = network == "udp"; return m }
				w.raw = func(m *dns.Msg) [][]byte {
					m.Truncated = overUDP
					wire, _ := m.Pack()
					if !overUDP {
						return [][]byte{wire}
					}
					stray := cut(m, append([]byte(nil), wire...))
					binary.BigEndian.PutUint16(stray, m.Id+1)
					return [][]byte{stray, cut(m, wire)}
				}
				began := time.Now()
				w.expect(t, "mx.example.com", dns.TypeA, Secure)
				if took := time.Since(began); took != 0 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// D4: an error code without the question ends the attempt at once. Nothing else in such a
// reply is used, and without an error code it is dropped.
func TestD4ErrorWithoutQuestionEndsAttempt(t *testing.T) {
	t.Parallel()
	for rcode, reason := range map[int]Reason{
		dns.RcodeServerFailure:  ServerFailure,
		dns.RcodeRefused:        Refused,
		dns.RcodeNotImplemented: OtherRcode,
		dns.RcodeFormatError:    OtherRcode,
		dns.RcodeNameError:      0,
		dns.RcodeSuccess:        0,
	} {
		t.Run("D4 "+dns.RcodeToString[rcode], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
					if server == "192.0.2.1:53" {
						m.Rcode = rcode
						m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 6, ExtraText: "forged"}}
						m.Question, m.Ns = nil, nil
						m.Answer = []dns.RR{dnsdata.RR(t, "mx.example.com. 300 IN A 203.0.113.66")}
					}
					return m
				}
				began := time.Now()
				a := w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} })
				if len(a.Records) != 1 {
					t.Fatalf("records %v", a.Records)
				}
				if addr, _ := a.Records[0].Addr(); addr.String() == "203.0.113.66" {
					t.Errorf("the address %v is used", addr)
				}
				if took := time.Since(began); (took == 0) != (reason != 0) {
					t.Errorf("took %v", took)
				}
				if reason == 0 {
					return
				}
				w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
					m.Rcode, m.Question = rcode, nil
					m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 6, ExtraText: "forged"}}
					return m
				}
				if e := w.expectError(t, "mx.example.com", dns.TypeA, reason); len(e.Extended) > 0 {
					t.Errorf("extended errors %v", e.Extended)
				}
			})
		})
	}
}
