package privatenet

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/policy/postfix"
)

// A Postfix with the policies of package postfix sends to the hosts that the plans permit, and to
// no others. Its main.cf has the level may, so that every refusal comes from a policy.
func TestPostfixKeepsPolicies(t *testing.T) {
	const port = 2525
	inet := policytest.New(t)
	hosts := map[string]*policytest.Host{}
	overrides := map[string]policy.Override{}
	add := func(name string, options ...policytest.Option) *policytest.Host {
		listen := policytest.Listen(net.JoinHostPort(daemon.Loopback(), strconv.Itoa(port)))
		hosts[name] = inet.Host(name, append(options, listen)...)
		return hosts[name]
	}
	ee, other := policytest.TLSA("3 1 1"), policytest.OtherKey
	var tests []struct{ domain, level, gets string }
	// expect adds a domain. gets is the host that gets the mail, or empty.
	expect := func(domain, level, gets string) {
		tests = append(tests, struct{ domain, level, gets string }{domain, level, gets})
	}
	signed := func(domain string, mx ...string) *policytest.Domain { return inet.Domain(domain).MX(mx...) }
	unsigned := func(domain string, mx ...string) *policytest.Domain {
		return inet.Domain(domain, policytest.Unsigned).MX(mx...)
	}

	signed("row1.example", "wrong.row1.example", "right.row1.example")
	add("wrong.row1.example", ee, other)
	add("right.row1.example", ee)
	expect("row1.example", "dane-only", "right.row1.example")

	signed("row2.example", "wrong.row2.example", "plain.row2.example")
	add("wrong.row2.example", ee, other)
	add("plain.row2.example", policytest.NoSTARTTLS)
	expect("row2.example", "dane", "plain.row2.example")

	unsigned("row3.example", "mx.row3hosts.example")
	signed("row3hosts.example")
	add("mx.row3hosts.example", ee, other)
	expect("row3.example", "dane", "")

	signed("row4.example", "mx.row4.example")
	add("mx.row4.example", policytest.TLSA("0 0 1"), policytest.NoSTARTTLS)
	expect("row4.example", "dane", "")

	signed("row5.example", "mx.row5.example").Policy("enforce", "mx.row5.example")
	add("mx.row5.example", policytest.TLSA("0 0 1"), policytest.SelfSigned)
	expect("row5.example", "secure", "")

	unsigned("row6.example", "selfsigned.row6.example", "wrongname.row6.example", "right.row6.example").Policy("enforce", "*.row6.example")
	add("selfsigned.row6.example", policytest.SelfSigned)
	add("wrongname.row6.example", policytest.WrongName("mx.elsewhere.example"))
	add("right.row6.example")
	expect("row6.example", "secure", "right.row6.example")

	signed("row7.example", "plain.row7.example", "dane.row7.example").Policy("enforce", "plain.row7.example")
	add("plain.row7.example")
	add("dane.row7.example", ee)
	expect("row7.example", "secure", "plain.row7.example")

	unsigned("row8.example", "mx.row8hosts.example").Policy("enforce", "mx.row8hosts.example")
	signed("row8hosts.example")
	add("mx.row8hosts.example", ee)
	expect("row8.example", "secure", "mx.row8hosts.example")

	signed("row9.example", "broken.row9.example", "plain.row9.example")
	add("broken.row9.example", ee)
	add("plain.row9.example")
	inet.BreakDNSBelow(policytest.ServFail, "_tcp.broken.row9.example", dnssec.TypeTLSA)
	expect("row9.example", "dane", "plain.row9.example")

	signed("row10.example", "broken.row10.example", "plain.row10.example").Policy("enforce", "*.row10.example")
	add("broken.row10.example", ee)
	add("plain.row10.example")
	inet.BreakDNSBelow(policytest.ServFail, "_tcp.broken.row10.example", dnssec.TypeTLSA)
	expect("row10.example", "secure", "plain.row10.example")

	unsigned("row13.example", "evil.row13hosts.example", "mx.row13.example").Policy("enforce", "mx.row13.example")
	unsigned("row13hosts.example")
	add("evil.row13hosts.example")
	add("mx.row13.example")
	expect("row13.example", "secure", "mx.row13.example")

	unsigned("row15.example", "mx.row15.example")
	add("mx.row15.example", policytest.NoSTARTTLS)
	expect("row15.example", "notfound", "mx.row15.example")

	signed("row17.example", "mx.row17.example")
	add("mx.row17.example", ee)
	inet.BreakDNSBelow(policytest.ServFail, "_tcp.mx.row17.example", dnssec.TypeTLSA)
	expect("row17.example", "temp", "")

	unsigned("row19.example", "clear.row19.example", "tls.row19.example")
	add("clear.row19.example", policytest.NoSTARTTLS)
	add("tls.row19.example", policytest.SelfSigned)
	overrides["row19.example"] = policy.Override{Floor: policy.Encrypted}
	expect("row19.example", "encrypt", "tls.row19.example")

	unsigned("row22.example", "other.row22.example", "pinned.row22.example")
	add("other.row22.example")
	pinned := add("pinned.row22.example", policytest.Expired, policytest.WrongName("any.invalid"))
	var pin dane.Record
	if err := pin.UnmarshalText([]byte(policytest.TLSARecord(pinned.Certificates()[0], "3 1 1"))); err != nil {
		t.Fatal(err)
	}
	overrides["row22.example"] = policy.Override{Pin: []dane.Record{pin}}
	expect("row22.example", "fingerprint", "pinned.row22.example")

	resolver := inet.Resolver(func(c *policy.Config) {
		c.Port, c.Overrides = port, overrides
		c.AllowMailHost = netip.Addr.IsLoopback
	})
	var table strings.Builder
	for _, test := range tests {
		plan, err := resolver.Resolve(t.Context(), test.domain)
		reply := postfix.Policy(plan, err, postfix.Options{})
		if reply.Level() != test.level {
			t.Fatalf("%s: %+v, want %s", test.domain, reply, test.level)
		}
		switch reply.Status {
		case postfix.Found:
			fmt.Fprintf(&table, "%s %s\n", test.domain, reply.Text)
		case postfix.Temporary:
			fmt.Fprintf(&table, "%s invalid, as the reply of a table that cannot answer\n", test.domain)
		}
	}
	dir := t.TempDir()
	policies, roots := filepath.Join(dir, "policies"), filepath.Join(dir, "roots.pem")
	dnsserver.WriteFile(t, policies, table.String())
	dnsserver.WriteFile(t, roots, string(inet.RootPEM()))
	nameserver := daemon.Loopback()
	inet.ListenResolver(net.JoinHostPort(nameserver, "53"))
	sender := mailserver.StartSender(t, nameserver, port,
		"smtp_tls_security_level = may", "smtp_tls_dane_insecure_mx_policy = dane", "smtp_tls_fingerprint_digest = sha256",
		"smtp_tls_CAfile = "+roots, "smtp_tls_policy_maps = texthash:"+policies, "smtp_connection_cache_on_demand = no")
	for _, test := range tests {
		sender.Send(t, "a@sender.example", "b@"+test.domain, "Subject: hi\r\n\r\n")
	}
	for _, test := range tests {
		status := "status=sent"
		if test.gets == "" {
			status = "status=deferred"
		}
		await.Until(t, test.domain+" has "+status, func() bool {
			return len(sender.LogLines("to=<b@"+test.domain+">", "status=")) >= 1
		})
		if lines := sender.LogLines("to=<b@"+test.domain+">", "status="); len(lines) != 1 || !strings.Contains(lines[0], status) {
			t.Errorf("%s: %q, want %s", test.domain, lines, status)
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
}
