// Package model tests a property of the whole library: what a plan permits is never
// weaker than what the sender knows. A model of DNS, policy hosts, a shared store,
// clocks and several relays is driven by random sequences of events.
package model

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// evil is the mail host of the attacker.
const evil = "mx.evil.example"

// domain is a mail domain, with what it publishes and what the attacker does to it.
type domain struct {
	name   string
	signed bool // with TLSA records; it has no MTA-STS policy
	addr   netip.Addr
	id     int
	policy string
	// published are all policies so far.
	published map[string]bool

	forgedMX bool
	record   recordAttack
	cut      bool // the policy host is unreachable
	stalls   bool // the policy host does not answer
}

// recordAttack is what the attacker does to the TXT record.
type recordAttack int

const (
	recordGood recordAttack = iota
	recordHidden
	recordFails
	recordForged // another id
	recordAttacks
)

func (d *domain) host() string { return "mx1." + d.name }

// world is everything outside of the relays.
type world struct {
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	certs   map[string]tls.Certificate // by domain
	mu      sync.Mutex
	domains []*domain
	slowDNS bool // for addresses
	store   *store
}

func newWorld(names int) (*world, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	w := &world{key: key, certs: map[string]tls.Certificate{}}
	w.store = &store{entries: map[string][]byte{}, tainted: map[string]bool{}, leases: map[string]time.Time{}}
	if w.ca, err = w.certificate(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}); err != nil {
		return nil, err
	}
	for i := range names {
		d := &domain{name: fmt.Sprintf("d%d.example", i), addr: netip.AddrFrom4([4]byte{11, 0, 0, byte(i + 1)}), signed: i == 0, published: map[string]bool{}}
		cert, err := w.certificate(&x509.Certificate{DNSNames: []string{"mta-sts." + d.name}})
		if err != nil {
			return nil, err
		}
		w.certs[d.name] = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
		w.domains = append(w.domains, d)
	}
	return w, nil
}

// hasPublished reports whether a policy of the domain ever had that text.
func (w *world) hasPublished(name, text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.find(name)
	return d != nil && d.published[text]
}

// certificate makes a certificate that is valid at any time that a clock shows.
func (w *world) certificate(template *x509.Certificate) (*x509.Certificate, error) {
	template.SerialNumber = big.NewInt(1)
	template.Subject = pkix.Name{CommonName: "model"}
	template.NotBefore = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	template.NotAfter = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	parent := w.ca
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, w.key.Public(), w.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// find returns the domain that a name belongs to, or nil.
func (w *world) find(name string) *domain {
	for _, d := range w.domains {
		if name == d.name || strings.HasSuffix(name, "."+d.name) {
			return d
		}
	}
	return nil
}

// dns is the resolver of one relay.
type dns struct {
	*world
	now func() time.Time
}

// Lookup answers as the attacker wants, and truthfully about the signed domain.
func (r dns) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	r.mu.Lock()
	slow := r.slowDNS && t == dnssec.TypeA
	r.mu.Unlock()
	if slow {
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &dnssec.Answer{Name: name + ".", Status: dnssec.Insecure, Expires: r.now().Add(5 * time.Minute)}
	d := r.find(name)
	if d != nil && d.signed {
		answer.Status = dnssec.Secure
	}
	var record string
	switch {
	case d == nil && name == evil && t == dnssec.TypeA:
		record = "A 11.9.9.9"
	case d == nil:
	case t == dnssec.TypeMX && name == d.name && d.forgedMX && !d.signed:
		record = "MX 1 " + evil + "."
	case t == dnssec.TypeMX && name == d.name:
		record = "MX 1 " + d.host() + "."
	case t == dnssec.TypeA && (name == d.host() || name == "mta-sts."+d.name):
		record = "A " + d.addr.String()
	case t == dnssec.TypeTLSA && d.signed:
		record = "TLSA 3 1 1 " + strings.Repeat("00", 31) + "01"
	case t == dnssec.TypeTXT && name == "_mta-sts."+d.name && d.policy != "":
		switch d.record {
		case recordFails:
			return nil, errors.New("model: SERVFAIL")
		case recordGood:
			record = fmt.Sprintf(`TXT "v=STSv1; id=%d;"`, d.id)
		case recordForged:
			record = fmt.Sprintf(`TXT "v=STSv1; id=forged%d;"`, time.Now().Unix())
		}
	}
	if record == "" {
		return answer, nil
	}
	parsed, err := dnssec.ParseRecord(name + ". " + record)
	if err != nil {
		return nil, err
	}
	answer.Records = []dnssec.Record{parsed}
	return answer, nil
}

// Recall answers for MX records as if they were in a cache. So plans are made from memory
// alone whenever that has the rest.
func (r dns) Recall(_ dnssec.Resolver, name string, t dnssec.Type) (*dnssec.Answer, bool, error) {
	if t != dnssec.TypeMX {
		return nil, false, nil
	}
	answer, err := r.Lookup(context.Background(), name, t)
	return answer, true, err
}

// dial connects to the policy host at addr. served is called when the policy was
// received in full.
func (w *world) dial(addr string, served func(domain, text string)) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.domains, func(d *domain) bool { return d.addr.String()+":443" == addr })
	if i < 0 || w.domains[i].cut || w.domains[i].policy == "" {
		return nil, errors.New("model: connection refused")
	}
	d := w.domains[i]
	text, cert, stalls := d.policy, w.certs[d.name], d.stalls
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		if stalls {
			io.Copy(io.Discard, server)
			return
		}
		conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		// net.Pipe has no buffer: what was written was read.
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text), text); err == nil {
			served(d.name, text)
		}
	}()
	return client, nil
}

// store is shared by the relays. It does what package valkeystore does.
type store struct {
	mu      sync.Mutex
	entries map[string][]byte
	tainted map[string]bool // the attacker was the last to write
	leases  map[string]time.Time
	fails   bool
	slow    time.Duration
	watches map[chan string]bool
	fault   error // what a relay must not do
}

var errStore = errors.New("model: the store fails")

// begin waits as long as the store takes.
func (s *store) begin(ctx context.Context) error {
	s.mu.Lock()
	slow, fails := s.slow, s.fails
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fails {
		return errStore
	}
	return nil
}

func (s *store) get(domain string) (e mtasts.Entry, tainted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.entries[domain]
	if !ok {
		return e, s.tainted[domain], mtasts.ErrNotStored
	}
	return e, s.tainted[domain], e.UnmarshalBinary(data)
}

// put puts an entry unless the store has one that was fetched later.
func (s *store) put(e mtasts.Entry, taints bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept mtasts.Entry
	if data, ok := s.entries[e.Domain]; ok && !taints && kept.UnmarshalBinary(data) == nil {
		if kept.Fetched.After(e.Fetched) && kept.Fetched.Before(time.Now().Add(time.Minute)) {
			return
		}
		taints = s.tainted[e.Domain] && kept.Fetched.UnixMilli() == e.Fetched.UnixMilli() // a relay puts it again
	}
	data, _ := e.MarshalBinary()
	s.entries[e.Domain], s.tainted[e.Domain] = data, taints
	s.tell(e.Domain)
}

func (s *store) remove(domain string, taints bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, domain)
	s.tainted[domain] = taints
	s.tell(domain)
}

// tell is called with mu held.
func (s *store) tell(domain string) {
	for w := range s.watches {
		select {
		case w <- domain:
		default:
		}
	}
}

// view is the store as one relay sees it.
type view struct {
	*store
	got func(e mtasts.Entry, tainted bool, err error)
}

func (v view) Get(ctx context.Context, domain string) (mtasts.Entry, error) {
	if err := v.begin(ctx); err != nil {
		return mtasts.Entry{}, err
	}
	e, tainted, err := v.get(domain)
	e.Domain = domain
	v.got(e, tainted, err)
	return e, err
}

func (v view) Put(ctx context.Context, e mtasts.Entry) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	v.put(e, false)
	return nil
}

func (v view) Delete(ctx context.Context, domain string) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	if e, tainted, err := v.get(domain); err == nil && !tainted && time.Now().Before(e.Expires) && time.Now().After(e.Fetched) {
		v.mu.Lock()
		v.fault = fmt.Errorf("M7: a relay deletes the policy of %s, which is in force until %v", domain, e.Expires)
		v.mu.Unlock()
	}
	v.remove(domain, false)
	return nil
}

func (v view) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) {
		if err := v.begin(ctx); err != nil {
			yield(mtasts.Entry{}, err)
			return
		}
		v.mu.Lock()
		domains := slices.Sorted(maps.Keys(v.entries))
		v.mu.Unlock()
		for _, domain := range domains {
			if e, _, err := v.get(domain); err == nil && !yield(e, nil) {
				return
			}
		}
	}
}

func (v view) Lease(ctx context.Context, domain string, d time.Duration) (func(), bool, error) {
	if err := v.begin(ctx); err != nil {
		return nil, false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Now().Before(v.leases[domain]) {
		return nil, false, nil
	}
	v.leases[domain] = time.Now().Add(d)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.leases, domain)
	}, true, nil
}

func (v view) Watch(ctx context.Context, changed func(string)) error {
	c := make(chan string, 100)
	v.mu.Lock()
	if v.watches == nil {
		v.watches = map[chan string]bool{}
	}
	v.watches[c] = true
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watches, c)
	}()
	for {
		select {
		case domain := <-c:
			changed(domain)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
