package dnssec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestTypesHaveTheirNames(t *testing.T) {
	t.Parallel()
	for typ, want := range map[Type]string{
		TypeA: "A", TypeNS: "NS", TypeCNAME: "CNAME", TypeSOA: "SOA", TypePTR: "PTR", TypeMX: "MX", TypeTXT: "TXT",
		TypeAAAA: "AAAA", TypeSRV: "SRV", TypeDNAME: "DNAME", TypeDS: "DS", TypeRRSIG: "RRSIG", TypeNSEC: "NSEC",
		TypeDNSKEY: "DNSKEY", TypeNSEC3: "NSEC3", TypeTLSA: "TLSA", 65280: "TYPE65280",
	} {
		if typ.String() != want {
			t.Errorf("type %d is %v, want %s", uint16(typ), typ, want)
		}
	}
}

// RFC 1035 section 3.3, RFC 3596 section 2.2, RFC 6698 section 2.1: each
// accessor reads the data of its type and of no other.
func TestAccessorsReadOnlyTheirType(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a. 60 IN A 192.0.2.1":                "addr 192.0.2.1",
		"a. 60 IN AAAA 2001:db8::1":           "addr 2001:db8::1",
		"a. 60 IN AAAA ::ffff:192.0.2.1":      "addr ::ffff:192.0.2.1",
		"a. 60 IN MX 10 MX.example.org.":      "mx 10 MX.example.org.",
		`a. 60 IN MX 65535 a\.b.example.org.`: `mx 65535 a\.b.example.org.`,
		"a. 60 IN MX 0 .":                     "mx 0 .",
		"a. 60 IN TLSA 3 1 1 ab12":            "tlsa 3 1 1 ab12",
		`a. 60 IN TXT "v=STSv1; " "id=1;"`:    `txt "v=STSv1; id=1;"`,
		`a. 60 IN TXT ""`:                     `txt ""`,
		`a. 60 IN TXT "\"\\\255"`:             `txt "\"\\\xff"`,
		"a. 60 IN CNAME b.":                   "",
		`a. 60 IN TYPE65280 \# 2 abcd`:        "",
	} {
		if got := accessed(record(t, text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := accessed(Record{}); got != "" {
		t.Errorf("the zero Record: %s", got)
	}
}

// No accessor accepts malformed data.
func TestAccessorsRefuseMalformedData(t *testing.T) {
	t.Parallel()
	for _, r := range []Record{
		{Type: TypeA}, {Type: TypeA, Data: make([]byte, 3)}, {Type: TypeA, Data: make([]byte, 16)},
		{Type: TypeAAAA, Data: make([]byte, 4)}, {Type: TypeAAAA, Data: make([]byte, 17)},
		{Type: TypeMX}, {Type: TypeMX, Data: []byte{0, 10}}, {Type: TypeMX, Data: []byte{0, 10, 5, 'a'}},
		{Type: TypeMX, Data: []byte{0, 10, 0, 0}}, {Type: TypeMX, Data: []byte{0, 10, 0xc0, 2}}, {Type: TypeMX, Data: []byte{0, 10, 0xc0, 0}},
		{Type: TypeTLSA, Data: []byte{3, 1}},
		{Type: TypeTXT}, {Type: TypeTXT, Data: []byte{2, 'a'}},
	} {
		if got := accessed(r); got != "" {
			t.Errorf("%v: %s", r, got)
		}
		if text := r.String(); !strings.Contains(text, `\# `) || !isPrintable(text) {
			t.Errorf("%#v: %q", r, text)
		}
	}
}

func TestRecordIsWrittenAsZoneText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Example.org. 3600 IN MX 10 mx.example.org.": "Example.org. 3600 IN MX 10 mx.example.org.",
		"example.org. A 192.0.2.1":                   "example.org. 3600 IN A 192.0.2.1",
		`a\ b. 60 IN TXT "tab \009 and \255"`:        `a\ b. 60 IN TXT "tab \009 and \255"`,
		"a. 60 IN TLSA 3 1 1 AB12":                   "a. 60 IN TLSA 3 1 1 ab12",
		`a. 60 IN TYPE65280 \# 2 ABCD`:               `a. 60 IN TYPE65280 \# 2 abcd`,
		`a. 60 IN TYPE65280 \# 0`:                    `a. 60 IN TYPE65280 \# 0`,
	} {
		if got := record(t, text).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := (Record{Name: "a\x1b\n.", Type: TypeA, TTL: 1500 * time.Millisecond, Data: []byte{192, 0, 2, 1}}).String(); got != `a\x1b\n. 1 IN A 192.0.2.1` {
		t.Errorf("got %q", got)
	}
}

func TestParseRecordRefusesOtherText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "; nothing", "a. 60 IN A", "a. 60 IN A 192.0.2", "a. 60 CH TXT x", "a..b. 60 IN A 192.0.2.1",
		"a. 60 IN A 192.0.2.1\nb. 60 IN A 192.0.2.2", "$INCLUDE /dev/null", "$GENERATE 1-2 $ A 192.0.2.1",
	} {
		if r, err := ParseRecord(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is read as %v, error %v", text, r, err)
		}
	}
}

// FuzzRecord reads arbitrary data as a record of any type. No accessor panics, the
// text is one printable line, and it parses to the same data.
func FuzzRecord(f *testing.F) {
	for _, text := range []string{
		"a. 60 IN A 192.0.2.1", "a. 60 IN AAAA 2001:db8::1", "a. 60 IN MX 10 mx.example.org.", "a. 60 IN TLSA 3 1 1 ab12",
		`a. 60 IN TXT "v=STSv1; " "id=1;"`, "a. 60 IN SOA a. b. 1 2 3 4 5", "a. 60 IN NSEC b. A MX", `a. 60 IN CAA 0 issue "ca.example"`,
	} {
		r := record(f, text)
		f.Add(uint16(r.Type), r.Name, r.Data)
	}
	f.Fuzz(func(t *testing.T, rtype uint16, name string, data []byte) {
		if len(data) > 1<<16-1 {
			return
		}
		r := Record{Name: name, Type: Type(rtype), TTL: time.Minute, Data: data}
		accessed(r)
		if text := r.String(); !isPrintable(text) {
			t.Fatalf("%q", text)
		}
		again, err := ParseRecord("a. 60 IN " + r.Type.String() + " " + r.Content())
		if err == nil && accessed(r) != "" && accessed(again) != accessed(r) {
			t.Fatalf("%s became %s", accessed(r), accessed(again))
		}
	})
}

// accessed returns the results of the accessors of a record. At most one may
// succeed.
func accessed(r Record) string {
	var found []string
	if addr, ok := r.Addr(); ok {
		found = append(found, "addr "+addr.String())
	}
	if mx, ok := r.MX(); ok {
		found = append(found, fmt.Sprintf("mx %d %s", mx.Preference, mx.Host))
	}
	if tlsa, ok := r.TLSA(); ok {
		found = append(found, fmt.Sprintf("tlsa %d %d %d %x", tlsa.Usage, tlsa.Selector, tlsa.MatchingType, tlsa.Data))
	}
	if txt, ok := r.TXT(); ok {
		found = append(found, fmt.Sprintf("txt %q", txt))
	}
	return strings.Join(found, ", ")
}

func isPrintable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// D20: a backslash in the text of a record is data like any other. The signature covers
// what was published, Data holds it, and what String shows is never read back as something
// else.
func TestD20BackslashesAreData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	z := w.zone("com.")
	v := w.validator()
	for i, tt := range []struct {
		text string // \092 is a backslash
		data string
	}{
		{`CAA 0 issue "a\092b"`, "\x00\x05issuea\\b"},
		{`CAA 0 issue "\092\092\092048"`, "\x00\x05issue\\\\\\048"},
		{`CAA 0 issue "a\092"`, "\x00\x05issuea\\"},
		{`URI 1 2 "a\092;b\092"`, "\x00\x01\x00\x02a\\;b\\"},
		{`TXT "a\092b" "\092"`, "\x03a\\b\x01\\"},
		{`SPF "a\092\092b"`, "\x04a\\\\b"},
		{`HINFO "a\092" "\092b"`, "\x02a\\\x02\\b"},
		{`NAPTR 1 2 "\092" "a\092" "\092\092" b.`, "\x00\x01\x00\x02\x01\\\x02a\\\x02\\\\\x01b\x00"},
	} {
		name := fmt.Sprintf("x%d.com.", i)
		w.settle() // questions of the lookup before may still be answered
		z.add(t, name+" 300 IN "+tt.text)
		rtype := dns.StringToType[strings.Fields(tt.text)[0]]
		a, err := v.Lookup(t.Context(), name, Type(rtype))
		if err != nil || a.Status != Secure || len(a.Records) != 1 {
			t.Errorf("%.50s: %+v, %v", tt.text, a, err)
			continue
		}
		if got := string(a.Records[0].Data); got != tt.data {
			t.Errorf("%.50s: the data is %q; want %q", tt.text, got, tt.data)
		}
		shown := a.Records[0].String()
		again, err := ParseRecord(shown)
		if hex := strings.Contains(shown, `\#`); (err != nil) != hex || err == nil && string(again.Data) != tt.data {
			t.Errorf("%s: %q is read back as %q, %v", tt.text, shown, again.Data, err)
		}
		if same, err := ParseRecord(name + " 300 IN " + tt.text); err != nil || string(same.Data) != tt.data {
			t.Errorf("%s is read as %q, %v", tt.text, same.Data, err)
		}
	}
}
