package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	programs "github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy/policytest"
)

// A chrooted Postfix asks the daemon, as in Debian. Every refusal comes from the daemon: main.cf has the
// level may. Without the daemon, mail waits.
func TestPostfixAsksDaemon(t *testing.T) {
	const port = 2525
	inet := policytest.New(t)
	hosts := map[string]*policytest.Host{}
	add := func(domain string, signed []policytest.DomainOption, options ...policytest.Option) *policytest.Domain {
		d := inet.Domain(domain, signed...).MX("mx." + domain)
		hosts[domain] = inet.Host("mx."+domain, append(options, policytest.Listen(net.JoinHostPort(programs.Loopback(), strconv.Itoa(port))))...)
		return d
	}
	unsigned := []policytest.DomainOption{policytest.Unsigned}
	tests := []struct{ domain, status string }{
		{"dane.example", "sent"}, {"wrongkey.example", "deferred"}, {"sts.example", "sent"}, {"selfsigned.example", "deferred"},
		{"plain.example", "sent"}, {"bogus.example", "deferred"}, {"floor.example", "deferred"},
	}
	add("dane.example", nil, policytest.TLSA("3 1 1"))
	add("wrongkey.example", nil, policytest.TLSA("3 1 1"), policytest.OtherKey)
	add("sts.example", unsigned).Policy("enforce", "mx.sts.example")
	add("selfsigned.example", unsigned, policytest.SelfSigned).Policy("enforce", "mx.selfsigned.example")
	add("plain.example", unsigned, policytest.NoSTARTTLS)
	add("floor.example", unsigned, policytest.NoSTARTTLS)
	// The resolver of Postfix has the answer, and mxseal has none.
	add("bogus.example", nil)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, inet.RootPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	nameserver := programs.Loopback()
	inet.ListenResolver(net.JoinHostPort(nameserver, "53"))
	sender := mailserver.StartSender(t, nameserver, port,
		"smtp_tls_security_level = may", "smtp_tls_dane_insecure_mx_policy = dane", "smtp_tls_CAfile = "+roots,
		"smtp_tls_policy_maps = socketmap:unix:mxseal/policy.sock:QUERY", "smtp_connection_cache_on_demand = no")
	dir := sender.SocketDir(t)
	send := func(domain string) {
		sender.Send(t, "a@sender.example", "b@"+domain, "Subject: hi\r\n\r\n")
	}
	waits := func(domain, status string, n int) {
		t.Helper()
		await.Until(t, domain+" has a status", func() bool { return len(sender.LogLines("to=<b@"+domain+">", "status=")) == n })
		if lines := sender.LogLines("to=<b@"+domain+">", "status="); !strings.Contains(lines[n-1], "status="+status) {
			t.Errorf("%s: %q, want %s", domain, lines, status)
		}
	}
	send("plain.example")
	waits("plain.example", "deferred", 1)

	env := inet.Config()
	env.Port, env.AllowMailHost = port, netip.Addr.IsLoopback
	r := startWith(t, inet, env, dir, plain+"[domain.'floor.example']\nfloor = 'encrypted'\n")
	restore := inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	if reply := r.ask(t, "QUERY bogus.example"); !strings.HasPrefix(reply, "TEMP ") {
		t.Fatal(reply)
	}
	restore()
	for _, test := range tests {
		send(test.domain)
	}
	for _, test := range tests {
		n := 1
		if test.domain == "plain.example" {
			n = 2
		}
		waits(test.domain, test.status, n)
		want := 0
		if test.status == "sent" {
			want = 1
		}
		if got := len(hosts[test.domain].Messages()); got != want {
			t.Errorf("%s got %d messages, want %d", test.domain, got, want)
		}
	}
	if lines := sender.LogLines("Verified TLS connection established to mx."); len(lines) != 2 {
		t.Errorf("%q", lines)
	}
}

// Postfix gives all mail to the relay, and gets its replies. A domain whose mail host does not answer holds up
// no other, because each has a next hop of its own.
func TestPostfixGivesMailToRelay(t *testing.T) {
	inet := newInternet(t)
	inet.Domain("stall.example").MX("mx.stall.example")
	inet.Host("mx.stall.example", policytest.TLSA("3 1 1"), policytest.Blackhole)
	inet.Domain("wrong.example").MX("mx.wrong.example")
	wrong := inet.Host("mx.wrong.example", policytest.TLSA("3 1 1"), policytest.OtherKey)
	inet.Domain("full.example").MX("mx.full.example")
	inet.Host("mx.full.example", policytest.Reply("RCPT", "550 5.1.1 no such user"))
	inet.Domain("fast.example").MX("mx.fast.example")
	fast := inet.Host("mx.fast.example", policytest.TLSA("3 1 1"))

	sender := mailserver.StartRelaying(t, "socketmap:unix:mxseal/transport.sock:transport")
	dir := sender.SocketDir(t)
	start(t, inet, dir, `name = "sender.example"
[relay]
lmtp = ["unix:DIR/relay.sock"]
transport = ["unix:DIR/transport.sock"]
queue-directory = "`+sender.Queue+`"
`)
	const stalled = 30
	for i := range stalled {
		sender.Send(t, "a@sender.example", fmt.Sprintf("b%d@stall.example", i), "Subject: stalls\r\n\r\n")
	}
	for domain, want := range map[string]string{
		"fast.example":  "status=sent (250 2.0.0 <b@fast.example> mx.fast.example, authenticated by DANE, TLS 1.3, said: 250",
		"wrong.example": "451 4.7.5 <b@wrong.example> wrong.example: no mail host can be used",
		"full.example":  "550 5.1.1 <b@full.example>",
	} {
		sender.Send(t, "a@sender.example", "b@"+domain, "Subject: hi\r\n\r\n")
		await.Until(t, domain+" has a status", func() bool { return len(sender.LogLines("to=<b@"+domain+">", "status=")) == 1 })
		if lines := sender.LogLines("to=<b@"+domain+">", want); len(lines) != 1 {
			t.Errorf("%s: %q, want %s", domain, sender.LogLines("to=<b@"+domain+">"), want)
		}
	}
	if lines := sender.LogLines("@stall.example>", "status="); len(lines) != 0 {
		t.Errorf("%q", lines)
	}
	if len(fast.Messages()) != 1 || len(wrong.Messages()) != 0 {
		t.Errorf("%d and %d messages", len(fast.Messages()), len(wrong.Messages()))
	}
}

// systemd passes the sockets, which it makes before the daemon runs.
func TestSystemdPassesSockets(t *testing.T) {
	activate := interop.Need(t, "systemd-socket-activate")
	dir := dirOf(t)
	program := filepath.Join(dir, "mxseal")
	build := exec.Command("go", "build", "-o", program, "../..")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte("[dns]\nservers = ['127.0.0.1:1']\n[socketmap]\nlisten = ['systemd:policy']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "policy.sock")
	c := exec.Command(activate, "--fdname=policy", "-l", path, program, "serve", "-config", file)
	log := new(output)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	var conn net.Conn
	await.Until(t, "the socket is there", func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	defer conn.Close()
	fmt.Fprint(conn, "14:QUERY .example,")
	reply := make([]byte, len("9:NOTFOUND ,"))
	if _, err := io.ReadFull(bufio.NewReader(conn), reply); err != nil || string(reply) != "9:NOTFOUND ," {
		t.Errorf("%q, %v", reply, err)
	}
}
