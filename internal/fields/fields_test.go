package fields

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"
)

// What is written is read. Anything that is cut off or out of range is an error, after which
// nothing is read.
func TestDecoderReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	b := AppendString(AppendString(nil, ""), long)
	b = binary.AppendVarint(binary.AppendUvarint(b, 7), math.MinInt64)
	b = append(b, "rest"...)
	read := func(text string, most uint64) (all bool, d Decoder) {
		d = Decoder{Rest: text}
		all = d.String() == "" && d.String() == long && d.Uint(most) == 7 && d.Int() == math.MinInt64 && d.Octets(4) == "rest"
		return all && d.IsDone(), d
	}
	if ok, d := read(string(b), 7); !ok {
		t.Errorf("%+v", d)
	}
	if ok, d := read(string(b), 6); ok || !d.Damaged || d.Rest != "" {
		t.Errorf("a number that is too large: %+v", d)
	}
	for i := range b {
		if ok, d := read(string(b[:i]), 7); ok || !d.Damaged || d.Rest != "" || d.IsDone() {
			t.Errorf("%d of %d octets: %+v", i, len(b), d)
		}
	}
	if ok, d := read(string(b)+"x", 7); ok || d.Damaged {
		t.Errorf("more: %+v", d)
	}
	d := Decoder{Rest: "x"}
	if d.Octets(-1) != "" || !d.Damaged {
		t.Error("a negative number of octets")
	}
	d = Decoder{Rest: string(binary.AppendUvarint(nil, math.MaxUint64)) + "x"}
	if d.String() != "" || !d.Damaged {
		t.Error("a string of 2^64 octets")
	}
	d = Decoder{Rest: strings.Repeat("\xff", 20)}
	if d.Uint(math.MaxUint64) != 0 || !d.Damaged {
		t.Error("a number without end")
	}
	for _, want := range []time.Time{{}, time.UnixMilli(1767225600123), time.UnixMilli(-1)} {
		d = Decoder{Rest: string(binary.AppendVarint(nil, want.UnixMilli()))}
		if got := d.Time(); got != want || !d.IsDone() {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	d = Decoder{Rest: "\xff"}
	if got := d.Time(); !got.IsZero() || !d.Damaged {
		t.Errorf("a damaged time is %v", got)
	}
}
