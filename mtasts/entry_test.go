package mtasts_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// fullEntry has every field set.
func fullEntry() mtasts.Entry {
	at := time.UnixMilli(1767225600123)
	return mtasts.Entry{
		Domain: domain, ID: "20260101T000000", Text: enforce,
		Fetched: at, Expires: at.Add(24 * time.Hour), NextCheck: at.Add(time.Minute), Used: true,
		FailingSince: at.Add(time.Hour), Failed: 7,
		Failures: []mtasts.Failure{
			{ID: "1", When: at.Add(time.Hour), Kind: mtasts.KindFetch, ReasonCode: "http-status-404", Detail: "HTTP status 404"},
			{ID: "2", When: at.Add(2 * time.Hour), Kind: mtasts.KindPolicy, ReasonCode: "policy-mode", Detail: "no mode"},
		},
	}
}

func marshal(t testing.TB, e mtasts.Entry) []byte {
	t.Helper()
	data, err := e.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]mtasts.Entry{
		"zero": {}, "full": fullEntry(),
		"large": {Domain: domain, Text: strings.Repeat("x", mtasts.MaxPolicySize)},
	} {
		var got mtasts.Entry
		if err := got.UnmarshalBinary(marshal(t, want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

// A damaged octet, a missing end or a later version is an error and leaves the entry
// unchanged.
func TestEntryDamaged(t *testing.T) {
	t.Parallel()
	data := marshal(t, fullEntry())
	damaged := map[string][]byte{"nothing": nil, "more": append(data[:len(data):len(data)], 0)}
	for i := range data {
		b := []byte(string(data))
		b[i] ^= 0x10
		damaged[fmt.Sprint("octet ", i)] = b
		damaged[fmt.Sprint("end at ", i)] = data[:i]
	}
	for name, b := range damaged {
		e := mtasts.Entry{Domain: "before.example"}
		if err := e.UnmarshalBinary(b); err == nil || e.Domain != "before.example" {
			t.Errorf("%s: error %v, entry %+v", name, err, e)
		}
	}
}

// An entry that is read, written and read again is the same. The checksum is set
// correctly, because the fuzzer would not guess it.
func FuzzEntry(f *testing.F) {
	f.Add(marshal(f, mtasts.Entry{})[5:])
	f.Add(marshal(f, fullEntry())[5:])
	f.Fuzz(func(t *testing.T, fields []byte) {
		var e mtasts.Entry
		if e.UnmarshalBinary(withChecksum(fields)) != nil {
			return
		}
		var again mtasts.Entry
		if err := again.UnmarshalBinary(marshal(t, e)); err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

func withChecksum(fields []byte) []byte {
	b := append([]byte{1}, binary.BigEndian.AppendUint32(nil, crc32.Checksum(fields, crc32.MakeTable(crc32.Castagnoli)))...)
	return append(b, fields...)
}
