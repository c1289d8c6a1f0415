package dane_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

// TLSA-8, OPS-2: the presentation form, whatever the values.
func TestParseRecord(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, numbers, acronyms string }{
		{"3 1 1 ab12", "3 1 1 ab12", "DANE-EE SPKI SHA2-256 ab12"},
		{"  2\t0 2\n AB 12\r\n cd ", "2 0 2 ab12cd", "DANE-TA Cert SHA2-512 ab12cd"},
		{"3 1 1 a b1 2", "3 1 1 ab12", "DANE-EE SPKI SHA2-256 ab12"},
		{"DANE-EE SPKI SHA2-256 ab", "3 1 1 ab", "DANE-EE SPKI SHA2-256 ab"},
		{"dane-ta cert full ab", "2 0 0 ab", "DANE-TA Cert Full ab"},
		{"PKIX-TA 1 SHA2-512 ab", "0 1 2 ab", "PKIX-TA SPKI SHA2-512 ab"},
		{"PKIX-EE 0 0 ab", "1 0 0 ab", "PKIX-EE Cert Full ab"},
		{"PrivCert PrivSel PrivMatch ab", "255 255 255 ab", "PrivCert PrivSel PrivMatch ab"},
		{"4 2 3 ab", "4 2 3 ab", "4 2 3 ab"},
	} {
		r, err := dane.ParseRecord(test.in)
		if err != nil {
			t.Errorf("ParseRecord(%q): %v", test.in, err)
			continue
		}
		if got := r.String(); got != test.numbers {
			t.Errorf("ParseRecord(%q).String() = %q, want %q", test.in, got, test.numbers)
		}
		if got := r.Acronyms(); got != test.acronyms {
			t.Errorf("ParseRecord(%q).Acronyms() = %q, want %q", test.in, got, test.acronyms)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "3", "3 1", "3 1 1", "3 1 1 ", "256 1 1 ab", "-1 1 1 ab", "3 +1 1 ab", "3 1 0x1 ab",
		"DANE 1 1 ab", "3 SHA2-256 1 ab", "3 1 1 a", "3 1 1 xy", "3 1 1 ab;", "3 1 1 \xff", "3 1 1 " + strings.Repeat("ab", 1<<16),
		strings.Repeat(" ", 1<<20) + "3 1 1 ab",
	} {
		if r, err := dane.ParseRecord(in); err == nil {
			t.Errorf("ParseRecord(%.40q) = %v, want an error", in, r)
		} else if !errors.Is(err, dane.ErrRecord) {
			t.Errorf("ParseRecord(%.40q): %v is not ErrRecord", in, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("ParseRecord(%.40q): the error has %d octets", in, len(err.Error()))
		}
	}
}

// Field note 27, TLSA-1: short or empty data.
func TestShortDataDoesNotPanic(t *testing.T) {
	t.Parallel()
	for _, r := range []dane.Record{{}, {Usage: 3, Selector: 1, MatchingType: 1}, {Usage: 3, Data: []byte{1}}, {Usage: 200, Selector: 200, MatchingType: 200}} {
		_, _ = r.String(), r.Acronyms()
		if usable := dane.Select([]dane.Record{r}); len(usable) != 0 {
			t.Errorf("%v counts as usable", r)
		}
		_, err := dane.Verify(testpki.Chain(testpki.SelfSigned(t, mxNames)), []dane.Record{r}, mxNames, testpki.Now)
		if err == nil || err.Error() == "" {
			t.Errorf("%v authenticates a server", r)
		}
	}
	if got := (dane.Record{Usage: 3, Selector: 1, MatchingType: 1}).String(); got != "3 1 1" {
		t.Errorf("a record without data prints as %q", got)
	}
}

// TLSA-1: the wire form.
func TestRDATA(t *testing.T) {
	t.Parallel()
	var r dane.Record
	for _, short := range [][]byte{nil, {3}, {3, 1}} {
		if r.UnmarshalBinary(short) == nil {
			t.Errorf("RDATA of %d octets is no error", len(short))
		}
	}
	if r.UnmarshalBinary(make([]byte, 1<<16)) == nil {
		t.Error("RDATA of 65536 octets is no error")
	}
	if err := r.UnmarshalBinary([]byte{3, 1, 1}); err != nil || r.String() != "3 1 1" {
		t.Errorf("RDATA without data: %v, %v", r, err)
	}
	rdata := []byte{3, 1, 2, 0xab, 0x12}
	if err := r.UnmarshalBinary(rdata); err != nil || r.String() != "3 1 2 ab12" {
		t.Errorf("got %v, %v", r, err)
	}
	rdata[3] = 0
	if r.Data[0] != 0xab {
		t.Error("the record shares the octets it was read from")
	}
	back, err := r.MarshalBinary()
	if err != nil || !bytes.Equal(back, []byte{3, 1, 2, 0xab, 0x12}) {
		t.Errorf("written as %x, %v", back, err)
	}
	if _, err := (dane.Record{Data: make([]byte, 1<<16)}).MarshalBinary(); err == nil {
		t.Error("a record that does not fit into RDATA is no error")
	}
}

func TestRecordMarshalText(t *testing.T) {
	t.Parallel()
	var r dane.Record
	if err := r.UnmarshalText([]byte("DANE-EE SPKI SHA2-256 ab")); err != nil {
		t.Fatal(err)
	}
	if text, err := r.MarshalText(); err != nil || string(text) != "3 1 1 ab" {
		t.Errorf("got %q, %v", text, err)
	}
	if r.UnmarshalText([]byte("3 1")) == nil || r.String() != "3 1 1 ab" {
		t.Error("a failed UnmarshalText is no error or changed the record")
	}
}

func TestFromTLSA(t *testing.T) {
	t.Parallel()
	record, err := dnssec.ParseRecord("_25._tcp.mx.example.org. 3600 IN TLSA 3 1 1 AB12")
	if err != nil {
		t.Fatal(err)
	}
	tlsa, ok := record.TLSA()
	r := dane.FromTLSA(tlsa)
	if !ok || r.String() != "3 1 1 ab12" {
		t.Errorf("got %v", r)
	}
	r.Data[0] = 0
	if tlsa.Data[0] != 0xab {
		t.Error("the record shares its data with the resolver's answer")
	}
	// A record with unknown values is a record, and unusable.
	odd := dane.FromTLSA(dnssec.TLSA{Usage: 3, Selector: 1, MatchingType: 1})
	if odd.String() != "3 1 1" || len(dane.Select([]dane.Record{odd})) != 0 {
		t.Errorf("got %v", odd)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("3 1 1 ab12")
	f.Add("DANE-TA Cert Full 30 00")
	f.Add("255 255 255 \tff")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := dane.ParseRecord(s)
		if err != nil {
			return
		}
		for _, text := range []string{r.String(), r.Acronyms()} {
			again, err := dane.ParseRecord(text)
			if err != nil || again.String() != r.String() {
				t.Fatalf("%q is read as %q and that as %v, %v", s, text, again, err)
			}
		}
		var wired dane.Record
		rdata, err := r.MarshalBinary()
		if err != nil || wired.UnmarshalBinary(rdata) != nil || wired.String() != r.String() {
			t.Fatalf("%q does not survive the wire", s)
		}
		dane.Select([]dane.Record{r})
	})
}
