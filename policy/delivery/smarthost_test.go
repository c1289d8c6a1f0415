package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// relay is a smart host with TLS by STARTTLS or from the beginning. offers are the
// mechanisms, and replies the answers to AUTH and to the lines after it, in order.
func relay(implicit bool, cert tls.Certificate, offers string, replies ...string) script {
	return func(s *server) {
		if implicit {
			if !s.handshake(cert) {
				return
			}
			s.say(greeting)
		} else {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if !s.handshake(cert) {
				return
			}
		}
		s.answer("250-mx.example.net\r\n250-AUTH " + offers + "\r\n250 HELP\r\n")
		for i, reply := range replies {
			line, ok := s.hear()
			if !ok || i == 0 && !strings.HasPrefix(line, "AUTH ") {
				return
			}
			s.say(reply + "\r\n")
		}
		s.serve(nil)
	}
}

// relayed returns a Dialer whose smart host is mx.example.net at the port, secure and
// with a certificate of the web PKI.
func (w *world) relayed(t *testing.T, port string) *Dialer {
	t.Helper()
	names := fakedns.Answers{}
	names.Deny(dnssec.Secure, "mx.example.net. AAAA", "_"+port+"._tcp.mx.example.net. TLSA")
	names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1")
	d := w.dialer()
	d.Resolver = w.resolver(t, names, policy.Config{})
	d.SmartHost = &SmartHost{Host: "[mx.example.net]:" + port, Username: "user", Password: "secret"}
	return d
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Decision "Login": at 587 and 465, AUTH comes once, after a verified handshake and before
// any mail, by the best mechanism that the server offers inside TLS (AUTH-1 to AUTH-9,
// SUB-1, OAUTH-1 to OAUTH-4, OAUTH-6).
func TestLoginInsideVerifiedTLSOnly(t *testing.T) {
	t.Parallel()
	plain := b64("\x00user\x00secret")
	long := strings.Repeat("x", 400)
	token := func(s *SmartHost) {
		s.Token = func(context.Context) (string, error) { return "tok", nil }
	}
	for _, tt := range []struct {
		name    string
		offers  string
		change  func(*SmartHost)
		replies []string
		heard   []string // from AUTH on
		status  string   // of the failure; empty: none
	}{
		{"PLAIN", "LOGIN PLAIN", nil, []string{"235 2.7.0 ok"}, []string{"AUTH PLAIN " + plain}, ""},
		{"PLAIN in lower case", "login plain", nil, []string{"235 ok"}, []string{"AUTH PLAIN " + plain}, ""},
		{"LOGIN", "CRAM-MD5 LOGIN", nil, []string{"334 " + b64("Username:"), "334 " + b64("Password:"), "235 ok"},
			[]string{"AUTH LOGIN", b64("user"), b64("secret")}, ""},
		{"long password without initial response", "PLAIN", func(s *SmartHost) { s.Password = long }, []string{"334", "235 ok"},
			[]string{"AUTH PLAIN", b64("\x00user\x00" + long)}, ""},
		{"token", "PLAIN XOAUTH2", token, []string{"235 ok"},
			[]string{"AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer tok\x01\x01")}, ""},
		{"OAUTHBEARER comes first", "XOAUTH2 OAUTHBEARER", token, []string{"235 ok"},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=user,\x01host=mx.example.net\x01port=PORT\x01auth=Bearer tok\x01\x01")}, ""},
		{"token refused with an explanation", "XOAUTH2", token,
			[]string{"334 " + b64(`{"status":"400"}`), "535 5.7.8 no"}, []string{"AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer tok\x01\x01"), ""}, "4.7.8"},
		{"token refused by OAUTHBEARER", "OAUTHBEARER", token, []string{"334 " + b64(`{"status":"invalid_token"}`), "535 5.7.8 no"},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=user,\x01host=mx.example.net\x01port=PORT\x01auth=Bearer tok\x01\x01"), b64("\x01")}, "4.7.8"},
		{"two explanations", "OAUTHBEARER", token, []string{"334 " + b64("{}"), "334 " + b64("{}"), "501 ok"},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=user,\x01host=mx.example.net\x01port=PORT\x01auth=Bearer tok\x01\x01"), b64("\x01"), "*"}, "4.7.8"},
		{"OAUTHBEARER separates by commas", "OAUTHBEARER", func(s *SmartHost) { s.Username = "a=b,c"; token(s) }, []string{"235 ok"},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=a=3Db=2Cc,\x01host=mx.example.net\x01port=PORT\x01auth=Bearer tok\x01\x01")}, ""},
		{"a token is no password", "PLAIN LOGIN", token, nil, nil, "4.7.8"},
		{"a password is no token", "OAUTHBEARER XOAUTH2", nil, nil, nil, "4.7.8"},
		{"a password that is too long", "PLAIN", func(s *SmartHost) { s.Password = strings.Repeat("x", 9300) }, nil, nil, "4.7.8"},
		{"a separator in the token", "OAUTHBEARER", func(s *SmartHost) {
			s.Token = func(context.Context) (string, error) { return "tok\x01", nil }
		}, nil, nil, "4.7.8"},
		{"wrong password", "PLAIN", nil, []string{"535 5.7.8 no"}, []string{"AUTH PLAIN " + plain}, "4.7.8"},
		{"later", "PLAIN", nil, []string{"454 4.7.0 later"}, []string{"AUTH PLAIN " + plain}, "4.7.8"},
		{"a success too early", "LOGIN", nil, []string{"235 ok"}, []string{"AUTH LOGIN"}, "4.7.8"},
		{"another class of success", "PLAIN", nil, []string{"250 ok"}, []string{"AUTH PLAIN " + plain}, "4.7.8"},
		{"a challenge too many", "PLAIN", nil, []string{"334 " + b64("more"), "501 ok"}, []string{"AUTH PLAIN " + plain, "*"}, "4.7.8"},
		{"a challenge that is not base64", "LOGIN", nil, []string{"334 Username:", "501 ok"}, []string{"AUTH LOGIN", "*"}, "4.7.8"},
		{"a challenge of two lines", "LOGIN", nil, []string{"334-" + b64("a") + "\r\n334 " + b64("b"), "501 ok"}, []string{"AUTH LOGIN", "*"}, "4.7.8"},
		{"a long challenge", "LOGIN", nil, []string{"334 " + strings.Repeat("A", 8<<10), "501 ok"}, []string{"AUTH LOGIN", "*"}, "4.7.8"},
		{"no mechanism", "CRAM-MD5 GSSAPI", nil, nil, nil, "4.7.8"},
		{"no AUTH inside TLS", "", nil, nil, nil, "4.7.8"},
		{"a NUL in the password", "PLAIN", func(s *SmartHost) { s.Password = "a\x00b" }, nil, nil, "4.7.8"},
		{"an empty token", "XOAUTH2", func(s *SmartHost) { s.Token = func(context.Context) (string, error) { return "", nil } }, nil, nil, "4.7.8"},
		{"no token", "XOAUTH2", func(s *SmartHost) {
			s.Token = func(context.Context) (string, error) { return "", errors.New("the token has expired") }
		}, nil, nil, "4.7.8"},
	} {
		for port, implicit := range map[string]bool{"465": true, "587": false} {
			t.Run(tt.name+" "+port, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := oneHost(relay(implicit, certificates().good, tt.offers, tt.replies...))
					d := w.relayed(t, port)
					if tt.change != nil {
						tt.change(d.SmartHost)
					}
					_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
					status := ""
					var failure *policy.Error
					if errors.As(err, &failure) {
						status = failure.Status
						if failure.Permanent || strings.Contains(err.Error(), "secret") {
							t.Error(err)
						}
					}
					if status != tt.status {
						t.Errorf("%v; want status %q", err, tt.status)
					}
					heard := w.said("192.0.2.1")
					heard = heard[min(len(heard), slices.IndexFunc(heard, func(s string) bool { return s == "TLS" })+2):]
					want := slices.Clone(tt.heard) // nil stays nil
					for i := range want {
						want[i] = rewritten(want[i], port)
					}
					if len(heard) < len(want) || !slices.Equal(heard[:len(want)], want) {
						t.Errorf("heard %q, want %q", heard, want)
					}
					if sent := strings.Count(strings.Join(w.said("192.0.2.1"), "\n"), "AUTH "); sent != min(1, len(want)) {
						t.Errorf("AUTH was sent %d times: %q", sent, heard)
					}
					if got := verbs(heard); (got == "MAIL RCPT DATA . QUIT") != (tt.status == "") || strings.Contains(got, "MAIL") != (tt.status == "") {
						t.Errorf("heard %s", got)
					}
				})
			})
		}
	}
}

// rewritten sets the port of an OAUTHBEARER response.
func rewritten(line, port string) string {
	name, response, ok := strings.Cut(strings.TrimPrefix(line, "AUTH "), " ")
	text, err := base64.StdEncoding.DecodeString(response)
	if !ok || err != nil || name != "OAUTHBEARER" {
		return line
	}
	return "AUTH OAUTHBEARER " + b64(strings.ReplaceAll(string(text), "PORT", port))
}

// Credentials reach only the host that the operator named, after its verification: neither
// an impostor nor a server without TLS, even with options that ask for less. No token is
// fetched for these (AUTH-10, SUB-2 to SUB-5, OAUTH-5).
func TestCredentialsStayWithTheSmartHost(t *testing.T) {
	t.Parallel()
	inClear := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n")
		s.serve(map[string]string{"AUTH": "235 ok\r\n"})
	}
	old := func(s *server) bool {
		conn := tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{certificates().good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if conn.Handshake() != nil {
			return false
		}
		s.note("TLS")
		s.conn, s.lines = conn, bufio.NewReader(conn)
		return true
	}
	const offers = "PLAIN XOAUTH2"
	for name, tt := range map[string]struct {
		port string
		play script
	}{
		"impostor":            {"587", relay(false, certificates().unknown, offers, "235 ok")},
		"impostor at 465":     {"465", relay(true, certificates().unknown, offers, "235 ok")},
		"another name":        {"587", relay(false, certificates().other, offers, "235 ok")},
		"another name at 465": {"465", relay(true, certificates().other, offers, "235 ok")},
		"no TLS":              {"587", inClear},
		"no TLS at 465":       {"465", inClear},
		"TLS refused": {"587", func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n")
			s.answer("454 not now\r\n")
			s.serve(map[string]string{"AUTH": "235 ok\r\n"})
		}},
		"TLS 1.1": {"587", func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if old(s) {
				s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 AUTH PLAIN XOAUTH2\r\n", "AUTH": "235 ok\r\n"})
			}
		}},
		"TLS 1.1 at 465": {"465", func(s *server) {
			if old(s) {
				s.say(greeting)
				s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 AUTH PLAIN XOAUTH2\r\n", "AUTH": "235 ok\r\n"})
			}
		}},
	} {
		for _, options := range [][]policy.Option{nil, {policy.TLSOptional()}, {policy.AtLeast(policy.Opportunistic)}} {
			for _, token := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := oneHost(tt.play)
						d := w.relayed(t, tt.port)
						fetched := 0
						if token {
							d.SmartHost.Token = func(context.Context) (string, error) { fetched++; return "tok", nil }
						}
						_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"), options...)
						var failure *policy.Error
						if !errors.As(err, &failure) || failure.Permanent || fetched > 0 {
							t.Errorf("%v; %d tokens were fetched", err, fetched)
						}
						for _, line := range w.said("192.0.2.1") {
							if strings.HasPrefix(line, "AUTH") || strings.HasPrefix(line, "MAIL") {
								t.Errorf("heard %s", line)
							}
						}
					})
				})
			}
		}
	}
	// A plan for a login does not go on without one.
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(relay(false, certificates().good, "PLAIN"))
		d := w.relayed(t, "587")
		d.SmartHost = nil
		_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"), policy.Via("[mx.example.net]:587"), policy.Login())
		if err == nil || strings.Contains(verbs(w.said("192.0.2.1")), "MAIL") {
			t.Errorf("without credentials: %v", err)
		}
	})
	for name, change := range map[string]func(*SmartHost){
		"not in brackets": func(s *SmartHost) { s.Host = "example.net:587" },
		"no username":     func(s *SmartHost) { s.Username = "" },
		"no password":     func(s *SmartHost) { s.Password = "" },
		"no host":         func(s *SmartHost) { s.Host = "" },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(relay(false, certificates().good, "PLAIN", "235 ok"))
			d := w.relayed(t, "587")
			change(d.SmartHost)
			if _, err := d.Send(t.Context(), mailOf(letter, "x@example.org")); err == nil || len(w.dialed) > 0 {
				t.Errorf("%s: %v, dialed %q", name, err, w.dialed)
			}
		})
	}
}

// After the smart host has refused the credentials, its other addresses are not tried,
// because accounts are locked after a few failures. After a temporary failure they are
// (AUTH-11).
func TestWrongCredentialsAreSentOnce(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]int{"535 5.7.8 no": 1, "454 4.7.0 later": 2} {
		synctest.Test(t, func(t *testing.T) {
			play := relay(false, certificates().good, "PLAIN", reply)
			w := newWorld(map[string][]script{"192.0.2.1": {play}, "192.0.2.2": {play}})
			names := fakedns.Answers{}
			names.Deny(dnssec.Secure, "mx.example.net. AAAA", "_587._tcp.mx.example.net. TLSA")
			names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1", "mx.example.net. A 192.0.2.2")
			d := w.dialer()
			d.Resolver = w.resolver(t, names, policy.Config{})
			d.SmartHost = &SmartHost{Host: "[mx.example.net]:587", Username: "user", Password: "secret"}
			if _, err := d.Send(t.Context(), mailOf(letter, "x@example.org")); err == nil || len(w.dialed) != want {
				t.Errorf("%s: %v after %q", reply, err, w.dialed)
			}
		})
	}
}

// A server that repeats the credentials does not get them into an error (AUTH-12).
func TestCredentialsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"secret", b64("secret"), b64("\x00user\x00secret")} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(relay(false, certificates().good, "PLAIN", "535 5.7.8 no such "+text))
			_, err := w.relayed(t, "587").Send(t.Context(), mailOf(letter, "x@example.org"))
			if err == nil || strings.Contains(err.Error(), text) {
				t.Error(err)
			}
		})
	}
}

// At port 465 there is TLS or nothing, also without credentials and where no policy asks for
// it: a server that begins in cleartext, or fails the handshake, gets no mail (SUB-5).
func TestImplicitTLSHasNoWayBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		play script
		sent bool
	}{
		"cleartext": {inClearOnly, false},
		"STARTTLS":  {withTLS(certificates().good), false},
		"hangs up":  {func(*server) {}, false},
		"an alert": {func(s *server) {
			s.say("\x15\x03\x01\x00\x02\x02\x28") // handshake_failure
		}, false},
		"TLS, and not verified": {relay(true, certificates().unknown, ""), true},
		"refuses inside TLS": {func(s *server) {
			if s.handshake(certificates().good) {
				s.say("554 5.3.2 no mail here\r\n")
				s.serve(nil)
			}
		}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(map[string][]script{"192.0.2.1": {tt.play, tt.play, inClearOnly, inClearOnly}})
			d := w.relayed(t, "465")
			d.SmartHost = &SmartHost{Host: "[mx.example.net]:465"}
			result, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
			if (err == nil) != tt.sent || tt.sent && result.Delivered[0].TLS == nil || len(w.dialed) != 1 {
				t.Errorf("%s: %v after %q", name, err, w.dialed)
			}
			if said := verbs(w.said("192.0.2.1")); !tt.sent && (strings.Contains(said, "MAIL") || strings.Contains(said, "EHLO")) {
				t.Errorf("%s: heard %s", name, said)
			}
		})
	}
}

// A server at port 465 that refuses inside TLS gets no mail, and nothing that it says is
// permanent. Reports count the session, which was verified, and an alert as its failure.
func TestRefusalInsideImplicitTLS(t *testing.T) {
	t.Parallel()
	refusing := func(greeting, ehlo string) script {
		return func(s *server) {
			if s.handshake(certificates().good) {
				s.say(greeting)
				s.serve(map[string]string{"EHLO": ehlo})
			}
		}
	}
	alerting := func(s *server) {
		conn := &spoiled{Conn: s.conn}
		s.conn = conn
		if s.handshake(certificates().good) {
			s.say(greeting)
			conn.spoils = true
			s.hear()
		}
	}
	// In TLS 1.3, the server's verdict on the client comes after the handshake.
	demanding := func(s *server) {
		async := newAsyncConn(s.conn)
		defer close(async.queue)
		tls.Server(async, &tls.Config{Certificates: []tls.Certificate{certificates().good}, ClientAuth: tls.RequireAnyClientCert}).Handshake()
		io.Copy(io.Discard, s.conn)
	}
	for name, tt := range map[string]struct {
		play     script
		said     string
		failures int // that a report has
	}{
		"the greeting":     {refusing("554 5.3.2 no mail here\r\n", ""), "TLS QUIT", 0},
		"EHLO":             {refusing(greeting, "550 5.7.1 no mail here\r\n"), "TLS EHLO QUIT", 0},
		"EHLO, for now":    {refusing(greeting, "450 4.7.1 not now\r\n"), "TLS EHLO QUIT", 0},
		"EHLO by the end":  {refusing(greeting, "421 busy\r\n"), "TLS EHLO", 0},
		"EHLO by an alert": {alerting, "TLS", 1},
		"no certificate":   {demanding, "", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(tt.play)
			d := w.relayed(t, "465")
			d.SmartHost = &SmartHost{Host: "[mx.example.net]:465"}
			_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
			var failure *policy.Error
			if !errors.As(err, &failure) || failure.Permanent || !strings.HasPrefix(failure.Status, "4") {
				t.Errorf("%s: %v", name, err)
			}
			if said := verbs(w.said("192.0.2.1")); said != tt.said {
				t.Errorf("%s: heard %s, want %s", name, said, tt.said)
			}
			if len(w.recorded) != 1 || len(w.recorded[0].Outcomes) != 1 || len(w.recorded[0].Outcomes[0].Failures) != tt.failures {
				t.Errorf("%s: recorded %+v", name, w.recorded)
			}
		})
	}
}

// spoiled is a connection whose octets arrive changed from some time on.
type spoiled struct {
	net.Conn
	spoils bool
}

func (c *spoiled) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.spoils && n > 0 {
		p[n-1] ^= 1
	}
	return n, err
}

// RequireTLS through a smart host with a login: MAIL has REQUIRETLS only if the relay offers
// it inside TLS, and the credentials are as safe as without. A relay that lacks it, or is
// not authenticated, fails for good (RFC 8689 section 4.2.1); wrong credentials do not.
func TestLoginUnderRequireTLS(t *testing.T) {
	t.Parallel()
	early := func(s *server) { // REQUIRETLS before TLS only
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250-REQUIRETLS\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		if s.handshake(certificates().good) {
			s.answer("250-mx.example.net\r\n250 AUTH PLAIN\r\n")
			s.serve(map[string]string{"AUTH": "235 ok\r\n"})
		}
	}
	offers := "PLAIN\r\n250-REQUIRETLS"
	for name, tt := range map[string]struct {
		port    string
		play    script
		options []policy.Option
		status  string
		mail    string // the parameter
		login   bool
	}{
		"offered":             {"587", relay(false, certificates().good, offers, "235 ok"), nil, "", "REQUIRETLS", true},
		"offered at 465":      {"465", relay(true, certificates().good, offers, "235 ok"), nil, "", "REQUIRETLS", true},
		"with TLSOptional":    {"587", relay(false, certificates().good, offers, "235 ok"), []policy.Option{policy.TLSOptional()}, "", "REQUIRETLS", true},
		"not offered":         {"587", relay(false, certificates().good, "PLAIN", "235 ok"), nil, "5.7.30", "", false},
		"offered before TLS":  {"587", early, nil, "5.7.30", "", false},
		"a bounce":            {"587", relay(false, certificates().good, "PLAIN", "235 ok"), []policy.Option{policy.Bounce()}, "", "", true},
		"wrong credentials":   {"587", relay(false, certificates().good, offers, "535 5.7.8 no"), nil, "4.7.8", "", true},
		"impostor":            {"587", relay(false, certificates().unknown, offers, "235 ok"), nil, "5.7.10", "", false},
		"impostor at 465":     {"465", relay(true, certificates().unknown, offers, "235 ok"), nil, "5.7.10", "", false},
		"impostor, optional":  {"587", relay(false, certificates().unknown, offers, "235 ok"), []policy.Option{policy.TLSOptional()}, "5.7.10", "", false},
		"impostor and bounce": {"587", relay(false, certificates().unknown, offers, "235 ok"), []policy.Option{policy.Bounce()}, "4.7.5", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(tt.play)
				d := w.relayed(t, tt.port)
				_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"), append(tt.options, policy.RequireTLS())...)
				status := ""
				var failure *policy.Error
				if errors.As(err, &failure) {
					status = failure.Status
				}
				if status != tt.status || err != nil && failure.Permanent != strings.HasPrefix(tt.status, "5") {
					t.Errorf("status %q, want %q: %v", status, tt.status, err)
				}
				said := strings.Join(w.said("192.0.2.1"), "\n")
				if strings.Contains(said, "AUTH ") != tt.login {
					t.Errorf("heard %q", said)
				}
				if strings.Contains(said, "MAIL") != (tt.status == "") || strings.Contains(said, "REQUIRETLS") != (tt.mail != "") {
					t.Errorf("heard %q", said)
				}
			})
		})
	}
}

// The smart host is the only next hop: neither a call nor an override sends the mail, or
// the credentials, elsewhere. Such mail waits.
func TestSmartHostIsTheOnlyNextHop(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options  []policy.Option
		override policy.Override
		sent     bool
	}{
		"nothing else":        {nil, policy.Override{}, true},
		"Via of the same":     {[]policy.Option{policy.Via("[MX.example.net.]:587")}, policy.Override{}, true},
		"Via of another":      {[]policy.Option{policy.Via("[mx.evil.example]:587")}, policy.Override{}, false},
		"Via of a port":       {[]policy.Option{policy.Via("[mx.example.net]:25")}, policy.Override{}, false},
		"Via of its domain":   {[]policy.Option{policy.Via("mx.example.net:587")}, policy.Override{}, false},
		"NextHop of another":  {nil, policy.Override{NextHop: "[mx.evil.example]:587"}, false},
		"NextHop of it":       {nil, policy.Override{NextHop: "[mx.example.net]:587"}, true},
		"Pin":                 {nil, policy.Override{Pin: pinOf(certificates().unknown)}, false},
		"a pin that it has":   {nil, policy.Override{NextHop: "[mx.example.net]:587", Pin: pinOf(certificates().good)}, true},
		"a pin that it lacks": {nil, policy.Override{NextHop: "[mx.example.net]:587", Pin: pinOf(certificates().unknown)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(relay(false, certificates().good, "PLAIN", "235 ok"))
				d := w.relayed(t, "587")
				names := fakedns.Answers{}
				names.Deny(dnssec.Secure, "mx.example.net. AAAA", "_587._tcp.mx.example.net. TLSA")
				names.Add(t, dnssec.Secure, "mx.example.net. A 192.0.2.1")
				d.Resolver = w.resolver(t, names, policy.Config{Overrides: map[string]policy.Override{"example.org": tt.override}})
				_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"), tt.options...)
				var failure *policy.Error
				if (err == nil) != tt.sent || err != nil && (!errors.As(err, &failure) || failure.Permanent) {
					t.Errorf("%v", err)
				}
				said := strings.Join(w.said("192.0.2.1"), "\n")
				if strings.Contains(said, "AUTH ") != tt.sent {
					t.Errorf("heard %q", said)
				}
			})
		})
	}
}

// A smart host that is not configured completely gets nothing, and the error names the field.
func TestIncompleteSmartHostIsAnError(t *testing.T) {
	t.Parallel()
	for want, smartHost := range map[string]SmartHost{
		"no Host":                         {Username: "u", Password: "p"},
		"no Username":                     {Host: "[192.0.2.1]", Password: "p"},
		"neither Password nor Token":      {Host: "[192.0.2.1]", Username: "u"},
		"has no Host; set it to the name": {},
	} {
		w := newWorld(nil)
		d := w.serving(t, policy.Config{})
		d.SmartHost = &smartHost
		_, err := d.Send(t.Context(), mailOf(letter, "x@a.example"))
		if got := failures(t, err); err == nil || !strings.Contains(err.Error(), want) || len(got) != 1 || !strings.Contains(got[0], " 451 4.3.5") || len(w.dialed) > 0 {
			t.Errorf("%s: %v, %q; dialed %q", want, err, got, w.dialed)
		}
	}
}

func pinOf(cert tls.Certificate) []dane.Record {
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		panic(err)
	}
	record, err := dane.NewRecord(leaf, dane.DANEEE, dane.SPKI, dane.SHA256)
	if err != nil {
		panic(err)
	}
	return []dane.Record{record}
}
