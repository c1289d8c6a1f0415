package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/policy"
)

func TestParseEachSetting(t *testing.T) {
	c, err := config.Parse(`
name = "mail.example.net"
[dns]
servers = ["127.0.0.1:53"]
[store]
file = "/var/lib/mxseal/state.db"
[policy]
floor = "encrypted"
require-both = true
[domain."Bücher.example"]
floor = "authenticated"
pin = ["3 1 1 ` + strings.Repeat("ab", 32) + `"]
[domain."example.org"]
next-hop = "[relay.example.org]:587"
[host."mx.example.org"]
no-dane = true
[socketmap]
listen = ["inet:127.0.0.1:8642", "unix:/var/spool/postfix/mxseal/policy.sock", "systemd:policy"]
fingerprints = true
[tlsrpt-collector]
listen = ["unix:/var/spool/postfix/mxseal/tlsrpt.sock"]
[tlsrpt-reports]
contact = "tls@example.net"
dkim-key-file = "/etc/mxseal/dkim.pem"
`)
	if err != nil {
		t.Fatal(err)
	}
	var pin dane.Record
	if err := pin.UnmarshalText([]byte("3 1 1 " + strings.Repeat("ab", 32))); err != nil {
		t.Fatal(err)
	}
	want := map[string]policy.Override{
		"xn--bcher-kva.example": {Floor: policy.Authenticated, Pin: []dane.Record{pin}},
		"example.org":           {NextHop: "[relay.example.org]:587"},
	}
	if got := c.Overrides(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	var p policy.Config
	c.Demand(&p)
	if p.Floor != policy.Encrypted || p.Precedence != policy.RequireBoth || !p.HostOverrides["mx.example.org"].NoDANE || p.Self[0] != "mail.example.net" {
		t.Errorf("%+v", p)
	}
	if c.Reports.Organization != "example.net" || c.Reports.DKIMSelector != "tlsrpt" || len(c.Socketmap.Listen) != 3 || c.Socketmap.Listen[1].String() != "unix:/var/spool/postfix/mxseal/policy.sock" {
		t.Errorf("%+v", c)
	}
	if c, err := config.Parse(""); err != nil || c.Name == "" || c.Policy != (config.Policy{}) || c.Relay.ClientTimeout != config.DefaultClientTimeout {
		t.Errorf("the empty file: %+v, %v", c, err)
	}
}

// An error names what is wrong, and an unknown key is an error.
func TestParseNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"flor = 1":                     "unknown keys: flor",
		"[policy]\nflor = 'encrypted'": "unknown keys: policy.flor",
		"[domain.'example.org']\nrequiredane = true":  "unknown keys: domain.\"example.org\".requiredane",
		"[polisy]\nx = 1\n[y]\nz = 2":                 "unknown keys: polisy, polisy.x, y, y.z;",
		"[policy]\nfloor = 'encrypt'":                 `"encrypt" is no level`,
		"[policy]\nfloor = 'refused'":                 `"refused" is no level`,
		"[policy]\nrequire-dane = 'yes'":              "policy.require-dane",
		"[domain.'-bad-']\nno-dane = true":            `domain."-bad-"`,
		"[domain.'a.example']\n[domain.'A.example']":  "twice",
		"[socketmap]\nlisten = ['inet:0.0.0.0:8642']": "loopback",
		"[socketmap]\nlisten = ['inet:localhost:1']":  "loopback",
		"[socketmap]\nlisten = ['unix:policy.sock']":  "absolute",
		"[socketmap]\nlisten = ['systemd:']":          "FileDescriptorName",
		"[socketmap]\nlisten = ['tcp:1']":             "begins with none",
		"[socketmap]\nlisten = 'inet:127.0.0.1:1'":    "listen",
		"[store]\nfile = 'a'\nvalkey-url-file = 'b'":  "exclude each other",
		"[tlsrpt-reports]\norganization = 'x'":        "needs a contact",
		"[tlsrpt-collector]\nlisten = ['unix:/x']":    "contact",
		"[relay]\nclient-timeout = '600s'":            "relay.client-timeout is 10m0s",
		"[relay]\nclient-timeout = 'long'":            "client-timeout",
		"[relay]\nsubmit = 'systemd:smtp'":            "relay.submit",
		"[domain":                                     "line",
	} {
		_, err := config.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
