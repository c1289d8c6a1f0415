// The race detector allocates memory of its own.
//
//go:build !race

package delivery

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/policy"
)

// largeMessage is a file with a message of 25 MiB, with 8-bit text if it is to be
// converted.
func largeMessage(t testing.TB, eightBit bool) *os.File {
	t.Helper()
	line := "a line of text, as there are many in this message, and no two of them differ\r\n"
	if eightBit {
		line = "eine Zeile in einer Sprache mit Umlauten, wie ü, und ß, die umgewandelt wird\r\n"
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "message"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	w := bufio.NewWriter(file)
	w.WriteString("From: s@example.net\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
	for size := 0; size < 25<<20; size += len(line) {
		w.WriteString(line)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file
}

// swallowing is a host with TLS that takes messages without keeping them.
func swallowing(s *server) {
	s.say(greeting)
	s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
	s.answer("220 go ahead\r\n")
	if !s.handshake(certificates().good) {
		return
	}
	for {
		line, err := s.lines.ReadSlice('\n')
		switch {
		case err != nil:
			return
		case bytes.HasPrefix(line, []byte("DATA")):
			s.say("354 go\r\n")
			for !bytes.Equal(line, []byte(".\r\n")) {
				if line, err = s.lines.ReadSlice('\n'); err != nil {
					return
				}
			}
		}
		s.say("250 2.0.0 ok\r\n")
	}
}

// benchmarkLarge sends 25 MiB from a file, over TLS to a server in the same process.
func benchmarkLarge(b *testing.B, d *Dialer, file *os.File, convert bool) {
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	mail := Mail{From: "s@example.net", To: []Recipient{{Address: "x@a.example"}}, Message: file, Size: info.Size(), Convert8Bit: convert}
	b.ReportAllocs()
	b.SetBytes(info.Size())
	for b.Loop() {
		if _, err := d.Send(b.Context(), mail); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSend25MiB(b *testing.B) {
	for name, convert := range map[string]bool{"as-it-is": false, "converted": true} {
		file := largeMessage(b, convert)
		b.Run(name, func(b *testing.B) {
			benchmarkLarge(b, largeDialer(b), file, convert)
		})
	}
}

// A message of 25 MiB is sent from a file with less than 1 MiB of heap. The test counts
// everything that both sides allocate until the end, most of it timers of net.Pipe, so its
// limit is 1.5 MiB.
func TestLargeMessageNeedsLittleMemory(t *testing.T) {
	for name, convert := range map[string]bool{"as it is": false, "converted": true} {
		file := largeMessage(t, convert)
		result := testing.Benchmark(func(b *testing.B) { benchmarkLarge(b, largeDialer(t), file, convert) })
		if result.N == 0 || result.AllocedBytesPerOp() > 3<<19 {
			t.Errorf("%s: %d octets allocated for each of %d messages", name, result.AllocedBytesPerOp(), result.N)
		}
	}
}

func largeDialer(t testing.TB) *Dialer {
	return oneHost(swallowing).serving(t, policy.Config{})
}
