package valkeystore

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/mtasts"
)

// server is a real redis-server or valkey-server on a free port.
type server struct {
	addr string
	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  logbuf.Buffer
}

// startServer runs a server without persistence until the test ends.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return startProgram(t, "redis-server", func(port, dir string) []string {
		return append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir}, args...)
	})
}

// startProgram runs a program that speaks the protocol until the test ends.
func startProgram(t testing.TB, name string, args func(port, dir string) []string) *server {
	t.Helper()
	program := interop.Need(t, name)
	dir := t.TempDir()
	for range 5 { // another process may take the free port
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		s := &server{addr: addr, args: append([]string{program}, args(port, dir)...)}
		if s.start(t) {
			t.Cleanup(func() {
				s.kill()
				if t.Failed() {
					t.Logf("log of the server:\n%s", s.log.String())
				}
			})
			return s
		}
		t.Logf("server did not start:\n%s", s.log.String())
	}
	t.Fatalf("%s could not be started", name)
	return nil
}

// freeAddr returns an address that no connection takes while a server that had it is away.
func freeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))
}

// start starts the server and reports whether it answers.
func (s *server) start(t testing.TB) bool {
	t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done, cmd := make(chan struct{}), s.cmd
	s.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // the log has the reason
	}()
	ended := false
	await.Until(t, "the server answers or has ended", func() bool {
		select {
		case <-done:
			ended = true
		default:
		}
		return ended || s.answers()
	})
	return !ended
}

func (s *server) answers() bool {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	fmt.Fprint(conn, "PING\r\n")
	var reply [5]byte
	n, _ := conn.Read(reply[:])
	return strings.HasPrefix(string(reply[:n]), "+PONG") || strings.HasPrefix(string(reply[:n]), "-NOAU")
}

// kill kills the server, as in a crash.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// pause stops the server process. It keeps its connections but answers nothing.
func (s *server) pause(t testing.TB) {
	t.Helper()
	if err := daemon.Pause(s.cmd.Process); err != nil {
		t.Fatal(err)
	}
}

// resume continues a paused server.
func (s *server) resume(t testing.TB) {
	t.Helper()
	if err := daemon.Resume(s.cmd.Process); err != nil {
		t.Fatal(err)
	}
}

// restart starts the server again, without data.
func (s *server) restart(t testing.TB) {
	t.Helper()
	if !s.start(t) {
		t.Fatal("the server did not start again")
	}
}

// admin runs a command as the operator.
func (s *server) admin(t testing.TB, command ...string) valkey.ValkeyResult {
	t.Helper()
	client, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{s.addr}, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := client.Do(context.Background(), client.B().Arbitrary(command...).Build())
	if err := r.Error(); err != nil && !valkey.IsValkeyNil(err) {
		t.Fatalf("%q: %v", command, err)
	}
	return r
}

// calls returns how many times a command was executed.
func (s *server) calls(t testing.TB, command string) (n int) {
	t.Helper()
	info, err := s.admin(t, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n
}

// keys returns all keys that match pattern.
func (s *server) keys(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := s.admin(t, "KEYS", pattern).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// at returns the configuration of a Store that uses the server at addr. It waits for a server
// that answers, however busy the machine is. Tests of a server that does not answer set a
// shorter Timeout.
func at(addr string, change ...func(*Config)) Config {
	config := Config{Server: valkey.ClientOption{InitAddress: []string{addr}}, Timeout: 30 * time.Second}
	for _, f := range change {
		f(&config)
	}
	return config
}

func open(t testing.TB, config Config) *Store { return openVersion(t, config, formVersion) }

func openVersion(t testing.TB, config Config, version string) *Store {
	t.Helper()
	s, err := newStore(config, version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const (
	domain     = "example.com"
	policyText = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmax_age: 86400\r\n"
)

// entry returns a policy of domain that was fetched some time ago and is valid
// for one day.
func entry(domain string, ago time.Duration) mtasts.Entry {
	fetched := time.Now().Add(-ago).Truncate(time.Millisecond)
	return mtasts.Entry{
		Domain: domain, ID: "1", Text: policyText, Used: true,
		Fetched: fetched, Expires: fetched.Add(24 * time.Hour), NextCheck: fetched.Add(5 * time.Minute),
	}
}

func put(t testing.TB, s *Store, e mtasts.Entry) {
	t.Helper()
	if err := s.Put(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// wantEntry checks the entry that the Store returns.
func wantEntry(t testing.TB, s *Store, want mtasts.Entry) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Domain)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != want.ID || got.Text != want.Text || !got.Fetched.Equal(want.Fetched) || !got.Expires.Equal(want.Expires) {
		t.Fatalf("Get = %+v, want %+v", got, want)
	}
}

// eventually waits until cond is true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	await.Until(t, what, cond)
}
