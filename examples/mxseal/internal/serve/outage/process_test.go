// Package outage tests what happens to mail when a daemon is killed, or when the server that a fleet shares is down.
// Each daemon is a process of its own.
package outage

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/serve"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// inheritance is what a daemon in another process gets: the world that it is in.
type inheritance struct {
	File  string // its configuration
	Port  uint16 // of mail hosts
	Roots []byte // trusted authorities, in PEM
}

// variable is the environment variable that makes this program a daemon.
const variable = "MXSEAL_TEST_DAEMON"

func TestMain(m *testing.M) {
	if text, found := os.LookupEnv(variable); found {
		os.Exit(beDaemon(text))
	}
	os.Exit(m.Run())
}

// beDaemon is "mxseal serve" in a world of loopback addresses.
func beDaemon(text string) int {
	var in inheritance
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(in.Roots)
	env := &cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, DNS: dnssec.Config{}, Policy: policy.Config{
		Port: in.Port, RootCAs: roots, AllowMailHost: netip.Addr.IsLoopback, AllowPolicyHost: netip.Addr.IsLoopback,
	}}
	return serve.Command().Run(context.Background(), env, []string{"-config", in.File})
}

// process is a program that can be killed.
type process struct {
	cmd  *exec.Cmd
	log  logbuf.Buffer
	done chan struct{} // closed when it has ended
}

// run runs a program until it is killed or the test ends.
func run(t testing.TB, ready func(*process) bool, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it was killed
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(program), &p.log)
		}
	})
	await.Until(t, filepath.Base(program)+" is ready", func() bool {
		select {
		case <-p.done:
			t.Fatal("it has ended")
		default:
		}
		return ready(p)
	})
	return p
}

// kill is kill -9. It returns when the process has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // unless it has ended
	<-p.done
}

// startDaemon starts a daemon with a configuration, in which DIR is its directory.
func startDaemon(t testing.TB, inet *policytest.Internet, port uint16, dir, text string) *process {
	t.Helper()
	in := inheritance{File: filepath.Join(dir, "conf"), Port: port, Roots: inet.RootPEM()}
	anchors := filepath.Join(dir, "anchors")
	text = fmt.Sprintf("name = 'sender.example'\n[dns]\nservers = ['%s']\nanchor-file = '%s'\n", inet.DNSAddr(), anchors) + strings.ReplaceAll(text, "DIR", dir)
	for _, err := range []error{os.WriteFile(in.File, []byte(text), 0o600), os.WriteFile(anchors, []byte(inet.TrustAnchors()), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	inherited, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, func(p *process) bool { return strings.Contains(p.log.String(), "msg=ready") }, []string{variable + "=" + string(inherited)}, os.Args[0])
}

// startRedis starts a Redis that keeps its data in a directory.
func startRedis(t testing.TB, dir string, port int) *process {
	t.Helper()
	return run(t, func(*process) bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, nil, interop.Need(t, "redis-server"), "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--dir", dir)
}

func freePort(t testing.TB) uint16 { return uint16(daemon.FreePort(t)) }
