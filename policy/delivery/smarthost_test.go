package delivery

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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
		s.answer("250-mx.example.net\r\n250 AUTH " + offers + "\r\n")
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

// Decision "Login": at 587 and 465, AUTH comes after a verified handshake and before any
// mail, by the best mechanism that the server offers inside TLS (RFC 4954, RFC 8314).
func TestLogin(t *testing.T) {
	t.Parallel()
	plain := b64("\x00user\x00secret")
	long := strings.Repeat("x", 400)
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
		{"token", "PLAIN XOAUTH2", func(s *SmartHost) { s.Token = func(context.Context) (string, error) { return "tok", nil } }, []string{"235 ok"},
			[]string{"AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer tok\x01\x01")}, ""},
		{"OAUTHBEARER comes first", "XOAUTH2 OAUTHBEARER", func(s *SmartHost) { s.Token = func(context.Context) (string, error) { return "tok", nil } }, []string{"235 ok"},
			[]string{"AUTH OAUTHBEARER " + b64("n,a=user,\x01host=mx.example.net\x01port=PORT\x01auth=Bearer tok\x01\x01")}, ""},
		{"token refused with an explanation", "XOAUTH2", func(s *SmartHost) { s.Token = func(context.Context) (string, error) { return "tok", nil } },
			[]string{"334 " + b64(`{"status":"400"}`), "535 5.7.8 no"}, []string{"AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer tok\x01\x01"), ""}, "4.7.8"},
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
					if sent := slices.ContainsFunc(heard, func(s string) bool { return strings.HasPrefix(s, "AUTH") }); sent != (want != nil) {
						t.Errorf("heard %q", heard)
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

// Credentials reach nobody but the host that the operator named, verified: neither an
// impostor nor a server without TLS, and not by options that ask for less.
func TestCredentialsStayWithTheSmartHost(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]script{
		"impostor": relay(false, certificates().unknown, "PLAIN", "235 ok"),
		"no TLS": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 AUTH PLAIN LOGIN\r\n")
			s.serve(map[string]string{"AUTH": "235 ok\r\n"})
		},
		"TLS refused": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n")
			s.answer("454 not now\r\n")
			s.serve(map[string]string{"AUTH": "235 ok\r\n"})
		},
	} {
		for _, options := range [][]policy.Option{nil, {policy.TLSOptional()}, {policy.AtLeast(policy.Opportunistic)}} {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(play)
				_, err := w.relayed(t, "587").Send(t.Context(), mailOf(letter, "x@example.org"), options...)
				if err == nil {
					t.Errorf("%s: sent", name)
				}
				for _, line := range w.said("192.0.2.1") {
					if strings.HasPrefix(line, "AUTH") || strings.HasPrefix(line, "MAIL") {
						t.Errorf("%s heard %s", name, line)
					}
				}
			})
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
			if _, err := d.Send(t.Context(), mailOf(letter, "x@example.org")); err == nil || len(w.dialled) > 0 {
				t.Errorf("%s: %v, dialled %q", name, err, w.dialled)
			}
		})
	}
}

// After a verdict on the credentials, the other addresses of the smart host are not
// asked: accounts are locked after a few of them. A server that has no time is another
// matter.
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
			if _, err := d.Send(t.Context(), mailOf(letter, "x@example.org")); err == nil || len(w.dialled) != want {
				t.Errorf("%s: %v after %q", reply, err, w.dialled)
			}
		})
	}
}

// A server that repeats the credentials does not get them into an error.
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
