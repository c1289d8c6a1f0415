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

// manualExim returns the parts of the configuration of Exim in the manual page: a router and a transport that use the
// relay, and what goes at the top and in a transport without it.
func manualExim(t *testing.T) (router, relaying, top, transport string) {
	t.Helper()
	_, section, _ := strings.Cut(packaged(t, "mxseal-serve.8"), "\n.Ss Exim\n")
	section, _, _ = strings.Cut(section, "\n.S") // the next one
	blocks := regexp.MustCompile(`(?s)\n\.Bd -literal -offset indent\n(.*?)\n\.Ed`).FindAllStringSubmatch(section, -1)
	if len(blocks) != 4 {
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
	return blocks[0][1], blocks[1][1], blocks[2][1], blocks[3][1]
}

// exim is an Exim of another version of Debian.
type exim struct{ root rootdir.Root }

// newExim makes its directories.
func newExim(t *testing.T) exim {
	t.Helper()
	const user = 903
	root := rootdir.Copy(t, "MXSEAL_EXIM13")
	root.AddUser(t, "Debian-exim", user)
	for _, dir := range []string{"var/spool/exim4", "var/log/exim4"} {
		root.Mkdir(t, dir, 0o750, user, user)
	}
	return exim{root}
}

// configure writes the configuration, after what both tests have.
func (e exim) configure(t *testing.T, text string) {
	e.root.Write(t, "etc/exim4/exim4.conf", "primary_hostname = sender.example\nkeep_environment =\nqueue_only_override = false\n"+text)
}

func (e exim) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(e.root.Path("var/log/exim4/mainlog"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// send delivers a message, and returns when that was tried.
func (e exim) send(t *testing.T, message string, to ...string) {
	t.Helper()
	command := e.root.Command("/usr/sbin/exim4", append([]string{"-odf", "-oi", "-f", "a@sender.example"}, to...)...)
	command.Stdin = strings.NewReader(message)
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", to, err, text)
	}
}

// A real Exim with the configuration of the manual page gives its mail to the relay over LMTP.
func TestEximGivesMailToRelay(t *testing.T) {
	e := newExim(t)
	inet := policytest.New(t)
	host := func(domain string, options ...policytest.Option) *policytest.Host {
		inet.Domain(domain).MX("mx." + domain)
		return inet.Host("mx."+domain, append(options, policytest.TLSA("3 1 1"))...)
	}
	back, dane := host("sender.example"), host("dane.example")
	wrong := host("wrongkey.example", policytest.OtherKey)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	sts := inet.Host("mx.sts.example")
	full := host("full.example", policytest.On("RCPT", policytest.Usual(), policytest.Say("550 5.1.1 no such user")))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(daemons.FreePort(t)))
	start(t, inet, dirOf(t), "name = 'relay.example'\n[relay]\nlmtp = ['inet:"+address+"']\n")
	router, transport, _, _ := manualExim(t)
	_, port, _ := net.SplitHostPort(address)
	e.configure(t, "domainlist local_domains = own.example\nbegin routers\n"+router+"\nbegin transports\n"+strings.Replace(transport, "2424", port, 1)+"\nbegin retry\n* * F,1h,15m\n")

	const text = "Subject: dots\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n.\n..\ncaf\u00e9\n.x\n"
	e.send(t, text, "b@dane.example", "b@wrongkey.example", "b@sts.example", "b@full.example", "c@full.example")
	want := map[string]string{
		"b@dane.example":     "T=mxseal H=127.0.0.1 [127.0.0.1] K C=\"250 2.0.0 <b@dane.example> mx.dane.example, authenticated by DANE, TLS 1.3, said: 250",
		"b@sts.example":      "<b@sts.example> mx.sts.example, authenticated by MTA-STS, TLS 1.3, said: 250",
		"b@wrongkey.example": "451 4.7.5 <b@wrongkey.example> wrongkey.example: no mail host can be used",
		"b@full.example":     "<b@full.example> mx.full.example, authenticated by DANE",
		"c@full.example":     "550 5.1.1 <c@full.example>",
	}
	log := e.log(t)
	for to, words := range want {
		found := 0
		for line := range strings.Lines(log) {
			if strings.Contains(line, " "+to+" ") && strings.Contains(line, words) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %d lines with %s", to, found, words)
		}
	}
	for name, h := range map[string]*policytest.Host{"dane": dane, "sts": sts, "full": full} {
		if m := h.Messages(); len(m) != 1 || !strings.HasSuffix(string(m[0].Data), "\r\n\r\n.\r\n..\r\ncaf\u00e9\r\n.x\r\n") {
			t.Errorf("%s got %d messages: %+v", name, len(m), m)
		}
	}
	if len(wrong.Messages()) != 0 {
		t.Error("the host with another key got the message")
	}
	if m := back.Messages(); len(m) != 1 || !strings.Contains(string(m[0].Data), "no such user") {
		t.Errorf("the sender got %+v", m)
	}
	if t.Failed() {
		t.Log(log)
	}
}

// A real Exim with the configuration of the manual page keeps what the plans demand, host by host.
func TestEximKeepsWhatPlansDemand(t *testing.T) {
	const port = 2525
	e := newExim(t)
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
	_, _, top, transport := manualExim(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(daemons.FreePort(t))) // no other socket is in the root directory
	r := startWith(t, inet, env, dirOf(t), strings.Replace(plain, `listen = ["unix:DIR/policy.sock"]`, `listen = ["unix:DIR/policy.sock", "inet:`+address+`"]`, 1))
	// Exim knows the host without the records that mxseal finds bogus.
	inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	if reply := r.ask(t, "exim bogus.example mx.bogus.example"); !strings.HasPrefix(reply, "TEMP ") {
		t.Fatal(reply)
	}

	e.root.Write(t, "etc/resolv.conf", "nameserver "+nameserver+"\noptions trust-ad\n")
	e.root.Write(t, "etc/hosts", "127.0.0.1 localhost\n") // libgnutls-dane wants it
	e.root.Write(t, "etc/ssl/certs/ca-certificates.crt", string(inet.RootPEM()))
	e.configure(t, strings.ReplaceAll(top, "127.0.0.1:8642", address)+`
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
	for _, test := range tests {
		e.send(t, "Subject: hi\n\nhi\n", "b@"+test.domain)
		sent := ""
		for line := range strings.Lines(e.log(t)) {
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
	e.send(t, "Subject: hi\n\nhi\n", "b@plain.example")
	if n := len(hosts["mx.plain.example"].Messages()); n != 1 {
		t.Errorf("without the daemon, mx.plain.example has %d messages", n)
	}
	if t.Failed() {
		t.Log(e.log(t))
	}
}
