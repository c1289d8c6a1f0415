package send

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/policy/policytest"
)

// network returns an internet with a domain for each result.
func network(t *testing.T) (*policytest.Internet, cli.Env) {
	t.Helper()
	inet := policytest.New(t)
	inet.Domain("good.test").MX("mx.good.test")
	inet.Host("mx.good.test", policytest.TLSA("3 1 1"))
	inet.Domain("strict.test").MX("mx.strict.test")
	inet.Host("mx.strict.test", policytest.TLSA("3 1 1"), policytest.OfferREQUIRETLS)
	inet.Domain("attacked.test").MX("mx.attacked.test")
	inet.Host("mx.attacked.test", policytest.TLSA("3 1 1")).Break(policytest.Impostor)
	inet.Domain("null.test").Add("@ MX 0 .")
	inet.Domain("rude.test", policytest.Unsigned).MX("mx.rude.test")
	inet.Host("mx.rude.test", policytest.Reply("RCPT", "550 5.1.1 \x1b[2Jgone"))
	inet.Domain("clear.test", policytest.Unsigned).MX("mx.clear.test")
	inet.Host("mx.clear.test", policytest.NoSTARTTLS)
	return inet, cli.Env{DNS: inet.DNSConfig(), Policy: inet.Config()}
}

// runWith runs the subcommand with these arguments.
func runWith(t *testing.T, env cli.Env, stdin io.Reader, out io.Writer, args ...string) int {
	env.Stdin, env.Stdout, env.Stderr = stdin, out, out
	return run(t.Context(), &env, args)
}

const message = "Subject: hello\n\nHello.\n"

func TestSendPrintsWhatBecameOfMail(t *testing.T) {
	t.Parallel()
	_, env := network(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"X delivered", []string{"-from", "me@here.test", "you@good.test", "her@Good.test"}, exitOK,
			[]string{"good.test: delivered: you@good.test, her@Good.test: host mx.good.test, level authenticated by DANE, TLS 1.3, reply 250 "}},
		{"X in angle brackets", []string{"-from", "<me@here.test>", "<you@good.test>"}, exitOK, []string{"good.test: delivered: <you@good.test>: host"}},
		{"X in cleartext", []string{"-from", "me@here.test", "you@clear.test"}, exitOK,
			[]string{"clear.test: delivered: you@clear.test: host mx.clear.test, level opportunistic by none, cleartext, reply 250 "}},
		{"bounce", []string{"-from", "", "you@good.test"}, exitOK, []string{"good.test: delivered"}},
		{"waits", []string{"-from", "me@here.test", "you@attacked.test"}, exitTemporary,
			[]string{"attacked.test: waits (451 4.7.5): you@attacked.test: ", "no TLSA record authenticates the server"}},
		{"tls optional", []string{"-tls-optional", "-from", "me@here.test", "you@attacked.test"}, exitOK,
			[]string{"attacked.test: delivered"}},
		{"requiretls", []string{"-requiretls", "-from", "me@here.test", "you@strict.test"}, exitOK,
			[]string{"strict.test: delivered"}},
		{"requiretls not offered", []string{"-requiretls", "-from", "me@here.test", "you@good.test"}, exitUnavailable,
			[]string{"good.test: not delivered (550 5.7.30)"}},
		{"null MX", []string{"-from", "me@here.test", "you@null.test"}, exitUnavailable,
			[]string{"null.test: not delivered (556 5.1.10)"}},
		{"each by itself", []string{"-from", "me@here.test", "you@good.test", "you@attacked.test", "you@null.test"}, exitTemporary,
			[]string{"good.test: delivered", "attacked.test: waits", "null.test: not delivered"}},
		{"a refusal is quoted", []string{"-from", "me@here.test", "you@rude.test"}, exitUnavailable,
			[]string{"rude.test: not delivered (550 5.1.1)", `\x1b[2Jgone`}},
		{"no address", []string{"-from", "me@here.test", "nobody"}, exitUnavailable, []string{"nobody: not delivered (553 5.1.3)"}},
		{"no return path", []string{"-from", "me", "you@good.test"}, exitUnavailable, []string{"553 5.1.7"}},
		{"verbose", []string{"-v", "-from", "me@here.test", "you@attacked.test"}, exitTemporary, []string{"level=INFO", "mx.attacked.test"}},
		{"help", []string{"-h"}, exitOK, []string{"-requiretls"}},
		{"X no recipient", []string{"-from", "me@here.test"}, exitUsage, []string{"no recipient"}},
		{"no sender", []string{"you@good.test"}, exitUsage, []string{"-from is missing"}},
		{"contradiction", []string{"-requiretls", "-tls-optional", "-from", "", "you@good.test"}, exitUsage, []string{"cannot be used together"}},
		{"unknown flag", []string{"-x"}, exitUsage, []string{"-x"}},
		{"bad server", []string{"-server", "dns.example", "-from", "", "you@good.test"}, exitConfig, []string{"dns.example"}},
		{"no anchor", []string{"-anchor", "/nonexistent", "-from", "", "you@good.test"}, exitConfig, []string{"/nonexistent"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			code := runWith(t, env, strings.NewReader(message), &stderr, test.args...)
			if code != test.code {
				t.Errorf("exit status %d, want %d", code, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr.String())
				}
			}
			if strings.Contains(stderr.String(), "\x1b") {
				t.Errorf("stderr has an escape sequence: %q", stderr.String())
			}
		})
	}
}

func TestMessageArrivesUnchanged(t *testing.T) {
	t.Parallel()
	inet, env := network(t)
	mx := inet.Host("mx.arrives.test", policytest.TLSA("3 1 1"))
	inet.Domain("sub.arrives.test").MX("mx.arrives.test")
	var stderr bytes.Buffer
	args := []string{"-helo", "mail.here.test", "-from", "me@here.test", "you@sub.arrives.test"}
	if code := runWith(t, env, strings.NewReader(message), &stderr, args...); code != exitOK {
		t.Fatalf("exit status %d: %s", code, stderr.String())
	}
	messages := mx.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	m := messages[0]
	if m.From != "me@here.test" || string(m.Data) != "Subject: hello\r\n\r\nHello.\r\n" || m.Session.TLS == nil || m.Session.Helo != "mail.here.test" {
		t.Errorf("%+v", m)
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
	var stderr bytes.Buffer
	args := []string{"-server", inet.DNSAddr(), "-anchor", anchor, "-from", "", "you@good.test"}
	if code := runWith(t, env, strings.NewReader(message), &stderr, args...); code != exitOK {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
}

func TestStandardInputIsBounded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		stdin io.Reader
		code  int
	}{
		{"empty", strings.NewReader(""), exitData},
		{"endless", endless{}, exitData},
		{"unreadable", iotest.ErrReader(errors.New("broken pipe")), exitRead},
	} {
		var stderr bytes.Buffer
		if code := runWith(t, cli.Env{}, test.stdin, &stderr, "-from", "", "you@good.test"); code != test.code {
			t.Errorf("%s: exit status %d, want %d: %s", test.name, code, test.code, stderr.String())
		}
	}
}

// endless is a message that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
