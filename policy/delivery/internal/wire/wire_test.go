package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// scripted is a connection whose peer has said everything beforehand.
type scripted struct {
	io.Reader
	bytes.Buffer // what was written
	closed       bool
}

func (c *scripted) Read(p []byte) (int, error)       { return c.Reader.Read(p) }
func (c *scripted) Write(p []byte) (int, error)      { return c.Buffer.Write(p) }
func (c *scripted) Close() error                     { c.closed = true; return nil }
func (c *scripted) LocalAddr() net.Addr              { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return nil }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

func says(s string) (*Conn, *scripted) {
	peer := &scripted{Reader: strings.NewReader(s)}
	return NewConn(peer), peer
}

// SMTP-1, S1: RFC 5321 section 4.2.1 has clients accept a code alone, and a code with a
// space and nothing behind it.
func TestS1ReplyOfACodeAlone(t *testing.T) {
	for _, tt := range []struct {
		octets string
		code   int
		lines  []string
	}{
		{"220\r\n", 220, []string{""}},
		{"250\n", 250, []string{""}},
		{"354 \r\n", 354, []string{""}},
		{"220 mx.example ESMTP\r\n", 220, []string{"mx.example ESMTP"}},
		{"250-mx.example\r\n250-SIZE 1000\r\n250\r\n", 250, []string{"mx.example", "SIZE 1000", ""}},
		{"250-\r\n250 \r\n", 250, []string{"", ""}},
		{"250-mx\n250\tHELP\n", 250, []string{"mx", "HELP"}},
		{"220\r\r\n", 220, []string{""}},
		{"250-mx\r\r\n250-STARTTLS\r\r\r\n250\r\r\n", 250, []string{"mx", "STARTTLS", ""}},
		{"250-\r\r\n250 ok\r\r\n", 250, []string{"", "ok"}},
		{"354\t\r\n", 354, []string{""}},
		{"250  \r\n", 250, []string{" "}},
		// The codes of one reply are the same; where they are not, the last counts.
		{"250-mx\r\n550 no\r\n", 550, []string{"mx", "no"}},
		{"599 x\r\n", 599, []string{"x"}},
		{"200 x\r\n", 200, []string{"x"}},
	} {
		c, _ := says(tt.octets)
		reply, err := c.Receive(time.Minute)
		if err != nil || reply.Code != tt.code || !slices.Equal(reply.Lines, tt.lines) {
			t.Errorf("%q: %d %q %v; want %d %q", tt.octets, reply.Code, reply.Lines, err, tt.code, tt.lines)
		}
	}
}

// SMTP-18: octets that are not a reply are an error.
func TestWhatIsNoReply(t *testing.T) {
	for _, tt := range []struct {
		octets string
		want   error
	}{
		{"SSH-2.0-OpenSSH\r\n", ErrNotReply},
		{"\r\n", io.ErrUnexpectedEOF},
		{"\r\n220 x\r\n", ErrNotReply},
		{"+OK\r\n", ErrNotReply},
		{"* OK\r\n", ErrNotReply},
		{"2200 x\r\n", ErrNotReply},
		{"199 x\r\n", ErrNotReply},
		{"600 x\r\n", ErrNotReply},
		{"22", io.ErrUnexpectedEOF},
		{"", io.ErrUnexpectedEOF},
		{"220 no line end", io.ErrUnexpectedEOF},
		{"220-more is to come\r\n", io.ErrUnexpectedEOF},
		{"220 " + strings.Repeat("x", maxReply) + "\r\n", ErrTooLong},
		{strings.Repeat("220-x\r\n", maxReply), ErrTooLong},
		{strings.Repeat("2", maxReply), ErrTooLong},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":        func(r io.Reader) io.Reader { return r },
			"octet by octet": iotest.OneByteReader,
		} {
			c := NewConn(&scripted{Reader: wrap(strings.NewReader(tt.octets))})
			if reply, err := c.Receive(time.Minute); !errors.Is(err, tt.want) || reply.Code != 0 {
				t.Errorf("%.30q %s: %v %v; want %v", tt.octets, name, reply, err, tt.want)
			}
		}
	}
}

// Only the beginning of a long line is kept, and a reply is bounded in octets.
func TestLongLineIsCut(t *testing.T) {
	for _, tt := range []struct{ octets, kept int }{
		{maxLine - 2, maxLine - 2}, {maxLine - 1, maxLine - 1}, {maxLine, maxLine}, {maxLine + 1, maxLine},
		{2 * maxLine, maxLine}, {maxReply - 2, maxLine},
	} {
		c, _ := says("250 " + strings.Repeat("x", tt.octets-len("250 ")) + "\r\n")
		reply, err := c.Receive(time.Minute)
		if err != nil || len("250 "+reply.Lines[0]) != tt.kept {
			t.Errorf("%d octets: %d kept, %v; want %d", tt.octets, len("250 "+reply.Text()), err, tt.kept)
		}
	}
	c, _ := says("250 " + strings.Repeat("x", maxReply-5) + "\r\n")
	if _, err := c.Receive(time.Minute); !errors.Is(err, ErrTooLong) {
		t.Errorf("one octet over the bound: %v", err)
	}
}

// Only the beginning of a long reply is kept, and all of it counts: what is kept of a hostile
// server's replies is multiplied by the recipients and the connections of a message.
func TestLongReplyIsCut(t *testing.T) {
	for _, tt := range []struct {
		line  string
		lines int
		kept  int
	}{
		{"250-", 10_000, maxKept / lineOverhead},
		{"250-" + strings.Repeat("x", 100), 500, maxKept / (lineOverhead + 100)},
		{"250-" + strings.Repeat("x", 100), 60, 60},
	} {
		c, _ := says(strings.Repeat(tt.line+"\r\n", tt.lines-1) + strings.Replace(tt.line, "-", " ", 1) + "\r\n")
		if reply, err := c.Receive(time.Minute); err != nil || reply.Code != 250 || len(reply.Lines) != tt.kept {
			t.Errorf("%d lines of %.10s: %d kept, %d %v; want %d", tt.lines, tt.line, len(reply.Lines), reply.Code, err, tt.kept)
		}
	}
	c, _ := says(strings.Repeat("250-\r\n", 10_000) + "550 no\r\n")
	if reply, err := c.Receive(time.Minute); err != nil || reply.Code != 550 || !reply.Mixed {
		t.Errorf("%d, mixed %v, %v", reply.Code, reply.Mixed, err)
	}
}

func TestEnhancedStatus(t *testing.T) {
	for _, tt := range []struct {
		code int
		text string
		want [3]int
		ok   bool
	}{
		{550, "5.7.1 no", [3]int{5, 7, 1}, true},
		{550, "5.7.1", [3]int{5, 7, 1}, true},
		{552, "5.2.2\tfull", [3]int{5, 2, 2}, true},
		{552, " 5.2.2 full", [3]int{5, 2, 2}, true},
		{552, "\n5.2.2 full", [3]int{5, 2, 2}, true},
		{552, "5.2.2\n5.2.2 full", [3]int{5, 2, 2}, true},
		{452, "4.5.3 too many", [3]int{4, 5, 3}, true},
		{250, "2.1.5 ok", [3]int{2, 1, 5}, true},
		{550, "5.999.999 x", [3]int{5, 999, 999}, true},
		{550, "5.1000.1 x", [3]int{}, false},
		{550, "4.7.1 of another class", [3]int{}, false},
		{550, "5.7 x", [3]int{}, false},
		{550, "5..1 x", [3]int{}, false},
		{550, "5.7.1.2 x", [3]int{}, false},
		{550, "5.7.-1 x", [3]int{}, false},
		{550, "", [3]int{}, false},
	} {
		got, ok := Reply{Code: tt.code, Lines: []string{tt.text}}.Enhanced()
		if got != tt.want || ok != tt.ok {
			t.Errorf("%d %s: %v %v", tt.code, tt.text, got, ok)
		}
	}
	if _, ok := (Reply{}).Enhanced(); ok {
		t.Error("no reply has a status")
	}
}

// SMTP-3, S3: keywords compare without regard to case (RFC 5321 section 2.4).
func TestS3KeywordsInAnyCase(t *testing.T) {
	reply := Reply{Code: 250, Lines: []string{
		"STARTTLS is no keyword in the first line", "SmtpUtf8", "starttls", "size 1000", "Size 2", "AUTH=LOGIN", "auth PLAIN LOGIN",
		"8bitMIME", "PIPELINING ", " DSN", "", "-X", "Size", "X-FOO bar  baz", "RequireTLS\tx", "\tChunking\t",
	}}
	want := Extensions{
		"SMTPUTF8": "", "STARTTLS": "", "SIZE": "1000", "AUTH": "LOGIN", "8BITMIME": "", "PIPELINING": "", "DSN": "", "X-FOO": "bar  baz",
		"REQUIRETLS": "x", "CHUNKING": "",
	}
	got := reply.Extensions()
	for keyword, parameters := range want {
		if found, ok := got[keyword]; !ok || found != parameters {
			t.Errorf("%s: %q %v; want %q", keyword, found, ok, parameters)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keywords, want %d: %q", len(got), len(want), got)
	}
}

func TestCommandIsOneLine(t *testing.T) {
	for _, command := range []string{"RSET\r\nQUIT", "RSET\n", "RSET\r", "RSET\x00"} {
		c, peer := says("250 ok\r\n")
		if _, err := c.Command(time.Minute, command); err == nil {
			t.Errorf("%q was sent", command)
		}
		if peer.Len() > 0 {
			t.Errorf("%q: wrote %q", command, peer.String())
		}
	}
}

func TestPipelinedCommandsGoOutTogether(t *testing.T) {
	c, peer := says("250 a\r\n550 b\r\n354 c\r\n")
	for _, command := range []string{"MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"} {
		if err := c.Send(command); err != nil {
			t.Fatal(err)
		}
	}
	if peer.Len() > 0 {
		t.Error("commands went out before a reply was waited for")
	}
	var codes []int
	for range 3 {
		reply, err := c.Receive(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, reply.Code)
	}
	if !slices.Equal(codes, []int{250, 550, 354}) || peer.String() != "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n" {
		t.Errorf("%v %q", codes, peer.String())
	}
}

func TestNothingFollowsTheReplyToSTARTTLS(t *testing.T) {
	c, _ := says("220 go ahead\r\n250-mx.example\r\n250 SIZE\r\n")
	if _, err := c.AskTLS(time.Minute); err != nil {
		t.Fatal(err)
	}
	err := c.StartTLS(context.Background(), time.Minute, &tls.Config{InsecureSkipVerify: true})
	if !errors.Is(err, ErrInjection) {
		t.Errorf("got %v", err)
	}
	c.Discard()
	if err := c.StartTLS(context.Background(), time.Minute, &tls.Config{InsecureSkipVerify: true}); errors.Is(err, ErrInjection) {
		t.Error("what was discarded counts")
	}
}

// A reply to STARTTLS that came before the command, or whose lines do not agree, is
// rejected.
func TestReplyToSTARTTLSIsItsOwn(t *testing.T) {
	c, _ := says("250 mx.example\r\n220 go ahead\r\n")
	if _, err := c.Command(time.Minute, "EHLO sender.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AskTLS(time.Minute); !errors.Is(err, ErrInjection) {
		t.Errorf("a reply before the command: %v", err)
	}
	c, _ = says("220-go\r\n250 evil\r\n220 ahead\r\n")
	if _, err := c.AskTLS(time.Minute); !errors.Is(err, ErrInjection) {
		t.Errorf("a reply with two codes: %v", err)
	}
}

// The first line of a reply to EHLO is the server's name, and a keyword is a word
// of its own.
func TestOffersAreWholeWords(t *testing.T) {
	for octets, want := range map[string]bool{
		"250-mx\r\n250 STARTTLS\r\n":        true,
		"250-mx\r\n250 StartTls\r\n":        true,
		"250-mx\n250-STARTTLS\n250 SIZE\n":  true,
		"250-STARTTLS\r\n250 SIZE\r\n":      false,
		"250 STARTTLS\r\n":                  false,
		"250-mx\r\n250 XSTARTTLS\r\n":       false,
		"250-mx\r\n250 SIZE STARTTLS\r\n":   false,
		"250-mx\r\n250 STARTTLS REQUIRED\n": true,
		"250\r\n":                           false,
	} {
		c, _ := says(octets)
		reply, err := c.Receive(time.Minute)
		if err != nil || reply.Extensions().Has("STARTTLS") != want {
			t.Errorf("%q: %v, %v", octets, reply.Extensions(), err)
		}
	}
}

// SMTP-7, SMTP-8, SMTP-28: RFC 5321 section 4.5.2, and lines that end in LF.
func TestMessageIsDotStuffed(t *testing.T) {
	for _, tt := range []struct{ message, want string }{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\n", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{"a\r", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"a\n.\n..\n.b\n", "a\r\n..\r\n...\r\n..b\r\n.\r\n"},
		{"a\r\n.\r\nQUIT\r\n", "a\r\n..\r\nQUIT\r\n.\r\n"},
		{"\n", "\r\n.\r\n"},
		{"\n\n.", "\r\n\r\n..\r\n.\r\n"},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":        func(r io.Reader) io.Reader { return r },
			"octet by octet": iotest.OneByteReader,
			"with its end":   iotest.DataErrReader,
		} {
			c, peer := says("")
			if err := c.Message(wrap(strings.NewReader(tt.message)), time.Minute); err != nil {
				t.Fatal(err)
			}
			if peer.String() != tt.want {
				t.Errorf("%q %s: %q, want %q", tt.message, name, peer.String(), tt.want)
			}
		}
	}
}

// A message that cannot be read to its end is not ended: the server must not
// take its beginning for all of it.
func TestMessageThatCannotBeRead(t *testing.T) {
	c, peer := says("")
	broken := errors.New("disk error")
	err := c.Message(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken)), time.Minute)
	var source *SourceError
	if !errors.As(err, &source) || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if strings.Contains(peer.String(), ".") {
		t.Errorf("sent %q", peer.String())
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"220\r\n", "250-a\r\n250 SIZE 1\r\n", "550 5.7.1 no\r\n", "250-AUTH=PLAIN\n250 \xff\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, octets string) {
		c, _ := says(octets)
		reply, err := c.Receive(time.Minute)
		if err != nil {
			if reply.Code != 0 {
				t.Fatalf("a reply and an error: %v %v", reply, err)
			}
			return
		}
		if reply.Code < 200 || reply.Code > 599 || len(reply.Lines) == 0 {
			t.Fatalf("%v", reply)
		}
		for keyword, parameters := range reply.Extensions() {
			if !isKeyword(keyword) || strings.ContainsAny(parameters, "\n") {
				t.Fatalf("%q %q", keyword, parameters)
			}
		}
		if status, ok := reply.Enhanced(); ok && status[0] != reply.Class() {
			t.Fatalf("%v %v", status, reply)
		}
	})
}

// A server that undoes the dots of what Message sends (RFC 5321 section 4.5.2) gets the
// message, and its end is only at the end.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"", "a\n.\n", ".\r\n.", "\r\n..\r\nx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "")
		c, peer := says("")
		if err := c.Message(iotest.HalfReader(strings.NewReader(text)), time.Minute); err != nil {
			t.Fatal(err)
		}
		body, found := strings.CutSuffix("\r\n"+peer.String(), "\r\n.\r\n")
		if !found || strings.Contains(body, "\r\n.\r\n") {
			t.Fatalf("%q goes out as %q", text, peer.String())
		}
		got := strings.TrimPrefix(strings.ReplaceAll(body, "\r\n.", "\r\n"), "\r\n")
		got = strings.ReplaceAll(got, "\r\n", "\n")
		if strings.TrimSuffix(text, "\n") != got {
			t.Fatalf("%q goes out as %q", text, peer.String())
		}
	})
}

// A reply that no command asked for is not taken for the reply to the next command,
// and nothing follows a reply that asks for more. 421 may come at any time.
func TestUnaskedRepliesAreRefused(t *testing.T) {
	for _, tt := range []struct {
		octets string
		first  error // of the reply to the first command
		second error // of the next command
		code   int   // of its reply
	}{
		{"250 ok\r\n", nil, io.ErrUnexpectedEOF, 0},
		{"250 ok\r\n250 ok\r\n", nil, ErrUnasked, 0},
		{"550 no\r\n550 no\r\n", nil, ErrUnasked, 0},
		{"250 ok\r\n2", nil, ErrUnasked, 0},
		{"250 ok\r\n\r\n", nil, ErrUnasked, 0},
		{"250 ok\r\n421 bye\r\n", nil, nil, 421},
		{"354 go\r\n250 ok\r\n", ErrUnasked, nil, 0},
		{"354 go\r\n354 go\r\n", ErrUnasked, nil, 0},
		{"334 \r\n235 ok\r\n", ErrUnasked, nil, 0},
	} {
		c, _ := says(tt.octets)
		_, err := c.Command(time.Minute, "NOOP")
		if !errors.Is(err, tt.first) {
			t.Errorf("%q: first reply: %v, want %v", tt.octets, err, tt.first)
		}
		if tt.first != nil {
			continue
		}
		reply, err := c.Command(time.Minute, "NOOP")
		if !errors.Is(err, tt.second) || reply.Code != tt.code {
			t.Errorf("%q: second reply: %v %v, want %v", tt.octets, reply, err, tt.second)
		}
	}
}

// Each message of a session begins as the first one does, however the one before ended.
func TestMessagesOfASession(t *testing.T) {
	t.Parallel()
	ours, theirs := connected(t)
	c := NewConn(ours)
	got := make(chan string)
	go func() {
		all, _ := io.ReadAll(theirs)
		got <- string(all)
	}()
	for _, text := range []string{"a", ".b\r", "\n.c\n", ".d", ""} {
		if err := c.Message(strings.NewReader(text), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	c.Abort()
	if s, want := <-got, "a\r\n.\r\n"+"..b\r\n.\r\n"+"\r\n..c\r\n.\r\n"+"..d\r\n.\r\n"+".\r\n"; s != want {
		t.Errorf("%q, want %q", s, want)
	}
}
