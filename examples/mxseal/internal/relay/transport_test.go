package relay

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
)

// When the socket of the relay is another one, the links to the former one do not stay. Other files do.
func TestTransportLeadsToNewSocket(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "d")
	config := TransportConfig{
		Dir: dir, Root: root, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Local: func(string) bool { return false },
	}
	for _, socket := range []string{"old.sock", "old.sock", "new.sock"} {
		config.Socket = filepath.Join(root, socket)
		transport, err := NewTransport(config)
		if err != nil {
			t.Fatal(err)
		}
		reply := transport.Map(t.Context(), "a@one.test")
		link := filepath.Join(root, strings.TrimPrefix(reply.Text, "lmtp:unix:"))
		if target, err := os.Readlink(link); err != nil || target != "../"+socket {
			t.Errorf("%s: %+v leads to %q, %v", socket, reply, target, err)
		}
		if err := os.Symlink("elsewhere", filepath.Join(dir, "to-"+socket)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Each domain has a next hop of its own, which leads to the socket of the relay.
func TestTransportGivesEachDomainItsNextHop(t *testing.T) {
	root, err := os.MkdirTemp("", "queue")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "mxseal", "d")
	now := time.Now()
	config := TransportConfig{
		Dir: dir, Root: root, Socket: filepath.Join(root, "mxseal", "relay.sock"), Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
		Local: func(domain string) bool { return domain == "own.test" },
	}
	transport, err := NewTransport(config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", config.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := map[string]string{}
	for _, key := range []string{"a@one.test", "b@ONE.test", "one.test", "a@two.test", "a@b\u00fccher.test", "a@xn--bcher-kva.test"} {
		reply := transport.Map(t.Context(), key)
		path, found := strings.CutPrefix(reply.Text, "lmtp:unix:mxseal/d/")
		if reply.Status != socketmap.Found || !found || len(path) != 20 {
			t.Fatalf("%s: %+v", key, reply)
		}
		seen[path] = key
		conn, err := net.Dial("unix", filepath.Join(dir, path))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		conn.Close()
	}
	if len(seen) != 3 {
		t.Errorf("%d next hops", len(seen))
	}
	for _, key := range []string{"*", "", "root", "a@own.test", "a@OWN.test", "a@[192.0.2.1]", "a@192.0.2.1", "a@../../etc", "a@b/../c.test"} {
		if reply := transport.Map(t.Context(), key); reply.Status != socketmap.NotFound {
			t.Errorf("%s: %+v", key, reply)
		}
	}
	links := func() int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	n := links()
	now = now.Add(23 * time.Hour)
	transport.Map(t.Context(), "a@one.test")
	now = now.Add(2 * time.Hour)
	// Another daemon takes over the links, and removes those that nobody asks for.
	transport.clean()
	if n < 3 || links() != 1 {
		t.Errorf("%d links, and %d after a day", n, links())
	}
	next, err := NewTransport(config)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(25 * time.Hour)
	next.clean()
	if links() != 0 {
		t.Errorf("%d links", links())
	}
	// Without room, domains share the socket.
	for i := range maxLinks {
		next.used[strconv.Itoa(i)] = now
	}
	if reply := next.Map(t.Context(), "a@three.test"); reply.Text != "lmtp:unix:mxseal/relay.sock" {
		t.Errorf("%+v", reply)
	}
	next.used = map[string]time.Time{}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if reply := next.Map(t.Context(), "a@three.test"); reply.Status != socketmap.Temporary || reply.Text == "" {
		t.Errorf("without the directory: %+v", reply)
	}
	config.Root = "/elsewhere"
	if _, err := NewTransport(config); err == nil {
		t.Error("a directory that the client cannot find")
	}
}
