package policytest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// connect returns a client that has read the greeting of the host.
func connect(t *testing.T, inet *policytest.Internet, host string) *smtp.Client {
	t.Helper()
	c, err := dial(t, inet, host)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t *testing.T, inet *policytest.Internet, host string) (*smtp.Client, error) {
	t.Helper()
	conn, err := inet.Dial(t.Context(), "tcp", host+":25")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return smtp.NewClient(conn, host)
}

func startTLS(t *testing.T, inet *policytest.Internet, c *smtp.Client, host string) error {
	t.Helper()
	return c.StartTLS(&tls.Config{RootCAs: inet.RootCAs(), ServerName: host, MinVersion: tls.VersionTLS12})
}

func TestHostReceivesMail(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org", policytest.OfferREQUIRETLS)
	c := connect(t, inet, "mx.example.org")
	if ok, _ := c.Extension("REQUIRETLS"); ok {
		t.Error("REQUIRETLS offered in cleartext")
	}
	if err := startTLS(t, inet, c, "mx.example.org"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("REQUIRETLS"); !ok {
		t.Error("REQUIRETLS not offered")
	}
	if err := c.Mail("a@example.com"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"b@example.org", "c@example.org"} {
		if err := c.Rcpt(to); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("Subject: hi\r\n\r\n.dot\r\n..\r\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	messages := mx.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages, want 1", len(messages))
	}
	m := messages[0]
	if m.From != "a@example.com" || strings.Join(m.To, " ") != "b@example.org c@example.org" {
		t.Errorf("envelope %q %q", m.From, m.To)
	}
	if got, want := strings.Join(m.Params, " "), "BODY=8BITMIME SMTPUTF8"; got != want {
		t.Errorf("MAIL parameters %q, want %q", got, want)
	}
	if got, want := string(m.Data), "Subject: hi\r\n\r\n.dot\r\n..\r\n"; got != want {
		t.Errorf("data %q, want %q", got, want)
	}
	if m.Session.TLS == nil || m.Session.TLS.ServerName != "mx.example.org" || m.Session.Helo != "localhost" {
		t.Errorf("session %+v", m.Session)
	}
}

func TestHostHasFaultOfEachStep(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	const name = "mx.example.org"
	mx := inet.Host(name)
	tests := []struct {
		name   string
		fault  policytest.Option
		dial   string // the expected error of connecting and reading the greeting
		hello  string
		secure string // the expected error of STARTTLS
	}{
		{name: "none"},
		{name: "refuse", fault: policytest.Refuse, dial: "connection refused"},
		{name: "greeting", fault: policytest.Reply(policytest.Greeting, "554 5.3.2 no"), dial: "554"},
		{name: "garbage", fault: policytest.Reply(policytest.Greeting, "HTTP/1.1 400 what"), dial: "short response"},
		{name: "hang up", fault: policytest.HangUp(policytest.Greeting), dial: "EOF"},
		{name: "hang up at EHLO", fault: policytest.HangUp("EHLO"), hello: "EOF"},
		{name: "no STARTTLS", fault: policytest.NoSTARTTLS, secure: "502"},
		{name: "454", fault: policytest.Reply("STARTTLS", "454 4.7.0 not now"), secure: "454"},
		{name: "hang up at TLS", fault: policytest.HangUp(policytest.Handshake), secure: "EOF"},
		{name: "wrong name", fault: policytest.WrongName("other.example"), secure: "certificate is valid for other.example"},
		{name: "expired", fault: policytest.Expired, secure: "expired"},
		{name: "self-signed", fault: policytest.SelfSigned, secure: "unknown authority"},
		{name: "impostor", fault: policytest.Impostor, secure: "unknown authority"},
		{name: "untrusted", fault: policytest.UntrustedCA, secure: "unknown authority"},
		{name: "TLS 1.1", fault: policytest.MaxTLS(tls.VersionTLS11), secure: "protocol version"},
	}
	check := func(t *testing.T, step string, err error, want string) (ended bool) {
		t.Helper()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%s: %v, want %q", step, err, want)
		}
		return err != nil
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.fault != nil {
				defer mx.Break(test.fault)()
			}
			c, err := dial(t, inet, name)
			if check(t, "dial", err, test.dial) {
				return
			}
			if check(t, "hello", c.Hello("client.example"), test.hello) {
				return
			}
			if ok, _ := c.Extension("STARTTLS"); ok != (test.name != "no STARTTLS") {
				t.Errorf("STARTTLS offered: %t", ok)
			}
			check(t, "STARTTLS", startTLS(t, inet, c, name), test.secure)
		})
	}
}

func TestHostHangsUntilClosed(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	for _, fault := range []policytest.Option{
		policytest.Stall(policytest.Greeting), policytest.Endless(policytest.Greeting),
	} {
		restore := mx.Break(fault)
		ctx, cancel := context.WithCancel(t.Context())
		conn, err := inet.Dial(ctx, "tcp", "mx.example.org:25")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for err == nil {
			_, err = conn.Read(make([]byte, 1<<16))
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v, want a timeout", err)
		}
		conn.Close()
		restore()
	}
	defer mx.Break(policytest.Blackhole)()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var timeout net.Error
	if _, err := inet.Dial(ctx, "tcp", "mx.example.org:25"); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial: %v, want a timeout", err)
	}
}

// S22: the octets arrive with the reply.
func TestInjectAfterSTARTTLS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Host("mx.example.org", policytest.InjectAfterSTARTTLS("250 evil\r\n"))
	conn, err := inet.Dial(t.Context(), "tcp", "mx.example.org:25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Read(make([]byte, 1000))
	io.WriteString(conn, "STARTTLS\r\n")
	segment := make([]byte, 1000)
	n, err := conn.Read(segment)
	if want := "220 2.0.0 go ahead\r\n250 evil\r\n"; string(segment[:n]) != want || err != nil {
		t.Errorf("reply to STARTTLS in one segment: %q %v, want %q", segment[:n], err, want)
	}
}

func TestDialByAddressAndName(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Host("mx.example.org", policytest.Addrs("192.0.2.77", "2001:db8::77"))
	for _, addr := range []string{"192.0.2.77:25", "[2001:db8::77]:25", "mx.example.org:smtp"} {
		c, err := inet.Dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		remote := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		if !inet.Contains(remote.Addr()) || remote.Port() != 25 {
			t.Errorf("%s: remote address %s", addr, remote)
		}
		if local := c.LocalAddr().(*net.TCPAddr).AddrPort(); !inet.Contains(local.Addr()) {
			t.Errorf("%s: local address %s", addr, local)
		}
		c.Close()
	}
	for _, addr := range []string{"192.0.2.77:443", "192.0.2.78:25", inet.DNSAddr(), "127.0.0.1:25"} {
		if _, err := inet.Dial(t.Context(), "tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want it refused", addr, err)
		}
	}
	var notFound *net.DNSError
	if _, err := inet.Dial(t.Context(), "tcp", "nowhere.example:25"); !errors.As(err, &notFound) {
		t.Errorf("nowhere.example: %v, want no such host", err)
	}
}

// Hosts resume TLS sessions, so that tests can check what senders verify on
// resumption (field note 28).
func TestHostResumesSessions(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	config := &tls.Config{RootCAs: inet.RootCAs(), ServerName: "mx.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		c := connect(t, inet, "mx.example.org")
		if err := c.StartTLS(config); err != nil {
			t.Fatal(err)
		}
		c.Quit()
	}
	sessions := mx.Sessions()
	if len(sessions) != 2 || sessions[0].TLS.DidResume || !sessions[1].TLS.DidResume {
		t.Errorf("the second session did not resume the first")
	}
}

func TestCertificatesAreTrusted(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	chain := mx.Certificates()
	intermediates := x509.NewCertPool()
	intermediates.AddCert(chain[1])
	verify := x509.VerifyOptions{Roots: inet.RootCAs(), Intermediates: intermediates, DNSName: "mx.example.org", CurrentTime: inet.Now()}
	if _, err := chain[0].Verify(verify); err != nil {
		t.Error(err)
	}
	defer mx.Break(policytest.OtherKey)()
	if mx.Certificates()[0].Equal(chain[0]) {
		t.Error("OtherKey did not change the certificate")
	}
}

// At port 465, TLS begins at once. Faults of the handshake and a script for AUTH apply
// there too.
func TestPort465BeginsWithTLS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("smart.example")
	relay := inet.Host("relay.smart.example", policytest.Port(465), policytest.TLSA("3 1 1"),
		policytest.Extension("AUTH PLAIN"), policytest.On("AUTH", policytest.Say("235 2.7.0 welcome")))
	dialer := &delivery.Dialer{Resolver: inet.Resolver(), SmartHost: &delivery.SmartHost{
		Host: "[relay.smart.example]:465", Username: "me", Password: "secret",
	}}
	send := func() error {
		return dialer.SendMail(t.Context(), "me@example.net", []string{"you@example.org"}, []byte("Subject: x\r\n\r\nx\r\n"))
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	got := relay.Messages()
	if len(got) != 1 || got[0].Session.TLS == nil || !slices.Equal(verbs(got[0].Session.Commands)[:2], []string{"EHLO", "AUTH"}) {
		t.Errorf("received %+v", got)
	}
	for _, fault := range []policytest.Option{policytest.Impostor, policytest.HangUp(policytest.Handshake), policytest.Reply("AUTH", "535 5.7.8 no")} {
		restore := relay.Break(fault)
		if send() == nil || len(relay.Messages()) != 1 {
			t.Error("the fault has no effect")
		}
		restore()
	}
}

func verbs(commands []string) (verbs []string) {
	for _, command := range commands {
		verb, _, _ := strings.Cut(command, " ")
		verbs = append(verbs, verb)
	}
	return verbs
}
