package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	daemons "github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy/policytest"
)

// The Postfix of Debian 13 asks with QUERYwithTLSRPT, compares the names of mail hosts with MTA-STS policies,
// and reports its sessions to the daemon.
func TestPostfix13ReportsSessions(t *testing.T) {
	const port = 2525
	inet := policytest.New(t)
	hosts := map[string]*policytest.Host{}
	add := func(name string, options ...policytest.Option) {
		hosts[name] = inet.Host(name, append(options, policytest.Listen(net.JoinHostPort(daemons.Loopback(), strconv.Itoa(port))))...)
	}
	domain := func(name string, options ...policytest.DomainOption) *policytest.Domain {
		return inet.Domain(name, options...).Add("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@" + name + "\"")
	}
	tests := []struct{ domain, status, gets, reported string }{
		{"dane.example", "sent", "mx.dane.example", `{policy="tlsa",result="ok"} 1`},
		{"wrongkey.example", "deferred", "", `{policy="tlsa",result="certificate-not-trusted"} 1`},
		{"sts.example", "sent", "mx.sts.example", `{policy="sts",result="ok"} 2`},
		{"stripped.example", "deferred", "", `{policy="sts",result="starttls-not-supported"} 1`},
		{"selfsigned.example", "deferred", "", `{policy="sts",result="validation-failure"} 1`},
		{"unlisted.example", "sent", "mx.unlisted.example", ""},
		{"plain.example", "sent", "mx.plain.example", `{policy="no-policy-found",result="ok"} 1`},
	}
	domain("dane.example").MX("mx.dane.example")
	add("mx.dane.example", policytest.TLSA("3 1 1"))
	domain("wrongkey.example").MX("mx.wrongkey.example")
	add("mx.wrongkey.example", policytest.TLSA("3 1 1"), policytest.OtherKey)
	domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	add("mx.sts.example")
	domain("stripped.example", policytest.Unsigned).MX("mx.stripped.example").Policy("enforce", "mx.stripped.example")
	add("mx.stripped.example", policytest.NoSTARTTLS)
	domain("selfsigned.example", policytest.Unsigned).MX("mx.selfsigned.example").Policy("enforce", "*.selfsigned.example")
	add("mx.selfsigned.example", policytest.SelfSigned)
	// The first host has a certificate that is valid, and only the policy speaks against it.
	domain("unlisted.example", policytest.Unsigned).MX("evil.unlisted.example", "mx.unlisted.example").Policy("enforce", "mx.unlisted.example")
	add("evil.unlisted.example")
	add("mx.unlisted.example")
	domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	add("mx.plain.example")

	nameserver := daemons.Loopback()
	inet.ListenResolver(net.JoinHostPort(nameserver, "53"))
	// smtp(8) reads the file before its chroot, relative to the queue directory.
	sender := mailserver.StartSender13(t, nameserver, port,
		"smtp_tls_security_level = may", "smtp_tls_dane_insecure_mx_policy = dane", "smtp_tls_CAfile = roots.pem", "smtp_connection_cache_on_demand = no",
		"smtp_tls_policy_maps = socketmap:unix:mxseal/policy.sock:QUERYwithTLSRPT", "smtp_tlsrpt_enable = yes", "smtp_tlsrpt_socket_name = mxseal/tlsrpt.sock")
	if err := os.WriteFile(filepath.Join(sender.Queue, "roots.pem"), inet.RootPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := sender.SocketDir(t)
	env := inet.Config()
	env.Port, env.AllowMailHost = port, netip.Addr.IsLoopback
	r := startWith(t, inet, env, dir, plain+"[tlsrpt-reports]\ncontact = 'tls@sender.example'\n[tlsrpt-collector]\nlisten = ['unix:DIR/tlsrpt.sock']\n")
	for _, test := range tests {
		sender.Send(t, "a@sender.example", "b@"+test.domain, "Subject: hi\r\n\r\n")
	}
	for _, test := range tests {
		of := "to=<b@" + test.domain + ">"
		await.Until(t, test.domain+" has a status", func() bool { return len(sender.LogLines(of, "status=")) > 0 })
		if lines := sender.LogLines(of, "status="); !strings.Contains(lines[0], "status="+test.status) {
			t.Errorf("%q, want %s", lines, test.status)
		}
	}
	for name, host := range hosts {
		want := 0
		for _, test := range tests {
			if test.gets == name {
				want = 1
			}
		}
		if got := len(host.Messages()); got != want {
			t.Errorf("%s got %d messages, want %d", name, got, want)
		}
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.dir, "http.sock"))
	}}}
	numbers := func() string {
		reply, err := web.Get("http://mxseal/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	await.Until(t, "every session is reported", func() bool {
		text := numbers()
		for _, test := range tests {
			if !strings.Contains(text, "\nmxseal_sessions_total"+test.reported) {
				return false
			}
		}
		return true
	})
	if text := numbers(); !strings.Contains(text, `mxseal_tlsrpt_datagrams_total{result="malformed"} 0`) {
		t.Error(fmt.Sprint("malformed datagrams in\n", text))
	}
}
