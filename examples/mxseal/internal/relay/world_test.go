package relay

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// world is a private internet, and the settings of a relay in it.
type world struct {
	*policytest.Internet
	config        policy.Config
	grace         time.Duration
	maxSize       int64
	clientTimeout time.Duration
	starttls      bool
	submit        func(ctx context.Context, to string, report []byte) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	inet := policytest.New(t)
	c := inet.Config()
	c.Self = []string{"relay.sender.test"}
	return &world{Internet: inet, config: c, grace: time.Minute, clientTimeout: 20 * time.Minute, maxSize: 25 << 20}
}

// mailHost returns the mail host of a new domain with DANE.
func (w *world) mailHost(domain string) *policytest.Host {
	w.Domain(domain).MX("mx." + domain)
	return w.Host("mx."+domain, policytest.TLSA("3 1 1"))
}

// running is a running relay.
type running struct {
	addr  string
	log   *logbuf.Buffer
	stop  func()
	ended chan error
}

// start starts a relay. It ends with the test, or when end is called.
func (w *world) start(t *testing.T, lmtp bool) *running {
	t.Helper()
	resolver, err := policy.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{addr: l.Addr().String(), log: new(logbuf.Buffer), ended: make(chan error, 1)}
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	pool := &delivery.Pool{Dialer: &delivery.Dialer{Resolver: resolver, LocalName: "relay.sender.test", Logger: logger, DomainTimeout: TimeToBegin(w.clientTimeout)}}
	relay, err := New(Config{Name: "relay.sender.test", MaxSize: w.maxSize, ClientTimeout: w.clientTimeout, STARTTLS: w.starttls, Send: pool.Send, Submit: w.submit, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	r.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), w.grace)
		t.Cleanup(cancel)
		relay.Shutdown(ctx)
	}
	go func() {
		err := relay.Serve(l, lmtp)
		_ = pool.Close(context.Background())
		resolver.Close()
		r.ended <- err
		close(r.ended)
	}()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the relay if it is still running.
func (r *running) end(t *testing.T) {
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("the relay ended with %v", err)
	}
	if t.Failed() {
		t.Logf("log of the relay:\n%s", r.log)
	}
}

// send sends a message like any mail program.
func (r *running) send(to, message string) error {
	return smtp.SendMail(r.addr, nil, "me@sender.test", []string{to}, []byte(message))
}

// converse sends a whole conversation at once and returns everything that the relay sends.
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

var discard = slog.New(slog.DiscardHandler)

const greeting = "Subject: hello\r\n\r\nHello.\r\n"

// crlf joins lines with CRLF.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }
