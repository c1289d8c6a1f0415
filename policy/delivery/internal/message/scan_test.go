package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func scan(text string) (Properties, error) {
	return Scan(strings.NewReader(text), int64(len(text)))
}

// RFC 5321 sections 2.3.8 and 4.5.3.1.6, RFC 1870 section 5, RFC 6531 section 3.5,
// RFC 6152 section 3.
func TestScanFindsWhatSenderMustKnow(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*bufferSize+7)
	for name, test := range map[string]struct {
		message string
		want    Properties
	}{
		"empty":           {"", Properties{}},
		"header and body": {"A: b\r\n\r\ntext\r\n", Properties{Header: 6, Body: 8, Size: 14, LongestLine: 4}},
		"LF":              {"A: b\n\ntext\n", Properties{Header: 5, Body: 6, Size: 14, LongestLine: 4}},
		"mixed line ends": {"A: b\r\n\ntext\nx\r\n", Properties{Header: 6, Body: 7, Size: 17, LongestLine: 4}},
		"no last line end": {
			"A: b\n\ntext", Properties{Header: 5, Body: 6, Size: 14, LongestLine: 4}},
		"only a header":          {"A: b\r\nC: d", Properties{Header: 10, Body: 10, Size: 12, LongestLine: 4}},
		"only an empty line":     {"\r\n", Properties{Body: 2, Size: 2}},
		"dots are not doubled":   {"\r\n.\r\n..\r\n", Properties{Body: 2, Size: 9, LongestLine: 2}},
		"no header":              {"text\r\nA: b\r\n", Properties{Size: 12, LongestLine: 4}},
		"no header, white space": {" A: b\r\n\r\n", Properties{Size: 9, LongestLine: 5}},
		"header without an empty line": {
			"A: b\r\n c\r\ntext\r\n", Properties{Header: 10, Body: 10, Size: 16, LongestLine: 4}},
		"8-bit header": {
			"A: \xc3\xa4\r\n\r\ntext\r\n", Properties{Header: 7, Body: 9, Size: 15, LongestLine: 5, Header8Bit: true}},
		"8-bit in a folded field": {
			"A: b\r\n \xc3\xa4\r\n\r\n", Properties{Header: 11, Body: 13, Size: 13, LongestLine: 4, Header8Bit: true}},
		"8-bit body": {
			"A: b\r\n\r\n\xc3\xa4\r\n", Properties{Header: 6, Body: 8, Size: 12, LongestLine: 4, Body8Bit: true}},
		"8-bit body without header": {"\xc3\xa4\r\n", Properties{Size: 4, LongestLine: 2, Body8Bit: true}},
		"NUL in the header":         {"A: \x00\r\n\r\n", Properties{Header: 6, Body: 8, Size: 8, LongestLine: 4, NUL: true}},
		"NUL in the body":           {"\r\n\x00\r\n", Properties{Body: 2, Size: 5, LongestLine: 1, NUL: true}},
		"998 octets": {
			"\r\n" + strings.Repeat("x", 998) + "\r\n", Properties{Body: 2, Size: 1002, LongestLine: 998}},
		"a line longer than the buffer": {
			"\n" + long, Properties{Body: 1, Size: int64(len(long) + 4), LongestLine: int64(len(long))}},
		"a field longer than the buffer": {
			"A: " + long + "\n\n", Properties{
				Header: int64(len(long) + 4), Body: int64(len(long) + 5), Size: int64(len(long) + 7), LongestLine: int64(len(long) + 3)}},
	} {
		got, err := scan(test.message)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}

// A line end may be anywhere in the buffer.
func TestScanLinesAcrossBuffer(t *testing.T) {
	t.Parallel()
	for n := bufferSize - 3; n <= bufferSize+3; n++ {
		want := Properties{Body: 2, Size: int64(n + 6), LongestLine: int64(n)}
		if got, err := scan("\r\n" + strings.Repeat("x", n) + "\r\n\r\n"); err != nil || got != want {
			t.Errorf("%d: %+v, %v", n, got, err)
		}
	}
}

// RFC 5321 section 2.3.8: a CR without LF must not be sent.
func TestScanBareCR(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]int64{
		"":                          -1,
		"a\r\nb\nc\r\n":             -1,
		"a\rb":                      1,
		"a\r":                       1,
		"a\r\r\nb":                  1,
		"a\n\r.\r\nMAIL":            2,
		"A: b\r\n\r\ntext\r\n\r.\r": 14,
		"\n" + strings.Repeat("x", bufferSize-2) + "\r" + "x": bufferSize - 1,
	} {
		_, err := scan(message)
		if want < 0 && err == nil {
			continue
		}
		var failure *Error
		if !errors.As(err, &failure) || !errors.Is(err, ErrBareCR) || failure.Offset != want {
			t.Errorf("Scan(%.60q): %v; want offset %d", message, err, want)
		}
	}
}

// With a CR without LF, everything else is known: a report needs the header.
func TestScanBareCRProperties(t *testing.T) {
	t.Parallel()
	want := Properties{Header: 8, Body: 10, Size: 17, LongestLine: 6}
	if got, err := scan("A: b\rc\r\n\r\nte\rxt\r\n"); !errors.Is(err, ErrBareCR) || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// REQ-17, REQ-22: the field counts once, with its one value, in the header.
func TestTLSOptional(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]bool{
		"TLS-Required: No\r\n\r\nbody":                        true,
		"From: a@example.org\r\nTLS-Required: No\r\n\r\nbody": true,
		"tls-required:no\n\nbody":                             true,
		"TLS-Required:\r\n No\r\n\r\n":                        true,
		"TLS-Required: No":                                    true,
		"TLS-Required: No \t\r\n\r\n":                         true,
		"TLS-Required : No\r\n\r\n":                           true,

		"":                                                          false,
		"TLS-Required: Yes\r\n\r\n":                                 false,
		"TLS-Required:\r\n\r\n":                                     false,
		"TLS-Required: N\r\n\r\n":                                   false,
		"TLS-Required: N\r\n o\r\n\r\n":                             false,
		"TLS-Required: No way\r\n\r\n":                              false,
		"TLS-Required: No\r\n way\r\n\r\n":                          false,
		"TLS-Required: No\r\nTLS-Required: No\r\n\r\n":              false,
		"TLS-Required: No\r\nTLS-Required : Yes\r\n\r\n":            false,
		"TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n":             false,
		"X-TLS-Required: No\r\n\r\n":                                false,
		"TLS-Required-X: No\r\n\r\n":                                false,
		"Subject: x\r\n TLS-Required: No\r\n\r\n":                   false, // a folded subject
		" TLS-Required: No\r\n\r\n":                                 false,
		"From: a@example.org\r\n\r\nTLS-Required: No\r\n":           false, // in the body
		"From: a@example.org\n\nTLS-Required: No\n":                 false,
		"no header\r\nTLS-Required: No\r\n\r\n":                     false,
		"Subject: x\rTLS-Required: No\r\n\r\n":                      false,
		"Subject: x\r\n" + strings.Repeat(" x\r\n", 1<<16) + "\r\n": false,
		"Subject: " + strings.Repeat("x", 2*bufferSize) + "\r\nTLS-Required: No\r\n\r\n": true,
		"TLS-Required: No" + strings.Repeat(" ", 2*bufferSize) + "x\r\n\r\n":             false,
	} {
		if got, _ := scan(message); got.TLSOptional != want {
			t.Errorf("Scan(%.60q).TLSOptional = %v", message, !want)
		}
	}
}

func TestScanReadErrors(t *testing.T) {
	t.Parallel()
	if _, err := Scan(strings.NewReader("A: b\r\n"), 7); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter than its size: %v", err)
	}
	// Only the size counts: what follows in the file is not the message.
	if got, err := Scan(strings.NewReader("A: b\r\nC: d\r\n"), 6); err != nil || got.Size != 6 {
		t.Errorf("longer than its size: %+v, %v", got, err)
	}
	if _, err := Scan(failing{}, 7); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("reader's error: %v", err)
	}
	if _, err := Convert(io.Discard, failing{}, 7); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("reader's error: %v", err)
	}
}

// failing is a reader that always fails.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

func FuzzScan(f *testing.F) {
	f.Add([]byte("From: a@example.org\r\nTLS-Required:\r\n No\r\n\r\nbody"))
	f.Add([]byte("text\rtext"))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := scan(string(message))
		if got.Header > got.Body || got.Body > int64(len(message)) {
			t.Fatalf("%+v", got)
		}
		var out bytes.Buffer
		w := NewLineWriter(&out)
		_, writeErr := w.Write(message)
		if writeErr == nil {
			writeErr = w.Close()
		}
		if bareCR := errors.Is(err, ErrBareCR); bareCR != errors.Is(writeErr, ErrBareCR) || bareCR != (err != nil) {
			t.Fatalf("Scan: %v, LineWriter: %v", err, writeErr)
		}
		if err != nil {
			return
		}
		if got.Size != int64(out.Len()) || got.Size != w.Written() {
			t.Fatalf("Size %d, sent %d", got.Size, out.Len())
		}
		if eightBit := !isASCII(message); eightBit != (got.Header8Bit || got.Body8Bit) {
			t.Fatalf("%+v", got)
		}
		if !got.TLSOptional {
			return
		}
		if !bytes.Contains(bytes.ToLower(message), []byte("tls-required")) {
			t.Fatalf("%q", message)
		}
		// A second field takes the meaning away.
		if twice, _ := scan("TLS-Required: No\r\n" + string(message)); twice.TLSOptional {
			t.Fatalf("twice: %q", message)
		}
	})
}
