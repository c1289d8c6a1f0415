package valkeystore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/mtasts"
)

// internet is the network of all relays in a test: a DNS server and one policy
// host for all domains.
type internet struct {
	dns, web *httptest.Server
	root     *testpki.Entity
	sites    sync.Map // the certificates of the policy hosts, *tls.Certificate by name

	mu       sync.Mutex
	policies map[string]published
	fetches  map[string]int
}

type published struct{ id, text string }

// visit tells a process how to reach the internet.
type visit struct {
	DNS   string // URL
	Web   string // address
	Roots string // PEM
}

func newInternet(t testing.TB, domains ...string) *internet {
	t.Helper()
	alive := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	n := &internet{
		root:     testpki.Root(t, "root", alive),
		policies: make(map[string]published), fetches: make(map[string]int),
	}
	for _, domain := range domains {
		n.publish(domain, "1", policyText)
	}
	n.dns = httptest.NewServer(http.HandlerFunc(n.answerTXT))
	n.web = httptest.NewUnstartedServer(http.HandlerFunc(n.servePolicy))
	n.web.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		known, ok := n.sites.Load(hello.ServerName)
		if !ok {
			site := n.root.Server(t, []string{hello.ServerName}, alive).TLS()
			known, _ = n.sites.LoadOrStore(hello.ServerName, &site)
		}
		return known.(*tls.Certificate), nil
	}}
	n.web.StartTLS()
	t.Cleanup(n.dns.Close)
	t.Cleanup(n.web.Close)
	return n
}

func (n *internet) visit() visit {
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.root.Cert.Raw})
	return visit{DNS: n.dns.URL, Web: n.web.Listener.Addr().String(), Roots: string(roots)}
}

func (n *internet) publish(domain, id, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policies[domain] = published{id, text}
}

// hide makes the internet behave as if an attacker forges DNS replies and
// blocks the policy host.
func (n *internet) hide(domain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.policies, domain)
}

// fetched returns how many times the policy of domain was fetched.
func (n *internet) fetched(domain string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fetches[domain]
}

func (n *internet) answerTXT(w http.ResponseWriter, r *http.Request) {
	_ = json.NewEncoder(w).Encode(n.txts(r.FormValue("name")))
}

// txts returns the TXT records of a name without final dot.
func (n *internet) txts(name string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.policies[strings.TrimPrefix(name, "_mta-sts.")]; ok {
		return []string{"v=STSv1; id=" + p.id}
	}
	return nil
}

func (n *internet) servePolicy(w http.ResponseWriter, r *http.Request) {
	domain := strings.TrimPrefix(r.Host, "mta-sts.")
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fetches[domain]++
	p, ok := n.policies[domain]
	if !ok || p.text == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(p.text))
}

// client returns a Client that uses the internet.
func (v visit) client(store mtasts.Store) (*mtasts.Client, error) {
	return v.clientWith(store, func(*mtasts.Config) {})
}

// clientWith returns a Client with a changed configuration.
func (v visit) clientWith(store mtasts.Store, change func(*mtasts.Config)) (*mtasts.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(v.Roots))
	config := mtasts.Config{
		Store: store, Resolver: v, RootCAs: roots,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, v.Web)
		},
	}
	change(&config)
	return mtasts.New(config)
}

func (v visit) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name = strings.TrimSuffix(name, ".")
	req, err := http.NewRequestWithContext(ctx, "GET", v.DNS+"?name="+url.QueryEscape(name), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var txts []string
	if err := json.NewDecoder(resp.Body).Decode(&txts); err != nil {
		return nil, err
	}
	return txts, noneOf(name, txts)
}

// noneOf is the error for a name without records; nil if there are some.
func noneOf(name string, txts []string) error {
	if len(txts) == 0 {
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return nil
}

func (v visit) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("11.0.0.1")}, nil // not used, because Dial ignores it
}

// near is the DNS of an internet in the same process.
type near struct {
	visit
	*internet
}

func (n near) LookupTXT(_ context.Context, name string) ([]string, error) {
	name = strings.TrimSuffix(name, ".")
	txts := n.txts(name)
	return txts, noneOf(name, txts)
}
