package tlsa

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy/policytest"
)

func inPEM(chain ...*x509.Certificate) string {
	var b strings.Builder
	for _, cert := range chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return b.String()
}

func TestTLSA(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("own.test").MX("mx.own.test")
	mx := inet.Host("mx.own.test", policytest.TLSA("3 1 1", "3 1 2 "+strings.Repeat("00", 64), "2 1 1"))
	inet.Host("new.own.test")
	inet.Host("old.own.test", policytest.TLSA("3 1 1 "+strings.Repeat("00", 32)))
	inet.Domain("open.test", policytest.Unsigned)
	inet.Host("mx.open.test")
	inet.BreakDNS(policytest.ServFail, "_25._tcp.broken.own.test", dnssec.TypeTLSA)
	inet.Host("broken.own.test")
	chain := mx.Certificates()
	own, issuer := policytest.TLSARecord(chain[0], "3 1 1"), policytest.TLSARecord(chain[1], "2 1 1")

	dir := t.TempDir()
	for name, text := range map[string]string{
		"pem":   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + inPEM(chain...),
		"leaf":  inPEM(chain[0]),
		"mixed": inPEM(chain[0], inet.Host("mx.third.test", policytest.SelfSigned).Certificates()[0], chain[1]),
		"other": inPEM(inet.Host("mx.else.test").Certificates()...),
		"der":   string(chain[0].Raw),
		"key":   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"large": strings.Repeat("x", maxFile+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"pem", 0, own + "\n"},
		{"der", 0, own + "\n"},
		{"-", 0, own + "\n"},
		{"-issuer pem", 0, issuer + "\n"},
		{"-issuer mixed", 0, issuer + "\n"},
		{"pem -host mx.own.test -offline", 0, "_25._tcp.mx.own.test. IN TLSA " + own + "\n"},
		{"pem -host mx.own.test -port 587 -offline", 0, "_587._tcp.mx.own.test. IN TLSA "},
		{"pem -host mx.own.test", 0, "published at mx.own.test: " + own + ": this certificate\n"},
		{"pem -host mx.own.test", 0, "not used by senders: " + own + ": a record with a stronger digest"},
		{"pem -issuer -host mx.own.test", 0, "the record is published\n"},
		{"other -host mx.own.test", 1, "not published: publish it beside the others"},
		{"pem -host old.own.test", 1, "another certificate"},
		{"pem -host new.own.test", 1, "has no TLSA records"},
		{"pem -host mx.open.test", 1, "not signed"},
		{"pem -host broken.own.test", 4, "SERVFAIL"},
		{"pem -host nowhere.own.test", 4, "no address"},
		{"-issuer leaf", 2, "no certificate of the issuer"},
		{"key", 2, "no certificate in the file"},
		{"large", 2, "too large"},
		{"none", 2, "none"},
		{"", 2, "want one file"},
		{"-port 0 pem", 2, "-port is not a number"},
		{"-h", 0, "usage: mxseal tlsa"},
	} {
		args := strings.Fields(tt.args)
		for i, arg := range args {
			if i == len(args)-1 || !strings.HasPrefix(arg, "-") {
				if _, err := os.Stat(filepath.Join(dir, arg)); err == nil || arg == "none" {
					args[i] = filepath.Join(dir, arg)
				}
			}
		}
		var out bytes.Buffer
		env := &cli.Env{DNS: inet.DNSConfig(), Policy: inet.Config(), Stdin: strings.NewReader(inPEM(chain...)), Stdout: &out, Stderr: &out}
		if code := run(t.Context(), env, args); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit status %d, want %d and %q:\n%s", tt.args, code, tt.code, tt.want, out.String())
		}
	}
}
