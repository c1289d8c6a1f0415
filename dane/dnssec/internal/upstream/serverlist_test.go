package upstream

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/resolvconf"
)

// listed returns the servers of a list, and the problem as text.
func listed(l *serverList) (names []string, problem string) {
	servers, err := l.list()
	for _, s := range servers {
		names = append(names, s.String())
	}
	if err != nil {
		problem = err.Error()
	}
	return names, problem
}

// expectServers checks the servers of a list, and what the problem mentions: "" means that
// there is none.
func expectServers(t *testing.T, l *serverList, problem string, want ...string) {
	t.Helper()
	got, text := listed(l)
	if !slices.Equal(got, want) || !strings.Contains(text, problem) || (text == "") != (problem == "") {
		t.Errorf("servers %v, problem %q; want %v, %q", got, text, want, problem)
	}
}

// Servers that are given are used as they are, without duplicates and for all time.
func TestServersThatAreGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := newServerList([]string{"192.0.2.1", "192.0.2.2:53", "192.0.2.1:53"}, "/nonexistent", nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			expectServers(t, l, "", "192.0.2.1:53", "192.0.2.2:53")
			time.Sleep(time.Hour)
		}
	})
	if _, err := New(Config{Servers: []string{"192.0.2.1", "resolver"}}); err == nil {
		t.Error("a server without address")
	}
	refused := errors.New("refused")
	permit := func(s *Server, _ *resolvconf.File) error {
		if s.IsLoopback() {
			return nil
		}
		return refused
	}
	if _, err := New(Config{Servers: []string{"127.0.0.1", "192.0.2.1"}, Permit: permit}); !errors.Is(err, refused) {
		t.Errorf("a server that must not be used: %v", err)
	}
}

// The file is /etc/resolv.conf unless another is named.
func TestDefaultFile(t *testing.T) {
	t.Parallel()
	if l, _ := newServerList(nil, "", nil, Options{}); l.file != "/etc/resolv.conf" { // which may be missing
		t.Errorf("the file is %q", l.file)
	}
}

// A change of the file counts when the file is checked, which is every five seconds. It is
// recognized by the size or by the time. Servers that stay keep their state, those of a file
// that is being written stay, and lines that cannot be read are a problem.
func TestFileThatChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	written := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	write := func(t *testing.T, text string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write(t, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n", written)
		l, err := newServerList(nil, file, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		first := l.servers[0]
		write(t, "nameserver 192.0.2.1\n", written) // of another size
		time.Sleep(fileCheckTime - 1)
		expectServers(t, l, "", "192.0.2.1:53", "192.0.2.2:53")
		time.Sleep(1)
		expectServers(t, l, "", "192.0.2.1:53")
		if l.servers[0] != first {
			t.Error("a server that stays is forgotten")
		}

		write(t, "nameserver 192.0.2.3\n", written.Add(time.Second)) // of the same size
		time.Sleep(fileCheckTime - 1)
		expectServers(t, l, "", "192.0.2.1:53")
		time.Sleep(1)
		expectServers(t, l, "", "192.0.2.3:53")

		write(t, "options rotate\n", written)
		time.Sleep(fileCheckTime)
		expectServers(t, l, "names no DNS server", "192.0.2.3:53")
		write(t, "nameserver 192.0.2.4\n", written) // just after a check that changed nothing
		time.Sleep(fileCheckTime - 1)
		expectServers(t, l, "names no DNS server", "192.0.2.3:53")
		time.Sleep(1)
		expectServers(t, l, "", "192.0.2.4:53")

		write(t, "nameserver 192.0.2.4\nnameserver resolver\n", written)
		time.Sleep(fileCheckTime)
		expectServers(t, l, "was read in part", "192.0.2.4:53")
	})
}

// What the file says now decides whether the servers that are used may still be, also if it
// has no server that can be used. If it cannot be read, it has not said anything else.
func TestServersThatAreRevoked(t *testing.T) {
	t.Parallel()
	trusts := func(s *Server, file *resolvconf.File) error {
		if file.TrustAD || s.Addr().As4()[3] == 1 {
			return nil
		}
		return errors.New("it is not trusted")
	}
	const start = "nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions trust-ad\n"
	for name, tt := range map[string]struct {
		text    string // empty means a directory
		problem string
		want    []string
	}{
		"no server that can be used":      {"nameserver resolver\n", "no server may be asked", nil},
		"a server that may be used":       {"nameserver 192.0.2.1\n", "no server may be asked", nil},
		"no server":                       {"options rotate\n", "no server may be asked", nil},
		"no server that can be used, yet": {"nameserver resolver\noptions trust-ad\n", "older servers", []string{"192.0.2.1:53", "192.0.2.2:53"}},
		"a directory":                     {"", "older servers", []string{"192.0.2.1:53", "192.0.2.2:53"}},
	} {
		file := filepath.Join(t.TempDir(), "resolv.conf")
		synctest.Test(t, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(start), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := newServerList(nil, file, trusts, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err = os.Remove(file); err == nil && tt.text == "" {
				err = os.Mkdir(file, 0o700)
			} else if err == nil {
				err = os.WriteFile(file, []byte(tt.text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(fileCheckTime)
			t.Log(name)
			expectServers(t, l, tt.problem, tt.want...)
		})
	}
}
