//go:build unix

package dnssec

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// fewFiles is set for a process that looks up names and may have few open files.
const fewFiles = "MXSEAL_TEST_FEW_FILES"

func TestMain(m *testing.M) {
	if server := os.Getenv(fewFiles); server != "" {
		lookUpWithFewFiles(server, os.Getenv(fewFiles+"_ANCHORS"))
		return
	}
	os.Exit(m.Run())
}

// lookUpWithFewFiles prints what fails.
func lookUpWithFewFiles(server, anchors string) {
	const names, free = 400, 25
	// The number of a file that is open shows which numbers are in use.
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Max stays, so that Cur can be raised again.
	limit := func(cur uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: cur, Max: uint64(null.Fd()) + free}); err != nil {
			fmt.Println(err)
		}
	}
	limit(uint64(null.Fd()) + free)
	var lacking atomic.Int64
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil && strings.Contains(err.Error(), syscall.EMFILE.Error()) {
			lacking.Add(1)
		}
		return conn, err
	}
	clock := func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	config := Config{Servers: []string{server}, Anchors: anchors, Dial: dial, Now: clock}
	config.Timeout, config.Limits.Duration = time.Minute, 2*time.Minute // the machine may be busy
	v, err := New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	absent := make([]string, names)
	for i := range absent {
		absent[i] = fmt.Sprintf("none%d.com", i)
	}
	for _, err := range all(context.Background(), v, absent) {
		if err != nil {
			fmt.Println(err)
		}
	}
	if lacking.Load() == 0 {
		fmt.Println("there were always enough files")
	}
	if s := v.Stats(); s.Secure.Count != names || s.Servers[0].Failures != 0 {
		fmt.Printf("%+v\n", s)
	}

	config.Timeout = time.Second
	if v, err = New(config); err != nil {
		fmt.Println(err)
		return
	}
	// Without any file for longer than an attempt takes: all numbers below are in use.
	limit(uint64(null.Fd()))
	_, err = v.Lookup(context.Background(), "none.com", TypeMX)
	if e, ok := err.(*Error); !ok || e.Reason != Busy {
		fmt.Println("without files:", err)
	}
	limit(uint64(null.Fd()) + free)
	if _, err := v.Lookup(context.Background(), "none.com", TypeMX); err != nil {
		fmt.Println("with files again:", err)
	}
}

// D10: with sockets of the system, and fewer of them than Bounds permits.
func TestD10FewFilesSuffice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.zone("com.")
	packets, listener := dnsdata.Listen(t)
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		server.Handler = dns.HandlerFunc(func(to dns.ResponseWriter, query *dns.Msg) {
			w.mu.Lock()
			defer w.mu.Unlock()
			to.WriteMsg(w.reply(query))
		})
		go server.ActivateAndServe()
		defer server.Shutdown()
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), fewFiles+"="+packets.LocalAddr().String(), fewFiles+"_ANCHORS="+w.anchors())
	if out, err := child.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
