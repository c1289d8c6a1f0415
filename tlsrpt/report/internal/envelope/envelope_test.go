package envelope_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt/report/internal/envelope"
)

func zip(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func mixed(parts ...string) string {
	return "A: b\nContent-Type: multipart/mixed; boundary=m\n\n--m\n" + strings.Join(parts, "\n--m\n") + "\n--m--\n"
}

const asJSON, asGzip = "Content-Type: application/tlsrpt+json\n\n", "Content-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\n\n"

// All reports of a message are found, in its order. Those in the text for people count only
// if there are no others.
func TestOpenFindsAllReports(t *testing.T) {
	t.Parallel()
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(zip(t, text))) }
	for name, test := range map[string]struct {
		message, want string
		broken        bool
	}{
		"two":                   {mixed(asJSON+`{"a":1}`, asGzip+encoded(`{"b":1}`)), `{"a":1} {"b":1}`, false},
		"one and a broken one":  {mixed(asGzip+"H4sI", asJSON+`{"a":1}`), `{"a":1}`, true},
		"beside text":           {mixed("\n"+`{"policies":0}`, asJSON+`{"a":1}`), `{"a":1}`, false},
		"in the text":           {mixed("\n"+`{"policies":0}`, "Content-Type: text/html\n\n"+`{"policies":1}`), `{"policies":0} {"policies":1}`, false},
		"in forwarded messages": {mixed("Content-Type: message/rfc822\n\nB: c\n"+asJSON+`{"a":1}`, "Content-Type: message/rfc822\n\nB: c\n"+asJSON+`{"b":1}`), `{"a":1} {"b":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			texts, err := envelope.Open([]byte(test.message), 1000)
			if got := string(bytes.TrimSpace(bytes.Join(texts, []byte(" ")))); got != test.want || (err != nil) != test.broken {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
}

// RPT-82: the texts in all parts together are bounded.
func TestOpenIsBounded(t *testing.T) {
	t.Parallel()
	half := base64.StdEncoding.EncodeToString([]byte(zip(t, "{"+strings.Repeat(" ", 599))))
	if _, err := envelope.Open([]byte(mixed(asGzip+half)), 1000); err != nil {
		t.Errorf("one: %v", err)
	}
	if _, err := envelope.Open([]byte(mixed(asGzip+half, asGzip+half)), 1000); !errors.Is(err, envelope.ErrTooLarge) {
		t.Errorf("two: the error is %v", err)
	}
	if _, err := envelope.Open([]byte(mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"+half, asGzip+half)), 1000); !errors.Is(err, envelope.ErrTooLarge) {
		t.Errorf("one of them in the text: the error is %v", err)
	}
}

// RPT-82: a header of millions of fields costs no more memory than its text.
func TestOpenLargeHeader(t *testing.T) { // not parallel: it measures memory
	var b strings.Builder
	for i := range 1 << 20 {
		fmt.Fprintf(&b, "a%x: b\ncontent-a%x: b\n", i, i)
	}
	b.WriteString("Content-Type: application/tlsrpt+json\n\n{}")
	data := []byte(b.String())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := envelope.Open(data, 1000)
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2*uint64(len(data)) {
		t.Errorf("%d octets allocated for %d, %v", allocated, len(data), err)
	}
}

// Whatever comes in, there is a text or an error, and no more text than the limit.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(mixed(asJSON+`{"a":1}`, asGzip+base64.StdEncoding.EncodeToString([]byte(zip(f, `{"b":1}`))))))
	f.Add([]byte(zip(f, `{"a":1}`) + "x"))
	f.Add([]byte("\xff\xfe{\x00}\x00"))
	f.Add([]byte("From a\nB: c\n\n{\"policies\":0}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		texts, err := envelope.Open(data, limit)
		if len(texts) == 0 && err == nil {
			t.Error("neither a text nor an error")
		}
		size := 0
		for _, text := range texts {
			size += len(text)
		}
		// Text that is not compressed is at most twice as long in UTF-8 as in UTF-16.
		if size > limit+2*len(data) {
			t.Errorf("%d octets", size)
		}
	})
}
