package delivery

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// A scripted mail host says byte for byte what a test wants it to say, over
// connections in memory, so that a test in a synctest bubble has its own clock.

// script is the server's side of one connection, which ends with it.
type script func(s *server)

// server is one connection, seen from the server.
type server struct {
	conn  net.Conn
	lines *bufio.Reader
	world *world
	addr  string
}

// world is all that can be connected to, by IP address. The scripts of an
// address serve its connections in turn, the last one again and again.
type world struct {
	scripts map[string][]script
	silent  map[string]bool // addresses at which connection attempts hang
	pipe    func() (ours, theirs net.Conn)
	options []policy.Option // of the plan
	open    *gauge          // counts connections; may be nil

	mu          sync.Mutex
	dialed      []string            // addresses, in order
	connections map[string]int      // by address
	heard       map[string][]string // command lines by address, with "TLS" for a handshake
	recorded    []tlsrpt.Session
}

func newWorld(scripts map[string][]script) *world {
	return &world{scripts: scripts, pipe: net.Pipe, heard: make(map[string][]string), connections: make(map[string]int)}
}

func (w *world) Record(s *tlsrpt.Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = append(w.recorded, *s)
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	addr := netip.MustParseAddrPort(address).Addr().String()
	before := w.connections[addr]
	w.connections[addr]++
	w.dialed = append(w.dialed, addr)
	if w.silent[addr] {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return nil, ctx.Err()
	}
	scripts := w.scripts[addr]
	if len(scripts) == 0 {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	ours, theirs := w.pipe()
	ours = w.open.counting(addr, ours)
	play := scripts[min(before, len(scripts)-1)]
	go func() {
		defer theirs.Close()
		play(&server{conn: theirs, lines: bufio.NewReader(theirs), world: w, addr: addr})
	}()
	return ours, nil
}

// said returns the lines that were said to an address.
func (w *world) said(addr string) []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard[addr]
}

func (s *server) note(line string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.world.heard[s.addr] = append(s.world.heard[s.addr], line)
}

// say sends text as it is.
func (s *server) say(text string) { io.WriteString(s.conn, text) }

// hear reads a line, and reports whether there was one.
func (s *server) hear() (string, bool) {
	line, err := s.lines.ReadString('\n')
	if err != nil {
		return "", false
	}
	line = strings.TrimRight(line, "\r\n")
	s.note(line)
	return line, true
}

// message hears a message, and reports whether its end came.
func (s *server) message() bool {
	for {
		if line, ok := s.hear(); !ok || line == "." {
			return ok
		}
	}
}

// answer hears one line and answers it.
func (s *server) answer(text string) {
	s.hear()
	s.say(text)
}

// handshake is the server's side of TLS.
func (s *server) handshake(cert tls.Certificate) bool {
	conn := tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	if conn.Handshake() != nil {
		return false
	}
	s.note("TLS")
	s.conn, s.lines = conn, bufio.NewReader(conn)
	return true
}

// asyncConn writes without waiting for the reader, as a socket does.
type asyncConn struct {
	net.Conn
	queue chan []byte
}

func newAsyncConn(conn net.Conn) asyncConn {
	c := asyncConn{conn, make(chan []byte, 16)}
	go func() {
		for p := range c.queue {
			if _, err := c.Conn.Write(p); err != nil {
				return
			}
		}
	}()
	return c
}

func (c asyncConn) Write(p []byte) (int, error) {
	c.queue <- slices.Clone(p)
	return len(p), nil
}

// serve answers commands until the client leaves, with replies by verb where
// given.
func (s *server) serve(replies map[string]string) {
	for {
		line, ok := s.hear()
		if !ok {
			return
		}
		verb, _, _ := strings.Cut(line, " ")
		reply, special := replies[verb]
		switch {
		case special:
			s.say(reply)
		case verb == "EHLO":
			s.say("250 mx.example.net\r\n")
		case verb == "DATA":
			s.say("354 go ahead\r\n")
			if !s.message() {
				return
			}
			if reply, special = replies["."]; !special {
				reply = "250 2.0.0 taken\r\n"
			}
			s.say(reply)
		case verb == "QUIT":
			s.say("221 bye\r\n")
			return
		default:
			s.say("250 2.0.0 ok\r\n")
		}
	}
}

const greeting = "220 mx.example.net ESMTP\r\n"

// inClearOnly is a host that has no TLS.
func inClearOnly(s *server) {
	s.say(greeting)
	s.serve(nil)
}

// withTLS is a host with TLS.
func withTLS(cert tls.Certificate) script { return tlsThen(cert, nil) }

// tlsThen is a host with TLS and replies of its own after that.
func tlsThen(cert tls.Certificate, replies map[string]string) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		if s.handshake(cert) {
			s.serve(replies)
		}
	}
}

// refusing is a host that answers STARTTLS in another way than by 220.
func refusing(reply string) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer(reply)
		s.serve(nil)
	}
}

// certificates are made once for all tests. The root has issued good and expired for
// mx.example.net, and other for another name. unknown is self-signed, for mx.example.net.
var certificates = sync.OnceValue(func() (c struct {
	roots                         *x509.CertPool
	good, other, unknown, expired tls.Certificate
}) {
	root, rootKey := newCertificate(nil, nil, "Root")
	c.roots = x509.NewCertPool()
	c.roots.AddCert(root)
	leaf, leafKey := newCertificate(root, rootKey, "mx.example.net", "*.example.net")
	c.good = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}
	other, otherKey := newCertificate(root, rootKey, "mx.example.com")
	c.other = tls.Certificate{Certificate: [][]byte{other.Raw}, PrivateKey: otherKey}
	unknown, unknownKey := newCertificate(nil, nil, "mx.example.net", "*.example.net")
	c.unknown = tls.Certificate{Certificate: [][]byte{unknown.Raw}, PrivateKey: unknownKey}
	expired, expiredKey := newCertificateUntil(time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC), root, rootKey, "mx.example.net", "*.example.net")
	c.expired = tls.Certificate{Certificate: [][]byte{expired.Raw}, PrivateKey: expiredKey}
	return c
})

func newCertificate(parent *x509.Certificate, parentKey *ecdsa.PrivateKey, names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	return newCertificateUntil(time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), parent, parentKey, names...)
}

func newCertificateUntil(end time.Time, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, names ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: names[0]},
		DNSNames:              names,
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              end,
		IsCA:                  parent == nil,
		BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
}

// mailHost is a host of a plan: the level it has, and its addresses.
type mailHost struct {
	level policy.Level
	addrs []string
}

func at(level policy.Level, addrs ...string) mailHost { return mailHost{level, addrs} }

// planned returns a plan for example.org with the hosts in order: mx.example.net,
// mx1.example.net and so on. The operator's floor gives the hosts the lowest level
// among them, by the web PKI; TLSA records raise the others.
func (w *world) planned(t *testing.T, hosts ...mailHost) *policy.Plan {
	t.Helper()
	plan, err := w.published(t, hosts...).Resolve(t.Context(), "example.org", w.options...)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range plan.Hosts {
		if h.Level != hosts[i].level && len(hosts[i].addrs) > 0 {
			t.Fatalf("%s is %v by %v, want %v: %s", h.Name, h.Level, h.By, hosts[i].level, h.Why)
		}
	}
	return plan
}

// published returns the Resolver that makes such a plan.
func (w *world) published(t *testing.T, hosts ...mailHost) *policy.Resolver {
	t.Helper()
	names := fakedns.Answers{}
	floor := policy.Authenticated
	for _, h := range hosts {
		if h.level != policy.Refused {
			floor = min(floor, h.level)
		}
	}
	digest := sha256.Sum256(certificates().good.Certificate[0])
	var exchanges []string
	for i, h := range hosts {
		name := "mx.example.net"
		if i > 0 {
			name = fmt.Sprintf("mx%d.example.net", i)
		}
		exchanges = append(exchanges, fmt.Sprintf("example.org. MX %d %s.", i, name))
		names.Deny(dnssec.Secure, name+". A", name+". AAAA", "_25._tcp."+name+". TLSA")
		var addresses []string
		for _, addr := range h.addrs {
			addresses = append(addresses, name+". A "+addr)
		}
		names.Add(t, dnssec.Secure, addresses...)
		switch {
		case h.level == policy.Refused:
			names["_25._tcp."+name+". TLSA"] = nil // the lookup fails
		case h.level > floor && h.level == policy.Authenticated:
			names.Add(t, dnssec.Secure, fmt.Sprintf("_25._tcp.%s. TLSA 3 0 1 %x", name, digest))
		case h.level > floor:
			names.Add(t, dnssec.Secure, "_25._tcp."+name+". TLSA 0 0 1 ab") // unusable
		}
	}
	names.Add(t, dnssec.Secure, exchanges...)
	return w.resolver(t, names, policy.Config{Floor: floor})
}

// resolver makes a Resolver whose mail hosts are those of w.
func (w *world) resolver(t testing.TB, names dnssec.Resolver, config policy.Config) *policy.Resolver {
	t.Helper()
	config.DNS, config.NoMTASTS, config.Dial, config.RootCAs = names, true, w.dial, certificates().roots
	r, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) dialer() *Dialer { return &Dialer{Recorder: w, LocalName: "sender.example"} }

// walk is what Dial does after Resolve.
func (w *world) walk(plan *policy.Plan) *walk {
	along := &walk{dialer: w.dialer()}
	along.follow(plan)
	return along
}

// dialHost dials a plan of one host with one address and one script.
func (w *world) dialHost(t *testing.T, level policy.Level) (*Client, *policy.Error) {
	t.Helper()
	client, err := w.walk(w.planned(t, at(level, "192.0.2.1"))).client(t.Context())
	if err == nil {
		return client, nil
	}
	var failure *policy.Error
	if !errors.As(err, &failure) {
		t.Fatalf("error %v is no *policy.Error", err)
	}
	return nil, failure
}

func oneHost(scripts ...script) *world {
	return newWorld(map[string][]script{"192.0.2.1": scripts})
}

// hostError is the first error of a host in that of a domain.
func hostError(t *testing.T, err *policy.Error) *policy.Error {
	t.Helper()
	var host *policy.Error
	if !errors.As(err.Err, &host) {
		t.Fatalf("error %v holds no error of a host", err)
	}
	return host
}
