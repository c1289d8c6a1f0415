package dnssec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
)

// SEC-28: the built-in anchors are the keys of IANA, which Debian has in
// /usr/share/dns/root.key. A file with several keys is read completely.
func TestBuiltInAnchorsAreThoseOfIANA(t *testing.T) {
	t.Parallel()
	records, err := anchor.ReadFile("testdata/root.key")
	if err != nil || len(records) != 2 {
		t.Fatalf("%v, %v", records, err)
	}
	for i, built := range anchor.Root() {
		built, key := built.(*dns.DS), records[i].(*dns.DNSKEY)
		if ds := key.ToDS(dns.SHA256); ds.KeyTag != built.KeyTag || ds.Algorithm != built.Algorithm || !strings.EqualFold(ds.Digest, built.Digest) {
			t.Errorf("built in is %v, the key's %v", built, ds)
		}
	}
	// A configuration with the root keys of IANA gives names their public meaning.
	for _, tt := range []struct {
		config Config
		local  bool
	}{
		{Config{}, true},
		{Config{AnchorFile: "testdata/root.key"}, true},
		{Config{Anchors: zoneText(records[1:]...)}, true},
		{Config{Anchors: newKey(t, ".", dns.ED25519, 257).record.String()}, false},
	} {
		tt.config.Servers = []string{"192.0.2.53"}
		v, err := New(tt.config)
		if err != nil || v.local != tt.local {
			t.Errorf("%+v, %v", tt.config, err)
		}
	}
}

// SEC-28, RFC 5011 section 6: a rollover of the root key from one trusted key to
// another. A validator that trusts only one of them returns an error while the
// other one signs alone, and never an insecure answer.
func TestRolloverOfRootIsNeverInsecure(t *testing.T) {
	t.Parallel()
	w := mail(t)
	root := w.zones["."]
	old, next := root.keys[0], newKey(t, ".", dns.RSASHA256, 257)
	file := filepath.Join(t.TempDir(), "root.key")
	text := old.record.String() + "\n" + next.record.String() + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	silent := func(k *testKey) *testKey { return &testKey{record: k.record, signer: k.signer, silent: true} }
	revoked := func(k *testKey) *testKey {
		record := dns.Copy(k.record).(*dns.DNSKEY)
		record.Flags |= dns.REVOKE
		return &testKey{record: record, signer: k.signer}
	}
	for _, phase := range []struct {
		what      string
		keys      []*testKey
		old, next bool // suffices as the only anchor
	}{
		{"before", []*testKey{old}, true, false},
		{"published", []*testKey{old, silent(next)}, true, false},
		{"both sign", []*testKey{old, next}, true, true},
		{"the new one signs", []*testKey{silent(old), next}, false, true},
		{"the old one is revoked", []*testKey{revoked(old), next}, false, true},
		{"after", []*testKey{next}, false, true},
	} {
		root.keys = phase.keys
		w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.Anchors, c.AnchorFile = "", file })
		for anchor, suffices := range map[*testKey]bool{old: phase.old, next: phase.next} {
			a, err := w.lookup("mx.example.com", dns.TypeA, func(c *Config) { c.Anchors = anchor.record.ToDS(dns.SHA256).String() })
			if (err == nil) != suffices || err == nil && a.Status != Secure {
				t.Errorf("%s, with key tag %d: %+v, %v", phase.what, anchor.record.KeyTag(), a, err)
			}
		}
	}
}

// SEC-28: if a file cannot be read completely, none of its keys is used.
func TestBrokenAnchorFileIsNotUsed(t *testing.T) {
	t.Parallel()
	key := anchor.Root()[0].String() + "\n"
	for what, text := range map[string]string{
		"empty":          "",
		"blank":          "\n \n",
		"a comment":      "; nothing here\n",
		"other records":  ". IN NS a.root-servers.net.\n",
		"garbage behind": key + "this is no key\n",
		"cut short":      key + key[:len(key)/2],
		"an include":     key + "$INCLUDE /dev/null\n",
		"a bad digest":   ". IN DS 20326 8 2 XYZ\n",
		"a bad key":      ". IN DNSKEY 257 3 8 AwEA\n",
		"HTML":           "<html><body>404</body></html>\n",
		"binary":         key + "\x00\x01\x02\n",
	} {
		file := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, extra := range []string{"", zoneText(anchor.Root()...)} {
			if v, err := New(Config{Servers: []string{"192.0.2.53"}, AnchorFile: file, Anchors: extra}); err == nil {
				t.Errorf("%s: trusted %v", what, v.anchors)
			}
		}
	}
}
