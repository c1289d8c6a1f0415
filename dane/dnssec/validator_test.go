package dnssec

import (
	"encoding/base64"
	"testing"

	"github.com/miekg/dns"
)

func base64of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// mail returns a world with all kinds of zones and names that the tests need.
func mail(tb testing.TB) *world {
	w := newWorld(tb)
	w.zone("com.")
	w.zone("example.com.",
		"example.com. 300 IN MX 10 mx.example.com.",
		"mx.example.com. 300 IN A 192.0.2.1",
		"_25._tcp.mx.example.com. 300 IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"deep.ent.example.com. 300 IN A 192.0.2.2",
		"*.wild.example.com. 300 IN A 192.0.2.3",
		"alias.example.com. 300 IN CNAME mx.example.com.",
		"away.example.com. 300 IN CNAME mx.plain.com.",
		"old.example.com. 300 IN DNAME example.com.",
	)
	w.unsignedZone("plain.com.", "mx.plain.com. 300 IN A 192.0.2.4", "back.plain.com. 300 IN CNAME mx.example.com.")
	return w
}

func TestAnswersHaveStatusOfTheirZones(t *testing.T) {
	for _, denial := range []string{"NSEC", "NSEC3"} {
		t.Run(denial, func(t *testing.T) {
			t.Parallel()
			w := mail(t)
			for _, z := range w.zones {
				z.nsec3 = denial == "NSEC3"
			}
			tests := []struct {
				name    string
				qtype   uint16
				status  Status
				rcode   int
				records int
				aliases int
			}{
				{"example.com", dns.TypeMX, Secure, 0, 1, 0},
				{"mx.example.com", dns.TypeA, Secure, 0, 1, 0},
				{"mx.example.com", dns.TypeAAAA, Secure, 0, 0, 0},
				{"_25._tcp.mx.example.com", dns.TypeTLSA, Secure, 0, 1, 0},
				{"_26._tcp.mx.example.com", dns.TypeTLSA, Secure, dns.RcodeNameError, 0, 0},
				{"ent.example.com", dns.TypeA, Secure, 0, 0, 0},
				{"a.wild.example.com", dns.TypeA, Secure, 0, 1, 0},
				{"a.b.wild.example.com", dns.TypeA, Secure, 0, 1, 0},
				{"a.wild.example.com", dns.TypeTXT, Secure, 0, 0, 0},
				{"alias.example.com", dns.TypeA, Secure, 0, 1, 1},
				{"alias.example.com", dns.TypeCNAME, Secure, 0, 1, 0},
				{"away.example.com", dns.TypeA, Insecure, 0, 1, 1},
				{"back.plain.com", dns.TypeA, Insecure, 0, 1, 1},
				{"mx.old.example.com", dns.TypeA, Secure, 0, 1, 1},
				{"mx.old.example.com", dns.TypeCNAME, Secure, 0, 1, 0},
				{"mx.plain.com", dns.TypeA, Insecure, 0, 1, 0},
				{"mx.plain.com", dns.TypeTXT, Insecure, 0, 0, 0},
				{"none.plain.com", dns.TypeTXT, Insecure, dns.RcodeNameError, 0, 0},
				{"plain.com", dns.TypeDS, Secure, 0, 0, 0},
				{"example.com", dns.TypeDS, Secure, 0, 1, 0},
				{"none.example.com", dns.TypeDS, Secure, dns.RcodeNameError, 0, 0},
				{"none", dns.TypeA, Secure, dns.RcodeNameError, 0, 0},
				{".", dns.TypeDNSKEY, Secure, 0, 1, 0},
				{".", dns.TypeNS, Secure, 0, 1, 0},
			}
			for _, tt := range tests {
				a, err := w.lookup(tt.name, tt.qtype)
				if err != nil {
					t.Errorf("%s %s: %v", tt.name, dns.Type(tt.qtype), err)
					continue
				}
				if a.Status != tt.status || rcodeOf(a) != tt.rcode || len(a.Records) != tt.records || len(a.Aliases) != tt.aliases {
					t.Errorf("%s %s: got %+v", tt.name, dns.Type(tt.qtype), a)
				}
			}
		})
	}
}
