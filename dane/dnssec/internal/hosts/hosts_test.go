package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The lines of hosts(5): comments, several names, several lines with one name, and what is
// malformed.
func TestParse(t *testing.T) {
	t.Parallel()
	addrs := parse(`127.0.0.1 localhost
# 192.0.2.9 comment.example
192.0.2.1	relay.example. Relay	# the relay, other.example
192.0.2.2 RELAY.example
2001:db8::1 relay.example
192.0.2.1 relay.example
::ffff:192.0.2.3 mapped.example
fe80::1%eth0 zone.example
192.0.2.4
not-an-address name.example
192.0.2.5 ` + strings.Repeat("x", 64) + ` good.example
 192.0.2.6   indented.example
192.0.2.7 last.example`)
	for name, want := range map[string]string{
		"localhost.": "[127.0.0.1]", "relay.example.": "[192.0.2.1 192.0.2.2 2001:db8::1]", "relay.": "[192.0.2.1]",
		"mapped.example.": "[192.0.2.3]", "good.example.": "[192.0.2.5]", "indented.example.": "[192.0.2.6]", "last.example.": "[192.0.2.7]",
	} {
		if got := fmt.Sprint(addrs[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		delete(addrs, name)
	}
	if len(addrs) > 0 {
		t.Errorf("and %v", addrs)
	}
}

// The file is read again when it changes, but not for every lookup. If it is gone or too
// long, what it said last counts. At first there must be a file.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1e9, 0)
	clock := func() time.Time { return now }
	if _, err := Open(path, clock); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	write(strings.Repeat("# long\n", 1<<18))
	if _, err := Open(path, clock); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a long file: %v", err)
	}
	write("192.0.2.1 a.example")
	f, err := Open(path, clock)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(name, want string) {
		t.Helper()
		addrs, ok := f.Lookup(name)
		if got := fmt.Sprint(addrs); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, ok, want)
		}
	}
	expect("a.example.", "[192.0.2.1]")
	expect("b.example.", "")
	write("192.0.2.22 b.example")
	expect("b.example.", "") // checked a moment ago
	now = now.Add(checkTime)
	expect("b.example.", "[192.0.2.22]")
	expect("a.example.", "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(checkTime)
	expect("b.example.", "[192.0.2.22]")
	write(strings.Repeat("# long\n", 1<<18))
	now = now.Add(checkTime)
	expect("b.example.", "[192.0.2.22]")
	write("192.0.2.3 c.example")
	now = now.Add(-time.Hour) // the clock was set back
	expect("c.example.", "[192.0.2.3]")
}
