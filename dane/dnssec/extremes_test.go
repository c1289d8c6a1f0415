package dnssec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// Names and RRsets at the limits of the protocol are looked up like any other.
func TestNamesAndSetsAtLimitsAreLookedUp(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 49) + ".example.com." // 255 octets
	deepest := strings.Repeat("a.", 121) + "example.com."
	for _, denial := range []string{"NSEC", "NSEC3"} {
		w := mail(t)
		z := w.zones["example.com."]
		z.nsec3 = denial == "NSEC3"
		z.add(t, longest+" 300 IN A 192.0.2.1")
		z.add(t, deepest+" 300 IN A 192.0.2.1")
		z.add(t, `a\.b\032c\\\255.example.com. 300 IN A 192.0.2.1`)
		z.add(t, `x.example.com. 300 IN TYPE65400 \# 3 abcdef`)
		for i := range 100 {
			z.add(t, fmt.Sprintf("many.example.com. 300 IN A 10.0.0.%d", i))
		}
		for _, tt := range []struct {
			name    string
			qtype   uint16
			records int
		}{
			{longest, dns.TypeA, 1},
			{longest, dns.TypeTXT, 0},
			{"y" + longest[1:], dns.TypeA, 0},
			{strings.TrimSuffix(longest, "."), dns.TypeA, 1},
			{deepest, dns.TypeA, 1},
			{deepest, dns.TypeTXT, 0},
			{`a\.b\ c\\\255.example.com`, dns.TypeA, 1},
			{`A\046B\032C\092\255.EXAMPLE.com`, dns.TypeA, 1},
			{`a\.b.example.com`, dns.TypeA, 0},
			{"x.example.com", 65400, 1},
			{"x.example.com", 65401, 0},
			{"many.example.com", dns.TypeA, 100}, // does not fit into a datagram
			{"MX.eXaMpLe.CoM", dns.TypeA, 1},
			{"_25._TCP.mx.example.com", dns.TypeTLSA, 1},
			{"x.WILD.example.com", dns.TypeA, 1},
		} {
			a := w.expect(t, tt.name, tt.qtype, Secure)
			if len(a.Records) != tt.records {
				t.Errorf("%s: %s %s: %d records, want %d", denial, tt.name, dns.Type(tt.qtype), len(a.Records), tt.records)
			}
		}
		for _, name := range []string{"x" + longest, "a." + longest, strings.Repeat("x", 64) + ".example.com", strings.Repeat("a.", 128)} {
			w.expectError(t, name, dns.TypeA, BadQuestion)
		}
	}
}

// SEC-36: servers may keep the case of the question or use another one, because
// case does not matter.
func TestCaseOfRepliesDoesNotMatter(t *testing.T) {
	t.Parallel()
	w := mail(t)
	upper := func(records []dns.RR) {
		for _, rr := range records {
			h := rr.Header()
			h.Name = strings.ToUpper(h.Name)
			switch rr := rr.(type) {
			case *dns.RRSIG:
				rr.SignerName = strings.ToUpper(rr.SignerName)
			case *dns.CNAME:
				rr.Target = strings.ToUpper(rr.Target)
			}
		}
	}
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
		upper(m.Answer)
		upper(m.Ns)
		return m
	}
	for name, want := range map[string]Status{
		"mx.example.com": Secure, "alias.example.com": Secure, "none.example.com": Secure, "a.wild.example.com": Secure,
		"mx.old.example.com": Secure, "mx.plain.com": Insecure,
	} {
		if a := w.expect(t, name, dns.TypeA, want); a.Name != strings.ToLower(a.Name) {
			t.Errorf("%s is at %s", name, a.Name)
		}
	}
}

// SEC-71: if a server sends its reply over TCP octet by octet, the attempt ends
// after its timeout, which does not start again with each octet.
func TestSlowDripEndsWithTheAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.timeout = 5 * time.Second
		drip := func(c net.Conn) {
			defer c.Close()
			if _, err := receiveQuery(c, "tcp"); err != nil {
				return
			}
			for _, octet := range append(binary.BigEndian.AppendUint16(nil, 60000), make([]byte, 60000)...) {
				time.Sleep(50 * time.Millisecond)
				if _, err := c.Write([]byte{octet}); err != nil {
					return
				}
			}
		}
		v := w.validator(func(c *Config) {
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network == "udp" {
					return nil, errors.New("no UDP here")
				}
				near, far := net.Pipe()
				go drip(far)
				return near, nil
			}
		})
		start := time.Now()
		_, err := v.exchange(t.Context(), true, question{"mx.example.com.", dns.TypeA})
		var e *Error
		if !errors.As(err, &e) || e.Reason != Timeout {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Second) // until the server has noticed
	})
}

// SEC-71: while one lookup waits for such a reply, others are answered. It then
// fails.
func TestSlowDripDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := mail(t)
		w.timeout = 5 * time.Second
		w.zone("other.com.", "mx.other.com. 300 IN A 192.0.2.77")
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { m.Truncated = true })
		v := w.validator(func(c *Config) {
			c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network == "udp" {
					return w.dial(ctx, network, addr)
				}
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					receiveQuery(far, "tcp")
					for err := error(nil); err == nil; time.Sleep(50 * time.Millisecond) {
						_, err = far.Write([]byte{0xff})
					}
				}()
				return near, nil
			}
		})
		start := time.Now()
		dripped := make(chan error)
		go func() {
			_, err := v.Lookup(t.Context(), "mx.example.com", TypeA)
			dripped <- err
		}()
		synctest.Wait()
		if a, err := v.Lookup(t.Context(), "mx.other.com", TypeA); err != nil || a.Status != Secure || time.Since(start) != 0 {
			t.Errorf("another lookup after %v: %+v, %v", time.Since(start), a, err)
		}
		var e *Error
		if err := <-dripped; !errors.As(err, &e) || e.Reason != Timeout {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took > 10*time.Second { // a try each over UDP and TCP
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Second) // until the server has noticed
	})
}

// floodConn is a connection that receives datagrams that answer no question.
type floodConn struct {
	net.Conn
	reads *atomic.Int64
}

func (c floodConn) Read(b []byte) (int, error) {
	c.reads.Add(1)
	return copy(b, "a message with another ID, as long as a reply"), nil
}

func (c floodConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c floodConn) Close() error                     { return nil }
func (c floodConn) SetDeadline(time.Time) error      { return nil }
func (c floodConn) SetReadDeadline(time.Time) error  { return nil }
func (c floodConn) SetWriteDeadline(time.Time) error { return nil }

// SEC-9: datagrams that do not answer the question are read up to a limit. Then the
// server is asked over TCP, where no one else can send any.
func TestFloodOfDatagramsLeadsToTCP(t *testing.T) {
	t.Parallel()
	w := mail(t)
	var sockets, reads atomic.Int64
	flooded := func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if network == "udp" {
				sockets.Add(1)
				return floodConn{reads: &reads}, nil
			}
			return w.dial(ctx, network, addr)
		}
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure, flooded)
	if reads.Load() > (64+1)*sockets.Load() {
		t.Errorf("%d datagrams read from %d sockets", reads.Load(), sockets.Load())
	}
}

// SEC-9: datagrams from another address never arrive at the socket of a query.
func TestDatagramsOfStrangersDoNotArrive(t *testing.T) {
	t.Parallel()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	w := mail(t)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			forged := new(dns.Msg)
			if forged.Unpack(buf[:n]) != nil {
				return
			}
			forged.Response, forged.Rcode = true, dns.RcodeRefused
			wire, _ := forged.Pack()
			for range 100 {
				stranger.WriteTo(wire, from)
			}
			for _, m := range w.serve("real", "udp", buf[:n]) {
				server.WriteTo(m, from)
			}
		}
	}()
	w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) {
		c.Servers, c.Dial = []string{server.LocalAddr().String()}, nil
	})
}

// SEC-67: the total size of the replies to one lookup is limited.
func TestOctetsOfRepliesAreLimited(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 1000 octets of replies", func(c *Config) { c.Limits.Octets = 1000 })
	w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 2 records of one reply", func(c *Config) { c.Limits.Records = 2 })
	w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 2 DNSKEY digests", func(c *Config) { c.Limits.Digests = 2 })
}

// SEC-67: so is the size of replies to questions sent in advance, which are never
// judged.
func TestOctetsOfGuessesAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.latency = time.Millisecond // so that guesses are answered before the next alias is met
		for i := range 15 {
			w.zone(fmt.Sprintf("z%d.", i), fmt.Sprintf("a.b.c.z%d. 60 IN CNAME a.b.c.z%d.", i, i+1))
		}
		w.zone("z15.", "a.b.c.z15. 60 IN A 192.0.2.1")
		padding := &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET}}
		for range 200 {
			padding.Txt = append(padding.Txt, strings.Repeat("x", 250))
		}
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			if q := m.Question[0]; strings.Contains(q.Name, "c.z") && q.Qtype != dns.TypeA {
				m.Answer = append(m.Answer, padding)
			}
			return m
		}
		w.expectLimit(t, "a.b.c.z0", dns.TypeA, "octets of replies")
		// The same name within the limit.
		w.expect(t, "a.b.c.z0", dns.TypeA, Secure, func(c *Config) { c.Limits.Octets = 16 << 20 })
	})
}

// Many lookups of different names stay within the bound of the cache, and what is
// in use stays in the cache.
func TestFloodLeavesWhatIsInUse(t *testing.T) {
	t.Parallel()
	w := mail(t)
	const bound = 64 * 8 << 10
	v := w.validator(func(c *Config) { c.CacheBytes = bound })
	for i := range 2000 {
		for _, name := range []string{fmt.Sprintf("n%d.wild.example.com", i), "mx.example.com"} {
			if _, err := v.Lookup(context.Background(), name, TypeA); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.settle()
	_, total := v.cache.Size()
	if total > bound || total < bound/2 {
		t.Errorf("%d octets in a cache of %d", total, bound)
	}
	for question, n := range w.asked {
		if n > 1 && !strings.Contains(question, ".wild.") {
			t.Errorf("%s was asked %d times", question, n)
		}
	}
}

// SEC-9, field note 39: a truncated reply over TCP is an error.
func TestTruncatedReplyOverTCPIsAnError(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.expectErrorOver(t, func(c net.Conn) {
		query, err := receiveQuery(c, "tcp")
		if err == nil {
			reply := w.serve("", "tcp", query)[0]
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply[:len(reply)-1]...))
		}
	}, Unreachable)
	w.expectErrorOver(t, func(c net.Conn) { receiveQuery(c, "tcp"); c.Write([]byte{0}) }, Unreachable)
	w.expectErrorOver(t, func(c net.Conn) { receiveQuery(c, "tcp"); c.Write([]byte{0, 0}) }, Malformed)
}

// expectErrorOver checks that an exchange over TCP with the server fails.
func (w *world) expectErrorOver(t *testing.T, serve func(net.Conn), reason Reason) {
	t.Helper()
	v := w.validator(func(c *Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { defer far.Close(); serve(far) }()
			return near, nil
		}
	})
	_, err := v.exchange(t.Context(), true, question{"mx.example.com.", dns.TypeA})
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Errorf("error is %v, want %v", err, reason)
	}
}
