// Package daemon runs real servers for interoperability tests. Each server runs
// in the foreground, on its own ports, until the test ends.
package daemon

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
)

// A Daemon is a running server. Its methods are safe for concurrent use.
type Daemon struct {
	name string
	log  logbuf.Buffer
	done chan struct{} // closed when the process has ended
	cmd  *exec.Cmd
}

// Start starts a program in the foreground and returns when ready returns nil.
// The test fails if the program ends before that or is not ready after three
// minutes. The program is stopped when the test ends. If the test has failed,
// its log is printed.
func Start(t testing.TB, ready func() error, program string, args ...string) *Daemon {
	t.Helper()
	return StartCommand(t, ready, exec.Command(program, args...))
}

// StartCommand is Start for a program with attributes of its own. Its output goes
// to the log.
func StartCommand(t testing.TB, ready func() error, cmd *exec.Cmd) *Daemon {
	t.Helper()
	d := &Daemon{name: cmd.Path, done: make(chan struct{}), cmd: cmd}
	d.cmd.Stdout = &d.log
	d.cmd.Stderr = &d.log
	ownGroup(d.cmd)
	// A child process that keeps the pipe open must not block the test.
	d.cmd.WaitDelay = 5 * time.Second
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait() // the log has the reason
	}()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", d.name, d.Log())
		}
	})
	d.await(t, ready)
	return d
}

// await polls until ready returns nil.
func (d *Daemon) await(t testing.TB, ready func() error) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-d.done:
			t.Fatalf("%s ended before it was ready", d.name)
		case <-deadline:
			t.Fatalf("%s is not ready: %v", d.name, err)
		case <-poll.C:
		}
	}
}

// stop sends SIGTERM to the process group, and SIGKILL after five seconds.
func (d *Daemon) stop() {
	endGroup(d.cmd)
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
	}
	killGroup(d.cmd)
	<-d.done
}

// Log returns everything that the server has written to standard output and
// standard error.
func (d *Daemon) Log() string { return d.log.String() }

// LogLines returns the lines of the log that contain all words.
func (d *Daemon) LogLines(words ...string) []string {
	var found []string
	for line := range strings.Lines(d.Log()) {
		if containsAll(line, words) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func containsAll(s string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(s, word) {
			return false
		}
	}
	return true
}

// Loopback returns a random loopback address, so that servers of several tests can
// use the same port.
func Loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
}

// FreePort returns a port of 127.0.0.1 that is free for TCP and UDP, and that no other
// test gets until this one ends: between the choice and the start of the server, another
// could choose the same one. It is not in the range of ephemeral ports, so that no outgoing
// connection takes it.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, ports = 10000, 10000
	for range 100 {
		port := first + rand.IntN(ports)
		// Tests of other processes hold theirs in the same way.
		held, err := net.ListenPacket("udp", loopback(port+ports))
		if err != nil {
			continue
		}
		if !isFree(port) {
			held.Close()
			continue
		}
		t.Cleanup(func() { held.Close() })
		return port
	}
	t.Fatal("no port is free for both TCP and UDP")
	return 0
}

func isFree(port int) bool {
	tcp, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		return false
	}
	udp.Close()
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Run runs a program and returns its output. The test fails if the program
// fails.
func Run(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}
