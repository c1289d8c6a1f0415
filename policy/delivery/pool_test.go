package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
)

// pooled is a Pool with a world around it. The domains first.example and second.example
// have the mail host mx.example.net at 192.0.2.1, without a policy.
type pooled struct {
	*world
	names  fakedns.Answers
	dialer *Dialer
	pool   *Pool
}

func newPooled(t *testing.T, plays ...script) *pooled {
	t.Helper()
	p := &pooled{world: oneHost(plays...), names: fakedns.Answers{}}
	p.names.Deny(dnssec.Secure, "mx.example.net. AAAA", "_25._tcp.mx.example.net. TLSA", "mx2.example.net. AAAA", "_25._tcp.mx2.example.net. TLSA")
	p.names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1")
	for _, domain := range []string{"first", "second"} {
		p.names.Add(t, dnssec.Insecure, domain+".example. MX 10 mx.example.net.")
	}
	p.dialer = p.world.dialer()
	p.dialer.Resolver = p.resolver(t, p.names, policy.Config{})
	p.pool = &Pool{Dialer: p.dialer}
	t.Cleanup(func() { p.pool.Close(context.Background()) })
	return p
}

// send sends a message to a domain.
func (p *pooled) send(t *testing.T, domain string, options ...policy.Option) error {
	return p.pool.SendMail(t.Context(), "s@example.net", []string{"x@" + domain}, []byte(letter), options...)
}

// mails returns how many MAIL commands an address has received.
func (p *pooled) mails(addr string) (count int) {
	for _, line := range p.said(addr) {
		if strings.HasPrefix(line, "MAIL ") {
			count++
		}
	}
	return count
}

// clearThen is a host without TLS and with replies of its own.
func clearThen(replies map[string]string) script {
	return func(s *server) {
		s.say(greeting)
		s.serve(replies)
	}
}

// SMTP-37: the columns of decision "Pool": a session serves another message only if a
// new connection would be the same, and if it meets the plan of that message. Every
// message is delivered, unless it would fail over a new connection too.
func TestPoolSharesOnlyEqualSessions(t *testing.T) {
	t.Parallel()
	none := func(*testing.T, *pooled) {}
	good, unknown := certificates().good, certificates().unknown
	withREQUIRETLS := tlsThen(good, map[string]string{"EHLO": "250-mx.example.net\r\n250 REQUIRETLS\r\n"})
	clientCertificate := func(certificate tls.Certificate) func(*policy.Host, *tls.Config) {
		return func(_ *policy.Host, c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }
	}
	via := func(next string) []policy.Option { return []policy.Option{policy.Via(next)} }
	atLeast := func(level policy.Level) []policy.Option { return []policy.Option{policy.AtLeast(level)} }
	for _, tt := range []struct {
		name          string
		plays         []script
		before        func(*testing.T, *pooled)
		first         []policy.Option
		change        func(*testing.T, *pooled) // between the two messages
		second        []policy.Option
		reused, fails bool // the second message
	}{
		{name: "nothing changed", plays: []script{withTLS(good)}, change: none, reused: true},
		{name: "nothing changed, in cleartext", plays: []script{inClearOnly}, change: none, reused: true},
		{name: "nothing changed, an untrusted certificate", plays: []script{withTLS(unknown)}, change: none, reused: true},

		{name: "another host name", plays: []script{withTLS(good)}, change: func(t *testing.T, p *pooled) {
			p.names.Add(t, dnssec.Insecure, "second.example. MX 10 mx2.example.net.")
			p.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.1")
		}},
		{name: "another port", plays: []script{withTLS(good)}, first: via("[mx.example.net]:25"), change: none, second: via("[mx.example.net]:2525")},
		{name: "another address", plays: []script{withTLS(good)}, change: func(t *testing.T, p *pooled) {
			p.scripts["192.0.2.2"] = []script{withTLS(good)}
			p.names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.2")
		}},
		{name: "one more address", plays: []script{withTLS(good)}, change: func(t *testing.T, p *pooled) {
			p.names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1", "mx.example.net. A 192.0.2.2")
		}, reused: true},
		{name: "another name for SNI", plays: []script{withTLS(good)}, before: func(t *testing.T, p *pooled) {
			alias(t, p.names)
			p.names.Add(t, dnssec.Secure, "_25._tcp.target.example.net. TLSA "+tlsaOf(good))
		}, change: func(*testing.T, *pooled) {}, second: []policy.Option{policy.TLSOptional()}},
		{name: "another next hop, with the same host", plays: []script{withTLS(good)}, first: via("[mx.example.net]"), change: none},
		{name: "the same next hop", plays: []script{withTLS(good)}, first: via("[mx.example.net]"), change: none, second: via("[mx.example.net]"), reused: true},

		{name: "a client certificate", plays: []script{withTLS(good)}, change: func(_ *testing.T, p *pooled) { p.dialer.CustomizeTLS = clientCertificate(unknown) }},
		{name: "another client certificate", plays: []script{withTLS(good)},
			before: func(_ *testing.T, p *pooled) { p.dialer.CustomizeTLS = clientCertificate(unknown) },
			change: func(_ *testing.T, p *pooled) { p.dialer.CustomizeTLS = clientCertificate(good) }},
		{name: "the same client certificate", plays: []script{withTLS(good)},
			before: func(_ *testing.T, p *pooled) { p.dialer.CustomizeTLS = clientCertificate(unknown) },
			change: none, reused: true},
		{name: "other curves", plays: []script{withTLS(good)}, change: func(_ *testing.T, p *pooled) {
			p.dialer.CustomizeTLS = func(_ *policy.Host, c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }
		}},
		{name: "a higher version demanded by the hook", plays: append(slices.Repeat([]script{tlsConfigured(&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12})}, 3), inClearOnly),
			before: func(_ *testing.T, p *pooled) { p.dialer.CustomizeTLS = func(*policy.Host, *tls.Config) {} },
			change: func(_ *testing.T, p *pooled) {
				p.dialer.CustomizeTLS = func(_ *policy.Host, c *tls.Config) { c.MinVersion = tls.VersionTLS13 }
			}},

		{name: "names", plays: []script{withTLS(unknown)}, change: none, second: atLeast(policy.Authenticated), fails: true},
		{name: "names that are right", plays: []script{withTLS(good)}, change: none, second: atLeast(policy.Authenticated), reused: true},
		{name: "TLSA", plays: []script{withTLS(good)}, change: func(t *testing.T, p *pooled) {
			p.names.Add(t, dnssec.Secure, "_25._tcp.mx.example.net. TLSA 3 1 1 "+strings.Repeat("00", 32))
		}, fails: true},
		{name: "roots", plays: []script{withTLS(good)}, first: atLeast(policy.Authenticated), change: func(t *testing.T, p *pooled) {
			r, err := policy.New(policy.Config{DNS: p.names, NoMTASTS: true, Dial: p.dial, RootCAs: x509.NewCertPool()})
			if err != nil {
				t.Fatal(err)
			}
			p.dialer.Resolver = r
		}, second: atLeast(policy.Authenticated), fails: true},
		{name: "dates", plays: []script{withTLS(good)}, first: atLeast(policy.Authenticated), change: func(t *testing.T, p *pooled) {
			later := func() time.Time { return time.Date(2091, 1, 1, 0, 0, 0, 0, time.UTC) }
			r, err := policy.New(policy.Config{DNS: farNames{p.names}, NoMTASTS: true, Dial: p.dial, RootCAs: certificates().roots, Now: later})
			if err != nil {
				t.Fatal(err)
			}
			p.dialer.Resolver = r
		}, second: atLeast(policy.Authenticated), fails: true},
		{name: "TLS minimum", plays: []script{tlsConfigured(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})},
			change: none, second: atLeast(policy.Encrypted), fails: true},
		{name: "old TLS without a policy", plays: []script{tlsConfigured(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})},
			change: none, reused: true},
		{name: "cleartext where TLS is demanded", plays: []script{inClearOnly, withTLS(good)}, change: none, second: atLeast(policy.Encrypted)},
		{name: "cleartext after a refused STARTTLS", plays: []script{refusing("454 not now\r\n"), withTLS(good)}, change: none, second: atLeast(policy.Encrypted)},
		{name: "a second attempt without a policy", plays: []script{garbled, withTLS(good)}, change: none, reused: true},
		{name: "a second attempt where TLS is demanded", plays: []script{garbled, withTLS(good)}, change: none, second: atLeast(policy.Encrypted)},
		{name: "a second attempt where the right name is demanded", plays: []script{garbled, withTLS(good)}, change: none, second: atLeast(policy.Authenticated)},

		{name: "REQUIRETLS not offered in TLS", plays: []script{withTLS(good), withREQUIRETLS}, change: secureMX, second: []policy.Option{policy.RequireTLS()}},
		{name: "REQUIRETLS offered in cleartext only", plays: []script{offeredInClear(good), withREQUIRETLS}, change: secureMX, second: []policy.Option{policy.RequireTLS()}},
		{name: "REQUIRETLS offered in TLS", plays: []script{withREQUIRETLS}, change: secureMX, second: []policy.Option{policy.RequireTLS()}, reused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, tt.plays...)
				if tt.before != nil {
					tt.before(t, p)
				}
				if err := p.send(t, "first.example", tt.first...); err != nil {
					t.Fatal(err)
				}
				dialed, resolver := len(p.dialed), p.dialer.Resolver
				tt.change(t, p)
				if p.dialer.Resolver == resolver { // a new one has none of the records of before
					p.dialer.Resolver = p.resolver(t, p.names, policy.Config{})
				}
				err := p.send(t, "second.example", tt.second...)
				if (err != nil) != tt.fails {
					t.Errorf("the second message: %v, want a failure: %v", err, tt.fails)
				}
				if reused := len(p.dialed) == dialed; reused != tt.reused {
					t.Errorf("reused: %v, want %v; dialed %q", reused, tt.reused, p.dialed)
				}
				mails := p.mails("192.0.2.1") + p.mails("192.0.2.2")
				if want := map[bool]int{true: 1, false: 2}[tt.fails]; mails != want {
					t.Errorf("%d messages were sent, want %d", mails, want)
				}
			})
		})
	}
}

// alias makes mx.example.net an alias of target.example.net, whose name is that for SNI
// where DANE decides.
func alias(t *testing.T, names fakedns.Answers) {
	names.Add(t, dnssec.Secure, "target.example.net. A 192.0.2.1")
	names.Deny(dnssec.Secure, "target.example.net. AAAA")
	for _, kind := range []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA} {
		aliased := *names[fakedns.Key("target.example.net", kind)]
		aliased.Aliases = []dnssec.Alias{{Name: "mx.example.net.", Target: "target.example.net.", Status: dnssec.Secure}}
		names[fakedns.Key("mx.example.net", kind)] = &aliased
	}
}

// farNames are names whose records do not expire before the clock of a test.
type farNames struct{ fakedns.Answers }

func (f farNames) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	answer, err := f.Answers.Lookup(ctx, name, t)
	if answer != nil {
		answer.Expires = time.Date(2092, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return answer, err
}

// secureMX makes the MX record of the second domain secure, for RequireTLS.
func secureMX(t *testing.T, p *pooled) {
	p.names.Add(t, dnssec.Secure, "second.example. MX 10 mx.example.net.")
}

// tlsConfigured is a host with TLS as configured.
func tlsConfigured(config *tls.Config) script {
	config.SessionTicketsDisabled = true
	return speaking(config)
}

// garbled is a host that offers TLS and does not speak it.
func garbled(s *server) {
	s.say(greeting)
	s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
	s.answer("220 go ahead\r\n")
	s.conn.Read(make([]byte, 16<<10))
	s.say("500 what?\r\n")
}

// offeredInClear is a host that offers REQUIRETLS before TLS, and not in it.
func offeredInClear(cert tls.Certificate) script {
	return func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		if s.handshake(cert) {
			s.serve(nil)
		}
	}
}

// The column "client certificate", if a function chooses the certificate in the handshake:
// the function is called again with the same request.
func TestPoolAsksForTheClientCertificate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		asks      tls.ClientAuthType
		next      tls.Certificate
		nextFails bool
		reused    bool
	}{
		"the same":               {asks: tls.RequestClientCert, next: certificates().unknown, reused: true},
		"another":                {asks: tls.RequestClientCert, next: certificates().good},
		"an error":               {asks: tls.RequestClientCert, nextFails: true},
		"the server did not ask": {asks: tls.NoClientCert, next: certificates().good, reused: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			asking := tlsConfigured(&tls.Config{Certificates: []tls.Certificate{certificates().good}, ClientAuth: tt.asks})
			plays := []script{asking}
			if tt.nextFails {
				plays = append(plays, asking, asking, inClearOnly)
			}
			p := newPooled(t, plays...)
			current, fails := certificates().unknown, false
			p.dialer.CustomizeTLS = func(_ *policy.Host, c *tls.Config) {
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if fails {
						return nil, errors.New("the module is locked")
					}
					return &current, nil
				}
			}
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			current, fails = tt.next, tt.nextFails
			dialed := len(p.dialed)
			if err := p.send(t, "second.example"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if reused := len(p.dialed) == dialed; reused != tt.reused {
				t.Errorf("%s: reused %v, want %v", name, reused, tt.reused)
			}
		})
	}
}

// The column "login".
func TestPoolSharesOnlyEqualLogins(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*Dialer)
		reused bool
	}{
		"the same":         {func(*Dialer) {}, true},
		"another username": {func(d *Dialer) { d.SmartHost.Username = "other" }, false},
		"another password": {func(d *Dialer) { d.SmartHost.Password = "other" }, false},
		"no login":         {func(d *Dialer) { d.SmartHost.Username, d.SmartHost.Password = "", "" }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(relay(false, certificates().good, "PLAIN", "235 ok"), func(s *server) {
				s.say(greeting)
				s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
				s.answer("220 go ahead\r\n")
				if s.handshake(certificates().good) {
					s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 AUTH PLAIN\r\n", "AUTH": "235 ok\r\n"})
				}
			})
			p := &pooled{world: w, dialer: w.relayed(t, "587")}
			p.pool = &Pool{Dialer: p.dialer}
			defer p.pool.Close(t.Context())
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			tt.change(p.dialer)
			if err := p.send(t, "second.example"); err != nil {
				t.Fatal(err)
			}
			if reused := len(p.dialed) == 1; reused != tt.reused || p.mails("192.0.2.1") != 2 {
				t.Errorf("%s: reused %v, want %v; heard %q", name, reused, tt.reused, p.said("192.0.2.1"))
			}
		})
	}
}

// The column "local address", over the loopback interface: Config.Dial chooses the
// address itself.
func TestPoolLocalAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var mu sync.Mutex
	var from []string
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			from = append(from, netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().String())
			mu.Unlock()
			go serveConn(conn, inClearOnly)
		}
	}()
	r, err := policy.New(policy.Config{DNS: fakedns.Answers{}, NoMTASTS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := &Dialer{Resolver: r, LocalName: "sender.example"}
	pool := &Pool{Dialer: d}
	defer pool.Close(t.Context())
	next := policy.Via(fmt.Sprintf("[127.0.0.1]:%d", netip.MustParseAddrPort(listener.Addr().String()).Port()))
	for _, local := range []string{"127.0.0.7", "127.0.0.7", "127.0.0.8"} {
		d.LocalIPv4 = netip.MustParseAddr(local)
		if err := pool.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter), next); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"127.0.0.7", "127.0.0.8"}; !slices.Equal(from, want) {
		t.Errorf("connections from %q, want %q", from, want)
	}
}

// serveConn plays a script over a connection of any kind.
func serveConn(conn net.Conn, play script) {
	defer conn.Close()
	play(&server{conn: conn, lines: bufio.NewReader(conn), world: newWorld(nil)})
}

// A session to a host with a worse preference does not take the place of a better host
// that was not tried.
func TestPoolTriesBetterHostsFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t)
		p.names.Add(t, dnssec.Insecure, "first.example. MX 10 mx.example.net.", "first.example. MX 20 mx2.example.net.")
		p.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.2")
		p.scripts["192.0.2.2"] = []script{inClearOnly}
		if err := p.send(t, "first.example"); err != nil { // the better host refuses connections
			t.Fatal(err)
		}
		p.mu.Lock()
		p.scripts["192.0.2.1"] = []script{inClearOnly}
		p.mu.Unlock()
		if err := p.send(t, "first.example"); err != nil {
			t.Fatal(err)
		}
		if p.mails("192.0.2.1") != 1 || p.mails("192.0.2.2") != 1 {
			t.Errorf("dialed %q", p.dialed)
		}
	})
}

// Reuse is not counted in reports: they count connections.
func TestPoolReuseIsNotReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, withTLS(certificates().good))
		for range 5 {
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
		}
		if len(p.recorded) != 1 || len(p.dialed) != 1 || p.mails("192.0.2.1") != 5 {
			t.Errorf("%d sessions were recorded, dialed %q", len(p.recorded), p.dialed)
		}
		if got, want := verbs(p.said("192.0.2.1")), "EHLO STARTTLS TLS EHLO MAIL RCPT DATA ."+strings.Repeat(" RSET MAIL RCPT DATA .", 4); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	})
}

// SMTP-36: a session that the server has closed, or in which it takes no more messages,
// costs no mail and is no failure: the same address is dialed once more, before any other
// host.
func TestPoolSessionHasEnded(t *testing.T) {
	t.Parallel()
	hangUp := func(at string) script { // at that verb, the second time
		return func(s *server) {
			s.say(greeting)
			for n := 0; ; {
				line, ok := s.hear()
				verb, _, _ := strings.Cut(line, " ")
				if verb == at {
					n++
				}
				switch {
				case !ok || n == 2 || at == "RSET" && n == 1:
					return
				case verb == "DATA":
					s.say("354 go\r\n")
					if !s.message() {
						return
					}
				}
				s.say("250 ok\r\n")
				if at == "." && verb == "DATA" {
					return
				}
			}
		}
	}
	once := func(verb, reply string) script { // that reply the second time, or the first of RSET
		return func(s *server) {
			s.say(greeting)
			for n := 0; ; {
				line, ok := s.hear()
				if !ok {
					return
				}
				said, _, _ := strings.Cut(line, " ")
				if said == verb {
					n++
				}
				switch {
				case said == verb && (n == 2 || verb == "RSET"):
					s.say(reply)
				case said == "DATA":
					s.say("354 go\r\n")
					if !s.message() {
						return
					}
					s.say("250 ok\r\n")
				default:
					s.say("250 ok\r\n")
				}
			}
		}
	}
	// pipelining is a host with PIPELINING that takes one message over each connection.
	pipelining := func(refusal string) script {
		return func(s *server) {
			raw := s.conn
			async := newAsyncConn(raw)
			defer close(async.queue)
			s.conn = async
			s.say(greeting)
			for messages, refused := 0, false; ; {
				line, ok := s.hear()
				verb, _, _ := strings.Cut(line, " ")
				switch {
				case !ok:
					return
				case verb == "EHLO":
					s.say("250-mx\r\n250 PIPELINING\r\n")
				case verb == "MAIL" && messages > 0:
					refused = true
					s.say(refusal)
				case refused && (verb == "RCPT" || verb == "DATA"):
					s.say("503 5.5.1 MAIL first\r\n")
				case verb == "DATA":
					messages++
					s.say("354 go\r\n")
					if !s.message() {
						return
					}
					s.say("250 ok\r\n")
				default:
					s.say("250 ok\r\n")
				}
			}
		}
	}
	for name, play := range map[string]script{
		"452 at MAIL with PIPELINING": pipelining("452 4.5.3 too many messages in this session\r\n"),
		"421 at MAIL with PIPELINING": pipelining("421 4.5.3 too many messages in this session\r\n"),
		"503 at MAIL with PIPELINING": pipelining("503 5.5.1 nested MAIL\r\n"),
		"while it was idle":           hangUp("."),
		"at RSET":                     hangUp("RSET"),
		"at MAIL":                     hangUp("MAIL"),
		"421 at RSET":                 once("RSET", "421 4.3.2 bye\r\n"),
		"421 at MAIL":                 once("MAIL", "421 4.3.2 bye\r\n"),
		"500 at RSET":                 once("RSET", "500 what?\r\n"),
		"silence at RSET":             once("RSET", ""),
		"no reply at RSET":            once("RSET", "what?\r\n"),
		"two replies at RSET":         once("RSET", "250 ok\r\n250 ok\r\n"),
		"lines that disagree":         once("RSET", "251-ok\r\n250 ok\r\n"),
		"a reply that is not RSET's":  once("RSET", "354 go ahead\r\n"),
		"no reply at MAIL":            once("MAIL", "what?\r\n"),
		"450 at MAIL":                 once("MAIL", "450 4.7.1 too many messages in this session\r\n"),
		"451 at MAIL":                 once("MAIL", "451 4.3.0 too many messages in this session\r\n"),
		"452 at MAIL":                 once("MAIL", "452 4.5.3 too many messages in this session\r\n"),
		"455 at MAIL":                 once("MAIL", "455 4.5.0 parameters\r\n"),
		"503 at MAIL":                 once("MAIL", "503 5.5.1 nested MAIL\r\n"),
		"354 at MAIL":                 once("MAIL", "354 go ahead\r\n"),
		"421 at RCPT":                 once("RCPT", "421 4.3.2 bye\r\n"),
		"421 at DATA":                 once("DATA", "421 4.3.2 bye\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, play, inClearOnly)
				p.names.Add(t, dnssec.Insecure, "second.example. MX 10 mx.example.net.", "second.example. MX 20 mx2.example.net.")
				p.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.2")
				p.scripts["192.0.2.2"] = []script{inClearOnly}
				for i := range 2 {
					result, err := p.pool.Send(t.Context(), mailOf(letter, "x@"+[]string{"first", "second"}[i]+".example"))
					if err != nil || len(result.Delivered) != 1 {
						t.Fatalf("message %d: %v", i+1, err)
					}
					time.Sleep(time.Second)
				}
				if want := []string{"192.0.2.1", "192.0.2.1"}; !slices.Equal(p.dialed, want) {
					t.Errorf("dialed %q, want %q", p.dialed, want)
				}
				if got := strings.Count(strings.Join(p.said("192.0.2.1"), "\n"), "\n."); got != 4 { // with the dots of the letter
					t.Errorf("heard %q", p.said("192.0.2.1"))
				}
			})
		})
	}
}

// A host that stalls in a session that was kept, for all of its time, is not asked again
// before the next host.
func TestPoolSessionStalls(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
		synctest.Test(t, func(t *testing.T) {
			replies := map[string]string{}
			p := newPooled(t, clearThen(replies))
			p.dialer.DomainTimeout = time.Minute
			p.names.Add(t, dnssec.Insecure, "second.example. MX 10 mx.example.net.", "second.example. MX 20 mx2.example.net.")
			p.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.2")
			p.scripts["192.0.2.2"] = []script{inClearOnly}
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			replies[verb] = ""
			if err := p.send(t, "second.example"); err != nil {
				t.Fatal(err)
			}
			if want := []string{"192.0.2.1", "192.0.2.2"}; !slices.Equal(p.dialed, want) {
				t.Errorf("%s: dialed %q, want %q", verb, p.dialed, want)
			}
			if !p.dialer.stalls.recent(netip.MustParseAddr("192.0.2.1")) {
				t.Errorf("%s: the address that stalled is tried first again", verb)
			}
		})
	}
}

// What a host says about a message in a session that was kept counts as in a new one. Where
// it may be about the session, what the host says over a new connection counts.
func TestPoolRefusalsCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		verb, reply string
		connections int
	}{
		{"MAIL", "550 5.7.1 never", 1}, {"RCPT", "550 5.1.1 nobody", 1}, {"RCPT", "450 4.2.0 later", 1},
		{"DATA", "451 4.3.0 later", 1}, {".", "554 5.6.0 no", 1}, {"MAIL", "451 4.3.0 later", 2}, {"MAIL", "503 5.5.1 what?", 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			replies := map[string]string{}
			p := newPooled(t, clearThen(replies))
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			replies[tt.verb] = tt.reply + "\r\n"
			err := p.send(t, "second.example")
			var failure *policy.Error
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), tt.reply[4:9]) || failure.Permanent != (tt.reply[0] == '5') || len(p.dialed) != tt.connections {
				t.Errorf("%s: %v; dialed %q", tt.reply, err, p.dialed)
			}
			// A refusal of the message does not end the session.
			delete(replies, tt.verb)
			if err := p.send(t, "first.example"); err != nil || len(p.dialed) != tt.connections {
				t.Errorf("after %s: %v; dialed %q", tt.reply, err, p.dialed)
			}
		})
	}
}

// More recipients than fit one transaction all go over the new connection, if the session
// that was kept takes no more messages.
func TestPoolManyRecipientsOverANewSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		replies := map[string]string{}
		p := newPooled(t, clearThen(replies), inClearOnly)
		if err := p.send(t, "first.example"); err != nil {
			t.Fatal(err)
		}
		replies["MAIL"] = "452 4.5.3 too many messages in this session\r\n"
		var to []string
		for i := range 2*maxRecipients + 1 {
			to = append(to, fmt.Sprintf("r%d@second.example", i))
		}
		result, err := p.pool.Send(t.Context(), mailOf(letter, to...))
		got := 0
		for _, delivery := range result.Delivered {
			got += len(delivery.Recipients)
		}
		if err != nil || got != len(to) || len(p.dialed) != 2 || p.mails("192.0.2.1") != 1+1+3 {
			t.Errorf("%d of %d recipients, dialed %q, MAIL %d times, error %v", got, len(to), p.dialed, p.mails("192.0.2.1"), err)
		}
	})
}

// The bounds: uses, idle time, sessions in all, with a host and for a domain.
func TestPoolKeepsBounds(t *testing.T) {
	t.Parallel()
	t.Run("uses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPooled(t, inClearOnly)
			p.pool.MaxUses = 3
			for range 7 {
				if err := p.send(t, "first.example"); err != nil {
					t.Fatal(err)
				}
			}
			if len(p.dialed) != 3 {
				t.Errorf("%d connections for 7 messages, want 3", len(p.dialed))
			}
		})
	})
	t.Run("idle time", func(t *testing.T) {
		for idle, want := range map[time.Duration]int{0: 2, time.Minute: 1} {
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, inClearOnly)
				p.pool.IdleTime = idle
				for range 2 {
					if err := p.send(t, "first.example"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(30 * time.Second)
				}
				if len(p.dialed) != want {
					t.Errorf("IdleTime %v: %d connections, want %d", idle, len(p.dialed), want)
				}
				time.Sleep(time.Minute)
				if got := verbs(p.said("192.0.2.1")); !strings.HasSuffix(got, "QUIT") {
					t.Errorf("heard %s", got)
				}
			})
		}
	})
	for name, tt := range map[string]struct {
		total, perHost, perDomain int
		hosts                     int // of how many domains
		want                      int // sessions that are left
	}{
		"in all":     {total: 3, hosts: 5, want: 3},
		"per host":   {perHost: 2, hosts: 1, want: 2},
		"per domain": {perDomain: 2, hosts: 1, want: 2},
		"defaults":   {hosts: 5, want: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{})
				d, to := w.domains(t, tt.hosts)
				w.open = newGauge()
				for i := range tt.hosts {
					w.scripts[fmt.Sprintf("10.0.0.%d", i)] = []script{slowly("DATA", time.Second)}
				}
				d.MaxPerHost, d.MaxPerDomain = tt.perHost, tt.perDomain
				pool := &Pool{Dialer: d, MaxSessions: tt.total, IdleTime: time.Hour}
				defer pool.Close(t.Context())
				var sending sync.WaitGroup
				for _, address := range to {
					for range 4/len(to) + 1 {
						sending.Go(func() {
							if err := pool.SendMail(t.Context(), "s@example.net", []string{address}, []byte(letter)); err != nil {
								t.Error(err)
							}
						})
					}
				}
				sending.Wait()
				synctest.Wait()
				if w.open.count == 0 || w.open.count > tt.want || w.open.peak != tt.want {
					t.Errorf("%d connections are left, and there were %d at most; want %d", w.open.count, w.open.peak, tt.want)
				}
			})
		})
	}
}

// gauge counts the connections that the client has open.
type gauge struct {
	mu          sync.Mutex
	count, peak int
	hosts       map[string]int // by address
	hostPeak    int
}

func newGauge() *gauge { return &gauge{hosts: map[string]int{}} }

// counting returns a connection that counts until it is closed.
func (g *gauge) counting(addr string, conn net.Conn) net.Conn {
	if g == nil {
		return conn
	}
	g.add(addr, 1)
	return &countedConn{conn, sync.OnceFunc(func() { g.add(addr, -1) })}
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

func (g *gauge) add(addr string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count += n
	g.hosts[addr] += n
	g.peak, g.hostPeak = max(g.peak, g.count), max(g.hostPeak, g.hosts[addr])
}

// When all sessions are in use, a call waits for a short time.
func TestPoolIsFull(t *testing.T) {
	t.Parallel()
	for hold, fails := range map[time.Duration]bool{2 * time.Second: false, time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string][]script{"10.0.0.0": {slowly("DATA", hold)}, "10.0.0.1": {inClearOnly}})
			d, to := w.domains(t, 2)
			pool := &Pool{Dialer: d, MaxSessions: 1}
			defer pool.Close(t.Context())
			first := make(chan error)
			go func() {
				first <- pool.SendMail(t.Context(), "s@example.net", to[:1], []byte(letter))
			}()
			synctest.Wait()
			err := pool.SendMail(t.Context(), "s@example.net", to[1:], []byte(letter))
			var failure *policy.Error
			if (err != nil) != fails || fails && (!errors.As(err, &failure) || !strings.Contains(err.Error(), "4.4.5") || failure.Permanent) {
				t.Errorf("a session that is in use for %v: %v", hold, err)
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
		})
	}
}

// Close ends idle sessions with QUIT, waits for the mails under way, and keeps nothing
// afterwards.
func TestPoolCloseEndsIdleSessions(t *testing.T) {
	t.Parallel()
	t.Run("drains", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string][]script{"10.0.0.0": {inClearOnly}, "10.0.0.1": {slowly("DATA", time.Minute)}})
			d, to := w.domains(t, 2)
			pool := &Pool{Dialer: d}
			if err := pool.SendMail(t.Context(), "s@example.net", to[:1], []byte(letter)); err != nil {
				t.Fatal(err)
			}
			under := make(chan error, 1)
			go func() { under <- pool.SendMail(t.Context(), "s@example.net", to[1:], []byte(letter)) }()
			synctest.Wait()
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := pool.Close(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close within a second: %v", err)
			}
			if got := verbs(w.said("10.0.0.0")); !strings.HasSuffix(got, "QUIT") {
				t.Errorf("the idle session heard %s", got)
			}
			var failed *SendError
			if err := pool.SendMail(t.Context(), "s@example.net", to[:1], []byte(letter)); !errors.Is(err, ErrPoolClosed) || !errors.As(err, &failed) || !failed.Temporary() {
				t.Errorf("after Close: %v", err)
			}
			for _, err := range pool.Sessions(t.Context(), "d0.example") {
				if !errors.Is(err, ErrPoolClosed) {
					t.Errorf("after Close: %v", err)
				}
			}
			for range 2 {
				if err := pool.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := <-under; err != nil {
				t.Errorf("the mail under way: %v", err)
			}
			if got := verbs(w.said("10.0.0.1")); !strings.HasSuffix(got, "QUIT") {
				t.Errorf("its session heard %s", got)
			}
		})
	})
	t.Run("unused", func(t *testing.T) {
		if err := (&Pool{}).Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("without a Dialer", func(t *testing.T) {
		for _, pool := range []*Pool{{}, {Dialer: &Dialer{}}} {
			err := pool.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter))
			if err == nil || !strings.Contains(err.Error(), "is nil; set it") {
				t.Errorf("error %v", err)
			}
			for session, err := range pool.Sessions(t.Context(), "example.org") {
				if session != nil || err == nil || !strings.Contains(err.Error(), "is nil; set it") {
					t.Errorf("error %v", err)
				}
			}
			if err := pool.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
