package doctor

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/policy"
)

// right are the settings of a Postfix in which nothing is wrong.
func right(text string) *postfix {
	v, err := parseVersion(text)
	if err != nil {
		panic(err)
	}
	p := &postfix{version: v, chrooted: true, nameservers: []string{"127.0.0.1"}, current: []string{"127.0.0.1"}, validates: func(string) error { return nil }, answers: func(string, string) error { return nil }, settings: map[string]string{
		"smtp_dns_support_level": "dnssec", "smtp_tls_security_level": "may", "smtp_tls_dane_insecure_mx_policy": "dane",
		"smtp_tls_CAfile": "/etc/ssl/certs/ca-certificates.crt", "queue_directory": "/var/spool/postfix", "smtp_tls_fingerprint_digest": "sha256",
	}}
	p.settings["smtp_tls_policy_maps"] = "socketmap:unix:mxseal/policy.sock:" + p.mapName()
	p.settings["smtp_data_done_timeout"], p.settings["message_size_limit"] = "600s", "100"
	return p
}

func TestExamineFindsWrongSetting(t *testing.T) {
	set := func(name, value string) func(*postfix, *config.Config) {
		return func(p *postfix, _ *config.Config) { p.settings[name] = value }
	}
	for _, test := range []struct {
		name, version string
		change        func(*postfix, *config.Config)
		severity      severity
		want, line    string // "" if nothing is wrong
	}{
		{"right", "3.7.11", func(*postfix, *config.Config) {}, 0, "", ""},
		{"right with TLSRPT", "3.10.13", func(*postfix, *config.Config) {}, 0, "", ""},
		{"a snapshot", "3.12-20260821", func(*postfix, *config.Config) {}, 0, "", ""},
		{"by TCP", "3.7.11", set("smtp_tls_policy_maps", "hash:/etc/postfix/policy, socketmap:inet:127.0.0.1:8642:QUERY"), 0, "", ""},
		{"too old", "3.5.25", func(*postfix, *config.Config) {}, problem, "too old", ""},
		{"no map", "3.7.11", set("smtp_tls_policy_maps", ""), problem, "does not ask", "socketmap:unix:mxseal/policy.sock:QUERY"},
		{"another policy server", "3.7.11", set("smtp_tls_policy_maps", "socketmap:inet:127.0.0.1:8461:postfix"), problem, "does not ask mxseal. A table before", "= socketmap:inet:127.0.0.1:8461:postfix, socketmap:unix:mxseal/policy.sock:QUERY"},
		{"another policy server besides", "3.7.11", set("smtp_tls_policy_maps", "socketmap:unix:mxseal/policy.sock:QUERY, socketmap:inet:127.0.0.1:8461:postfix"), 0, "", ""},
		{"any name of a map", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_policy_maps"], c.Socketmap.AnyMap = "socketmap:inet:127.0.0.1:8461:postfix", true
		}, 0, "", ""},
		{"a map that is not for Postfix", "3.7.11", set("smtp_tls_policy_maps", "socketmap:unix:mxseal/policy.sock:exim"), problem, "exim is not a map of mxseal for Postfix", "= socketmap:unix:mxseal/policy.sock:QUERY"},
		{"no map in 3.11", "3.11.6", set("smtp_tls_policy_maps", ""), problem, "does not ask", ":QUERYwithTLSRPT"},
		{"no map, and a daemon at another path", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_policy_maps"] = ""
			c.Socketmap.Listen = []config.Address{{Kind: "unix", Where: "/var/spool/postfix/m/policy"}}
		}, problem, "does not ask", "socketmap:unix:m/policy:QUERY"},
		{"no map, no chroot, and a daemon elsewhere", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_policy_maps"], p.chrooted = "", false
			c.Socketmap.Listen = []config.Address{{Kind: "unix", Where: "/run/policy.sock"}}
		}, problem, "does not ask", "socketmap:unix:/run/policy.sock:QUERY"},
		{"no map, and a daemon at a port", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_policy_maps"] = ""
			c.Socketmap.Listen = []config.Address{{Kind: "unix", Where: "/run/policy.sock"}, {Kind: "inet", Where: "127.0.0.1:8642"}}
		}, problem, "does not ask", "socketmap:inet:127.0.0.1:8642:QUERY"},
		{"no map, and the socket of systemd", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_policy_maps"] = ""
			c.Socketmap.Listen = []config.Address{{Kind: "systemd", Where: "policy"}}
		}, problem, "does not ask", "socketmap:unix:mxseal/policy.sock:QUERY"},
		{"proxymap", "3.7.11", set("smtp_tls_policy_maps", "proxy:socketmap:unix:mxseal/policy.sock:QUERY"), problem, "proxymap", "socketmap"},
		{"the map of later versions", "3.9.4", set("smtp_tls_policy_maps", "socketmap:unix:mxseal/policy.sock:QUERYwithTLSRPT"), problem, "refuses", ":QUERY"},
		{"the map of earlier versions", "3.10.0", set("smtp_tls_policy_maps", "socketmap:unix:mxseal/policy.sock:QUERY"), advice, "does not report", ":QUERYwithTLSRPT"},
		{"outside of the chroot", "3.7.11", set("smtp_tls_policy_maps", "socketmap:unix:/run/mxseal/policy.sock:QUERY"), problem, "chrooted", ""},
		{"no chroot", "3.7.11", func(p *postfix, _ *config.Config) {
			p.chrooted = false
			p.settings["smtp_tls_policy_maps"] = "socketmap:unix:/run/mxseal/policy.sock:QUERY"
		}, 0, "", ""},
		{"no daemon", "3.7.11", func(p *postfix, _ *config.Config) {
			p.answers = func(network, address string) error { return errors.New(network + " " + address) }
		}, problem, "unix /var/spool/postfix/mxseal/policy.sock", ""},
		{"cleartext", "3.7.11", set("smtp_tls_security_level", ""), advice, "cleartext", "= may"},
		{"a level that answers replace", "3.7.11", set("smtp_tls_security_level", "encrypt"), advice, "policy.floor", ""},
		{"and the floor", "3.7.11", func(p *postfix, c *config.Config) {
			p.settings["smtp_tls_security_level"], c.Policy.Floor = "encrypt", config.Level(policy.Encrypted)
		}, 0, "", ""},
		{"no DNSSEC", "3.7.11", set("smtp_dns_support_level", ""), problem, "DNSSEC", "dnssec"},
		{"insecure MX", "3.7.11", set("smtp_tls_dane_insecure_mx_policy", "may"), advice, "insecure MX", "= dane"},
		{"no authorities", "3.7.11", set("smtp_tls_CAfile", ""), problem, "authority", "CAfile"},
		{"a resolver elsewhere", "3.7.11", func(p *postfix, _ *config.Config) {
			p.nameservers, p.current = []string{"192.0.2.53"}, []string{"192.0.2.53"}
		}, advice, "Postfix believes what 192.0.2.53", ""},
		{"a resolver that does not validate", "3.7.11", func(p *postfix, _ *config.Config) {
			p.validates = func(server string) error { return errors.New("not by " + server) }
		}, problem, "127.0.0.1 does not validate DNSSEC for Postfix, so that no mail is sent to domains with DANE: not by 127.0.0.1: run", ""},
		{"an old copy of resolv.conf", "3.7.11", func(p *postfix, _ *config.Config) { p.current = []string{"127.0.0.53"} }, advice, "old copy", ""},
		{"fingerprints need no resolver", "3.7.11", func(p *postfix, c *config.Config) {
			p.nameservers, c.Socketmap.Fingerprints = []string{"192.0.2.53"}, true
			p.validates = func(string) error { return errors.New("no") }
			p.settings["smtp_dns_support_level"] = ""
		}, 0, "", ""},
		{"fingerprints of MD5", "3.7.11", func(p *postfix, c *config.Config) {
			c.Socketmap.Fingerprints = true
			p.settings["smtp_tls_fingerprint_digest"] = "md5"
		}, problem, "md5", "sha256"},
		{"patterns", "3.10.5", set("smtp_tls_enforce_sts_mx_patterns", "no"), advice, "names of mail hosts", "= yes"},
		{"a collector without sender", "3.10.5", func(_ *postfix, c *config.Config) {
			c.Collector.Listen = []config.Address{{Kind: "systemd", Where: "tlsrpt"}}
		}, advice, "report its sessions", "smtp_tlsrpt_enable = yes"},
		{"reports without sessions", "3.7.11", func(_ *postfix, c *config.Config) {
			c.Reports = config.Reports{Contact: "a@sender.example", DKIMKey: "/etc/key"}
		}, advice, "Postfix 3.7.11 does not report its sessions", ""},
		{"reports without a collector", "3.10.5", func(_ *postfix, c *config.Config) {
			c.Reports = config.Reports{Contact: "a@sender.example", DKIMKey: "/etc/key"}
		}, advice, "tlsrpt-collector.listen", ""},
		{"reports without a key", "3.7.11", func(_ *postfix, c *config.Config) {
			c.Reports.Contact, c.Relay.SMTP = "a@sender.example", []config.Address{{Kind: "inet", Where: "127.0.0.1:1"}}
			c.Relay.MaxSize = 100
		}, advice, "dkim-key-file", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, c := right(test.version), new(config.Config)
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
	for _, text := range []string{"", "x", "3", "3.x"} {
		if v, err := parseVersion(text); err == nil && text != "3" {
			t.Errorf("%q is %+v", text, v)
		}
	}
}

// If smtp(8) can reach no socket of the daemon, the configuration of the daemon is wrong too.
func TestDaemonOutsideOfChrootIsFound(t *testing.T) {
	for _, table := range []string{"", "socketmap:unix:/run/policy.sock:QUERY"} {
		p, c := right("3.7.11"), new(config.Config)
		p.settings["smtp_tls_policy_maps"] = table
		c.Socketmap.Listen = []config.Address{{Kind: "unix", Where: "/run/policy.sock"}}
		found := examine(p, c)
		if len(found) != 2 || !strings.Contains(found[0].text, `set socketmap.listen to ["unix:/var/spool/postfix/mxseal/policy.sock"]`) ||
			len(found[1].lines) != 1 || !strings.Contains(found[1].lines[0], "socketmap:unix:mxseal/policy.sock:QUERY") {
			t.Errorf("%q: %+v", table, found)
		}
	}
}

// The settings of a real Postfix are read, those of its smtp(8) too.
func TestSettingsOfRealPostfixAreRead(t *testing.T) {
	interop.Need(t, "postconf")
	dir := t.TempDir()
	queue := filepath.Join(dir, "queue")
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("conf", "[socketmap]\nlisten = ['inet:127.0.0.1:1']\n")
	write("queue/etc/resolv.conf", "nameserver 192.0.2.53\n")
	write("main.cf", "compatibility_level = 3.6\nqueue_directory = "+queue+"\nsmtp_tls_security_level = encrypt\nsmtp_tls_policy_maps = socketmap:unix:mxseal/policy.sock:QUERY\n")
	write("master.cf", "smtp unix - - y - - smtp\n  -o smtp_dns_support_level=dnssec\n  -o smtp_tls_security_level=may\n")
	var stdout, stderr bytes.Buffer
	env := &cli.Env{Stdout: &stdout, Stderr: &stderr, DNS: dnssec.Config{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		return nil, errors.New("no way to " + addr)
	}}}
	code := Command().Run(t.Context(), env, []string{"-postfix", dir, "-config", filepath.Join(dir, "conf")})
	text := stdout.String()
	if code != exitProblem || !strings.Contains(text, "mxseal does not answer at unix:mxseal/policy.sock") || !strings.Contains(text, "192.0.2.53 does not validate DNSSEC for Postfix, so that no mail is sent to domains with DANE: no way to 192.0.2.53:53") ||
		!strings.Contains(text, "old copy") || !strings.HasSuffix(text, "\nRun the commands, and then restart Postfix, for example by \"systemctl restart postfix\".\n") || !strings.Contains(text, "smtp_tls_CAfile = ") {
		t.Errorf("%d\n%s%s", code, text, &stderr)
	}
	for _, wrong := range []string{"smtp_dns_support_level", "policy.floor", "does not ask"} {
		if strings.Contains(text, wrong) {
			t.Errorf("%s in\n%s", wrong, text)
		}
	}
	// Postfix has not been started yet.
	if err := os.Remove(filepath.Join(queue, "etc", "resolv.conf")); err != nil {
		t.Fatal(err)
	}
	stdout.Reset()
	if code := Command().Run(t.Context(), env, []string{"-postfix", dir, "-config", filepath.Join(dir, "conf")}); code != exitProblem || strings.Contains(stdout.String(), "192.0.2.53") {
		t.Errorf("without resolv.conf in the queue directory: %d\n%s%s", code, &stdout, &stderr)
	}
	if code := Command().Run(t.Context(), env, []string{"-postfix", filepath.Join(dir, "none"), "-config", filepath.Join(dir, "conf")}); code != exitUnknown {
		t.Errorf("no Postfix: %d", code)
	}
}

// The commands that are printed do what they are for, whatever the settings and the directory have. What the operator
// has set stays: the tables of policies, and those of transports.
func TestPrintedCommandsCorrectRealPostfix(t *testing.T) {
	interop.Need(t, "postconf")
	dir := filepath.Join(t.TempDir(), "of `id -u` $HOME \"it's\"")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"conf":      "[socketmap]\nlisten = ['inet:127.0.0.1:1']\n[relay]\nlmtp = ['unix:/run/relay.sock']\ntransport = ['unix:/run/transport.sock']\n",
		"main.cf":   "compatibility_level = 3.6\nmydestination =\nrelay_domains =\nown = hash:/etc/own\nown_policy = dane\ntransport_maps = $own, hash:/etc/transport\nsmtp_tls_policy_maps = inline:{ { own.example = encrypt } }, regexp:/etc/own$$\n",
		"master.cf": "smtp unix - - n - - smtp\n  -o smtp_dns_support_level=enabled\n  -o smtp_tls_dane_insecure_mx_policy=$own_policy\nqmgr unix n - n 300 1 qmgr\nlmtp unix - - n - - lmtp\n  -o lmtp_data_done_timeout=1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doctor := func() string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		env := &cli.Env{Stdout: &stdout, Stderr: &stderr, DNS: dnssec.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no network")
		}}}
		if code := Command().Run(t.Context(), env, []string{"-postfix", dir, "-config", filepath.Join(dir, "conf")}); code != exitProblem {
			t.Fatalf("%d\n%s%s", code, &stdout, &stderr)
		}
		return stdout.String()
	}
	ran, before := 0, doctor()
	if strings.Contains(before, "insecure MX") {
		t.Errorf("a setting of master.cf that names another one:\n%s", before)
	}
	for line := range strings.Lines(before) {
		if command, found := strings.CutPrefix(line, "  "); found {
			ran++
			if output, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
				t.Errorf("%s%v\n%s", command, err, output)
			}
		}
	}
	if text := doctor(); ran < 8 || strings.Contains(text, "\n  ") {
		t.Errorf("after %d commands:\n%s", ran, text)
	}
	for _, want := range []struct{ options, value string }{
		{"-h smtp_tls_policy_maps", "inline:{ { own.example = encrypt } }, regexp:/etc/own$$, socketmap:inet:127.0.0.1:1:QUERY"},
		{"-x -P rewrite-out/unix/transport_maps", "rewrite-out/unix/transport_maps = hash:/etc/own,hash:/etc/transport,socketmap:unix:mxseal/transport.sock:transport"},
	} {
		value, err := exec.CommandContext(t.Context(), "postconf", append([]string{"-c", dir}, strings.Fields(want.options)...)...).Output()
		if text := strings.TrimSpace(string(value)); err != nil || strings.TrimSuffix(text, "withTLSRPT") != want.value {
			t.Errorf("%s: %q, %v", want.options, text, err)
		}
	}
}

func TestCommandQuotesSetting(t *testing.T) {
	p := &postfix{inMaster: map[string]string{"smtp_x": "smtp/unix"}}
	for _, tt := range []struct{ line, dir, want string }{
		{"smtp_y = a", "", "postconf -e 'smtp_y = a'"},
		{"smtp_y = it's `$x`", "/a b", `postconf -c '/a b' -e 'smtp_y = it'\''s ` + "`$x`'"},
		{"smtp_x = a,b", "/etc/postfix", "postconf -c /etc/postfix -P smtp/unix/smtp_x=a,b"},
		{"smtp_x = a, b c", "", "postconf -P smtp/unix/smtp_x=a,b,c"},
		{"smtp_x = inline:{ { a = b } }, c", "", "by hand: smtp/unix/smtp_x = inline:{ { a = b } }, c"},
		{"smtp_y = b\u00fccher", "", `by hand: "smtp_y = b\u00fccher"`},
	} {
		if got := p.command(tt.line, tt.dir); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.line, got, tt.want)
		}
	}
}
