package dnssec

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// selfSigned returns a certificate for a name, and roots that contain it.
func selfSigned(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// tlsServer is the server of the world, reached over TLS on the loopback interface.
type tlsServer struct {
	w           *world
	config      *tls.Config
	addr        string
	roots       *x509.CertPool
	connections atomic.Int64
	perConn     int // queries after which the server closes a connection; 0: none
}

func (w *world) overTLS(t testing.TB, perConn int) *tlsServer {
	certificate, roots := selfSigned(t, "dns.example")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &tlsServer{w: w, addr: listener.Addr().String(), roots: roots, perConn: perConn}
	s.config = &tls.Config{Certificates: []tls.Certificate{certificate}}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(tls.Server(c, s.config))
		}
	}()
	return s
}

// serve answers the queries in any order.
func (s *tlsServer) serve(c net.Conn) {
	defer c.Close()
	s.connections.Add(1)
	var answers sync.WaitGroup
	defer answers.Wait()
	for n := 1; ; n++ {
		wire, err := receiveQuery(c, "tcp")
		if err != nil {
			return
		}
		answers.Go(func() {
			for _, m := range s.w.serve(s.addr, "tls", wire) {
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
			}
		})
		if n == s.perConn {
			return
		}
	}
}

// client configures a validator to ask the server over TLS.
func (s *tlsServer) client(c *Config) {
	c.Servers, c.TLS, c.Dial = []string{"tls://" + s.addr + "#dns.example"}, &tls.Config{RootCAs: s.roots}, nil
}

// RFC 7858: all questions of a lookup, and of the lookups that follow, share
// one connection over TLS, and replies come in any order.
func TestLookupsShareOneTLSConnection(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 0)
	v := w.validator(server.client)
	var lookups sync.WaitGroup
	for name, want := range map[string]Status{"mx.example.com": Secure, "none.example.com": Secure, "mx.plain.com": Insecure, "away.example.com": Insecure} {
		lookups.Go(func() {
			a, err := v.Lookup(context.Background(), name, TypeA)
			if err != nil || a.Status != want {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		})
	}
	lookups.Wait()
	if n := server.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	seen := make(map[uint16]bool)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.queries {
		seen[m.Id] = true
	}
	if len(seen) < len(w.queries)-2 { // IDs of questions that were answered may come again
		t.Errorf("%d IDs in %d queries", len(seen), len(w.queries))
	}
}

// If the server has closed a connection, the next question opens a new one.
func TestClosedConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 1)
	v := w.validator(server.client)
	for i, name := range []string{"mx.plain.com.", "a.wild.example.com.", "b.wild.example.com."} {
		r, err := v.exchange(t.Context(), false, question{name, dns.TypeA})
		if err != nil || r.answer.Find(name, dns.TypeA) == nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if n := int(server.connections.Load()); n != i+1 {
			t.Errorf("%d connections after %d questions", n, i+1)
		}
	}
}

// A certificate with another name or an unknown issuer is an error that says so,
// for a Validator too, because the user asked for TLS.
func TestWrongCertificateOfServerIsAnError(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 0)
	for what, edit := range map[string]func(*Config){
		"name":   func(c *Config) { c.Servers = []string{"tls://" + server.addr + "#other.example"} },
		"issuer": func(c *Config) { c.TLS = nil },
		"no name": func(c *Config) {
			c.Servers = []string{"tls://" + server.addr}
		},
	} {
		_, err := w.validator(server.client, edit).Lookup(t.Context(), "mx.example.com", TypeA)
		var e *Error
		if !errors.As(err, &e) || e.Reason != NotAuthenticated || e.Status != Indeterminate {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(w.queries) > 0 {
		t.Errorf("%d queries were sent", len(w.queries))
	}
}

// An impersonator of a TLS server cannot write to a log by long or unprintable
// names in its certificate.
func TestNamesOfCertificateAreEscaped(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 0)
	certificate, _ := selfSigned(t, "x\nforged\x1b[2J"+strings.Repeat("x", 10000))
	server.config.Certificates = []tls.Certificate{certificate}
	v := w.validator(server.client)
	_, err := v.Lookup(t.Context(), "mx.example.com", TypeA)
	for _, err := range []error{err, v.Probe(t.Context())} {
		mentions(t, err, "x509", `x\nforged\x1b[2J`)
		if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 2000 {
			t.Errorf("%d octets: %.300q", len(text), text)
		}
	}
}

// Close ends the connections and the lookups that wait for a server. Later lookups
// fail, except for those that the cache answers.
func TestCloseEndsLookups(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 0)
	v := w.validator(server.client)
	if _, err := v.Lookup(t.Context(), "mx.example.com", TypeA); err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 100)
	w.mu.Lock()
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		asked <- true
		return nil
	}
	w.mu.Unlock()
	waiting := make(chan error)
	go func() {
		_, err := v.Lookup(context.Background(), "waiting.example.com", TypeA)
		waiting <- err
	}()
	<-asked
	for range 2 {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	_, later := v.Lookup(t.Context(), "later.example.com", TypeA)
	for _, err := range []error{<-waiting, later} {
		var e *Error
		if !errors.Is(err, net.ErrClosed) || !errors.As(err, &e) || e.Status != Indeterminate {
			t.Errorf("error is %v", err)
		}
	}
	if _, err := v.Lookup(t.Context(), "mx.example.com", TypeA); err != nil {
		t.Errorf("an answer in the cache: %v", err)
	}
	if n := server.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Close of a Trusting does the same.
func TestCloseEndsLookupsOfTrusting(t *testing.T) {
	t.Parallel()
	trusting, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1"}, Dial: newWorld(t).dial})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := trusting.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := trusting.Lookup(t.Context(), "example.com", TypeA); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

// D9: a server over TLS closes its connections after some replies. The questions that
// wait for a reply move to the next connection (RFC 7766 section 6.2.4).
func TestD9QuestionsMoveToNextConnection(t *testing.T) {
	t.Parallel()
	for _, perConn := range []int{1, 7, 20, 100} {
		w := mail(t)
		server := w.overTLS(t, perConn)
		v := w.validator(server.client)
		var questions sync.WaitGroup
		for i := range 60 {
			questions.Go(func() {
				name := fmt.Sprintf("n%d.wild.example.com.", i)
				r, err := v.exchange(t.Context(), false, question{name, dns.TypeA})
				if err != nil || r.answer.Find(name, dns.TypeA) == nil {
					t.Errorf("%d replies a connection: %s: %+v, %v", perConn, name, r, err)
				}
			})
		}
		questions.Wait()
	}
}

// D9: a server that closes every connection without a reply is not asked forever.
func TestD9ServerThatOnlyClosesIsLeft(t *testing.T) {
	t.Parallel()
	w := mail(t)
	server := w.overTLS(t, 1)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { return nil }
	v := w.validator(server.client)
	if _, err := v.exchange(t.Context(), false, question{"mx.plain.com.", dns.TypeA}); err == nil {
		t.Error("no error")
	}
	if n := server.connections.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// A connection over TLS that has become silent does not make the server fail: it is checked
// over a new one.
func TestSilentConnectionIsCheckedOverNewOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		certificate, roots := selfSigned(t, "dns.example")
		var silent atomic.Bool
		var connections atomic.Int64
		var serving sync.WaitGroup
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			isFirst := connections.Add(1) == 1
			serving.Go(func() {
				defer far.Close()
				c := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}})
				for {
					wire, err := receiveQuery(c, "tcp")
					if err != nil {
						return
					}
					for _, m := range w.serve("", "tls", wire) {
						if !isFirst || !silent.Load() {
							c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
						}
					}
				}
			})
			return near, nil
		}
		v := w.validator(func(c *Config) {
			c.Servers, c.TLS, c.Dial, c.Timeout = []string{"tls://192.0.2.1#dns.example"}, &tls.Config{RootCAs: roots, Time: time.Now}, dial, 0
		})
		defer serving.Wait()
		defer v.Close()
		for i := range 4 {
			if a, err := v.Lookup(t.Context(), fmt.Sprintf("n%d.wild.example.com", i), TypeA); err != nil || a.Status != Secure {
				t.Errorf("lookup %d: %+v, %v", i, a, err)
			}
			silent.Store(true)
			time.Sleep(time.Second / 2)
		}
		if n := connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}
