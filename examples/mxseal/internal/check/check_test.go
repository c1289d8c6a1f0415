package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy/policytest"
)

// network returns an internet with a domain for each verdict.
func network(t *testing.T) (*policytest.Internet, cli.Env) {
	t.Helper()
	inet := policytest.New(t)
	inet.Domain("plain.test", policytest.Unsigned).MX("mx.plain.test")
	inet.Host("mx.plain.test")
	inet.Domain("clear.test", policytest.Unsigned).MX("mx.clear.test")
	inet.Host("mx.clear.test", policytest.NoSTARTTLS)
	inet.Domain("open.test", policytest.Unsigned).MX("mx.dane.test")
	inet.Domain("dane.test").MX("mx.dane.test")
	inet.Host("mx.dane.test", policytest.Addrs("192.0.2.99", "2001:db8::99"), policytest.TLSA("3 1 1", "3 1 2", "2 0 1"))
	inet.Domain("sts.test").MX("mx.sts.test").Policy("enforce", "mx.sts.test")
	inet.Host("mx.sts.test")
	inet.Domain("testing.test").MX("mx.testing.test").Policy("testing", "other.test")
	inet.Host("mx.testing.test")
	inet.Domain("unlisted.test").MX("mx.unlisted.test").Policy("enforce", "other.test")
	inet.Host("mx.unlisted.test")
	inet.Domain("unusable.test").MX("mx.unusable.test")
	inet.Host("mx.unusable.test", policytest.TLSA("1 1 1"))
	inet.Domain("impostor.test").MX("mx.impostor.test")
	inet.Host("mx.impostor.test", policytest.TLSA("3 1 1")).Break(policytest.Impostor)
	inet.Domain("injected.test").MX("mx.injected.test")
	inet.Host("mx.injected.test", policytest.TLSA("3 1 1"), policytest.InjectAfterSTARTTLS("250 hi\r\n"))
	inet.Domain("down.test").MX("mx.down.test")
	inet.Host("mx.down.test", policytest.TLSA("3 1 1"), policytest.Refuse)
	inet.Domain("servfail.test").MX("mx.servfail.test")
	inet.Host("mx.servfail.test", policytest.TLSA("3 1 1"))
	inet.BreakDNS(policytest.ServFail, "_25._tcp.mx.servfail.test", dnssec.TypeTLSA)
	inet.Domain("null.test").Add("@ MX 0 .")
	inet.Domain("bogus.test").MX("mx.dane.test")
	inet.BreakDNS(policytest.Bogus, "bogus.test", dnssec.TypeMX)
	inet.Domain("rude.test", policytest.Unsigned).MX("mx.rude.test")
	inet.Host("mx.rude.test", policytest.Reply(policytest.Greeting, "554 \x1b[2J\u202egone"))
	inet.Domain("rescue.test").MX("mx.rescue.test", "mx2.rescue.test")
	inet.Host("mx.rescue.test", policytest.TLSA("3 1 1")).Break(policytest.OtherKey)
	inet.Host("mx2.rescue.test", policytest.TLSA("3 1 1"))
	inet.Domain("backup.test", policytest.Unsigned).MX("mx.backup.test", "mx2.backup.test").Policy("enforce", "mx2.backup.test")
	inet.Host("mx.backup.test")
	inet.Host("mx2.backup.test")
	inet.Domain("half.test").MX("mx.half.test")
	inet.Host("mx.half.test", policytest.Addrs("192.0.2.77", "2001:db8::77"), policytest.TLSA("3 1 1"))
	inet.Domain("agile.test").MX("mx.agile.test").Add("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@agile.test,https://agile.test/r\"")
	inet.Host("mx.agile.test", policytest.TLSA("3 1 1", "3 1 2 "+strings.Repeat("00", 64), "1 1 1"))
	inet.Domain("both.test").MX("mx.both.test").Policy("enforce", "other.test")
	inet.Host("mx.both.test", policytest.TLSA("3 1 1"))
	inet.Domain("forgeable.test", policytest.Unsigned).MX("mx.dane.test").Policy("testing", "mx.dane.test")
	inet.Domain("xn--bcher-kva.test").MX("mx.dane.test")
	inet.Domain("html.test").MX("mx.dane.test").Add("_smtp._tls TXT \"v=TLSRPTv1; rua\"").Policy("enforce", "mx.html.test").Publish("<html>")
	inet.Domain("old.test", policytest.Unsigned).MX("mx.old.test").Policy("testing", "mx.old.test")
	inet.Host("mx.old.test", policytest.MaxTLS(tls.VersionTLS11))
	inet.Domain("to.alias.test", policytest.Unsigned).Add("@ CNAME plain.test.")
	inet.Domain("family.test", policytest.Unsigned).MX("mx.family.test")
	inet.Host("mx.family.test", policytest.Addrs("192.0.2.201", "2001:db8::201"))
	inet.BreakDNS(policytest.ServFail, "mx.family.test", dnssec.TypeAAAA)
	return inet, cli.Env{DNS: inet.DNSConfig(), Policy: inet.Config()}
}

// runWith runs the subcommand with these arguments.
func runWith(t *testing.T, env cli.Env, stdout, stderr io.Writer, args ...string) int {
	env.Stdout, env.Stderr = stdout, stderr
	return run(t.Context(), &env, args)
}

func TestVerdictsAndExitStatus(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	checkAll(t, env, []checked{
		{"dane.test", 0, []string{
			"dane.test: protected: ",
			"  MX   dane.test. secure: 10 mx.dane.test.\n",
			"  A    mx.dane.test. secure: 192.0.2.99\n",
			"  AAAA mx.dane.test. secure: 2001:db8::99\n",
			"  TLSA _25._tcp.mx.dane.test. secure: 3 1 1 ",
			"10 mx.dane.test port 25: authenticated by DANE",
		}},
		{"-connect dane.test", 0, []string{
			"mx.dane.test at 192.0.2.99: TLS 1.3: a sender would use it",
			"mx.dane.test at 2001:db8::99: TLS 1.3: a sender would use it",
			": matches the server's certificate\n",
			": not used: a record with a stronger digest is published for the same usage and selector; it would have matched\n",
			": matches an issuer of the server's certificate, which is for mx.dane.test\n",
			"certificate 0: CN=mx.dane.test for mx.dane.test, issued by CN=",
		}},
		{"sts.test", 0, []string{"MTA-STS: mode enforce", "  TLSA _25._tcp.mx.sts.test. secure: none\n"}},
		{"-connect sts.test", 0, []string{"MTA-STS met"}},
		{"plain.test", 1, []string{`what to do: "mxseal advise plain.test" says`, "plain.test: unprotected: an attacker on the path can prevent TLS with mx.plain.test"}},
		{"-connect plain.test", 1, []string{"TLS 1.3: a sender would use it"}},
		{"-connect clear.test", 1, []string{"clear.test: unprotected: mx.clear.test gets mail in cleartext, ", "no TLS: a sender would use it", "does not offer STARTTLS"}},
		{"open.test", 1, []string{"can redirect mail to a host other than mx.dane.test"}},
		{"-connect testing.test", 1, []string{"MTA-STS not met: the policy does not list the host"}},
		{"[192.0.2.99]", 1, []string{"an address literal"}},
		{"unlisted.test", 3, []string{"unlisted.test: broken: no mail host can be used"}},
		{"servfail.test", 3, []string{"  TLSA _25._tcp.mx.servfail.test. indeterminate: ", "servfail"}},
		{"impostor.test", 0, nil},
		{"-connect impostor.test", 3, []string{"impostor.test: broken: ", ": a sender would not use it", "does not match"}},
		{"-connect injected.test", 3, []string{"response injection"}},
		{"-connect down.test", 4, []string{"down.test: unreachable: no mail host answers", "connection refused"}},
		{"-connect rude.test", 3, []string{`\x1b[2J\u202egone`}},
		{"null.test", 4, []string{"null.test: unreachable: no mail can be sent to it\n", "null MX"}},
		{"nowhere.test", 4, []string{"no such domain"}},
		{"bogus.test", 4, []string{"no mail can be sent to it now", "  MX   bogus.test. bogus: "}},
		{"not_a_domain!", 4, []string{"not a domain name"}},
		{"dane.test plain.test unlisted.test", 3, []string{"dane.test: protected", "plain.test: unprotected", "unlisted.test: broken"}},
		{"b\u00fccher.test", 0, []string{"xn--bcher-kva.test: protected"}},
		{"dane.test -connect", 0, []string{"a sender would use it"}},
		{"-h", 0, nil},
		{"-x dane.test", 2, nil},
		{"", 2, nil},
		{"-server dns.test dane.test", 2, nil},
		{"-timeout 1ns dane.test", 4, []string{"the caller did not wait"}},
	})
}

// X: a monitor detects that the first host is broken. TLSA records that senders do not use
// are shown, and whether they would have matched. MTA-STS has a verdict of its own where DANE
// decides. The domain's TLSRPT record and its aliases are shown.
func TestXBrokenHostIsFound(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	checkAll(t, env, []checked{
		{"-connect old.test", 1, []string{"TLS 1.1: a sender would use it", "MTA-STS not met: the server speaks TLS 1.1"}},
		{"-connect unusable.test", 1, []string{"can impersonate mx.unusable.test", ": not used: unusable: usage PKIX-EE is not for mail; it would have matched"}},
		{"rescue.test", 0, []string{"rescue.test: protected"}},
		{"-connect rescue.test", 5, []string{"rescue.test: degraded: the first mail host, mx.rescue.test, fails; apart from that the domain is protected: ",
			"  problem: mx.rescue.test fails at 1", ": DANE verification failed: dane: no TLSA record authenticates the server"}},
		{"backup.test", 5, []string{"backup.test: degraded: the first mail host, mx.backup.test, gets no mail; ", "  problem: mx.backup.test gets no mail: the enforced MTA-STS policy does not list the host"}},
		{"-connect agile.test", 3, []string{"TLS reports go to mailto:tls@agile.test, https://agile.test/r", "; it would have matched"}},
		{"-connect both.test", 0, []string{"both.test: protected", "MTA-STS not met for senders without DANE: the policy does not list the host"}},
		{"dane.test", 0, []string{"TLS reports: the domain asks for none", "  TXT  _mta-sts.dane.test. secure: none"}},
		{"forgeable.test", 1, []string{"can redirect mail to a host other than mx.dane.test"}},
		{"html.test", 5, []string{"html.test: degraded: the MTA-STS policy cannot be used; ", "problem: the MTA-STS policy cannot be used: policy (policy-syntax)",
			"problem: the TLSRPT record cannot be used: "}},
		{"rescue.test null.test -connect", 4, nil},
		{"to.alias.test", 1, []string{"  MX   to.alias.test. insecure: an alias of plain.test. (insecure)", "  an alias of plain.test, which has the MX records"}},
		{"family.test", 1, []string{"AAAA mx.family.test. indeterminate: ", "only one family of addresses is used"}},
	})
}

// checked is a command line with its exit status and what it prints.
type checked struct {
	args string
	code int
	want []string
}

// checkAll runs the subcommand with each command line.
func checkAll(t *testing.T, env cli.Env, tests []checked) {
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := runWith(t, env, &stdout, &stderr, strings.Fields(test.args)...); code != test.code {
				t.Errorf("exit status %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("lacks %q", want)
				}
			}
			if strings.ContainsFunc(stdout.String(), func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f }) {
				t.Error("prints more than plain text")
			}
			if t.Failed() {
				t.Logf("stdout:\n%s\nstderr:\n%s", stdout.String(), stderr.String())
			}
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	var stdout, stderr bytes.Buffer
	args := []string{"-json", "-connect", "dane.test", "rude.test", "null.test", "bogus.test", "rescue.test"}
	if code := runWith(t, env, &stdout, &stderr, args...); code != int(survey.Broken) {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	if strings.ContainsFunc(stdout.String(), func(c rune) bool { return c < ' ' && c != '\n' || c >= 0x7f }) {
		t.Errorf("not ASCII:\n%s", stdout.String())
	}
	var verdicts []string
	for line := range strings.Lines(stdout.String()) {
		var object struct {
			Domain, Verdict string
			Lookups         []struct{ Name, Type, Status string }
			Sessions        []struct {
				Host  string
				OK    bool
				Error string
			}
			Error struct{ Status string }
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		verdicts = append(verdicts, object.Verdict)
		switch object.Domain {
		case "dane.test":
			if len(object.Lookups) != 6 || object.Lookups[3].Status != "secure" || len(object.Sessions) != 2 || !object.Sessions[0].OK {
				t.Errorf("%s", line)
			}
		case "rude.test":
			if len(object.Sessions) != 1 || !strings.Contains(object.Sessions[0].Error, "gone") {
				t.Errorf("%s", line)
			}
		case "null.test":
			if object.Error.Status != "5.1.10" {
				t.Errorf("%s", line)
			}
		}
	}
	if got := strings.Join(verdicts, " "); got != "protected broken unreachable unreachable degraded" {
		t.Errorf("verdicts: %s", got)
	}
}

// The options -server and -anchor are sufficient, as on the real network.
func TestServerAndAnchor(t *testing.T) {
	t.Parallel()
	inet, env := network(t)
	anchor := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(anchor, []byte(inet.TrustAnchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	env.DNS.Servers, env.DNS.Anchors = nil, ""
	var stdout, stderr bytes.Buffer
	args := []string{"-server", inet.DNSAddr() + "," + inet.DNSAddr(), "-server", inet.DNSAddr(), "-anchor", anchor, "dane.test"}
	if code := runWith(t, env, &stdout, &stderr, args...); code != 0 {
		t.Errorf("exit status %d: %s%s", code, stdout.String(), stderr.String())
	}
}

// On a terminal, the command prints what takes long. Otherwise it does not.
func TestProgressOnTerminalOnly(t *testing.T) {
	t.Parallel()
	inet, env := network(t)
	defer inet.SlowDNS(20 * time.Millisecond)()
	for _, test := range []struct {
		name     string
		terminal bool
		patience time.Duration
		want     string
	}{
		{"file", false, 0, ""},
		{"soon done", true, time.Hour, ""},
		{"long", true, 0, "dane.test: asking for DNS records and the MTA-STS policy ...\n"},
	} {
		env.Terminal, env.Patience = test.terminal, test.patience
		var stdout bytes.Buffer
		var stderr logbuf.Buffer
		if code := runWith(t, env, &stdout, &stderr, "-connect", "dane.test"); code != 0 {
			t.Errorf("%s: exit status %d", test.name, code)
		}
		if got := stderr.String(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: printed %q, want %q", test.name, got, test.want)
		}
	}
}

// An address that fails is shown even if another address of the host works. An address that
// this machine cannot reach says nothing about the host.
func TestXFailingAddressIsShown(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	dial := env.Policy.Dial
	for _, test := range []struct {
		failing string
		err     error
		code    int
		want    []string
	}{
		{"[2001:db8::77]:25", syscall.ECONNREFUSED, 5, []string{"half.test: degraded: mail host mx.half.test fails at 2001:db8::77; apart from that", "mx.half.test at 192.0.2.77: TLS 1.3: a sender would use it"}},
		{"[2001:db8::77]:25", syscall.ENETUNREACH, 0, []string{"half.test: protected", "mx.half.test at 2001:db8::77: no TLS: not tested, because this machine cannot reach such addresses"}},
		{":25", syscall.ENETUNREACH, 4, []string{"half.test: unreachable: this machine can reach no address of the mail hosts"}},
		{":25", syscall.ECONNREFUSED, 4, []string{"half.test: unreachable: no mail host answers"}},
	} {
		env.Policy.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasSuffix(addr, test.failing) {
				return nil, &net.OpError{Op: "dial", Net: network, Err: test.err}
			}
			return dial(ctx, network, addr)
		}
		var out bytes.Buffer
		if code := runWith(t, env, &out, &out, "-connect", "half.test"); code != test.code {
			t.Errorf("%s, %v: exit status %d, want %d", test.failing, test.err, code, test.code)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s, %v: no %q in\n%s", test.failing, test.err, want, out.String())
			}
		}
	}
}

// A monitor gets one line, and the exit status of a plugin.
func TestXNagiosLineAndStatus(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	for _, test := range []struct {
		args string
		code int
		want string // the beginning of the first line
		also []string
	}{
		{"-connect dane.test", 0, "MXSEAL OK - dane.test protected: every mail host must be authenticated | time=0.", []string{" hosts=1 problems=0\n"}},
		{"plain.test", 1, "MXSEAL WARNING - plain.test unprotected: ", nil},
		{"-connect rescue.test", 1, "MXSEAL WARNING - rescue.test degraded: the first mail host, mx.rescue.test, fails",
			[]string{" hosts=2 problems=1\n", "\nmx.rescue.test fails at "}},
		{"-connect dane.test impostor.test", 2, "MXSEAL CRITICAL - dane.test protected: every mail host must be authenticated; impostor.test broken: ", nil},
		{"null.test", 2, "MXSEAL CRITICAL - null.test unreachable: ", []string{"null MX"}},
		{"-connect rude.test", 2, "MXSEAL CRITICAL - ", []string{`\x1b[2J\u202egone`}},
		{"", 3, "", nil},
		{"-server dns.test dane.test", 3, "", nil},
		{"-json dane.test", 3, "", nil},
	} {
		var stdout, stderr bytes.Buffer
		args := append([]string{"-nagios"}, strings.Fields(test.args)...)
		if code := runWith(t, env, &stdout, &stderr, args...); code != test.code {
			t.Errorf("%s: exit status %d, want %d", test.args, code, test.code)
		}
		if first, _, _ := strings.Cut(stdout.String(), "\n"); !strings.HasPrefix(first, test.want) || strings.Count(first, "|") > 1 {
			t.Errorf("%s: %q", test.args, first)
		}
		for _, want := range test.also {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%s: lacks %q:\n%s", test.args, want, stdout.String())
			}
		}
	}
}

// X: the options for a private network permit a CA of its own, addresses that no public host
// has, and names that are in no public zone.
func TestXPrivateNetwork(t *testing.T) {
	t.Parallel()
	inet, env := network(t)
	inet.Domain("private.test", policytest.Unsigned).MX("mx.private.test").Policy("enforce", "mx.private.test")
	inet.Host("mx.private.test", policytest.Addrs("127.0.0.1"))
	env.Policy.AllowPolicyHost, env.Policy.RootCAs = nil, nil // as on the real network
	dir := t.TempDir()
	var roots bytes.Buffer
	for _, cert := range inet.Host("mx.roots.test").Certificates()[1:] {
		pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	file := filepath.Join(dir, "ca.pem")
	hosts := filepath.Join(dir, "hosts")
	none := filepath.Join(dir, "none.pem")
	for name, text := range map[string]string{file: roots.String(), hosts: "192.0.2.99 mx.named.test\n", none: "none"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inet.Domain("named.test").MX("mx.named.test")
	inet.Domain("zone.test").MX("mx.dane.test")
	inet.BreakDNS(policytest.Bogus, "zone.test", dnssec.TypeMX)
	for _, test := range []struct {
		args string
		code int
		want string
	}{
		{"sts.test", 5, "special-purpose"},
		{"sts.test -allow 192.0.0.0/8 -allow 198.0.0.0/8 -allow 203.0.113.0/24 -ca " + file, 0, "sts.test: protected"},
		{"private.test", 3, "no mail is sent to"},
		{"private.test -allow 127.0.0.0/8", 5, "which the option -allow does not permit"},
		{"private.test -allow 127.0.0.0/8 -allow 192.0.0.0/8", 5, "x509: certificate signed by unknown authority"},
		{"named.test", 3, "no address"},
		{"named.test -hosts " + hosts, 1, "A    mx.named.test. insecure: 192.0.2.99"},
		{"zone.test", 4, "bogus"},
		{"zone.test -zone zone.test", 1, "MX   zone.test. insecure: 10 mx.dane.test."},
		{"sts.test -allow 10.0.0.0", 2, "want a network such as 10.0.0.0/8"},
		{"sts.test -zone =x", 2, "want ZONE"},
		{"sts.test -ca " + none, 2, "has no certificate in PEM"},
	} {
		var out bytes.Buffer
		if code := runWith(t, env, &out, &out, strings.Fields(test.args)...); code != test.code || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: exit status %d, want %d and %q:\n%s", test.args, code, test.code, test.want, out.String())
		}
	}
}

// -html writes a page in addition.
func TestHTML(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	file := filepath.Join(t.TempDir(), "page.html")
	var stdout, stderr bytes.Buffer
	if code := runWith(t, env, &stdout, &stderr, "-html", file, "dane.test", "null.test"); code != int(survey.Unreachable) {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	page, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(page, []byte("dane.test")) || !bytes.Contains(page, []byte("null MX")) || stdout.Len() == 0 {
		t.Errorf("%v\n%s", err, page)
	}
	if code := runWith(t, env, &stdout, &stderr, "-html", filepath.Join(file, "no"), "dane.test"); code != cli.ExitUsage {
		t.Errorf("a file that cannot be written: exit status %d", code)
	}
}
