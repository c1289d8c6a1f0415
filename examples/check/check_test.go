package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy/policytest"
)

// network returns an internet with a domain for each verdict.
func network(t *testing.T) (*policytest.Internet, deps) {
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
	return inet, deps{dns: inet.DNSConfig(), policy: inet.Config()}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	_, d := network(t)
	for _, test := range []struct {
		args string
		code int
		want []string
	}{
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
			": not used: a stronger digest is published\n",
			": matches an issuer of the server's certificate, which is for mx.dane.test\n",
			"certificate 0: CN=mx.dane.test for mx.dane.test, issued by CN=",
		}},
		{"sts.test", 0, []string{"MTA-STS: mode enforce", "  TLSA _25._tcp.mx.sts.test. secure: none\n"}},
		{"-connect sts.test", 0, []string{"MTA-STS met"}},
		{"plain.test", 1, []string{"plain.test: unprotected: an attacker on the path can prevent TLS with mx.plain.test"}},
		{"-connect plain.test", 1, []string{"TLS 1.3: a sender would use it"}},
		{"-connect clear.test", 1, []string{"no TLS: a sender would use it", "does not offer STARTTLS"}},
		{"open.test", 1, []string{"can redirect mail to a host other than mx.dane.test"}},
		{"-connect testing.test", 1, []string{"MTA-STS not met: certificate-host-mismatch mx-not-in-policy"}},
		{"-connect unusable.test", 1, []string{"can impersonate mx.unusable.test", ": unusable"}},
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
		{"-h", 0, nil},
		{"-x dane.test", 2, nil},
		{"", 2, nil},
		{"-server dns.test dane.test", 2, nil},
		{"-timeout 1ns dane.test", 4, []string{"the caller did not wait"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), strings.Fields(test.args), &stdout, &stderr, d); code != test.code {
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
	_, d := network(t)
	var stdout, stderr bytes.Buffer
	args := []string{"-json", "-connect", "dane.test", "rude.test", "null.test", "bogus.test"}
	if code := run(t.Context(), args, &stdout, &stderr, d); code != int(unreachable) {
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
			if len(object.Lookups) != 4 || object.Lookups[3].Status != "secure" || len(object.Sessions) != 2 || !object.Sessions[0].OK {
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
	if got := strings.Join(verdicts, " "); got != "protected broken unreachable unreachable" {
		t.Errorf("verdicts: %s", got)
	}
}

// On the real network, the DNS flags are sufficient. So are they here.
func TestServerAndAnchor(t *testing.T) {
	t.Parallel()
	inet, d := network(t)
	anchor := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(anchor, []byte(inet.TrustAnchors()), 0o600); err != nil {
		t.Fatal(err)
	}
	d.dns.Servers, d.dns.Anchors = nil, ""
	var stdout, stderr bytes.Buffer
	args := []string{"-server", inet.DNSAddr() + "," + inet.DNSAddr(), "-server", inet.DNSAddr(), "-anchor", anchor, "dane.test"}
	if code := run(t.Context(), args, &stdout, &stderr, d); code != 0 {
		t.Errorf("exit status %d: %s%s", code, stdout.String(), stderr.String())
	}
}

// On a terminal, the command prints what takes long. Otherwise it does not.
func TestProgress(t *testing.T) {
	t.Parallel()
	inet, d := network(t)
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
		d.terminal, d.patience = test.terminal, test.patience
		var stdout bytes.Buffer
		var stderr logbuf.Buffer
		if code := run(t.Context(), []string{"-connect", "dane.test"}, &stdout, &stderr, d); code != 0 {
			t.Errorf("%s: exit status %d", test.name, code)
		}
		if got := stderr.String(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: printed %q, want %q", test.name, got, test.want)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain text":              "plain text",
		"\x1b[2J":                 `"\x1b[2J"`,
		"é":                       `"\u00e9"`,
		strings.Repeat("a", 3000): strings.Repeat("a", maxText) + "...",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
