package main

import (
	"context"
	"io"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// world is a private internet and the dependencies of a relay in it.
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

// mailHost returns the mail host of a new domain with DANE.
func (w *world) mailHost(domain string) *policytest.Host {
	w.Domain(domain).MX("mx." + domain)
	return w.Host("mx."+domain, policytest.TLSA("3 1 1"))
}

// running is a running relay.
type running struct {
	addr string
	log  *logbuf.Buffer
	stop context.CancelFunc
	code chan int // the exit status
}

// start starts a relay. It ends with the test, or when end is called.
func (w *world) start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{log: new(logbuf.Buffer), stop: stop, code: make(chan int, 1)}
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

// end stops the relay if it is still running.
func (r *running) end(t *testing.T) {
	r.stop()
	if code := <-r.code; code != 0 {
		t.Errorf("the relay ended with %d", code)
	}
	if t.Failed() {
		t.Logf("log of the relay:\n%s", r.log)
	}
}

// send sends a message like any mail program.
func (r *running) send(to, message string) error {
	return smtp.SendMail(r.addr, nil, "me@sender.test", []string{to}, []byte(message))
}

// converse sends a whole conversation at once and returns everything that the
// relay sends.
func (r *running) converse(t *testing.T, said string) string {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, said) }()
	// The relay may close the connection before it has read everything.
	replies, _ := io.ReadAll(conn)
	return string(replies)
}

// tomorrow moves the clock to a time when all reports of today are due.
func (w *world) tomorrow() {
	due := (report.DayOf(w.Now()) + 1).Start().Add(5 * time.Hour)
	w.Advance(due.Sub(w.Now()))
}

const greeting = "Subject: hello\r\n\r\nHello.\r\n"

// crlf joins lines with CRLF.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }
