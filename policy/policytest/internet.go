package policytest

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/test/dnstree"
)

// TB is the part of testing.TB that New uses.
type TB interface {
	Cleanup(func())
}

// Internet is a private internet: a signed DNS tree, mail hosts, MTA-STS policy
// hosts, and a certificate authority. It is safe for concurrent use. Everything
// in it can be changed while it is in use.
type Internet struct {
	tree *dnstree.Tree
	ca   *authority // trusted by RootCAs
	fake *authority // not trusted
	gate *gate
	web  *webServer

	mu        sync.Mutex
	advanced  time.Duration
	domains   map[string]*Domain
	hosts     map[string]bool // mail hosts, by name
	endpoints map[netip.AddrPort]*server
	pool      pool
	closers   []func() error
	conns     map[net.Conn]bool
	closing   chan struct{} // closed by Close
	running   sync.WaitGroup
}

// New starts an internet that contains only a root zone. If tb is not nil, the
// internet is closed when the test ends. If tb is nil, the caller must call
// Close.
//
// Like httptest, New panics if it cannot listen on the loopback interface. The
// methods of Internet panic on mistakes in the test, such as a record that does
// not parse.
func New(tb TB) *Internet {
	inet := &Internet{
		tree:      dnstree.New(),
		ca:        newAuthority("Test Internet"),
		fake:      newAuthority("Untrusted"),
		domains:   make(map[string]*Domain),
		hosts:     make(map[string]bool),
		endpoints: make(map[netip.AddrPort]*server),
		pool:      newPool(),
		conns:     make(map[net.Conn]bool),
		closing:   make(chan struct{}),
	}
	var err error
	if inet.gate, err = newGate(); err == nil {
		err = inet.tree.Start()
	}
	if err != nil {
		panic("policytest: " + err.Error())
	}
	inet.web = newWebServer(inet.closing)
	inet.closers = append(inet.closers, inet.gate.close, inet.web.http.Close)
	inet.running.Go(inet.gate.run)
	inet.running.Go(inet.web.run)
	if tb != nil {
		tb.Cleanup(inet.Close)
	}
	return inet
}

// Close stops all servers, closes their connections and waits for them to end.
// It can be called more than once.
func (inet *Internet) Close() {
	inet.mu.Lock()
	select {
	case <-inet.closing:
	default:
		close(inet.closing)
	}
	for _, shut := range inet.closers {
		shut()
	}
	for c := range inet.conns {
		c.Close()
	}
	inet.mu.Unlock()
	inet.tree.Close()
	inet.running.Wait()
}

// Now returns the time of this internet's clock: the real time plus what
// Advance added.
func (inet *Internet) Now() time.Time {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	return time.Now().Add(inet.advanced)
}

// Advance moves the clock forward, or back if by is negative. Certificates and
// signatures are valid for ten years before and after the real time, unless an
// option says otherwise.
func (inet *Internet) Advance(by time.Duration) {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	inet.advanced += by
}

// RootCAs returns a new pool with the root of this internet's certificate
// authority.
func (inet *Internet) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(inet.ca.root.cert)
	return pool
}

// RootPEM returns the root of RootCAs in PEM, for programs that read a file of authorities.
func (inet *Internet) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: inet.ca.root.cert.Raw})
}

// listen listens at a real address and calls serve for each connection until
// Close is called. serve returns at once. It returns the address.
func (inet *Internet) listen(addr string, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		panic("policytest: " + err.Error())
	}
	inet.mu.Lock()
	defer inet.mu.Unlock()
	inet.closers = append(inet.closers, l.Close)
	inet.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	})
	return l.Addr().String()
}

// attend runs handle in a goroutine and then closes the connection. Close
// closes it too.
func (inet *Internet) attend(c *transport, handle func(*transport)) {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	select {
	case <-inet.closing:
		c.Close()
		return
	default:
	}
	inet.conns[c] = true
	inet.running.Go(func() {
		handle(c)
		c.Close()
		inet.mu.Lock()
		defer inet.mu.Unlock()
		delete(inet.conns, c)
	})
}

// normal returns a domain name in the form used as a key: lower case, without a
// final dot.
func normal(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
