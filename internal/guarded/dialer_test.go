package guarded_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/internal/test/testpki"
)

const host = "mta-sts.example.com"

// world is a resolver with one host, and the network that the host is in.
type world struct {
	asked  []string
	addrs  []netip.Addr
	err    error
	dialed []string
	// dial is what the network does; nil refuses every connection.
	dial func(ctx context.Context) (net.Conn, error)
}

func (w *world) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	w.asked = append(w.asked, name)
	return w.addrs, w.err
}

func (w *world) dialer() *guarded.Dialer {
	return &guarded.Dialer{
		Resolver: w,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			w.dialed = append(w.dialed, addr)
			if w.dial == nil {
				return nil, errors.New("refused")
			}
			return w.dial(ctx)
		},
		Now: func() time.Time { return testpki.Now },
	}
}

// serve makes the network one TLS server with the certificate of e, for one
// session.
func (w *world) serve(t *testing.T, e *testpki.Entity, version uint16, session func(conn *tls.Conn, raw net.Conn)) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}
	go func() {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		conn := tls.Server(raw, serverConfig(e, version))
		if conn.HandshakeContext(t.Context()) == nil {
			session(conn, raw)
		}
	}()
}

func serverConfig(e *testpki.Entity, version uint16) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{e.TLS()},
		MaxVersion:   version,
		MinVersion:   tls.VersionTLS10,
		NextProtos:   []string{"h2", "http/1.1"},
		Time:         func() time.Time { return testpki.Now },
	}
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// wantError checks the step and, unless it is nil, the cause.
func wantError(t *testing.T, err error, step guarded.Step, cause error) {
	t.Helper()
	var failed *guarded.Error
	if !errors.As(err, &failed) || failed.Step != step || cause != nil && !errors.Is(err, cause) {
		t.Errorf("error %v, want step %d and %v", err, step, cause)
	}
}

// The decision on SSRF, field note 50: which addresses are dialed, and that they
// are the ones that were checked.
func TestOnlyCheckedAddressesAreDialed(t *testing.T) {
	t.Parallel()
	lots := func(format string) (list []string) {
		for i := range 20 {
			list = append(list, fmt.Sprintf(format, i+1))
		}
		return list
	}
	for what, test := range map[string]struct {
		host   string
		found  []string
		allow  string
		dialed []string
		cause  error // of the step Resolve; nil: none
	}{
		"public":           {host, []string{"11.0.0.1", "2a00::1"}, "", []string{"11.0.0.1:8443", "[2a00::1]:8443"}, nil},
		"none":             {host, nil, "", nil, guarded.ErrNoAddress},
		"private":          {host, []string{"10.0.0.1", "fd00::1"}, "", nil, guarded.ErrSpecialAddress},
		"one private":      {host, []string{"127.0.0.1", "11.0.0.1"}, "", []string{"11.0.0.1:8443"}, nil},
		"private, mapped":  {host, []string{"::ffff:127.0.0.1"}, "", nil, guarded.ErrSpecialAddress},
		"public, mapped":   {host, []string{"::ffff:11.0.0.1"}, "", []string{"11.0.0.1:8443"}, nil},
		"zone":             {host, []string{"2a00::1%eth0"}, "", nil, guarded.ErrSpecialAddress},
		"allowed":          {host, []string{"127.0.0.1", "127.0.0.2"}, "127.0.0.1", []string{"127.0.0.1:8443"}, nil},
		"allowed, mapped":  {host, []string{"::ffff:127.0.0.1"}, "127.0.0.1", []string{"127.0.0.1:8443"}, nil},
		"many of a family": {host, append(lots("2a00::%d"), "11.0.0.1"), "", []string{"[2a00::1]:8443", "[2a00::2]:8443", "[2a00::3]:8443", "[2a00::4]:8443", "11.0.0.1:8443"}, nil},
		"literal":          {"11.0.0.1", nil, "", []string{"11.0.0.1:8443"}, nil},
		"private literal":  {"::1", nil, "", nil, guarded.ErrSpecialAddress},
		"final dot":        {host + ".", []string{"11.0.0.1"}, "", []string{"11.0.0.1:8443"}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := world{addrs: addrs(test.found...)}
			d := w.dialer()
			if test.allow != "" {
				d.AllowAddr = func(addr netip.Addr) bool { return addr == netip.MustParseAddr(test.allow) }
			}
			_, err := d.DialTLS(t.Context(), test.host, "8443")
			if test.cause != nil {
				wantError(t, err, guarded.Resolve, test.cause)
			} else {
				wantError(t, err, guarded.Connect, nil)
			}
			if !slices.Equal(w.dialed, test.dialed) {
				t.Errorf("dialed %q, want %q", w.dialed, test.dialed)
			}
			for _, name := range w.asked {
				if name != host+"." {
					t.Errorf("asked for %q", name)
				}
			}
		})
	}
}

func TestResolverErrorIsKept(t *testing.T) {
	t.Parallel()
	w := world{err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	_, err := w.dialer().DialTLS(t.Context(), host, "443")
	wantError(t, err, guarded.Resolve, w.err)
}

// One address that does not answer takes its own time and no more; the end of the
// context ends all.
func TestConnectTimeOfEachAddress(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]struct {
		dials int
		took  time.Duration
	}{
		time.Hour:        {2, 20 * time.Second},
		15 * time.Second: {2, 15 * time.Second},
		5 * time.Second:  {1, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := world{addrs: addrs("11.0.0.1", "11.0.0.2")}
			w.dial = func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			_, err := w.dialer().DialTLS(ctx, host, "443")
			wantError(t, err, guarded.Connect, context.DeadlineExceeded)
			if took := time.Since(began); took != want.took || len(w.dialed) != want.dials {
				t.Errorf("limit %v: took %v for %d addresses", limit, took, len(w.dialed))
			}
		})
	}
}

// A host whose servers refuse is not excused by another address, of a family that this host
// does not have: its failure would not count, and it would be tried again at once.
func TestNoAddressOfFamily(t *testing.T) {
	t.Parallel()
	noFamily := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EADDRNOTAVAIL}
	for _, tt := range []struct {
		what    string
		addrs   []netip.Addr
		results []error
		want    error
	}{
		{"at the end", addrs("192.88.1.1", "2606:4700::1"), []error{syscall.ECONNREFUSED, noFamily}, syscall.ECONNREFUSED},
		{"at the beginning", addrs("2606:4700::1", "192.88.1.1"), []error{noFamily, syscall.ECONNREFUSED}, syscall.ECONNREFUSED},
		{"nothing else", addrs("2606:4700::1"), []error{noFamily}, syscall.EADDRNOTAVAIL},
		{"no files", addrs("192.88.1.1", "2606:4700::1"), []error{syscall.ECONNREFUSED, syscall.EMFILE}, syscall.EMFILE},
	} {
		w := &world{addrs: tt.addrs}
		w.dial = func(context.Context) (net.Conn, error) { return nil, tt.results[len(w.dialed)-1] }
		_, err := w.dialer().DialTLS(t.Context(), host, "443")
		if !errors.Is(err, tt.want) || len(w.dialed) != len(tt.addrs) {
			t.Errorf("%s: %v after %v; want %v", tt.what, err, w.dialed, tt.want)
		}
	}
}

// STS-44 to STS-47, STS-93, RPT-15: the certificate and the version of TLS.
func TestHandshakeChecksCertificateAndVersion(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	good := root.Server(t, []string{host})
	address := root.Server(t, nil, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(11, 0, 0, 1)} })
	for what, test := range map[string]struct {
		host    string
		server  *testpki.Entity
		version uint16
		ignore  bool
		ok      bool
	}{
		"good":                {host, good, tls.VersionTLS13, false, true},
		"final dot":           {host + ".", good, tls.VersionTLS13, false, true},
		"address":             {"11.0.0.1", address, tls.VersionTLS13, false, true},
		"TLS 1.2":             {host, good, tls.VersionTLS12, false, true},
		"TLS 1.1":             {host, good, tls.VersionTLS11, false, false},
		"TLS 1.1, ignored":    {host, good, tls.VersionTLS11, true, false},
		"other name":          {host, root.Server(t, []string{"example.com"}), tls.VersionTLS13, false, false},
		"expired":             {host, root.Server(t, []string{host}, testpki.Expired), tls.VersionTLS13, false, false},
		"unknown":             {host, testpki.SelfSigned(t, []string{host}), tls.VersionTLS13, false, false},
		"unknown and ignored": {host, testpki.SelfSigned(t, []string{host}), tls.VersionTLS13, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := world{addrs: addrs("11.0.0.1")}
			states := make(chan tls.ConnectionState, 1)
			w.serve(t, test.server, test.version, func(conn *tls.Conn, _ net.Conn) { states <- conn.ConnectionState() })
			d := w.dialer()
			d.RootCAs = x509.NewCertPool()
			d.RootCAs.AddCert(root.Cert)
			d.IgnoreCertificates = test.ignore
			conn, err := d.DialTLS(t.Context(), test.host, "443")
			if !test.ok {
				wantError(t, err, guarded.Handshake, nil)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if state := <-states; state.NegotiatedProtocol != "http/1.1" || test.host != "11.0.0.1" && state.ServerName != host {
				t.Errorf("protocol %q, server name %q", state.NegotiatedProtocol, state.ServerName)
			}
		})
	}
}

// What the caller needs to tell one bad certificate from another is in the error.
func TestCertificateErrorNamesReason(t *testing.T) {
	t.Parallel()
	w := world{addrs: addrs("11.0.0.1")}
	w.serve(t, testpki.SelfSigned(t, []string{host}), tls.VersionTLS13, func(*tls.Conn, net.Conn) {})
	d := w.dialer()
	d.RootCAs = x509.NewCertPool()
	_, err := d.DialTLS(t.Context(), host, "443")
	var invalid *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &invalid) || !errors.As(err, &unknown) {
		t.Errorf("error %v", err)
	}
}

// A server that is silent is waited for as long as the context allows.
func TestSilentServerEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := world{addrs: addrs("11.0.0.1")}
		w.dial = func(context.Context) (net.Conn, error) {
			client, server := net.Pipe()
			go io.Copy(io.Discard, server)
			return client, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := w.dialer().DialTLS(ctx, host, "443")
		wantError(t, err, guarded.Handshake, context.DeadlineExceeded)
	})
}

// STS-53: an end of the connection is distinguished from the end of TLS.
func TestTruncationIsNoEndOfTLS(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "Root")
	for what, test := range map[string]struct {
		end  func(*tls.Conn, net.Conn)
		want error
	}{
		"close_notify": {func(conn *tls.Conn, _ net.Conn) { conn.Close() }, nil},
		"cut off":      {func(_ *tls.Conn, raw net.Conn) { raw.Close() }, guarded.ErrTruncated},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := world{addrs: addrs("11.0.0.1")}
			w.serve(t, root.Server(t, []string{host}), tls.VersionTLS13, func(conn *tls.Conn, raw net.Conn) {
				io.WriteString(conn, "data")
				test.end(conn, raw)
			})
			d := w.dialer()
			d.RootCAs = x509.NewCertPool()
			d.RootCAs.AddCert(root.Cert)
			conn, err := d.DialTLS(t.Context(), host, "443")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if data, err := io.ReadAll(conn); string(data) != "data" || !errors.Is(err, test.want) {
				t.Errorf("read %q, %v", data, err)
			}
		})
	}
}

// A server that reads nothing delays no Close.
func TestCloseDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := testpki.Root(t, "Root")
		ours, theirs := net.Pipe() // has no buffer
		w := world{addrs: addrs("11.0.0.1"), dial: func(context.Context) (net.Conn, error) { return ours, nil }}
		var serving sync.WaitGroup
		defer serving.Wait()
		server := tls.Server(theirs, serverConfig(root.Server(t, []string{host}), tls.VersionTLS12))
		serving.Go(func() {
			if err := server.HandshakeContext(t.Context()); err != nil {
				t.Error(err)
			}
		})
		d := w.dialer()
		d.RootCAs = x509.NewCertPool()
		d.RootCAs.AddCert(root.Cert)
		conn, err := d.DialTLS(t.Context(), host, "443")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := conn.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A host can put nothing into a log but one line.
func TestErrorTextIsOneLine(t *testing.T) {
	t.Parallel()
	err := &guarded.Error{Step: guarded.Connect, Host: "a\x1b[0m", Err: errors.New(strings.Repeat("\n", 10000))}
	if text := err.Error(); len(text) > 600 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%q", text)
	}
}

// nat64World is a world behind a NAT64.
type nat64World struct {
	*world
	prefix netip.Prefix
}

func (w nat64World) NAT64() netip.Prefix { return w.prefix }

// D15: an address in the prefix of the NAT64 is judged by the IPv4 address in it.
func TestD15NAT64(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		prefix, addr string
		dialed       bool
	}{
		{"2a00:64::/96", "2a00:64::11.0.0.1", true},
		{"2a00:64::/96", "2a00:64::10.0.0.1", false},
		{"2a00:64::/96", "2a00:64::127.0.0.1", false},
		{"2a00:64::/96", "2a00:65::10.0.0.1", true},
		{"2a00:64::/48", "2a00:64:0:a00:0:100::", false},
		{"fd00:64::/96", "fd00:64::11.0.0.1", true},
		{"fd00:64::/96", "fd00:64::192.168.0.1", false},
		{"fd00:64::/96", "fd00:65::11.0.0.1", false},
	} {
		w := world{addrs: addrs(test.addr)}
		d := w.dialer()
		d.Resolver = nat64World{&w, netip.MustParsePrefix(test.prefix)}
		_, err := d.DialTLS(t.Context(), "host.example", "443")
		if (len(w.dialed) == 1) != test.dialed || errors.Is(err, guarded.ErrSpecialAddress) == test.dialed {
			t.Errorf("D15 %s with %s: dialed %v: %v", test.addr, test.prefix, w.dialed, err)
		}
	}
}
