package dnssec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// SEC-1, SEC-2, SEC-3, SEC-5: every query has EDNS with DO, CD set, AD clear.
func TestQueriesHaveDOAndCD(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.expect(t, "_25._tcp.mx.example.com", dns.TypeTLSA, Secure)
	if len(w.queries) < 6 {
		t.Fatalf("only %d queries", len(w.queries))
	}
	for _, m := range w.queries {
		opt := m.IsEdns0()
		if opt == nil || !opt.Do() || opt.UDPSize() != 1232 {
			t.Errorf("%v: EDNS is %v", m.Question, opt)
		}
		if !m.CheckingDisabled || m.AuthenticatedData || !m.RecursionDesired {
			t.Errorf("%v: header is %v", m.Question, m.MsgHdr)
		}
	}
}

// SEC-4, SEC-6: AD, DO and a missing OPT in a reply change nothing.
func TestReplyBitsAreIgnored(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		m.AuthenticatedData, m.Extra = false, nil
		return m
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		m.AuthenticatedData = true
		strip(m)
		return m
	}
	w.expectError(t, "mx.example.com", dns.TypeA, SignatureMissing, DenialMissing)
	w.expectError(t, "mx.plain.com", dns.TypeA, SignatureMissing, DenialMissing)
}

// SEC-7, field note 39: after a truncated reply the server is asked over TCP. The
// content of the truncated reply is ignored, with and without the AD bit.
func TestTruncatedReplyLeadsToTCP(t *testing.T) {
	t.Parallel()
	w := mail(t)
	var overTCP atomic.Int64
	w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
		if network == "udp" {
			m.Truncated, m.AuthenticatedData = true, true
			m.Answer, m.Ns = nil, nil
			return m
		}
		overTCP.Add(1)
		return m
	}
	a := w.expect(t, "mx.example.com", dns.TypeA, Secure)
	if len(a.Records) != 1 || overTCP.Load() == 0 {
		t.Errorf("%d records, %d queries over TCP", len(a.Records), overTCP.Load())
	}
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		m.Truncated = true
		return m
	}
	w.expectError(t, "mx.example.com", dns.TypeA, Malformed)
}

// SEC-8, SEC-24: a server that removes DNSSEC records causes an error that says so,
// and never an insecure answer.
func TestStrippedRepliesAreErrors(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mx.example.com", "mx.plain.com", "none.example.com", "none.plain.com", "away.example.com"} {
		w := mail(t)
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { strip(m); return m }
		err := w.expectError(t, name, dns.TypeA, SignatureMissing, DenialMissing)
		mentions(t, err, "strips DNSSEC", "192.0.2.53:53", name)
		// Only the answer, or only the proof of the unsigned delegation.
		w.on(name+".", dns.TypeA, strip)
		if strings.HasSuffix(name, "plain.com") {
			w.expect(t, name, dns.TypeA, Insecure)
			w.on("plain.com.", dns.TypeDS, strip)
		}
		w.expectError(t, name, dns.TypeA, SignatureMissing, DenialMissing)
	}
}

// SEC-9: messages with another ID or question, and messages that are not replies,
// are dropped until the right reply arrives.
func TestStrayRepliesAreDropped(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.raw = func(m *dns.Msg) [][]byte {
		forge := func(edit func(*dns.Msg)) []byte {
			f := m.Copy()
			f.Answer = []dns.RR{dnsdata.RR(t, m.Question[0].Name+" 300 IN A 203.0.113.66")}
			edit(f)
			wire, _ := f.Pack()
			return wire
		}
		honest, _ := m.Pack()
		return [][]byte{
			{}, {1}, []byte("garbage"), honest[:len(honest)/2],
			forge(func(f *dns.Msg) { f.Id++ }),
			forge(func(f *dns.Msg) { f.Response = false }),
			forge(func(f *dns.Msg) { f.Opcode = dns.OpcodeNotify }),
			forge(func(f *dns.Msg) { f.Question[0].Name = "evil." }),
			forge(func(f *dns.Msg) { f.Question[0].Qtype = dns.TypeTXT }),
			forge(func(f *dns.Msg) { f.Question[0].Qclass = dns.ClassCHAOS }),
			forge(func(f *dns.Msg) { f.Question = nil }),
			forge(func(f *dns.Msg) { f.Question = append(f.Question, f.Question[0]) }),
			honest,
		}
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure)

	ids := make(map[uint16]bool)
	for _, m := range w.queries {
		ids[m.Id] = true
	}
	if len(ids) < len(w.queries)-1 {
		t.Errorf("%d IDs in %d queries", len(ids), len(w.queries))
	}
}

// SEC-9: each query has a socket of its own and therefore its own source port. This
// test uses real sockets on the loopback interface, UDP and TCP.
func TestEachQueryHasItsOwnPort(t *testing.T) {
	t.Parallel()
	w := mail(t)
	packets, listener := dnsdata.Listen(t)
	defer packets.Close()
	defer listener.Close()
	var mu sync.Mutex
	ports := make(map[string]int)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			ports[from.String()]++
			mu.Unlock()
			for _, m := range w.serve("real", "udp", buf[:n]) {
				packets.WriteTo(m, from)
			}
		}
	}()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); w.serveStream(c, "real") }()
		}
	}()
	real := func(c *Config) {
		c.Servers, c.Dial = []string{packets.LocalAddr().String()}, nil
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure, real)
	w.mu.Lock()
	w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
		m.Truncated = network == "udp"
		return m
	}
	w.mu.Unlock()
	w.expect(t, "mx.example.com", dns.TypeA, Secure, real)
	mu.Lock()
	defer mu.Unlock()
	for port, n := range ports {
		if n > 1 {
			t.Errorf("%d queries from %s", n, port)
		}
	}
}

// SEC-10: the DS records must be signed by the parent zone. A missing proof is
// asked for.
func TestDSBelongsToParent(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.on("example.com.", dns.TypeDS, func(m *dns.Msg) {
		z := w.zones["example.com."]
		m.Answer = w.sigs(z, m.Answer[0]) // by the child's own key
	})
	w.expectError(t, "example.com", dns.TypeDS, SignatureMissing, DSMismatch)
	w.expectError(t, "mx.example.com", dns.TypeA, SignatureMissing)
	_, err := w.lookup(".", dns.TypeDS)
	if err == nil {
		t.Error("DS of the root was looked up")
	}
}

// Field note 1, DANE-9: error codes, silence and malformed replies are errors.
func TestErrorCodesAreErrors(t *testing.T) {
	t.Parallel()
	for rcode, reason := range map[int]Reason{
		dns.RcodeServerFailure:  ServerFailure,
		dns.RcodeRefused:        Refused,
		dns.RcodeNotImplemented: OtherRcode,
		dns.RcodeFormatError:    OtherRcode,
		dns.RcodeYXDomain:       OtherRcode,
		dns.RcodeNotAuth:        OtherRcode,
	} {
		for _, name := range []string{"mx.example.com.", "mx.plain.com."} {
			w := mail(t)
			w.on(name, dns.TypeTLSA, func(m *dns.Msg) {
				m.Rcode = rcode
				if rcode == dns.RcodeFormatError {
					m.Question, m.Extra = nil, nil
				}
			})
			e := w.expectError(t, name, dns.TypeTLSA, reason)
			if e.Status != Indeterminate || !e.Temporary() {
				t.Errorf("%v: status %v", e, e.Status)
			}
		}
	}
	w := mail(t)
	w.on("mx.plain.com.", dns.TypeTLSA, func(m *dns.Msg) {
		m.Answer, m.Ns = nil, []dns.RR{dnsdata.RR(t, "plain.com. 300 IN NS ns.plain.com.")}
	})
	w.expectError(t, "mx.plain.com", dns.TypeTLSA, NoRecursion)
}

// Extended DNS Errors are part of the error, in printable form.
func TestExtendedErrorsArePrintable(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		m.Rcode = dns.RcodeServerFailure
		m.IsEdns0().Option = []dns.EDNS0{
			&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNoReachableAuthority, ExtraText: "at\x1b[2J 192.0.2.9\n" + strings.Repeat("x", 900)},
			&dns.EDNS0_EDE{InfoCode: 4711},
		}
	})
	e := w.expectError(t, "mx.example.com", dns.TypeA, ServerFailure)
	if len(e.Extended) != 2 || e.Extended[0].Code != dns.ExtendedErrorCodeNoReachableAuthority {
		t.Fatalf("extended errors: %v", e.Extended)
	}
	mentions(t, e, "No Reachable Authority", "at?[2J 192.0.2.9?", "EDE 4711", "192.0.2.53:53")
	if len(e.Error()) > 700 || strings.ContainsAny(e.Error(), "\n\x1b") {
		t.Errorf("unsafe or long: %q", e.Error())
	}
	if resultType, code := e.TLSReport(); resultType != "" || code != "dns-servfail" {
		t.Errorf("TLSReport is %s, %s", resultType, code)
	}
}

// Field note 13: if a server fails in any way, another one is asked. Its reply is
// judged in the same way.
func TestNextServerIsAskedAndJudged(t *testing.T) {
	t.Parallel()
	faults := map[string]func(m *dns.Msg) *dns.Msg{
		"silent":   func(m *dns.Msg) *dns.Msg { return nil },
		"servfail": func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeServerFailure; return m },
		"refused":  func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeRefused; return m },
		"stripped": func(m *dns.Msg) *dns.Msg { strip(m); return m },
		"bogus": func(m *dns.Msg) *dns.Msg {
			eachSignature(m, func(s *dns.RRSIG) { s.OrigTtl++ })
			return m
		},
		"empty": func(m *dns.Msg) *dns.Msg { m.Answer, m.Ns = nil, nil; return m },
	}
	two := func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} }
	for fault, bend := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := mail(t)
				w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
					if server == "192.0.2.1:53" {
						return bend(m)
					}
					return m
				}
				w.expect(t, "_25._tcp.mx.example.com", dns.TypeTLSA, Secure, two)
				w.expect(t, "mx.plain.com", dns.TypeA, Insecure, two)

				// The second server removes the signatures: the result is an error,
				// not a worse answer.
				w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
					if server == "192.0.2.1:53" {
						return bend(m)
					}
					strip(m)
					return m
				}
				_, err := w.lookup("mx.example.com", dns.TypeA, two)
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("error is %v", err)
				}
				if fault != "silent" {
					mentions(t, err, "192.0.2.1:53", "192.0.2.2:53")
				}
			})
		})
	}
}

// A server that failed is asked last for a while.
func TestFailedServerIsAskedLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		v := w.validator(func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} })
		var toFirst atomic.Int64
		w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
			if server == "192.0.2.1:53" {
				toFirst.Add(1)
				return nil
			}
			return m
		}
		lookup := func(name string) {
			if _, err := v.Lookup(context.Background(), name, TypeA); err != nil {
				t.Error(err)
			}
		}
		lookup("mx.example.com")
		toFirst.Store(0)
		lookup("a.wild.example.com")
		if toFirst.Load() != 0 {
			t.Errorf("%d queries to the server that failed", toFirst.Load())
		}
		time.Sleep(30 * time.Second)
		lookup("b.wild.example.com")
		if toFirst.Load() == 0 {
			t.Error("the server is never tried again")
		}
	})
}

// A server that does not answer over UDP is asked over TCP.
func TestSilentOverUDPIsAskedOverTCP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
			if network == "udp" {
				return nil
			}
			return m
		}
		w.expect(t, "mx.example.com", dns.TypeA, Secure)
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { return nil }
		e := w.expectError(t, "mx.example.com", dns.TypeA, Timeout)
		if !e.Timeout() {
			t.Error("not a timeout")
		}
		mentions(t, e, "timeout", "port 53")
	})
}

// SEC-55: after a bogus reply over UDP the server is asked over TCP, where no one
// off the path can send a reply.
func TestBogusOverUDPIsAskedOverTCP(t *testing.T) {
	t.Parallel()
	w := mail(t)
	for name, want := range map[string]Status{"mx.example.com": Secure, "none.example.com": Secure, "mx.plain.com": Insecure} {
		w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
			if network == "udp" {
				strip(m)
			}
			return m
		}
		w.expect(t, name, dns.TypeA, want)
	}
}

// All replies are malformed: over UDP the attempt waits for its timeout, over TCP
// it fails at once.
func TestNonsenseIsMalformed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.timeout = 5 * time.Second
		w.raw = func(m *dns.Msg) [][]byte { return [][]byte{[]byte("nonsense")} }
		start := time.Now()
		e := w.expectError(t, "mx.example.com", dns.TypeA, Malformed)
		mentions(t, e, "a message with another ID")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
			if network == "udp" {
				return nil
			}
			return m
		}
		e = w.expectError(t, "mx.example.com", dns.TypeA, Malformed)
		mentions(t, e, "another ID")
	})
}

// The context of a caller ends its lookup. Other callers that wait for the same
// lookup are not affected.
func TestContextEndsOneLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.latency = time.Second / 10
		v := w.validator()
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan error)
		go func() {
			_, err := v.Lookup(ctx, "mx.example.com", TypeA)
			results <- err
		}()
		synctest.Wait()
		go func() {
			_, err := v.Lookup(context.Background(), "mx.example.com", TypeA)
			results <- err
		}()
		synctest.Wait()
		cancel()
		err := <-results
		var e *Error
		if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Reason != Canceled {
			t.Errorf("error of the canceled lookup: %v", err)
		}
		if err := <-results; err != nil {
			t.Errorf("error of the other lookup: %v", err)
		}

		ctx, cancel = context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err = v.Lookup(ctx, "none.example.com", TypeA)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error after the deadline: %v", err)
		}
		if _, err := v.Lookup(context.Background(), "none.example.com", TypeA); err != nil {
			t.Errorf("a canceled lookup was remembered as a failure: %v", err)
		}
	})
}

// A changed resolv.conf is noticed. If it can no longer be used, the servers stay
// the same, and errors say so.
func TestChangedResolvConfIsNoticed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write(t, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
		w := mail(t)
		v := w.validator(func(c *Config) { c.Servers, c.ResolvConf = nil, file })
		kept := servers(v)[1]
		expect := func(want ...string) {
			t.Helper()
			servers, _ := v.client.Servers()
			var got []string
			for _, s := range servers {
				got = append(got, s.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("servers are %v, want %v", got, want)
			}
		}
		write(t, "nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
		time.Sleep(5*time.Second - 1)
		expect("192.0.2.1:53", "192.0.2.2:53")
		time.Sleep(time.Nanosecond)
		expect("192.0.2.2:53", "192.0.2.3:53")
		if servers(v)[0] != kept {
			t.Error("a server that stays is forgotten")
		}
		for _, broken := range []string{"", "nameserver resolver\n"} {
			if write(t, broken); broken == "" {
				os.Remove(file)
			}
			time.Sleep(5 * time.Second)
			expect("192.0.2.2:53", "192.0.2.3:53")
			w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeServerFailure; return m }
			_, err := v.Lookup(t.Context(), "mx.example.com", TypeA)
			w.settle()
			mentions(t, err, "servfail", "older servers were asked")
			w.mangle = nil
			time.Sleep(5 * time.Second)
			if _, err := v.Lookup(t.Context(), "mx.example.com", TypeTXT); err != nil {
				t.Error(err)
			}
			w.settle()
		}
		write(t, "nameserver 192.0.2.4\n")
		time.Sleep(5 * time.Second)
		expect("192.0.2.4:53")
		if _, problem := v.client.Servers(); problem != nil {
			t.Error(problem)
		}
	})
}

// Field note 14: if the file changes, a Trusting does not use a server that must
// not be trusted.
func TestTrustingRefusesServersOfChangedFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	synctest.Test(t, func(t *testing.T) {
		for i, text := range []string{"nameserver 127.0.0.1\noptions trust-ad\n", "nameserver 192.0.2.1\noptions trust-ad\n"} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			trusting, err := NewTrusting(TrustingConfig{ResolvConf: file})
			if (err == nil) != (i == 0) {
				t.Errorf("%s: %v", text, err)
			}
			if i == 0 {
				os.WriteFile(file, []byte("nameserver 192.0.2.1 # the router\noptions trust-ad\n"), 0o600)
				time.Sleep(5 * time.Second)
				if servers, problem := trusting.client.Servers(); len(servers) != 1 || !servers[0].IsLoopback() || problem == nil {
					t.Errorf("servers %v, %v", servers, problem)
				}
				// D1: what the file no longer says is no longer trusted.
				os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o600)
				time.Sleep(5 * time.Second)
				if servers, problem := trusting.client.Servers(); len(servers) != 0 || problem == nil {
					t.Errorf("servers %v, %v", servers, problem)
				}
				_, err := trusting.Lookup(t.Context(), "example.com", TypeA)
				var e *Error
				if !errors.As(err, &e) || e.Reason != NotValidating {
					t.Errorf("error is %v", err)
				}
				mentions(t, err, "trust-ad")
			}
		}
	})
}

func TestResolvConfNamesTheServers(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	v, err := New(Config{ResolvConf: file("# local\nnameserver 127.0.0.53\nnameserver ::1\nnameserver ::1\noptions edns0\n")})
	if err != nil || len(servers(v)) != 2 || servers(v)[1].String() != "[::1]:53" {
		t.Errorf("servers %v, %v", servers(v), err)
	}
	// D13: the server of this host, if there is none; a bad line is skipped and reported.
	for text, want := range map[string]string{
		"":                     "127.0.0.1:53",
		"search example.org\n": "127.0.0.1:53",
		"# nameserver ::2\n":   "127.0.0.1:53",
		"nameserver ::3\nnameserver resolver\nnameserver\n": "[::3]:53",
	} {
		v, err := New(Config{ResolvConf: file(text)})
		if err != nil || len(servers(v)) != 1 || servers(v)[0].String() != want {
			t.Errorf("%q: %v, %v", text, servers(v), err)
			continue
		}
		_, problem := v.client.Servers()
		if (problem != nil) != strings.Contains(text, "resolver") {
			t.Errorf("%q: problem %v", text, problem)
		}
		if problem != nil {
			mentions(t, problem, "line 2", "line 3", "resolver")
		}
	}
	for name, text := range map[string]string{
		file("nameserver \nnameserver x"): "line 2",
		file("nameserver resolver\n"):     "not an IP address",
		filepath.Join(t.TempDir(), "x"):   "cannot be read",
	} {
		if _, err := New(Config{ResolvConf: name}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want one with %q", err, text)
		}
	}
}

// D8: UDP is blocked. Only the first lookups wait for it.
func TestD8OnlyFirstLookupsWaitForUDP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		v := w.validator()
		w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
			if network == "udp" {
				return nil
			}
			return m
		}
		took := func(name string) time.Duration {
			began := time.Now()
			if a, err := v.Lookup(context.Background(), name, TypeA); err != nil || a.Status != Secure {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
			return time.Since(began)
		}
		took("mx.example.com")
		if d := took("a.wild.example.com"); d > time.Second {
			t.Errorf("the second lookup took %v", d)
		}
		w.mangle = func(_, network string, m *dns.Msg) *dns.Msg {
			if network == "tcp" {
				return nil
			}
			return m
		}
		took("b.wild.example.com") // now it is TCP that is blocked
	})
}
