package mtasts_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/mtasts"
)

const (
	domain     = "example.com"
	policyHost = "mta-sts.example.com"
	enforce    = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmax_age: 86400\r\n"
)

// world is an Internet of one name server and one policy host, in memory, so that
// tests can run in synctest bubbles.
type world struct {
	mu      sync.Mutex
	txts    map[string]txtAnswer
	addrs   map[string][]netip.Addr
	host    func(net.Conn) // serves every address
	queries []string       // for TXT records
	dials   []string
	roots   *x509.CertPool
	tb      testing.TB
	ca      *testpki.Entity
}

// txtAnswer is the answer of DNS for a name.
type txtAnswer struct {
	txts []string
	ttl  time.Duration
	err  error
}

// newWorld returns a world with a policy of id 1 for example.com.
func newWorld(t testing.TB) *world {
	w := &world{tb: t, ca: newAuthority(t), roots: x509.NewCertPool()}
	w.roots.AddCert(w.ca.Cert)
	w.txts = map[string]txtAnswer{}
	w.addrs = map[string][]netip.Addr{policyHost + ".": {netip.MustParseAddr("11.0.0.1")}}
	w.publish("1", enforce)
	return w
}

func (w *world) client(t testing.TB, change ...func(*mtasts.Config)) *mtasts.Client {
	t.Helper()
	config := mtasts.Config{Resolver: w, RootCAs: w.roots, Dial: w.Dial}
	for _, f := range change {
		f(&config)
	}
	client, err := mtasts.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// publish sets the record and the policy of example.com.
func (w *world) publish(id, policy string) {
	w.setID(id)
	w.setSite(w.good(), respond(200, "text/plain", policy))
}

// publishAt gives another domain the policy of example.com, at that address.
func (w *world) publishAt(domain, addr string) {
	cert := issue(w.tb, w.ca, &x509.Certificate{DNSNames: []string{policyHost, "mta-sts." + domain}})
	w.setSite(cert, respond(200, "text/plain", enforce))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.txts["_mta-sts."+domain+"."] = txtAnswer{txts: []string{"v=STSv1; id=1;"}, ttl: 5 * time.Minute}
	w.addrs["mta-sts."+domain+"."] = []netip.Addr{netip.MustParseAddr(addr)}
}

func (w *world) setID(id string) {
	w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=" + id + ";"}, ttl: 5 * time.Minute})
}

func (w *world) setTXT(a txtAnswer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.txts["_mta-sts."+domain+"."] = a
}

func (w *world) setAddrs(addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var parsed []netip.Addr
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	w.addrs[policyHost+"."] = parsed
}

// site answers one HTTPS request.
type site func(conn *tls.Conn, req *http.Request)

// good returns a valid certificate of the policy host.
func (w *world) good() tls.Certificate {
	return issue(w.tb, w.ca, &x509.Certificate{DNSNames: []string{policyHost}})
}

func (w *world) setSite(cert tls.Certificate, s site) {
	w.setTLS(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, s)
}

func (w *world) setTLS(config *tls.Config, s site) {
	w.setHost(func(conn net.Conn) {
		server := tls.Server(conn, config)
		if server.Handshake() != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(server))
		if err != nil {
			return
		}
		s(server, req)
	})
}

func (w *world) setHost(host func(net.Conn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.host = host
}

// respond returns a site that always gives the same answer.
func respond(status int, contentType, body string, header ...string) site {
	return func(conn *tls.Conn, _ *http.Request) {
		fmt.Fprintf(conn, "HTTP/1.1 %d x\r\n", status)
		if contentType != "" {
			fmt.Fprintf(conn, "Content-Type: %s\r\n", contentType)
		}
		for _, h := range header {
			fmt.Fprintf(conn, "%s\r\n", h)
		}
		fmt.Fprintf(conn, "Content-Length: %d\r\n\r\n", len(body))
		io.WriteString(conn, body)
	}
}

func (w *world) counts() (queries, dials int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queries), len(w.dials)
}

func (w *world) Dial(_ context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials = append(w.dials, network+" "+addr)
	if w.host == nil {
		return nil, fmt.Errorf("nothing at %s", addr)
	}
	client, server := link()
	host := w.host
	go func() {
		defer server.Close()
		host(server)
	}()
	return client, nil
}

// link returns a connection with a buffer, as the network has. Without it, two peers
// that both write would wait for each other.
func link() (client, server net.Conn) {
	client, a := net.Pipe()
	b, server := net.Pipe()
	forward := func(dst, src net.Conn) {
		io.Copy(dst, src)
		dst.Close()
	}
	go forward(a, b)
	go forward(b, a)
	return client, server
}

func (w *world) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	w.mu.Lock()
	w.queries = append(w.queries, name)
	a, ok := w.txts[name]
	w.mu.Unlock()
	if !ok {
		a.err = notFound(name)
	}
	return a.txts, time.Now().Add(a.ttl), a.err
}

func (w *world) LookupTXT(ctx context.Context, name string) ([]string, error) {
	panic("a Resolver that knows TTLs is asked for them")
}

func (w *world) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	addrs, ok := w.addrs[host]
	if !ok {
		return nil, notFound(host)
	}
	return addrs, nil
}

func notFound(name string) error {
	return &net.DNSError{Name: name, Err: "no such host", IsNotFound: true}
}
func servfail(name string) error {
	return &net.DNSError{Name: name, Err: "server misbehaving", IsTemporary: true}
}

// issue returns a certificate by an authority with the names, dates and usages of a
// template. Without dates it is valid at the time of every test.
func issue(t testing.TB, ca *testpki.Entity, template *x509.Certificate) tls.Certificate {
	t.Helper()
	return ca.Server(t, template.DNSNames, always, func(c *x509.Certificate) {
		c.Subject, c.IPAddresses = template.Subject, template.IPAddresses
		if len(template.ExtKeyUsage) > 0 {
			c.ExtKeyUsage = template.ExtKeyUsage
		}
		if !template.NotBefore.IsZero() {
			c.NotBefore = template.NotBefore
		}
		if !template.NotAfter.IsZero() {
			c.NotAfter = template.NotAfter
		}
	}).TLS()
}

// always makes a certificate valid at the time of every test: bubbles begin in 2000.
func always(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
}

func newAuthority(t testing.TB) *testpki.Entity { return testpki.Root(t, "Test CA", always) }

// lookup fails the test if Lookup returns an error.
func lookup(t testing.TB, c *mtasts.Client) mtasts.Result {
	t.Helper()
	r, err := c.Lookup(context.Background(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantError checks the kind and the reason code of r.Err, and that it is about the domain.
func wantError(t testing.TB, r mtasts.Result, kind mtasts.Kind, reason string) {
	t.Helper()
	err, ok := r.Err.(*mtasts.Error)
	if !ok || err.Kind != kind || err.ReasonCode != reason || err.Domain != r.Domain {
		t.Errorf("error %v, want %s (%s) of %s", r.Err, kind, reason, r.Domain)
	}
}

// plainResolver hides the TTLs.
type plainResolver struct{ w *world }

func (p plainResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := p.w.LookupTXTUntil(ctx, name)
	return txts, err
}

func (p plainResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return p.w.LookupNetIP(ctx, network, host)
}

// waits makes lookups wait for the end of the fetch.
func waits(config *mtasts.Config) { config.FirstWait = time.Hour }
