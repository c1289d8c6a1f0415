package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func convert(text string) (string, error) {
	var out bytes.Buffer
	n, err := Convert(&out, strings.NewReader(text), int64(len(text)))
	if err == nil && n != int64(out.Len()) {
		err = fmt.Errorf("Convert returns %d and writes %d octets", n, out.Len())
	}
	return out.String(), err
}

// crlf returns lines with CRLF at the end of each.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

const version = "MIME-Version: 1.0"

// RFC 6152 section 3: the result is valid 7-bit MIME without loss. RFC 2045
// sections 2.7, 5.2, 6.1, 6.4, 6.7 and 6.8; RFC 2046 sections 5.1 and 5.2.
func TestConvertLosesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, out string }{
		"7-bit text is unchanged": {
			crlf(version, "Content-Type: text/plain", "", "text = 1 "),
			crlf(version, "Content-Type: text/plain", "", "text = 1 "),
		},
		"no MIME, but no 8-bit text": {crlf("From: a", "", "text"), crlf("From: a", "", "text")},
		"no header, but no 8-bit text": {
			crlf("text", "text"), crlf("text", "text")},
		"empty": {"", ""},
		"every line ends in CRLF, and so does the last one": {
			"A: b\n\ntext\nmore", crlf("A: b", "", "text", "more")},
		"text becomes quoted-printable": {
			crlf(version, "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "Subject: x", "", "\xc3\xa4 = 1 ", ".", "-- "),
			crlf(version, "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "Subject: x", "", "=C3=A4 =3D 1=20", ".", "--=20"),
		},
		"the field is added where there is none": {
			crlf(version, "Content-Type: text/plain", "", "\xe4"),
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: quoted-printable", "", "=E4"),
		},
		"a wrong encoding is corrected": {
			crlf(version, "Content-Type: text/plain", "content-transfer-ENCODING : (yes)", " 7Bit", "X: y", "", "\xe4"),
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: quoted-printable", "X: y", "", "=E4"),
		},
		"8bit without 8-bit text becomes 7bit": {
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: 8BIT", "", "text"),
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: 7bit", "", "text"),
		},
		"LF in text is CRLF": {
			version + "\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n\xe4\n\xe4",
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "=E4"),
		},
		"other types become base64": {
			crlf(version, "Content-Type: application/x", "Content-Transfer-Encoding: 8bit", "", "\xe4"),
			crlf(version, "Content-Type: application/x", "Content-Transfer-Encoding: base64", "", "5A0K"),
		},
		"LF in lines of other types is CRLF": {
			version + "\nContent-Type: application/x\nContent-Transfer-Encoding: 8bit\n\n\xe4\n",
			crlf(version, "Content-Type: application/x", "Content-Transfer-Encoding: base64", "", "5A0K"),
		},
		"LF in binary data is LF": {
			version + "\nContent-Type: application/x\nContent-Transfer-Encoding: binary\n\n\xe4\n",
			crlf(version, "Content-Type: application/x", "Content-Transfer-Encoding: base64", "", "5Ao="),
		},
		"binary data may have a CR": {
			version + "\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\xe4\r!",
			crlf(version, "Content-Type: application/x", "Content-Transfer-Encoding: base64", "", "5A0h"),
		},
		"text with NUL or CR becomes base64": {
			version + "\r\nContent-Type: text/plain\r\n\r\n\x00\r",
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: base64", "", "AA0="),
		},
		"lines of base64 have 76 characters": {
			version + "\r\nContent-Type: image/x\r\n\r\n" + strings.Repeat("\xff", 60),
			crlf(version, "Content-Type: image/x", "Content-Transfer-Encoding: base64", "", strings.Repeat("/", 76), "////"),
		},
		"too long lines are encoded": {
			crlf(version, "Content-Type: text/plain", "", strings.Repeat("x", 999)),
			crlf(version, "Content-Type: text/plain", "Content-Transfer-Encoding: quoted-printable", "") +
				strings.Repeat(strings.Repeat("x", 75)+"=\r\n", 13) + crlf(strings.Repeat("x", 24)),
		},
		"lines of 998 octets are not": {
			crlf(version, "Content-Type: text/plain", "", strings.Repeat("x", 998)),
			crlf(version, "Content-Type: text/plain", "", strings.Repeat("x", 998)),
		},
		"bad parameters of a text": {
			crlf(version, "Content-Type: text/plain; name=a b.txt", "", "\xe4"),
			crlf(version, "Content-Type: text/plain; name=a b.txt", "Content-Transfer-Encoding: quoted-printable", "", "=E4"),
		},
		"multipart: only what needs it": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: 8bit", "",
				"preamble", "--b", "", "text", "--b", "Content-Transfer-Encoding: 8bit", "", "\xe4", "--b \t",
				"Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b--", "epilogue"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: 7bit", "",
				"preamble", "--b", "", "text", "--b", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b \t",
				"Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b--", "epilogue"),
		},
		"boundary quoted, folded, with comments": {
			crlf(version, `Content-Type: multipart/mixed (a "(b\) c) d)`, ` ; x="\"(" (f);`, "\tBOUNDARY (g)=", ` "a :=b" (h`, " i)", "",
				"--a :=b", "", "\xe4", "--a :=b--"),
			crlf(version, `Content-Type: multipart/mixed (a "(b\) c) d)`, ` ; x="\"(" (f);`, "\tBOUNDARY (g)=", ` "a :=b" (h`, " i)", "",
				"--a :=b", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--a :=b--"),
		},
		"the line end before a delimiter belongs to it": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: application/x", "", "\xe4", "--b--"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: application/x",
				"Content-Transfer-Encoding: base64", "", "5A==", "--b--"),
		},
		"empty parts": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "--b", "", "--b", "Content-Transfer-Encoding: 8bit", "--b",
				"Content-Transfer-Encoding: 8bit", "", "--b", "", "\xe4", "--b--"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "--b", "", "--b", "Content-Transfer-Encoding: 7bit", "--b",
				"Content-Transfer-Encoding: 7bit", "", "--b", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b--"),
		},
		"inner boundary with the outer one at its beginning; missing end": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/alternative; boundary=bc",
				"Content-Transfer-Encoding: binary", "", "--bc", "", "\xe4", "--b", "", "\xe4"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: multipart/alternative; boundary=bc",
				"Content-Transfer-Encoding: 7bit", "", "--bc", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b",
				"Content-Transfer-Encoding: quoted-printable", "", "=E4"),
		},
		"no delimiter at all": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "text"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "text"),
		},
		"embedded message": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "Content-Transfer-Encoding: 8bit", "",
				version, "Content-Type: text/html", "", "\xe4", "--b--"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "Content-Transfer-Encoding: 7bit", "",
				version, "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b--"),
		},
		"digest: parts are messages": {
			crlf(version, "Content-Type: multipart/digest; boundary=b", "", "--b", "",
				version, "Content-Type: text/html", "", "\xe4", "--b--"),
			crlf(version, "Content-Type: multipart/digest; boundary=b", "", "--b", "",
				version, "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--b--"),
		},
		"internationalized messages are data (RFC 6532 section 3.7)": {
			crlf(version, "Content-Type: message/global", "", "Subject: \xc3\xa4", "", "text"),
			crlf(version, "Content-Type: message/global", "Content-Transfer-Encoding: base64", "", "U3ViamVjdDogw6QNCg0KdGV4dA0K"),
		},
		"signed 7-bit text is not touched (RFC 1847 section 2.1)": {
			crlf(version, "Content-Type: multipart/signed; boundary=b", "Content-Transfer-Encoding: 8bit", "",
				"--b", "Content-Transfer-Encoding: 8bit", "", strings.Repeat("x", 999), "--b", "", "signature", "--b--"),
			crlf(version, "Content-Type: multipart/signed; boundary=b", "Content-Transfer-Encoding: 7bit", "",
				"--b", "Content-Transfer-Encoding: 8bit", "", strings.Repeat("x", 999), "--b", "", "signature", "--b--"),
		},
		"text next to a signed part": {
			crlf(version, "Content-Type: multipart/mixed; boundary=a", "", "--a", "Content-Type: multipart/signed; boundary=b", "",
				"--b", "", "text", "--b", "", "signature", "--b--", "--a", "", "\xe4", "--a--"),
			crlf(version, "Content-Type: multipart/mixed; boundary=a", "", "--a", "Content-Type: multipart/signed; boundary=b", "",
				"--b", "", "text", "--b", "", "signature", "--b--", "--a", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--a--"),
		},
		"a soft line break must not make a delimiter": {
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "", strings.Repeat("x", 75)+"--b\xe4", "--b--"),
			crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: base64", "",
				strings.Repeat("eHh4", 19), "eHh4eHh4eHh4eHh4eHh4eHh4LS1i5A==", "--b--"),
		},
		"an encoded octet must not make a delimiter": {
			crlf(version, `Content-Type: multipart/mixed; boundary="=E4"`, "", "--=E4", "", "--\xe4", "--=E4--"),
			crlf(version, `Content-Type: multipart/mixed; boundary="=E4"`, "", "--=E4", "Content-Transfer-Encoding: base64", "", "LS3k", "--=E4--"),
		},
	} {
		if got, err := convert(test.in); err != nil || got != test.out {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, test.out)
		}
	}
}

// Decision "8-bit text": what is not converted fails, with the reason.
func TestConvertRefusesWithReason(t *testing.T) {
	t.Parallel()
	mixed := crlf(version, "Content-Type: multipart/mixed; boundary=b", "")
	nested := func(levels int) string {
		var b strings.Builder
		b.WriteString(version + "\r\n")
		for i := range levels {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String() + "\r\n\xe4\r\n"
	}
	if _, err := convert(nested(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	large := func(octets int) string {
		return version + "\r\nContent-Type: text/plain\r\nX: " + strings.Repeat("x", octets) + "\r\n\r\n\xe4\r\n"
	}
	if _, err := convert(large(maxHeader - 1<<10)); err != nil {
		t.Errorf("large header: %v", err)
	}
	for name, test := range map[string]struct {
		message string
		want    error
		at      int64
	}{
		"no MIME":              {crlf("From: a", "", "\xe4"), ErrNotMIME, 0},
		"no header":            {crlf("\xe4", "", "text"), ErrNotMIME, 0},
		"no MIME-Version":      {crlf("Content-Type: text/plain", "", "\xe4"), ErrNotMIME, 0},
		"no Content-Type":      {crlf(version, "", "\xe4"), ErrNotMIME, 0},
		"another MIME-Version": {crlf("MIME-Version: 2.0", "Content-Type: text/plain", "", "\xe4"), ErrNotMIME, 0},
		"embedded, no MIME":    {crlf(version, "Content-Type: message/rfc822", "", "From: a", "", "\xe4"), ErrNotMIME, 51},
		"signed": {
			crlf(version, "Content-Type: multipart/signed; boundary=b", "", "--b", "", "\xe4", "--b", "", "signature", "--b--"), ErrSigned, 65},
		"embedded and signed": {
			crlf(version, "Content-Type: multipart/signed; boundary=b", "", "--b", "Content-Type: message/rfc822", "",
				version, "Content-Type: text/plain", "", "\xe4", "--b", "", "signature", "--b--"), ErrSigned, 65},
		"header":              {crlf("Subject: \xc3\xa4", version, "Content-Type: text/plain", "", "text"), ErrHeader8Bit, 0},
		"header of a part":    {mixed + crlf("--b", "Content-Description: \xc3\xa4", "", "text"), ErrHeader8Bit, 69},
		"embedded header":     {crlf(version, "Content-Type: message/rfc822", "", "From: \xc3\xa4", "", "text"), ErrHeader8Bit, 51},
		"preamble":            {mixed + crlf("\xe4", "--b", "", "text"), ErrMalformed, 64},
		"epilogue":            {mixed + crlf("--b", "", "text", "--b--", "\xe4"), ErrMalformed, 84},
		"no boundary":         {crlf(version, "Content-Type: multipart/mixed", "", "--b", "", "\xe4"), ErrMalformed, 0},
		"empty boundary":      {crlf(version, `Content-Type: multipart/mixed; boundary=""`, "", "--", "", "\xe4"), ErrMalformed, 0},
		"two boundaries":      {crlf(version, "Content-Type: multipart/mixed; boundary=a; boundary=b", "", "--b", "", "\xe4"), ErrMalformed, 0},
		"no media type":       {crlf(version, "Content-Type: multipart (x)/mixed; boundary=b", "", "--b", "", "\xe4"), ErrMalformed, 0},
		"two Content-Types":   {crlf(version, "Content-Type: text/plain", "Content-Type: text/html", "", "\xe4"), ErrMalformed, 0},
		"two encodings":       {mixed + crlf("--b", "Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: base64", "", "\xe4"), ErrMalformed, 69},
		"already encoded":     {mixed + crlf("--b", "Content-Transfer-Encoding: base64", "", "\xe4"), ErrMalformed, 69},
		"unknown encoding":    {mixed + crlf("--b", "Content-Transfer-Encoding: x-uuencode", "", "\xe4"), ErrMalformed, 69},
		"header of no fields": {mixed + crlf("--b", "\xe4"), ErrMalformed, 69},
		"message/partial":     {mixed + crlf("--b", "Content-Type: message/partial", "", "\xe4"), ErrMalformed, 69},
		"nested too deeply":   {nested(maxDepth + 1), ErrLimit, -1},
		"header too large":    {large(maxHeader + 1), ErrLimit, 0},
		"Content-Type too large": {
			mixed + crlf("--b", "Content-Type: text/plain; x="+strings.Repeat("x", maxValue), "", "\xe4"), ErrLimit, 69},
		"CR": {crlf(version, "Content-Type: text/plain", "", "te\rxt"), ErrBareCR, 49},
	} {
		_, err := convert(test.message)
		var failure *Error
		if !errors.Is(err, test.want) || !errors.As(err, &failure) || test.at >= 0 && failure.Offset != test.at {
			t.Errorf("%s: %v; want %v at %d", name, err, test.want, test.at)
		}
	}
	// The writer's errors are its own.
	if _, err := Convert(brokenPipe{}, strings.NewReader("A: b\n"), 5); err != io.ErrClosedPipe {
		t.Errorf("writer's error: %v", err)
	}
}

// Every line of a message may lie across the end of the buffer.
func TestConvertLinesAcrossBuffer(t *testing.T) {
	t.Parallel()
	header := crlf(version, "Content-Type: multipart/mixed; boundary=b", "")
	in := crlf("--b", "Content-Type: multipart/alternative; boundary=c", "", "--c", "Content-Transfer-Encoding: 8bit", "", "\xe4", "--c--", "--b", "", "text", "--b--")
	out := crlf("--b", "Content-Type: multipart/alternative; boundary=c", "", "--c", "Content-Transfer-Encoding: quoted-printable", "", "=E4", "--c--", "--b", "", "text", "--b--")
	for n := bufferSize - len(header) - len(in) - 4; n < bufferSize; n++ {
		preamble := strings.Repeat("x", n) + "\r\n"
		if got, err := convert(header + preamble + in); err != nil || got != header+preamble+out {
			t.Fatalf("%d: %v\n%s", n, err, got[min(len(got), len(header)+n):])
		}
	}
}

// A message of many small parts is read a few times, not once for each part.
func TestConvertReadsFewTimes(t *testing.T) {
	t.Parallel()
	text := crlf(version, "Content-Type: multipart/mixed; boundary=b", "") + strings.Repeat(crlf("--b", "", "\xe4"), 100_000)
	r := &countingReader{r: strings.NewReader(text)}
	if _, err := Convert(io.Discard, r, int64(len(text))); err != nil {
		t.Fatal(err)
	}
	if times := r.octets / int64(len(text)); times > 10 {
		t.Errorf("read %d times", times)
	}
}

// countingReader counts the octets that are read.
type countingReader struct {
	r      io.ReaderAt
	octets int64
}

func (c *countingReader) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(p, at)
	c.octets += int64(n)
	return n, err
}

// Memory does not grow with the message, nor with its lines.
func TestConvertMemoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "message")
	header := crlf(version, "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: text/plain", "", "\xe4", "--b", "Content-Type: image/x", "")
	text := append([]byte(header), bytes.Repeat([]byte{0xe4}, 25<<20)...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	size := int64(len(text))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if p, err := Scan(file, size); err != nil || p.Size != size+2 || !p.Body8Bit {
		t.Errorf("%+v, %v", p, err)
	}
	if n, err := Convert(io.Discard, file, size); err != nil || n < 33<<20 {
		t.Errorf("%d, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	// Everything ever allocated counts, so the garbage collector has no part in it.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 256<<10 {
		t.Errorf("%d octets allocated", allocated)
	}
}
