package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// clientError is what a client returns that has an error type of its own.
type clientError string

func (e clientError) Error() string { return string(e) }

// sessionsDialer returns a Dialer for hosts, in order.
func (w *world) sessionsDialer(t *testing.T, hosts ...mailHost) *Dialer {
	d := w.dialer()
	d.Resolver = w.published(t, hosts...)
	return d
}

// The table through Session.Failure, with net/smtp as the client: what a reply, or the
// end of the connection, means at each step, and whether the next host gets the mail.
func TestSessionFailureFollowsTable(t *testing.T) {
	t.Parallel()
	const hangUp = ""
	for _, tt := range []struct {
		inTLS   bool
		verb    string
		reply   string
		want    string
		nextGot bool
	}{
		{true, "MAIL", "451 4.3.0 later", "temporary 4.3.0 next", true},
		{true, "MAIL", "550 5.7.1 never", "permanent 5.7.1", false},
		{true, "MAIL", "421 4.3.2 bye", "temporary 4.3.2 next over", true},
		{true, "MAIL", hangUp, "temporary 4.4.2 next over", true},
		{true, "RCPT", "450 4.2.0 later", "temporary 4.2.0 next", true},
		{true, "RCPT", "550 5.1.1 nobody", "permanent 5.1.1", false},
		{true, "RCPT", hangUp, "temporary 4.4.2 next over", true},
		{true, "DATA", "451 4.3.0 later", "temporary 4.3.0 next", true},
		{true, "DATA", "554 5.6.0 no", "permanent 5.6.0", false},
		{true, "DATA", hangUp, "temporary 4.4.2 next over", true},
		{true, ".", "451 4.3.0 later", "temporary 4.3.0", false},
		{true, ".", "554 5.6.0 no", "permanent 5.6.0", false},
		{true, ".", hangUp, "temporary 4.4.2 over unknown", false},
		{true, "QUIT", hangUp, "", false},
		{true, "QUIT", "550 5.0.0 strange", "", false},
		// Decision "Clear after TLS".
		{false, "MAIL", "530 5.7.0 Must issue a STARTTLS command first", "temporary 4.7.0 next", true},
		{false, "RCPT", "550 5.1.1 nobody", "permanent 5.1.1", false},
		{false, ".", "530 5.7.0 no", "temporary 4.7.0", false},
	} {
		t.Run(fmt.Sprintf("%v %s %s", tt.inTLS, tt.verb, tt.reply), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{
					"192.0.2.1": {closing(tt.inTLS, tt.verb, tt.reply)}, "192.0.2.2": {withTLS(certificates().good)},
				})
				d := w.sessionsDialer(t, at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2"))
				got, nextGot := "", false
				for session, err := range d.Sessions(t.Context(), "example.org") {
					if err != nil {
						t.Fatal(err)
					}
					failure := session.Failure(sendOver(session.NetConn()))
					if failure == nil {
						nextGot = session.Host.Name == "mx1.example.net"
						break
					}
					got = described(failure)
					if !failure.NextHost {
						break
					}
				}
				if got != tt.want || nextGot != tt.nextGot {
					t.Errorf("%q, the next host got it: %v; want %q, %v", got, nextGot, tt.want, tt.nextGot)
				}
			})
		})
	}
}

// closing is a host that answers a verb by a reply, or by closing the connection. "." is
// the end of the message.
func closing(inTLS bool, verb, reply string) script {
	if reply != "" {
		return mailReplies(inTLS, map[string]string{verb: reply + "\r\n"})
	}
	return func(s *server) {
		s.say(greeting)
		if inTLS {
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if !s.handshake(certificates().good) {
				return
			}
		}
		for inMessage := false; ; {
			line, ok := s.hear()
			said, _, _ := strings.Cut(line, " ")
			switch {
			case !ok || said == verb && (said == ".") == inMessage:
				return
			case inMessage && line != ".":
			case said == "DATA":
				inMessage = true
				s.say("354 go ahead\r\n")
			default:
				inMessage = false
				s.say("250 2.0.0 ok\r\n")
			}
		}
	}
}

// described is a Failure in words.
func described(f *Failure) string {
	text := "temporary "
	if f.Err.Permanent {
		text = "permanent "
	}
	text += f.Err.Status
	for _, flag := range []struct {
		set  bool
		name string
	}{{f.NextHost, " next"}, {f.SameHost, " same"}, {f.Over, " over"}, {f.OutcomeUnknown, " unknown"}} {
		if flag.set {
			text += flag.name
		}
	}
	return text
}

// sendOver sends a message by net/smtp.
func sendOver(conn net.Conn) error {
	client, err := smtp.NewClient(conn, "mx.example.net")
	if err != nil {
		return err
	}
	defer client.Close()
	if err := transact(client); err != nil {
		return err
	}
	return client.Quit()
}

// transact makes a mail transaction by net/smtp.
func transact(client *smtp.Client) error {
	if err := client.Mail("s@example.net"); err != nil {
		return err
	}
	if err := client.Rcpt("x@example.org"); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write([]byte(letter)); err != nil {
		return err
	}
	return data.Close()
}

// The loop of Sessions: an error for the domain comes last and has those of the hosts;
// each session ends with its body, and takes its places with it.
func TestSessionsEndWithTheDomain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		later := map[string]string{"MAIL": "451 4.3.0 later\r\n"}
		w := newWorld(map[string][]script{
			"192.0.2.1": {tlsThen(certificates().good, later)}, "192.0.2.2": {withTLS(certificates().unknown)},
			"192.0.2.3": {tlsThen(certificates().good, later)},
		})
		d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2"), at(policy.Authenticated, "192.0.2.3"))
		d.MaxPerDomain, d.MaxPerHost = 1, 1
		for range 2 {
			var seen []string
			var last error
			for session, err := range d.Sessions(t.Context(), "example.org") {
				if err != nil {
					last = err
					continue
				}
				seen = append(seen, session.Host.Name)
				if _, encrypted := session.TLS(); !encrypted || session.Plan.Domain != "example.org" {
					t.Error("the session has no TLS, or another plan")
				}
				if failure := session.Failure(sendOver(session.NetConn())); failure == nil || !failure.NextHost {
					t.Errorf("failure %+v", failure)
				}
			}
			var failure *policy.Error
			if !errors.As(last, &failure) || failure.Permanent || failure.Domain != "example.org" || !strings.Contains(last.Error(), "later") {
				t.Errorf("last error %v", last)
			}
			if want := []string{"mx.example.net", "mx2.example.net"}; !slices.Equal(seen, want) {
				t.Errorf("sessions with %q, want %q", seen, want)
			}
		}
		if got := verbs(w.said("192.0.2.1")); got != "EHLO STARTTLS TLS EHLO MAIL EHLO STARTTLS TLS EHLO MAIL" {
			t.Errorf("heard %s", got)
		}
	})
}

// A caller that leaves the loop leaves an idle server with QUIT, and a server in the
// middle of a message without one: the message must not look complete.
func TestSessionIsClosed(t *testing.T) {
	t.Parallel()
	for inMessage, want := range map[bool]string{false: "EHLO STARTTLS TLS EHLO QUIT", true: "EHLO STARTTLS TLS EHLO MAIL RCPT DATA"} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(withTLS(certificates().good))
			d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"))
			for session, err := range d.Sessions(t.Context(), "example.org") {
				if err != nil {
					t.Fatal(err)
				}
				if inMessage {
					client, err := smtp.NewClient(session.NetConn(), "x")
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(client.Mail("s@example.net"), client.Rcpt("x@example.org")); err != nil {
						t.Fatal(err)
					}
					data, err := client.Data()
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprint(data, "half\r\n")
					client.Text.W.Flush()
					if f := session.Failure(clientError("the disk failed")); f == nil || !f.OutcomeUnknown || f.NextHost {
						t.Errorf("in the message: %+v", f)
					}
				}
				break
			}
			if got := verbs(w.said("192.0.2.1")); got != want {
				t.Errorf("heard %s, want %s", got, want)
			}
		})
	}
}

// An error that is not a reply of the server is temporary, whatever its text is.
func TestFailureOfTheClientItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(withTLS(certificates().good))
		d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"))
		for session, err := range d.Sessions(t.Context(), "example.org") {
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{clientError("SMTP error 550: no such user"), clientError("x"), net.ErrClosed} {
				failure := session.Failure(err)
				if failure == nil || failure.Err.Permanent || !failure.NextHost || failure.Over || failure.OutcomeUnknown {
					t.Errorf("%v: %+v", err, failure)
				}
			}
			if session.Failure(nil) != nil {
				t.Error("a failure without an error")
			}
			break
		}
	})
}

// RFC 8689 section 4.2.1: under RequireTLS, MAIL without the parameter does not reach the
// server, and neither does what follows it; a return path that contains the word does
// not count as the parameter.
func TestMailWithoutRequireTLS(t *testing.T) {
	t.Parallel()
	for mail, passes := range map[string]bool{
		"MAIL FROM:<s@example.net>":                      false,
		"MAIL FROM:<s@example.net> BODY=8BITMIME":        false,
		"MAIL FROM:<\"a> REQUIRETLS \"@example.net>":     false,
		"MAIL FROM:<\"a\\\"> REQUIRETLS \"@example.net>": false,
		"MAIL FROM:<s@example.net> REQUIRETLS":           true,
		"MAIL from: <s@example.net> requiretls AUTH=<>":  true,
		"MAIL FROM:<> SIZE=1 REQUIRETLS":                 true,
		"MAIL FROM:<s@example.net> X-REQUIRETLS":         false,
	} {
		t.Run(mail, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(tlsThen(certificates().good, map[string]string{"EHLO": "250-mx\r\n250 REQUIRETLS\r\n"}))
				w.options = []policy.Option{policy.RequireTLS()}
				d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"))
				for session, err := range d.Sessions(t.Context(), "example.org", policy.RequireTLS()) {
					if err != nil {
						t.Fatal(err)
					}
					client, err := smtp.NewClient(session.NetConn(), "x")
					if err == nil {
						err = client.Hello("sender.example")
					}
					if err != nil {
						t.Fatal(err)
					}
					client.Text.PrintfLine("%s", mail)
					if !passes { // with PIPELINING
						client.Text.PrintfLine("RCPT TO:<x@example.org>\r\nDATA")
					}
					code, text, err := client.Text.ReadResponse(0)
					if (code == 250) != passes {
						t.Errorf("%d %s %v", code, text, err)
					}
					if !passes {
						f := session.Failure(clientError(fmt.Sprint(code)))
						if f == nil || f.Err.Permanent || f.Over || !f.NextHost {
							t.Errorf("failure %+v", f)
						}
						for range 2 {
							if code, text, err := client.Text.ReadResponse(0); code != 503 {
								t.Errorf("%d %s %v", code, text, err)
							}
						}
					}
					break
				}
				got := verbs(w.said("192.0.2.1"))
				if reached := strings.Contains(strings.ToUpper(got), "MAIL"); reached != passes || !passes && strings.Contains(got, "RCPT") {
					t.Errorf("heard %s", got)
				}
			})
		})
	}
}

// A plan that has expired opens no session, whichever way the clock says so: what it was made
// from may have changed. The failure is temporary.
func TestDialHostExpired(t *testing.T) {
	t.Parallel()
	for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(withTLS(certificates().good))
			names := fakedns.Answers{}
			names.Add(t, dnssec.Insecure, "example.org. MX 0 mx.example.net.")
			names.Add(t, dnssec.Insecure, "mx.example.net. A 192.0.2.1")
			names.Deny(dnssec.Insecure, "mx.example.net. AAAA")
			ahead := time.Duration(0)
			d := w.dialer()
			d.Resolver = w.resolver(t, names, policy.Config{Floor: level, Now: func() time.Time { return time.Now().Add(ahead) }})
			plan, err := d.Resolver.Resolve(t.Context(), "example.org")
			if err != nil {
				t.Fatal(err)
			}
			left := time.Until(plan.Expires)
			for _, tt := range []struct {
				ahead time.Duration
				holds bool
			}{{0, true}, {left - 1, true}, {left, false}, {left + 1, false}, {24 * time.Hour, false}, {-time.Hour, false}} {
				ahead = tt.ahead
				if d.Resolver.Holds(plan) != tt.holds {
					t.Errorf("%v from now, the plan holds: %v", ahead, !tt.holds)
				}
				before := len(w.dialed)
				session, err := d.DialHost(t.Context(), plan, "mx.example.net")
				if tt.holds {
					if err != nil {
						t.Fatalf("%v from now: %v", ahead, err)
					}
					session.Close()
					continue
				}
				var failure *policy.Error
				if !errors.Is(err, ErrExpired) || !errors.As(err, &failure) || failure.Permanent || len(w.dialed) > before {
					t.Errorf("%v from now: error %v; dialed %q", ahead, err, w.dialed[before:])
				}
			}
		})
	}
}

// DialHost serves a program that has its own list of mail hosts and loop, such as
// chasquid's courier: for each host it returns a session, or an error that says whether to
// go on, and Plan.Failed makes the error of the domain. Each attempt is reported.
func TestDialHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{
			"192.0.2.1": {withTLS(certificates().unknown)}, "192.0.2.2": {inClearOnly},
			"192.0.2.3": {tlsThen(certificates().good, map[string]string{"RCPT": "450 4.2.0 later\r\n"})},
			"192.0.2.4": {withTLS(certificates().good)},
		})
		d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2"),
			at(policy.Authenticated, "192.0.2.3"), at(policy.Authenticated, "192.0.2.4"))
		plan, err := d.Resolver.Resolve(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		var failures []*policy.Error
		delivered := ""
		for _, mx := range []string{"stray.example.net", "MX.example.net.", "mx1.example.net", "mx2.example.net", "mx3.example.net"} {
			session, err := d.DialHost(t.Context(), plan, mx)
			if err != nil {
				var failure *policy.Error
				if !errors.As(err, &failure) || failure.Host == "" || failure.Permanent {
					t.Fatalf("%s: %v", mx, err)
				}
				failures = append(failures, failure)
				continue
			}
			failure := session.Failure(sendOver(session.NetConn()))
			session.Close()
			if failure == nil {
				delivered = session.Host.Name
				break
			}
			if !failure.NextHost {
				t.Fatalf("%s: %+v", mx, failure)
			}
			failures = append(failures, failure.Err)
		}
		if delivered != "mx3.example.net" || len(failures) != 4 {
			t.Errorf("delivered at %q after %v", delivered, failures)
		}
		if domain := plan.Failed(failures...); domain.Permanent || domain.Domain != "example.org" {
			t.Errorf("the domain: %v", domain)
		}
		if slices.Contains(w.dialed, "") || len(w.dialed) != 4 {
			t.Errorf("dialed %q", w.dialed)
		}
		if len(w.recorded) != 4 {
			t.Errorf("%d sessions were recorded", len(w.recorded))
		}
		for _, verb := range []string{"MAIL", "RCPT"} {
			if got := verbs(w.said("192.0.2.1")) + verbs(w.said("192.0.2.2")); strings.Contains(got, verb) {
				t.Errorf("hosts that the plan forbids heard %s", got)
			}
		}
	})
}

// The hook for the configuration of TLS cannot weaken a session at any level above
// Opportunistic, and what it may set takes effect (decision "tls.Config hook").
func TestCustomizeTLS(t *testing.T) {
	t.Parallel()
	impostor, err := x509.ParseCertificate(certificates().unknown.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	weaken := func(_ *policy.Host, c *tls.Config) {
		trusting := x509.NewCertPool()
		trusting.AddCert(impostor)
		*c = tls.Config{
			InsecureSkipVerify: true, ServerName: "other.example", RootCAs: trusting, MinVersion: tls.VersionTLS10,
			ClientSessionCache:                  tls.NewLRUClientSessionCache(1),
			VerifyConnection:                    func(tls.ConnectionState) error { return nil },
			VerifyPeerCertificate:               func([][]byte, [][]*x509.Certificate) error { return nil },
			CipherSuites:                        []uint16{tls.TLS_RSA_WITH_RC4_128_SHA},
			EncryptedClientHelloRejectionVerify: func(tls.ConnectionState) error { return nil },
		}
	}
	for _, level := range []policy.Level{policy.Authenticated, policy.Encrypted} {
		synctest.Test(t, func(t *testing.T) {
			var sni []string
			w := oneHost(speaking(&tls.Config{
				Certificates: []tls.Certificate{certificates().unknown}, SessionTicketsDisabled: true,
				GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					sni = append(sni, hello.ServerName)
					if slices.Contains(hello.CipherSuites, tls.TLS_RSA_WITH_RC4_128_SHA) || slices.Contains(hello.SupportedVersions, tls.VersionTLS10) {
						t.Error("the hello is weaker")
					}
					return nil, nil
				},
			}))
			d := w.sessionsDialer(t, at(level, "192.0.2.1"))
			d.CustomizeTLS = weaken
			client, err := d.Dial(t.Context(), "example.org")
			if err == nil {
				client.Close()
			}
			if (err == nil) != (level == policy.Encrypted) || !slices.Equal(sni, []string{"mx.example.net"}) {
				t.Errorf("%v: %v; SNI %q", level, err, sni)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(speaking(&tls.Config{
			Certificates: []tls.Certificate{certificates().good}, ClientAuth: tls.RequireAnyClientCert, CurvePreferences: []tls.CurveID{tls.CurveP384},
			SessionTicketsDisabled: true,
		}))
		d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"))
		d.CustomizeTLS = func(host *policy.Host, c *tls.Config) {
			c.Certificates = []tls.Certificate{certificates().unknown}
			c.CurvePreferences = []tls.CurveID{tls.CurveP384}
			c.MinVersion = tls.VersionTLS13
		}
		client, err := d.Dial(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if state, _ := client.TLS(); state.Version != tls.VersionTLS13 || state.CurveID != tls.CurveP384 {
			t.Errorf("TLS %x with %v", state.Version, state.CurveID)
		}
	})
}

// The local address is the one that connections come from, and one that cannot be used
// is an error.
func TestConnectionsComeFromLocalAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	from := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		from <- netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().String()
		fmt.Fprint(conn, "421 bye\r\n")
	}()
	to := netip.MustParseAddrPort(listener.Addr().String())
	for local, works := range map[string]bool{"127.0.0.7": true, "192.0.2.99": false} {
		r, err := policy.New(policy.Config{DNS: fakedns.Answers{}, NoMTASTS: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		d := &Dialer{Resolver: r, LocalIPv4: netip.MustParseAddr(local)}
		_, err = d.Dial(t.Context(), "example.org", policy.Via(fmt.Sprintf("[127.0.0.1]:%d", to.Port())))
		if err == nil {
			t.Fatal("a session with a server that says 421")
		}
		if works {
			if got := <-from; got != local {
				t.Errorf("connected from %s, want %s: %v", got, local, err)
			}
		} else if len(from) > 0 {
			t.Errorf("connected from %s", <-from)
		}
	}
	w := oneHost(withTLS(certificates().good))
	d := w.sessionsDialer(t, at(policy.Authenticated, "192.0.2.1"))
	d.LocalIPv4 = netip.MustParseAddr("127.0.0.7")
	if _, err := d.Dial(t.Context(), "example.org"); !errors.Is(err, policy.ErrConfig) || len(w.dialed) > 0 {
		t.Errorf("with Config.Dial: %v", err)
	}
}
