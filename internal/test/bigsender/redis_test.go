//go:build linux

package bigsender

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
)

// redis is the server that the relays share.
type redis struct {
	t             *testing.T
	program, addr string
	args          []string
	cmd           *exec.Cmd
	earlier       int // commands before the last restart
}

// newRedis starts a server. It keeps its data across a restart only if the arguments say so.
func newRedis(t *testing.T, program string, args ...string) *redis {
	port := strconv.Itoa(daemon.FreePort(t))
	r := &redis{
		t: t, program: program, addr: net.JoinHostPort("127.0.0.1", port),
		args: append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...),
	}
	r.start()
	t.Cleanup(r.stop)
	return r
}

// start starts the server and waits until it answers.
func (r *redis) start() {
	r.cmd = exec.Command(r.program, r.args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	await.Until(r.t, "Redis answers", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (r *redis) stop() {
	r.cmd.Process.Kill()
	_ = r.cmd.Wait() // it was killed
}

// kill ends the server at once.
func (r *redis) kill() {
	r.earlier = r.commands()
	r.stop()
}

// pause makes the server keep its connections and answer nothing.
func (r *redis) pause() { r.signal(syscall.SIGSTOP) }

func (r *redis) resume() { r.signal(syscall.SIGCONT) }

func (r *redis) signal(s syscall.Signal) {
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// commands returns the number of commands that the server has carried out.
func (r *redis) commands() int {
	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{r.addr}, DisableCache: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	text, err := client.Do(ctx, client.B().Info().Section("stats").Build()).ToString()
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "total_commands_processed:")
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(digits)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.earlier + n
}
