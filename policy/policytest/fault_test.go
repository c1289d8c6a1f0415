package policytest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/policy/policytest"
)

// soon is how long a client waits for a host that says nothing.
const soon = 100 * time.Millisecond

// sender is a naive sender: it uses net/smtp as its documentation shows.
type sender struct {
	inet *policytest.Internet
	tls  *tls.Config // a template, or nil
	to   []string
	// hasty is the step at which the sender gives up soon, or "".
	hasty string
}

// send sends a message to the host, encrypted if STARTTLS is offered.
func (s *sender) send(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.patience("dial"))
	defer cancel()
	conn, err := s.inet.Dial(ctx, "tcp", "mx.example.org:25")
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	var c *smtp.Client
	steps := []step{
		{"greeting", func() error { c, err = smtp.NewClient(conn, "mx.example.org"); return err }},
		{"EHLO", func() error { return c.Hello("client") }},
		{"STARTTLS", func() error { return s.startTLS(c) }},
		{"MAIL", func() error { return c.Mail("a@example.com") }},
	}
	for _, to := range s.to {
		steps = append(steps, step{"RCPT", func() error { return c.Rcpt(to) }})
	}
	var w io.WriteCloser
	steps = append(steps,
		step{"DATA", func() error { w, err = c.Data(); return err }},
		step{"end of data", func() error { io.WriteString(w, "Subject: hi\r\n\r\nhello\r\n"); return w.Close() }},
		step{"QUIT", func() error { return c.Quit() }})
	for _, step := range steps {
		conn.SetReadDeadline(time.Now().Add(s.patience(step.name))) // what the step sends is sent in any case
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

type step struct {
	name string
	do   func() error
}

func (s *sender) patience(step string) time.Duration {
	if step == s.hasty {
		return soon
	}
	return 5 * time.Minute // of a machine that is busy
}

func (s *sender) startTLS(c *smtp.Client) error {
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return nil
	}
	config := new(tls.Config)
	if s.tls != nil {
		config = s.tls.Clone()
	}
	config.RootCAs, config.ServerName = s.inet.RootCAs(), "mx.example.org"
	return c.StartTLS(config)
}

// Each fault of a mail host has the effect on a naive sender that its documentation
// says: an error, or a message that should not have been sent like this. The IDs
// are those of the findings that the faults come from.
func TestFaultsBreakNaiveSenders(t *testing.T) {
	t.Parallel()
	const (
		inClear  = "in cleartext"
		inTLS    = "in TLS"
		nothing  = ""
		rsaSuite = tls.TLS_RSA_WITH_AES_128_GCM_SHA256
	)
	one := []string{"b@example.org"}
	for _, test := range []struct {
		name    string
		options []policytest.Option
		tls     *tls.Config
		hasty   bool // the sender gives up soon at the step in err
		to      []string
		err     string // a part of the error; empty: none
		got     string // inClear or inTLS: how the host got the message; nothing: it did not
	}{
		{name: "no fault", got: inTLS},
		{name: "S1 a bare 220", options: []policytest.Option{policytest.BareReplies}, err: "greeting: short response"},
		{name: "S1 a bare 354", options: []policytest.Option{policytest.Reply("DATA", "354")}, err: "DATA: short response"},
		{name: "S2", options: []policytest.Option{policytest.Reply("EHLO", "450 4.3.2 not now")}, got: inClear},
		{name: "S3", options: []policytest.Option{policytest.MixedCase}, got: inClear},
		{name: "S7 MAIL", options: []policytest.Option{policytest.Reply("MAIL", "451 4.3.0 later")}, err: "MAIL: 451"},
		{name: "S7 RCPT", options: []policytest.Option{policytest.Reply("RCPT", "450 4.2.1 later")}, err: "RCPT: 450"},
		{name: "S7 DATA", options: []policytest.Option{policytest.Reply("DATA", "421 4.3.2 later")}, err: "DATA: 421"},
		{name: "S7 end of data", options: []policytest.Option{policytest.Reply(policytest.EndOfData, "452 4.3.1 full")}, err: "end of data: 452"},
		{name: "S8", options: []policytest.Option{policytest.MustSTARTTLS, policytest.NoSTARTTLS}, err: "MAIL: 530"},
		{name: "S8 with TLS", options: []policytest.Option{policytest.MustSTARTTLS}, got: inTLS},
		{name: "S9", options: []policytest.Option{policytest.MaxRecipients(1, "552 too many")}, to: []string{"b@example.org", "c@example.org"}, err: "RCPT: 552"},
		{name: "S9 at the limit", options: []policytest.Option{policytest.MaxRecipients(2, "552 too many")}, to: []string{"b@example.org", "c@example.org"}, got: inTLS},
		{name: "S10 in IPv4", options: []policytest.Option{policytest.Addrs("127.0.0.1")}, got: inTLS},
		{name: "S10 in IPv6", options: []policytest.Option{policytest.Addrs("::1")}, got: inTLS},
		{name: "S13", options: []policytest.Option{policytest.Addrs("192.0.2.81", "192.0.2.82"), policytest.BlackholeAt("192.0.2.81")}, hasty: true, err: "dial: "},
		{name: "S13 another address", options: []policytest.Option{policytest.Addrs("192.0.2.81"), policytest.BlackholeAt("192.0.2.82")}, got: inTLS},
		{name: "S14", options: []policytest.Option{policytest.Delay(policytest.EndOfData, time.Hour)}, hasty: true, err: "end of data: ", got: inTLS},
		{name: "S15 RSA key exchange", options: []policytest.Option{policytest.OnlyRSAKeyExchange}, err: "STARTTLS: remote error: tls: handshake failure"},
		{name: "S15 RSA key exchange with a client that has it", options: []policytest.Option{policytest.OnlyRSAKeyExchange}, tls: &tls.Config{CipherSuites: []uint16{rsaSuite}}, got: inTLS},
		{name: "S15 3DES", options: []policytest.Option{policytest.Only3DES}, tls: &tls.Config{CipherSuites: []uint16{rsaSuite}}, err: "STARTTLS: remote error: tls: handshake failure"},
		{name: "S15 3DES with a client that has it", options: []policytest.Option{policytest.Only3DES}, tls: &tls.Config{CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}, got: inTLS},
		{name: "S16", options: []policytest.Option{policytest.RequireClientCertificate}, err: "certificate required"},
		{name: "S17", options: []policytest.Option{policytest.DropLargeHello(1200)}, hasty: true, err: "STARTTLS: "},
		{name: "S17 with a small hello", options: []policytest.Option{policytest.DropLargeHello(1200)}, tls: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, got: inTLS},
		{name: "S18", options: []policytest.Option{policytest.NegativeSerial}, err: "negative serial number"},
		{name: "S18 self-signed", options: []policytest.Option{policytest.NegativeSerial, policytest.SelfSigned}, err: "negative serial number"},
		{name: "S19", options: []policytest.Option{policytest.Alert(70)}, err: "remote error: tls: protocol version not supported"},
		{name: "S24", options: []policytest.Option{policytest.Blackhole}, hasty: true, err: "dial: "},
		{name: "S25", options: []policytest.Option{policytest.Reply(policytest.Greeting, "554 5.3.2 no")}, err: "greeting: 554"},
		{name: "S26", options: []policytest.Option{policytest.Reply(policytest.Greeting, "521 5.3.2 no mail here")}, err: "greeting: 521"},
		{name: "no STARTTLS", options: []policytest.Option{policytest.NoSTARTTLS}, got: inClear},
		{name: "garbage for TLS", options: []policytest.Option{policytest.On(policytest.Handshake, policytest.Send("not TLS at all"))}, err: "first record does not look like a TLS handshake"},
		{name: "a slow handshake", options: []policytest.Option{policytest.Delay(policytest.Handshake, time.Hour)}, hasty: true, err: "STARTTLS: "},
		{name: "250 to STARTTLS", options: []policytest.Option{policytest.Reply("STARTTLS", "250 2.0.0 ok")}, err: "STARTTLS: 250"},
		{name: "hang up in TLS", options: []policytest.Option{policytest.HangUp(policytest.InTLS("EHLO"))}, err: "STARTTLS: EOF"},
		{name: "stall in TLS", options: []policytest.Option{policytest.Stall(policytest.InTLS("MAIL"))}, hasty: true, err: "MAIL: "},
		{name: "not in cleartext", options: []policytest.Option{policytest.HangUp(policytest.InClear("MAIL"))}, got: inTLS},
		{name: "hang up in cleartext", options: []policytest.Option{policytest.HangUp(policytest.InClear("MAIL")), policytest.NoSTARTTLS}, err: "MAIL: EOF"},
		{name: "endless EHLO", options: []policytest.Option{policytest.Endless("EHLO")}, hasty: true, err: "EHLO: "},
		{name: "a part of a reply", options: []policytest.Option{policytest.On("RCPT", policytest.Send("25").ThenDisconnect())}, err: `RCPT: short response: "25"`},
		{name: "421 and the end", options: []policytest.Option{policytest.On("RCPT", policytest.Say("421 4.3.2 down").ThenDisconnect())}, err: "RCPT: 421"},
		{name: "a script", options: []policytest.Option{policytest.On("RCPT", policytest.Usual(), policytest.Say("452 4.5.3 too many"))}, to: []string{"b@example.org", "c@example.org"}, err: "RCPT: 452"},
		{name: "a script, first line", options: []policytest.Option{policytest.On("RCPT", policytest.Usual(), policytest.Say("452 4.5.3 too many"))}, got: inTLS},
		{name: "a script without lines", options: []policytest.Option{policytest.HangUp("RCPT"), policytest.On("RCPT")}, got: inTLS},
		{name: "InTurn without options", options: []policytest.Option{policytest.InTurn()}, got: inTLS},
		{name: "another reply of the same kind", options: []policytest.Option{policytest.Reply(policytest.EndOfData, "250 2.6.0 queued as 1")}, got: inTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			mx := inet.Host("mx.example.org", test.options...)
			s := &sender{inet: inet, tls: test.tls, to: one}
			if test.hasty {
				s.hasty, _, _ = strings.Cut(test.err, ":")
			}
			if test.to != nil {
				s.to = test.to
			}
			err := s.send(t)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			var timeout net.Error
			if test.hasty && (!errors.As(err, &timeout) || !timeout.Timeout()) {
				t.Errorf("error %v, want a timeout", err)
			}
			if test.got != nothing {
				await.Until(t, "the host has the message, perhaps after the client has given up", func() bool { return len(mx.Messages()) > 0 })
			}
			got := nothing
			for _, m := range mx.Messages() {
				got = inClear
				if m.Session.TLS != nil {
					got = inTLS
				}
			}
			if got != test.got {
				t.Errorf("the host got the message %q, want %q", got, test.got)
			}
		})
	}
}

// exchange sends lines to the host, one by one, and returns the reply codes.
func exchange(t *testing.T, inet *policytest.Internet, lines ...string) (codes []string) {
	t.Helper()
	conn, err := inet.Dial(t.Context(), "tcp", "mx.example.org:25")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewScanner(conn)
	for i := -1; i < len(lines); i++ {
		if i >= 0 {
			io.WriteString(conn, lines[i]+"\r\n")
		}
		for {
			if !replies.Scan() {
				return append(codes, "end")
			}
			if text := replies.Text(); len(text) == 3 || text[3] == ' ' {
				codes = append(codes, text[:3])
				break
			}
		}
	}
	return codes
}

// What a host sees of a sender that does not keep to what the host offers.
func TestHostsSeeWhatSendersDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options []policytest.Option
		lines   []string
		codes   string
	}{
		{"S4", []policytest.Option{policytest.NoExtension("smtputf8")}, []string{"EHLO a", "MAIL FROM:<a@b> SMTPUTF8"}, "220 250 555"},
		{"S5", []policytest.Option{policytest.NoExtension("8BITMIME")}, []string{"EHLO a", "MAIL FROM:<a@b> BODY=8BITMIME"}, "220 250 555"},
		{"S5 with the extension", nil, []string{"EHLO a", "MAIL FROM:<a@b> BODY=8BITMIME SIZE=1"}, "220 250 250"},
		{"REQUIRETLS in cleartext", []policytest.Option{policytest.OfferREQUIRETLS}, []string{"EHLO a", "MAIL FROM:<a@b> REQUIRETLS"}, "220 250 555"},
		{"a parameter of DSN", nil, []string{"EHLO a", "MAIL FROM:<a@b> RET=HDRS"}, "220 250 555"},
		{"S6", nil, []string{"EHLO a", `MAIL FROM:<"a>\"b"@example.com>`, "RCPT TO:<" + strings.Repeat("x", 200) + ".@example.org>"}, "220 250 250 250"},
		{"S6 without an end", nil, []string{"EHLO a", `MAIL FROM:<"a>@example.com>`}, "220 250 501"},
		{"S9 one transaction after the other", []policytest.Option{policytest.MaxRecipients(1, "552 too many")},
			[]string{"EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>", "RCPT TO:<c@d>", "RSET", "MAIL FROM:<>", "RCPT TO:<c@d>"}, "220 250 250 250 552 250 250 250"},
		{"250 to STARTTLS is no TLS", []policytest.Option{policytest.Reply("STARTTLS", "250 2.0.0 ok")}, []string{"EHLO a", "STARTTLS", "NOOP"}, "220 250 250 250"},
		{"S21", nil, []string{"EHLO a", "MAIL FROM:<>"}, "220 250 250"},
		{"S8", []policytest.Option{policytest.MustSTARTTLS}, []string{"EHLO a", "NOOP", "MAIL FROM:<>", "VRFY a", "QUIT"}, "220 250 250 530 530 221"},
		{"S1", []policytest.Option{policytest.BareReplies}, []string{"EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "."}, "220 250 250 250 354 250"},
		{"a script", []policytest.Option{policytest.On("NOOP", policytest.Say("500-a\r\n500 b"), policytest.Usual(), policytest.Disconnect())},
			[]string{"NOOP", "NOOP", "NOOP"}, "220 500 250 end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			mx := inet.Host("mx.example.org", test.options...)
			if codes := strings.Join(exchange(t, inet, test.lines...), " "); codes != test.codes {
				t.Errorf("replies %s, want %s", codes, test.codes)
			}
			if commands := mx.Sessions()[0].Commands; len(test.lines) > 0 && commands[0] != test.lines[0] {
				t.Errorf("the host saw %q", commands)
			}
		})
	}
}

// S4, S20: net/smtp requests SMTPUTF8 for everything, and says its own name without a
// dot; a host shows both.
func TestMessagesShowParameters(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	s := &sender{inet: inet, to: []string{"b@example.org"}}
	if err := s.send(t); err != nil {
		t.Fatal(err)
	}
	m := mx.Messages()[0]
	if !slices.Contains(m.Params, "SMTPUTF8") || m.Session.Helo != "client" {
		t.Errorf("%+v", m)
	}
}

// Connections get the options of InTurn one by one, with the certificates that
// belong to them.
func TestConnectionsGetOptionsInTurn(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org", policytest.InTurn(
		policytest.Reply(policytest.Greeting, "450 4.7.1 greylisted"), policytest.Expired, policytest.Refuse, policytest.NoFault))
	s := &sender{inet: inet, to: []string{"b@example.org"}}
	for i, want := range []string{`450 "4.7.1 greylisted"`, "expired", "connection refused", "", ""} {
		if err := s.send(t); fmt.Sprint(err) != "<nil>" != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("connection %d: %v, want %q", i+1, err, want)
		}
	}
	if n := len(mx.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// S18: the key of the certificate that Go cannot parse matches the TLSA record.
func TestNegativeSerialMatchesTLSA(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org", policytest.NegativeSerial, policytest.TLSA("3 1 1", "3 0 1"))
	plain := mx.Certificates()[0]
	got := ask(t, inet, "_25._tcp.mx.example.org", dns.TypeTLSA)
	for _, parameters := range []string{"3 1 1", "3 0 1"} {
		if want := policytest.TLSARecord(plain, parameters); !slices.Contains(got, want) {
			t.Errorf("TLSA records %q lack %q", got, want)
		}
	}
	if plain.Raw[4] != 0x30 || plain.SerialNumber.Sign() <= 0 {
		t.Error("the certificate is not what Go could parse of it")
	}
}

// S10, S23: addresses outside the ranges of the internet, of hosts and of clients.
func TestAddressesOfOthers(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Host("mx.example.org", policytest.Addrs("127.0.0.1"))
	if inet.Contains(netip.MustParseAddr("127.0.0.1")) {
		t.Error("Contains reports a loopback address")
	}
	c, err := inet.DialFrom("10.0.0.5")(t.Context(), "tcp", "mx.example.org:25")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if local := c.LocalAddr().(*net.TCPAddr); !local.IP.Equal(net.ParseIP("10.0.0.5")) || local.Port == 0 {
		t.Errorf("local address %s", local)
	}
	if remote := c.RemoteAddr().String(); remote != "127.0.0.1:25" {
		t.Errorf("remote address %s", remote)
	}
	waitFor(t, c, "220 mx.example.org ESMTP")
}

// S11, S12: records alone make a domain without addresses, with a null MX, or with
// itself as mail host.
func TestDomainsWithoutMailHosts(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("empty.example")
	inet.Domain("null.example").MX(".")
	inet.Domain("loop.example").MX("loop.example")
	for _, qtype := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeAAAA} {
		if got := ask(t, inet, "empty.example", qtype); len(got) != 0 {
			t.Errorf("empty.example has %q", got)
		}
	}
	if got := ask(t, inet, "null.example", dns.TypeMX); !slices.Equal(got, []string{"0 ."}) {
		t.Errorf("null.example has %q", got)
	}
	if got := ask(t, inet, "loop.example", dns.TypeMX); !slices.Equal(got, []string{"10 loop.example."}) {
		t.Errorf("loop.example has %q", got)
	}
}

// Faults apply to connections that are made without Dial as well.
func TestLoopbackAddrHasFaults(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	mx := inet.Host("mx.example.org")
	connect := func(deadline time.Time) (greeting string, err error) {
		c, err := net.Dial("tcp", mx.LoopbackAddr())
		if err != nil {
			return "", err
		}
		defer c.Close()
		c.SetReadDeadline(deadline)
		return bufio.NewReader(c).ReadString('\n')
	}
	restore := mx.Break(policytest.Refuse)
	var timeout net.Error
	if _, err := connect(time.Now().Add(5 * time.Minute)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("Refuse: %v", err)
	}
	restore()
	restore = mx.Break(policytest.Blackhole)
	if _, err := connect(time.Now().Add(soon)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Blackhole: %v, want a timeout", err)
	}
	restore()
	if greeting, err := connect(time.Time{}); greeting != "220 mx.example.org ESMTP\r\n" {
		t.Errorf("%q %v", greeting, err)
	}
}
