package upstream

import (
	"errors"
	"strings"
	"testing"
)

func TestServers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"9.9.9.9":                         "9.9.9.9:53",
		"127.0.0.1:5353":                  "127.0.0.1:5353",
		"::1":                             "[::1]:53",
		"[::1]":                           "[::1]:53",
		"[::1]:5353":                      "[::1]:5353",
		"fe80::1%eth0":                    "[fe80::1%eth0]:53",
		"tls://9.9.9.9#dns.quad9.net":     "tls://9.9.9.9:853#dns.quad9.net",
		"tls://9.9.9.9:853#dns.quad9.net": "tls://9.9.9.9:853#dns.quad9.net",
		"tls://9.9.9.9":                   "tls://9.9.9.9:853#9.9.9.9",
	} {
		if s, err := ParseServer(text); err != nil || s.String() != want {
			t.Errorf("%q is %v, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"", "dns.example", "9.9.9.9:0", "9.9.9.9:65536", "9.9.9.9#name", "tls://", "1.2.3"} {
		if s, err := ParseServer(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}

// On Windows there is no file to read, so the error says where to find the addresses.
// That does not apply to a file that the configuration names.
func TestNoServers(t *testing.T) {
	t.Parallel()
	cause := errors.New("it is on fire")
	for _, tt := range []struct {
		system, file string
		says, not    string
	}{
		{"windows", "", "Get-DnsClientServerAddress", "fire"},
		{"windows", "C:\\resolv.conf", "it is on fire", "Get-Dns"},
		{"linux", "", "it is on fire", "Get-Dns"},
	} {
		err := unlisted(tt.system, tt.file, cause)
		if text := err.Error(); !strings.Contains(text, tt.says) || strings.Contains(text, tt.not) || !strings.Contains(text, "set Servers to") {
			t.Errorf("%s, %q: %v", tt.system, tt.file, err)
		}
	}
}

// A directory in place of resolv.conf is the same error as a missing file.
func TestDirectoryIsNoResolvConf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, file := range []string{dir, dir + "/none"} {
		if _, err := New(Config{ResolvConf: file}); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "set Servers to") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
