package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// world is an internet with a relay's part of it.
type world struct {
	*policytest.Internet
	deps deps
}

func newWorld(t *testing.T) *world {
	t.Helper()
	inet := policytest.New(t)
	memory := &stores{reports: new(reporter.MemoryStore), close: func() error { return nil }}
	return &world{inet, deps{
		dns:    inet.DNSConfig(),
		policy: inet.Config(),
		open:   func(settings) (*stores, error) { return memory, nil },
		grace:  time.Minute,
	}}
}

// mailHost is the mail host of a new domain with DANE.
func (w *world) mailHost(domain string) *policytest.Host {
	w.Domain(domain).MX("mx." + domain)
	return w.Host("mx."+domain, policytest.TLSA("3 1 1"))
}

// running is a relay.
type running struct {
	addr string
	log  *lockedBuffer
	stop context.CancelFunc
	code chan int // the exit status
}

// start runs a relay until the test ends, or stop is called.
func (w *world) start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{log: new(lockedBuffer), stop: stop, code: make(chan int, 1)}
	listening := make(chan net.Addr, 1)
	d := w.deps
	d.listening = func(addr net.Addr) { listening <- addr }
	args = append([]string{"-listen", "127.0.0.1:0", "-name", "relay.sender.test"}, args...)
	go func() {
		defer close(r.code)
		r.code <- run(ctx, args, io.Discard, r.log, d)
	}()
	select {
	case addr := <-listening:
		r.addr = addr.String()
	case code := <-r.code:
		t.Fatalf("the relay ended with %d: %s", code, r.log)
	}
	t.Cleanup(func() { r.end(t) })
	return r
}

// end ends the relay, if it has not ended yet.
func (r *running) end(t *testing.T) {
	r.stop()
	if code := <-r.code; code != 0 {
		t.Errorf("the relay ended with %d", code)
	}
	if t.Failed() {
		t.Logf("log of the relay:\n%s", r.log)
	}
}

// send sends a message in the manner of any mail program.
func (r *running) send(to, message string) error {
	return smtp.SendMail(r.addr, nil, "me@sender.test", []string{to}, []byte(message))
}

// converse sends all of a conversation at once, and returns what the relay says
// until it hangs up.
func (r *running) converse(t *testing.T, said string) string {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, said) }()
	// The relay may hang up before it has read everything.
	replies, _ := io.ReadAll(conn)
	return string(replies)
}

// eventually waits until there is something.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !there() {
		select {
		case <-deadline:
			t.Fatalf("%s has not come", what)
		case <-poll.C:
		}
	}
}

// tomorrow moves the clock to when all reports of today are due.
func (w *world) tomorrow() {
	due := (report.DayOf(w.Now()) + 1).Start().Add(5 * time.Hour)
	w.Advance(due.Sub(w.Now()))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const greeting = "Subject: hello\r\n\r\nHello.\r\n"

// crlf makes a conversation of lines.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }
