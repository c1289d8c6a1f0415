package outage

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/policy/policytest"
)

// member is a daemon of a fleet.
type member struct {
	*process
	dir string
}

// fleet is daemons that share a Redis.
type fleet struct {
	t    *testing.T
	inet *policytest.Internet
	port uint16
	url  string // the file that has it
}

func (f *fleet) start() *member {
	f.t.Helper()
	dir, err := os.MkdirTemp("", "fleet") // t.TempDir has names that are too long for sockets
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { os.RemoveAll(dir) })
	return &member{startDaemon(f.t, f.inet, f.port, dir, "[store]\nvalkey-url-file = '"+f.url+"'\n[relay]\nlmtp = ['unix:DIR/relay.sock']\n"), dir}
}

// send gives a message to the relay of a daemon, and returns the reply.
func (m *member) send(t *testing.T, to string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(m.dir, "relay.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := textproto.NewConn(conn)
	var reply string
	for _, line := range []string{"", "LHLO sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<" + to + ">", "DATA", "Subject: x\r\n\r\n."} {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		code, text, err := c.ReadResponse(0)
		if code == 0 {
			t.Fatal(err)
		}
		reply = fmt.Sprintf("%d %s", code, text)
	}
	return reply
}

// Two daemons share a Redis: what one has fetched, the other knows. One is killed, and the other goes on. When an
// attacker hides a policy, a new daemon enforces it all the same, and while the Redis is away, mail about
// which a new daemon knows nothing waits: nothing is ever sent with less protection.
func TestFleetSharesPolicies(t *testing.T) {
	inet := policytest.New(t)
	port := freePort(t)
	var fetches atomic.Int64
	sts := func(domain string) (mx *policytest.Host, hide func()) {
		d := inet.Domain(domain, policytest.Unsigned).MX("mx." + domain).Add(`_mta-sts TXT "v=STSv1; id=1"`)
		inet.Web("mta-sts."+domain, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fetches.Add(1)
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "version: STSv1\r\nmode: enforce\r\nmx: mx."+domain+"\r\nmax_age: 604800\r\n")
		}), policytest.Listen(daemon.Loopback()+":443"))
		mx = inet.Host("mx."+domain, policytest.Listen(fmt.Sprintf("%s:%d", daemon.Loopback(), port)))
		return mx, func() {
			d.Remove("_mta-sts")
			inet.BreakDNSBelow(policytest.Forge(), "_mta-sts."+domain)
		}
	}
	mx, hide := sts("sts.example")
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	plain := inet.Host("mx.plain.example", policytest.Listen(fmt.Sprintf("%s:%d", daemon.Loopback(), port)))

	redisPort, redisDir := daemon.FreePort(t), t.TempDir()
	redis := startRedis(t, redisDir, redisPort)
	f := &fleet{t: t, inet: inet, port: port, url: filepath.Join(t.TempDir(), "url")}
	if err := os.WriteFile(f.url, fmt.Appendf(nil, "redis://127.0.0.1:%d/0\n", redisPort), 0o600); err != nil {
		t.Fatal(err)
	}
	sent := func(m *member, to string) {
		t.Helper()
		if reply := m.send(t, to); !strings.HasPrefix(reply, "250 ") {
			t.Errorf("%s: %s", to, reply)
		}
	}
	waits := func(m *member, to string) {
		t.Helper()
		if reply := m.send(t, to); !strings.HasPrefix(reply, "451 ") {
			t.Errorf("%s: %s", to, reply)
		}
	}
	first, second := f.start(), f.start()
	sent(first, "a@sts.example")
	sent(second, "b@sts.example")
	sent(second, "b@plain.example")
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches by two daemons", n)
	}
	first.kill()
	sent(second, "c@sts.example")

	hide()
	restore := mx.Break(policytest.NoSTARTTLS)
	third := f.start()
	waits(third, "d@sts.example") // the Redis has the policy
	sent(third, "d@plain.example")

	redis.kill()
	fourth := f.start()
	waits(fourth, "e@sts.example") // the policy is hidden, and the Redis, which has it, is away
	waits(fourth, "e@plain.example")
	sent(second, "e@plain.example") // the Redis has said that there is none

	startRedis(t, redisDir, redisPort)
	waits(fourth, "f@sts.example")
	restore()
	await.Until(t, "the daemon reads the Redis again", func() bool { return strings.HasPrefix(fourth.send(t, "g@sts.example"), "250 ") })
	sent(second, "g@sts.example")
	if n := len(mx.Messages()); n != 5 {
		t.Errorf("%d messages", n)
	}
	for _, m := range mx.Messages() {
		if m.Session.TLS == nil {
			t.Errorf("%s got a message in cleartext", m.To)
		}
	}
	if n := len(plain.Messages()); n != 3 {
		t.Errorf("%d messages to a domain without policy", n)
	}
}
