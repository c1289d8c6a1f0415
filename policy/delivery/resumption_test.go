package delivery

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
)

// The extensions of a ClientHello that resumption is about (RFC 8446 section 4.2, RFC
// 5077 section 3.2).
const (
	preSharedKey = 41
	earlyData    = 42
)

// resuming is a Pool that makes a connection for each message, and what the server saw.
type resuming struct {
	*pooled
	config   *tls.Config
	cert     tls.Certificate // that the server shows now
	confused bool            // the server breaks off when it is offered a ticket, and gives none
	breaks   int             // handshakes that the server breaks off at their end
	offered  []bool          // a ticket, by handshake
	resumed  []bool          // by session
}

// newResuming returns a Pool of one message for each session. The server speaks TLS up to
// version, and gives tickets.
func newResuming(t *testing.T, version uint16) *resuming {
	r := &resuming{cert: certificates().good}
	r.config = &tls.Config{
		MaxVersion:     version,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &r.cert, nil },
	}
	r.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.Extensions, earlyData) {
			t.Error("early data is offered")
		}
		offered := slices.Contains(hello.Extensions, preSharedKey)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.offered = append(r.offered, offered)
		switch {
		case offered && r.confused:
			return nil, errors.New("confused")
		case r.confused:
			without := r.config.Clone()
			without.GetConfigForClient, without.SessionTicketsDisabled = nil, true
			return without, nil
		}
		return nil, nil
	}
	r.config.VerifyConnection = func(state tls.ConnectionState) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.breaks > 0 {
			r.breaks--
			return errors.New("confused")
		}
		r.resumed = append(r.resumed, state.DidResume)
		return nil
	}
	r.pooled = newPooled(t, func(s *server) { speaking(r.config)(s) })
	r.pool.MaxUses = 1
	return r
}

// seen returns what the server saw since the last call: for each handshake "full",
// "resumed" or "failed".
func (r *resuming) seen() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	done := 0
	for i := range r.offered {
		switch {
		case len(r.offered)-i > len(r.resumed)-done:
			all = append(all, "failed")
		case r.resumed[done]:
			all, done = append(all, "resumed"), done+1
		default:
			all, done = append(all, "full"), done+1
		}
	}
	r.offered, r.resumed = nil, nil
	return strings.Join(all, " ")
}

// Decision "Resumption": each plan key and level has tickets of its own, and so have the
// host, its port and its name for SNI. What was not verified is not offered where
// verification is demanded.
func TestTicketsAreKeptApart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first, second []policy.Option
		domain        string // of the second message
		change        func(*testing.T, *resuming)
		want          string
	}{
		"the same":                    {domain: "first.example", want: "resumed"},
		"the same, authenticated":     {first: []policy.Option{policy.AtLeast(policy.Authenticated)}, second: []policy.Option{policy.AtLeast(policy.Authenticated)}, domain: "first.example", want: "resumed"},
		"another domain":              {domain: "second.example", want: "full"},
		"another level":               {domain: "first.example", second: []policy.Option{policy.AtLeast(policy.Encrypted)}, want: "full"},
		"verified from not verified":  {domain: "first.example", second: []policy.Option{policy.AtLeast(policy.Authenticated)}, want: "full"},
		"not verified, from verified": {domain: "first.example", first: []policy.Option{policy.AtLeast(policy.Authenticated)}, want: "full"},
		"another option":              {domain: "first.example", second: []policy.Option{policy.IPv4Only()}, want: "full"},
		"another host name": {domain: "first.example", want: "full", change: func(t *testing.T, r *resuming) {
			r.names.Add(t, dnssec.Insecure, "first.example. MX 10 mx2.example.net.")
			r.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.1")
			time.Sleep(2 * time.Hour)
		}},
		"a level by another plan": {domain: "first.example", want: "full", change: func(t *testing.T, r *resuming) {
			r.names.Add(t, dnssec.Secure, "_25._tcp.mx.example.net. TLSA "+tlsaOf(certificates().good))
			time.Sleep(2 * time.Hour)
		}},
		"another configuration": {domain: "first.example", want: "full", change: func(t *testing.T, r *resuming) {
			r.dialer.CustomizeTLS = func(_ *policy.Host, c *tls.Config) { c.Certificates = []tls.Certificate{certificates().unknown} }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				synctest.Test(t, func(t *testing.T) {
					r := newResuming(t, version)
					if err := r.send(t, "first.example", tt.first...); err != nil {
						t.Fatal(err)
					}
					if got := r.seen(); got != "full" {
						t.Errorf("the first: %s", got)
					}
					if tt.change != nil {
						tt.change(t, r)
					}
					if err := r.send(t, tt.domain, tt.second...); err != nil {
						t.Fatal(err)
					}
					if got := r.seen(); got != tt.want {
						t.Errorf("version %x: the second: %s, want %s", version, got, tt.want)
					}
					if len(r.recorded) != 2 {
						t.Errorf("%d sessions were recorded", len(r.recorded))
					}
				})
			}
		})
	}
}

// tlsaOf is the TLSA record 3 0 1 of a certificate.
func tlsaOf(cert tls.Certificate) string {
	return fmt.Sprintf("3 0 1 %x", sha256.Sum256(cert.Certificate[0]))
}

// A resumed session is verified by the current plan. If that fails, a full handshake comes
// first, and only its outcome counts: a key that was rolled costs neither mail nor a
// report of failure, and an impostor is one.
func TestResumptionIsVerified(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		version uint16
		rolled  bool // the server's key, with its records
		want    string
		fails   bool
	}{
		"key rolled, TLS 1.3":       {version: tls.VersionTLS13, rolled: true, want: "resumed full"},
		"key rolled, TLS 1.2":       {version: tls.VersionTLS12, rolled: true, want: "resumed full"},
		"records changed, key kept": {version: tls.VersionTLS13, want: "resumed full", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newResuming(t, tt.version)
				r.names.Add(t, dnssec.Secure, "_25._tcp.mx.example.net. TLSA "+tlsaOf(certificates().good))
				for range 2 {
					if err := r.send(t, "first.example"); err != nil {
						t.Fatal(err)
					}
				}
				if got := r.seen(); got != "full resumed" {
					t.Fatalf("before: %s", got)
				}
				r.names.Add(t, dnssec.Secure, "_25._tcp.mx.example.net. TLSA "+tlsaOf(certificates().unknown))
				if tt.rolled {
					r.mu.Lock()
					r.cert = certificates().unknown
					r.mu.Unlock()
				}
				time.Sleep(2 * time.Hour) // until the plan ends
				err := r.send(t, "first.example")
				if (err != nil) != tt.fails {
					t.Errorf("the message: %v", err)
				}
				if got := r.seen(); got != tt.want && !(tt.version == tls.VersionTLS13 && got == strings.ReplaceAll(tt.want, "resumed", "failed")) {
					t.Errorf("%s, want %s", got, tt.want)
				}
				failures := 0
				for _, session := range r.recorded {
					for _, outcome := range session.Outcomes {
						failures += len(outcome.Failures)
					}
				}
				if want := map[bool]int{true: 1, false: 0}[tt.fails]; failures != want || len(r.recorded) != 3 {
					t.Errorf("%d failures in %d sessions were recorded, want %d in 3", failures, len(r.recorded), want)
				}
				if !tt.fails {
					if err := r.send(t, "first.example"); err != nil || r.seen() != "resumed" {
						t.Errorf("the ticket of the new key: %v", err)
					}
				}
			})
		})
	}
}

// A server that breaks off when it is offered a ticket is asked once more without one,
// before its TLS counts as broken: a ticket causes neither less TLS nor a failure in a
// report.
func TestResumptionConfusesTheServer(t *testing.T) {
	t.Parallel()
	for _, options := range [][]policy.Option{nil, {policy.AtLeast(policy.Authenticated)}} {
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, tls.VersionTLS13)
			if err := r.send(t, "first.example", options...); err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			r.confused = true
			r.mu.Unlock()
			r.seen()
			result, err := r.pool.Send(t.Context(), mailOf(letter, "x@first.example"), options...)
			if err != nil || len(result.Delivered) != 1 || result.Delivered[0].TLSVersion() != "TLS 1.3" {
				t.Fatalf("%v, %+v", err, result)
			}
			if got := r.seen(); got != "failed full" {
				t.Errorf("%s", got)
			}
			for _, session := range r.recorded {
				for _, outcome := range session.Outcomes {
					if len(outcome.Failures) > 0 {
						t.Errorf("recorded %+v", outcome)
					}
				}
			}
			if len(r.recorded) != 2 || len(r.dialed) != 3 {
				t.Errorf("%d sessions recorded, dialed %q", len(r.recorded), r.dialed)
			}
		})
	}
}

// The same holds for a server that no longer knows the ticket, makes a full handshake in
// which it is verified, and breaks that off.
func TestForgottenTicketConfusesTheServer(t *testing.T) {
	t.Parallel()
	for _, options := range [][]policy.Option{nil, {policy.AtLeast(policy.Authenticated)}} {
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, tls.VersionTLS12) // in TLS 1.3, the client would not notice
			if err := r.send(t, "first.example", options...); err != nil {
				t.Fatal(err)
			}
			r.config.SetSessionTicketKeys([][32]byte{{1}})
			r.mu.Lock()
			r.breaks = 1
			r.mu.Unlock()
			result, err := r.pool.Send(t.Context(), mailOf(letter, "x@first.example"), options...)
			if err != nil || len(result.Delivered) != 1 || result.Delivered[0].TLSVersion() != "TLS 1.2" {
				t.Fatalf("%v, %+v", err, result)
			}
			for _, session := range r.recorded {
				for _, outcome := range session.Outcomes {
					if len(outcome.Failures) > 0 {
						t.Errorf("recorded %+v", outcome)
					}
				}
			}
			if len(r.recorded) != 2 || len(r.dialed) != 3 || r.breaks != 0 {
				t.Errorf("%d sessions recorded, dialed %q", len(r.recorded), r.dialed)
			}
		})
	}
}

// An impostor that is offered a ticket, and makes a full handshake instead, is found out in
// it. The ticket is not why it failed, so there is no second attempt, and the failure is
// reported.
func TestImpostorIsOfferedATicket(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, version)
			r.names.Add(t, dnssec.Secure, "_25._tcp.mx.example.net. TLSA "+tlsaOf(certificates().good))
			if err := r.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			r.config.SetSessionTicketKeys([][32]byte{{1}})
			r.mu.Lock()
			r.cert = certificates().unknown
			r.mu.Unlock()
			if err := r.send(t, "first.example"); err == nil {
				t.Error("an impostor got the message")
			}
			synctest.Wait()
			if len(r.dialed) != 2 || len(r.recorded) != 2 {
				t.Fatalf("dialed %q, recorded %+v", r.dialed, r.recorded)
			}
			if outcomes := r.recorded[1].Outcomes; len(outcomes) != 1 || len(outcomes[0].Failures) != 1 {
				t.Errorf("recorded %+v", outcomes)
			}
		})
	}
}

// If a server resumes a session and does not answer in it, its ticket is dropped and a full
// handshake follows: without a Pool the mail would be delivered. The ticket is not offered
// to it again.
func TestResumedSessionIsSilent(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]policy.Option{
		"opportunistic": nil, "authenticated": {policy.AtLeast(policy.Authenticated)},
		"port 465": {policy.AtLeast(policy.Authenticated), policy.Via("[mx.example.net]:465")},
	} {
		for end, silence := range map[string]func(*server){
			"closes": func(s *server) { s.conn.Close() },
			"stalls": func(s *server) { io.Copy(io.Discard, s.lines) },
		} {
			t.Run(name+", "+end, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newResuming(t, tls.VersionTLS13)
					r.scripts["192.0.2.1"] = []script{func(s *server) {
						implicit := name == "port 465"
						if !implicit {
							s.say(greeting)
							s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
							s.answer("220 go ahead\r\n")
						}
						raw := s.conn
						async := newAsyncConn(raw)
						defer close(async.queue)
						conn := tls.Server(async, r.config)
						if conn.Handshake() != nil {
							return
						}
						s.conn = conn
						s.lines.Reset(conn)
						if conn.ConnectionState().DidResume {
							r.mu.Lock()
							r.confused = true
							r.mu.Unlock()
							silence(s)
							return
						}
						if implicit {
							s.say(greeting)
						}
						s.serve(nil)
						io.Copy(io.Discard, raw)
					}}
					for i, want := range []string{"full", "resumed full", "full"} {
						result, err := r.pool.Send(t.Context(), mailOf(letter, "x@first.example"), options...)
						if err != nil || len(result.Delivered) != 1 || result.Delivered[0].TLSVersion() != "TLS 1.3" {
							t.Fatalf("message %d: %v, %+v", i+1, err, result)
						}
						if got := r.seen(); got != want {
							t.Errorf("message %d: %s, want %s", i+1, got, want)
						}
					}
					if len(r.recorded) != 3 {
						t.Errorf("recorded %+v", r.recorded)
					}
				})
			})
		}
	}
}

// Tickets of a session that was not verified are not kept, and neither are those of a
// second attempt, of a client certificate that is chosen in the handshake, and of a
// Dialer without a Pool.
func TestUnverifiedTicketsAreNotKept(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, version)
			r.cert = certificates().unknown
			for range 2 {
				if err := r.send(t, "first.example", policy.AtLeast(policy.Authenticated)); err == nil {
					t.Error("sent to an impostor")
				}
			}
			r.mu.Lock()
			r.cert = certificates().good
			r.mu.Unlock()
			r.seen()
			if err := r.send(t, "first.example", policy.AtLeast(policy.Authenticated)); err != nil || r.seen() != "full" {
				t.Errorf("after an impostor: %v", err)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, version)
			r.dialer.CustomizeTLS = func(_ *policy.Host, c *tls.Config) {
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
				c.ClientSessionCache = tls.NewLRUClientSessionCache(10)
			}
			for range 2 {
				if err := r.send(t, "first.example"); err != nil || r.seen() != "full" {
					t.Errorf("with a client certificate: %v", err)
				}
			}
		})
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, version)
			for range 2 {
				if err := r.dialer.SendMail(t.Context(), "s@example.net", []string{"x@first.example"}, []byte(letter)); err != nil || r.seen() != "full" {
					t.Errorf("by a Dialer: %v", err)
				}
			}
		})
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, version)
			play, n := func(s *server) { speaking(r.config)(s) }, 0
			r.scripts["192.0.2.1"] = []script{func(s *server) {
				if n++; n%2 == 1 {
					garbled(s)
				} else {
					play(s)
				}
			}}
			for range 2 {
				if err := r.send(t, "first.example"); err != nil || r.seen() != "full" {
					t.Errorf("on a second attempt: %v", err)
				}
			}
		})
	}
}

// A session that was resumed from a ticket without verification does not serve a message
// that demands it, whatever its certificates are. One of a full handshake does.
func TestResumedSessionsAreNotRaised(t *testing.T) {
	t.Parallel()
	for resumed, connections := range map[bool]int{false: 1, true: 3} {
		synctest.Test(t, func(t *testing.T) {
			r := newResuming(t, tls.VersionTLS13)
			r.pool.MaxUses = 2
			if resumed { // the third message is the first over the second connection
				for range 2 {
					if err := r.send(t, "first.example"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := r.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			if err := r.send(t, "second.example", policy.AtLeast(policy.Authenticated)); err != nil {
				t.Fatal(err)
			}
			if len(r.dialed) != connections {
				t.Errorf("resumed %v: %d connections, want %d; %s", resumed, len(r.dialed), connections, r.seen())
			}
		})
	}
}
