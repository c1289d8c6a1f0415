package relay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const envelopeText = "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<you@good.test>\r\nDATA\r\n"

// No message can inject a second message, whatever its line ends are, and none
// prevents the relay from finding its end.
func TestNoMessageIsSmuggled(t *testing.T) {
	t.Parallel()
	second := crlf("MAIL FROM:<boss@sender.test>", "RCPT TO:<you@good.test>", "DATA", "Subject: smuggled", "", ".", "QUIT")
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r\n.\r\r\n", "\r.\r\n", "\r\r\n.\r\n", "\n\n.\r\n", "\r\n\x00.\n",
	} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			mx := w.mailHost("good.test")
			replies := w.start(t, false).converse(t, envelopeText+"Subject: first\r\n\r\ntext"+end+second)
			if !strings.Contains(replies, "\r\n554 5.6.0 a line does not end in CRLF\r\n") {
				t.Errorf("%s", replies)
			}
			if messages := mx.Messages(); len(messages) > 0 {
				t.Errorf("%d messages: %q", len(messages), messages[0].Data)
			}
		})
	}
}

func TestHostileClientsAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, said, reply string
	}{
		{"bare LF in a command", "EHLO client.test\nMAIL FROM:<me@sender.test>\r\n", "421 4.4.0 "},
		{"a line end across chunks", "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<you@good.test>\r\n" +
			"BDAT 12\r\nSubject: x\r\n" + "BDAT 4\r\n\r\na\r" + "\nBDAT 1 LAST\r\nbQUIT\r\n", "554 5.6.0 "},
		{"a message that is too large", envelopeText + strings.Repeat("x\r\n", 334) + ".\r\nQUIT\r\n", "552 5.3.4 "},
		{"a message that will be", "EHLO client.test\r\nMAIL FROM:<me@sender.test> SIZE=1001\r\nQUIT\r\n", "552 5.3.4 "},
		{"chunks that are too large together", "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<you@good.test>\r\n" +
			"BDAT 800\r\n" + strings.Repeat("x\r\n\r\n", 160) + "BDAT 800 LAST\r\n" + strings.Repeat("x\r\n\r\n", 160) + "QUIT\r\n", "552 5.3.4 "},
		{"an endless command", "EHLO " + strings.Repeat("x", 1<<20), "500 5.5.2 "},
		{"a web browser", "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: x\r\nAccept: */*\r\nContent-Length: 200\r\n\r\n" + envelopeText + ".\r\n", "500 5.5.1 "},
		{"a command in an address", "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<\"a\rDATA\"@good.test>\r\nQUIT\r\n", "421 4.4.0 "},
		{"a NUL in an address", "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<\"a\x00\"@good.test>\r\nDATA\r\n.\r\nQUIT\r\n", "553 5.1.3 "},
		{"AUTH", "EHLO client.test\r\nAUTH PLAIN AGEAYg==\r\nQUIT\r\n", "502 5.5.1 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.maxSize = 1000
			mx := w.mailHost("good.test")
			replies := w.start(t, false).converse(t, test.said)
			if !strings.Contains(replies, "\r\n"+test.reply) {
				t.Errorf("no %q: %s", test.reply, replies)
			}
			if messages := mx.Messages(); len(messages) > 0 {
				t.Errorf("delivered: %q", messages[0].Data)
			}
		})
	}
}

func TestManyReceivedFieldsAreALoop(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{maxReceived - 1: true, maxReceived: false} {
		text := strings.Repeat("received : from x\r\n by y\r\n", n) + "\r\nReceived: in the body\r\n"
		if _, _, wrong := read(text); (wrong == nil) != want {
			t.Errorf("%d fields: %v", n, wrong)
		}
	}
}

// Text from the client cannot inject anything into the Received field or after
// it.
func TestNothingIsInjectedIntoReceived(t *testing.T) {
	t.Parallel()
	for _, helo := range []string{"a\r\nBcc: x", "a b", "a(", "a;", "\x00", "\u00e4", strings.Repeat("x", 256)} {
		field := string(trace{helo: helo, addr: "[127.0.0.1]", by: "b.test", with: "ESMTP"}.field())
		if !strings.HasPrefix(field, "Received: from unknown ([127.0.0.1])\r\n") || strings.Count(field, "\r\n") != 3 {
			t.Errorf("%q: %q", helo, field)
		}
	}
	if field := (trace{helo: "[192.0.2.1]"}).field(); !bytes.HasPrefix(field, []byte("Received: from [192.0.2.1] (")) {
		t.Errorf("%q", field)
	}
}

// Bare line ends are detected however the input is split into reads.
func FuzzLineEnds(f *testing.F) {
	for _, seed := range []string{"a\r\nb", "\r", "\n", "\r\r\n", "\r\n\n"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		at = max(0, min(at, len(data)))
		var whole, pieces lineEnds
		n := whole.check(data)
		m := pieces.check(data[:at])
		if m == at {
			m += pieces.check(data[at:])
		}
		if m != n || whole.bad != pieces.bad || whole.afterCR != pieces.afterCR {
			t.Errorf("%q cut at %d: %d, whole %d", data, at, m, n)
		}
		text := bytes.ReplaceAll(data[:n], []byte("\r\n"), nil)
		if whole.bad && data[n] != '\n' {
			text = bytes.TrimSuffix(text, []byte("\r")) // the octet that made the line end bare
		}
		if !whole.bad && whole.afterCR {
			text = bytes.TrimSuffix(text, []byte("\r")) // it may be completed by the next read
		}
		if bytes.ContainsAny(text, "\r\n") {
			t.Errorf("%q passed", data[:n])
		}
	})
}
