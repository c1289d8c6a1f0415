package serve

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	daemons "github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/rootdir"
	"github.com/mxseal/mxseal/policy/policytest"
)

// manualExim returns the two parts of the configuration of Exim in the manual page.
func manualExim(t *testing.T) (top, transport string) {
	t.Helper()
	_, section, _ := strings.Cut(packaged(t, "mxseal-serve.8"), "\n.Ss Exim\n")
	section, _, _ = strings.Cut(section, "\n.S") // the next one
	blocks := regexp.MustCompile(`(?s)\n\.Bd -literal -offset indent\n(.*?)\n\.Ed`).FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks in\n%s", len(blocks), section)
	}
	for _, block := range blocks {
		// The backslash of mdoc(7). Other escapes would be shown as something else.
		block[1] = strings.ReplaceAll(block[1], `\e`, "\x00")
		if strings.Contains(block[1], `\`) {
			t.Errorf("an escape in %s", block[1])
		}
		block[1] = strings.ReplaceAll(block[1], "\x00", `\`)
	}
	return blocks[0][1], blocks[1][1]
}

// A real Exim with the configuration of the manual page keeps what the plans demand, host by host.
func TestExim(t *testing.T) {
	const (
		port = 2525
		user = 903
	)
	root := rootdir.Copy(t, "MXSEAL_EXIM13")
	inet := policytest.New(t)
	hosts := map[string]*policytest.Host{}
	add := func(name string, options ...policytest.Option) {
		hosts[name] = inet.Host(name, append(options, policytest.Listen(net.JoinHostPort(daemons.Loopback(), strconv.Itoa(port))))...)
	}
	ee := policytest.TLSA("3 1 1")
	tests := []struct {
		domain string
		gets   string // the host that gets the message; "" means that the mail waits
		cv     string // what Exim logs about the certificate
		idle   string // a host that no connection is made to
	}{
		{"dane.example", "mx.dane.example", "CV=dane", ""},
		{"wrongkey.example", "", "", ""},
		{"nextkey.example", "right.nextkey.example", "CV=dane", ""},
		{"sts.example", "mx.sts.example", "CV=yes", ""},
		{"selfsigned.example", "", "", ""},
		{"wrongname.example", "", "", ""},
		{"stripped.example", "", "", ""},
		{"unlisted.example", "mx.unlisted.example", "CV=yes", "evil.unlisted.example"},
		{"unusable.example", "mx.unusable.example", "X=TLS", ""},
		{"clear.example", "", "", ""},
		{"both.example", "", "", "mx.bothhosts.example"},
		{"plain.example", "mx.plain.example", "", ""},
		{"bogus.example", "", "", "mx.bogus.example"},
	}
	inet.Domain("dane.example").MX("mx.dane.example")
	add("mx.dane.example", ee)
	inet.Domain("wrongkey.example").MX("mx.wrongkey.example")
	add("mx.wrongkey.example", ee, policytest.OtherKey)
	inet.Domain("nextkey.example").MX("wrong.nextkey.example", "right.nextkey.example")
	add("wrong.nextkey.example", ee, policytest.OtherKey)
	add("right.nextkey.example", ee)
	unsigned := func(domain string, mx ...string) *policytest.Domain {
		return inet.Domain(domain, policytest.Unsigned).MX(mx...)
	}
	unsigned("sts.example", "mx.sts.example").Policy("enforce", "mx.sts.example")
	add("mx.sts.example")
	unsigned("selfsigned.example", "mx.selfsigned.example").Policy("enforce", "mx.selfsigned.example")
	add("mx.selfsigned.example", policytest.SelfSigned)
	unsigned("wrongname.example", "mx.wrongname.example").Policy("enforce", "mx.wrongname.example")
	add("mx.wrongname.example", policytest.WrongName("mx.elsewhere.example"))
	unsigned("stripped.example", "mx.stripped.example").Policy("enforce", "mx.stripped.example")
	add("mx.stripped.example", policytest.NoSTARTTLS)
	unsigned("unlisted.example", "evil.unlisted.example", "mx.unlisted.example").Policy("enforce", "mx.unlisted.example")
	add("evil.unlisted.example")
	add("mx.unlisted.example")
	inet.Domain("unusable.example").MX("mx.unusable.example")
	add("mx.unusable.example", policytest.TLSA("0 0 1"), policytest.SelfSigned)
	inet.Domain("clear.example").MX("mx.clear.example")
	add("mx.clear.example", policytest.TLSA("0 0 1"), policytest.NoSTARTTLS)
	unsigned("both.example", "mx.bothhosts.example").Policy("enforce", "mx.bothhosts.example")
	inet.Domain("bothhosts.example")
	add("mx.bothhosts.example", ee)
	unsigned("plain.example", "mx.plain.example")
	add("mx.plain.example", policytest.NoSTARTTLS)
	inet.Domain("bogus.example").MX("mx.bogus.example")
	add("mx.bogus.example")

	nameserver := daemons.Loopback()
	inet.ListenResolver(net.JoinHostPort(nameserver, "53"))
	env := inet.Config()
	env.Port, env.AllowMailHost = port, netip.Addr.IsLoopback
	top, transport := manualExim(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(daemons.FreePort(t))) // no other socket is in the root directory
	r := startWith(t, inet, env, dirOf(t), strings.Replace(plain, `listen = ["unix:DIR/policy.sock"]`, `listen = ["unix:DIR/policy.sock", "inet:`+address+`"]`, 1))
	// Exim knows the host without the records that mxseal finds bogus.
	inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	if reply := r.ask(t, "exim bogus.example mx.bogus.example"); !strings.HasPrefix(reply, "TEMP ") {
		t.Fatal(reply)
	}

	root.AddUser(t, "Debian-exim", user)
	for _, dir := range []string{"var/spool/exim4", "var/log/exim4"} {
		root.Mkdir(t, dir, 0o750, user, user)
	}
	root.Write(t, "etc/resolv.conf", "nameserver "+nameserver+"\noptions trust-ad\n")
	root.Write(t, "etc/hosts", "127.0.0.1 localhost\n") // libgnutls-dane wants it
	root.Write(t, "etc/ssl/certs/ca-certificates.crt", string(inet.RootPEM()))
	configure := func(address string) {
		root.Write(t, "etc/exim4/exim4.conf", strings.ReplaceAll(top, "127.0.0.1:8642", address)+`
primary_hostname = sender.example
keep_environment =
queue_only_override = false
begin routers
configured:
  driver = manualroute
  transport = remote
  route_list = bogus.example mx.bogus.example bydns
  self = send
remote:
  driver = dnslookup
  transport = remote
  dnssec_request_domains = *
  self = send
begin transports
remote:
  driver = smtp
  port = `+strconv.Itoa(port)+"\n"+transport+`
begin retry
* * F,1h,15m
`)
	}
	log := func() string {
		text, err := os.ReadFile(root.Path("var/log/exim4/mainlog"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	send := func(domain string) {
		t.Helper()
		exim := root.Command("/usr/sbin/exim4", "-odf", "-oi", "-f", "a@sender.example", "b@"+domain)
		exim.Stdin = strings.NewReader("Subject: hi\n\nhi\n")
		if text, err := exim.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", domain, err, text)
		}
	}
	configure(address)
	for _, test := range tests {
		send(test.domain)
		sent := ""
		for line := range strings.Lines(log()) {
			if strings.Contains(line, "=> b@"+test.domain+" ") {
				sent = line
			}
		}
		if (sent != "") != (test.gets != "") || sent != "" && !(strings.Contains(sent, "H="+test.gets+" ") && strings.Contains(sent, test.cv)) {
			t.Errorf("%s: %q, want %s and %s", test.domain, sent, test.gets, test.cv)
		}
		if host := hosts[test.gets]; host != nil && len(host.Messages()) != 1 {
			t.Errorf("%s got %d messages", test.gets, len(host.Messages()))
		}
		if host := hosts[test.idle]; host != nil && len(host.Sessions()) != 0 {
			t.Errorf("%s: %d connections", test.idle, len(host.Sessions()))
		}
	}
	for name, host := range hosts {
		gets := false
		for _, test := range tests {
			gets = gets || test.gets == name
		}
		if !gets && len(host.Messages()) != 0 {
			t.Errorf("%s got a message", name)
		}
	}
	// Without the daemon, mail waits.
	r.end(t)
	send("plain.example")
	if n := len(hosts["mx.plain.example"].Messages()); n != 1 {
		t.Errorf("without the daemon, mx.plain.example has %d messages", n)
	}
	if t.Failed() {
		t.Log(log())
	}
}
