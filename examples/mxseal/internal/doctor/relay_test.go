package doctor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/internal/test/interop"
)

func TestExamineFindsWrongRelaySetting(t *testing.T) {
	lmtp := func(name, value string) func(*postfix, *config.Config) {
		return func(p *postfix, _ *config.Config) { p.lmtp[name] = value }
	}
	for _, test := range []struct {
		name       string
		change     func(*postfix, *config.Config)
		severity   severity
		want, line string // "" if nothing is wrong
	}{
		{"right", func(*postfix, *config.Config) {}, 0, "", ""},
		{"in minutes", lmtp("lmtp_data_done_timeout", "20m"), 0, "", ""},
		{"a map among others", func(p *postfix, _ *config.Config) {
			p.transports = []string{"", "inline:{ { own.example = local: } }, socketmap:unix:mxseal/transport.sock:transport"}
		}, 0, "", ""},
		{"the default of Postfix", lmtp("lmtp_data_done_timeout", "600s"), problem, "lmtp_data_done_timeout is 600s, and relay.client-timeout 20m0s", "lmtp_data_done_timeout = 1200s"},
		{"without a unit", lmtp("lmtp_data_done_timeout", "1199"), problem, "lmtp_data_done_timeout", "= 1200s"},
		{"no time", lmtp("lmtp_data_done_timeout", "$x"), problem, "lmtp_data_done_timeout", "= 1200s"},
		{"SMTP", func(p *postfix, c *config.Config) {
			c.Relay.SMTP, p.settings["smtp_data_done_timeout"] = c.Relay.LMTP, "600s"
		}, problem, "smtp_data_done_timeout", "smtp_data_done_timeout = 1200s"},
		{"no map", func(p *postfix, _ *config.Config) { p.transports = []string{"hash:/etc/postfix/transport"} }, problem, "does not ask mxseal how to send", "rewrite-out"},
		{"a local domain", func(p *postfix, _ *config.Config) {
			p.settings["mydestination"] = "own.example, localhost, hash:/etc/domains, /etc/more.domains, Mail.Own.example localhost.localdomain"
		}, problem, "the relay gets the mail to own.example, localhost.localdomain, which mydestination names", ""},
		{"a relayed domain", func(p *postfix, _ *config.Config) { p.settings["relay_domains"] = "OTHER.example" }, problem, "other.example, which relay_domains names", ""},
		{"domains that stay", func(p *postfix, c *config.Config) {
			p.settings["virtual_mailbox_domains"], p.settings["virtual_alias_domains"] = "b\u00fccher.example", "xn--bcher-kva.example"
			c.Relay.LocalDomains = []string{"xn--bcher-kva.example"}
		}, 0, "", ""},
		{"no queue IDs", lmtp("lmtp_send_xforward_command", "no"), advice, "queue IDs", "lmtp_send_xforward_command = yes"},
		{"larger messages", func(p *postfix, _ *config.Config) { p.settings["message_size_limit"] = "26214401" }, advice, "26214401", "message_size_limit = 26214400"},
		{"any size", func(p *postfix, _ *config.Config) { p.settings["message_size_limit"] = "0" }, advice, "any number", "message_size_limit = 26214400"},
		{"TLS policies too", func(p *postfix, c *config.Config) {
			c.Socketmap.Listen = []config.Address{{Kind: "systemd", Where: "policy"}}
			p.settings["smtp_tls_policy_maps"] = ""
		}, problem, "Postfix does not ask mxseal", "smtp_tls_policy_maps"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, c := right("3.7.11"), new(config.Config)
			at := []config.Address{{Kind: "unix", Where: "/relay.sock"}}
			c.Name = "mail.own.example"
			c.Relay = config.Relay{LMTP: at, Transport: at, ClientTimeout: 20 * time.Minute, MaxSize: config.DefaultMaxSize}
			p.settings["message_size_limit"] = "10240000"
			p.lmtp = map[string]string{"lmtp_data_done_timeout": "1200s", "lmtp_send_xforward_command": "yes"}
			p.transports = []string{"socketmap:unix:mxseal/transport.sock:transport"}
			test.change(p, c)
			found := examine(p, c)
			switch {
			case test.want == "" && len(found) == 0:
			case len(found) != 1 || test.want == "" || found[0].severity != test.severity ||
				!strings.Contains(found[0].text, test.want) || !strings.Contains(strings.Join(found[0].lines, "\n"), test.line):
				t.Errorf("%+v", found)
			}
		})
	}
}

// The settings of a real lmtp(8) are read, and the transport map of the queue manager alone.
func TestRealPostfixRelays(t *testing.T) {
	interop.Need(t, "postconf")
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("conf", "[relay]\nlmtp = ['unix:/run/relay.sock']\ntransport = ['unix:/run/transport.sock']\nlocal-domains = ['own.example', 'mail.own.example']\n")
	write("main.cf", "compatibility_level = 3.6\nlmtp_send_xforward_command = yes\nmyhostname = mail.own.example\nmydestination = $myhostname, own.example\n")
	const services = "smtp unix - - n - - smtp\nrewrite unix - - n - - trivial-rewrite\nlmtp unix - - n - - lmtp\n"
	run := func(master string) (int, string) {
		t.Helper()
		write("master.cf", master)
		var stdout, stderr bytes.Buffer
		code := Command().Run(t.Context(), &cli.Env{Stdout: &stdout, Stderr: &stderr}, []string{"-postfix", dir, "-config", filepath.Join(dir, "conf")})
		return code, stdout.String() + stderr.String()
	}
	if code, text := run(services); code != exitProblem || !strings.Contains(text, "\n  postconf -c "+dir+" -e 'lmtp_data_done_timeout = 1200s'\n") || !strings.Contains(text, "\n  postconf -c "+dir+" -P qmgr/unix/rewrite_service_name=rewrite-out\n") || !strings.Contains(text, "how to send mail") || strings.Contains(text, "smtp_tls_policy_maps") {
		t.Errorf("%d\n%s", code, text)
	}
	if code, text := run(services + "  -o lmtp_data_done_timeout=1h\nrewrite-out unix - - n - - trivial-rewrite\n  -o transport_maps=socketmap:unix:mxseal/transport.sock:transport\n"); code != 0 {
		t.Errorf("%d\n%s", code, text)
	}
}
