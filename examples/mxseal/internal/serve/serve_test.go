package serve

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/examples/mxseal/internal/explain"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// output collects what the daemon logs.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// running is a daemon in this process.
type running struct {
	daemon
	dir    string
	log    *output
	hangup chan os.Signal
	stop   context.CancelFunc
	ended  chan error
}

// dirOf returns a directory whose name is short enough for sockets.
func dirOf(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start starts a daemon. DIR in the text of its configuration is a directory.
func start(t *testing.T, inet *policytest.Internet, dir, text string) *running {
	t.Helper()
	return startWith(t, inet, inet.Config(), dir, text)
}

// startWith starts a daemon with another policy.Config than that of the internet.
func startWith(t *testing.T, inet *policytest.Internet, c policy.Config, dir, text string) *running {
	t.Helper()
	r := &running{dir: dir, log: new(output), hangup: make(chan os.Signal), ended: make(chan error, 1)}
	r.write(t, text)
	settings, err := config.Read(filepath.Join(dir, "conf"))
	if err != nil {
		t.Fatal(err)
	}
	r.daemon = daemon{
		file: filepath.Join(dir, "conf"), settings: settings, hangup: r.hangup, grace: time.Minute, log: slog.New(slog.NewTextHandler(r.log, nil)),
		env: &cli.Env{DNS: inet.DNSConfig(), Policy: c},
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.ended <- r.run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	await.Until(t, "the daemon is ready", func() bool {
		if strings.Contains(r.log.String(), "msg=ready") {
			return true
		}
		select {
		case err := <-r.ended:
			r.ended <- err
			t.Fatal(err)
		default:
		}
		return false
	})
	return r
}

func (r *running) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "conf"), []byte(strings.ReplaceAll(text, "DIR", r.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload changes the file, signals the daemon, and waits until it logs a text.
func (r *running) reload(t *testing.T, text, logs string) {
	t.Helper()
	r.write(t, text)
	n := strings.Count(r.log.String(), logs)
	r.hangup <- syscall.SIGHUP
	await.Until(t, logs, func() bool { return strings.Count(r.log.String(), logs) > n })
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
	r.ended <- nil
}

// ask asks the socketmap, over a connection whose end shows where the reply ends.
func (r *running) ask(t *testing.T, request string) string {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(r.dir, "policy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%d:%s,", len(request), request)
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(reply), ":")
	return strings.TrimSuffix(text, ",")
}

const plain = `name = "sender.example"
[socketmap]
listen = ["unix:DIR/policy.sock"]
[http]
listen = ["unix:DIR/http.sock"]
names = ["mxseal"]
[store]
file = "DIR/state.db"
`

func newInternet(t *testing.T) *policytest.Internet {
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	return inet
}

func TestServe(t *testing.T) {
	inet := newInternet(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	r := start(t, inet, dirOf(t), plain)
	for request, want := range map[string]string{
		"QUERY dane.example":           "OK dane-only protocols=>=TLSv1.2",
		"QUERY plain.example":          "NOTFOUND ",
		"sts sts.example":              "OK secure match=mx.sts.example servername=hostname",
		"exim plain.example mx.a":      "OK refuse",
		"postfix dane.example":         `PERM mxseal has no map "postfix"`,
		"QUERYwithTLSRPT dane.example": "OK dane-only protocols=>=TLSv1.2",
	} {
		if got := r.ask(t, request); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(r.dir, "http.sock"))
	}}}
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/explain?domain=sts.example": "QUERYwithTLSRPT: secure\n", "/explain?domain=nosuch.example": "QUERY: notfound\n", "/explain": "want ?domain=NAME", "/": "Plans in memory", "/nosuch": "404",
	} {
		reply, err := web.Get("http://mxseal" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || !strings.Contains(string(text), want) || !strings.Contains(reply.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v %v %s, want %s", path, err, reply.Header, text, want)
		}
	}
	var stdout, stderr bytes.Buffer
	ask := []string{"-config", filepath.Join(r.dir, "conf"), "dane.example"}
	if code := explain.Command().Run(t.Context(), &cli.Env{Stdout: &stdout, Stderr: &stderr}, ask); code != 0 ||
		!strings.Contains(stdout.String(), "mx.dane.example") || !strings.Contains(stdout.String(), "QUERY: dane-only\n") {
		t.Errorf("mxseal explain: %d\n%s%s", code, &stdout, &stderr)
	}
	// A policy that is known holds after a restart, whatever an attacker hides.
	r.end(t)
	inet.BreakDNSBelow(policytest.Forge(), "_mta-sts.sts.example")
	if code := explain.Command().Run(t.Context(), &cli.Env{Stdout: &stdout, Stderr: &stderr}, ask); code != 1 || !strings.Contains(stderr.String(), "the daemon does not answer") {
		t.Errorf("without the daemon: %d %s", code, &stderr)
	}
	r = start(t, inet, r.dir, plain)
	if got := r.ask(t, "QUERY sts.example"); !strings.HasPrefix(got, "OK secure") {
		t.Errorf("after a restart: %s", got)
	}
}

// A reload changes domains and options, and keeps what is known. A file that is wrong changes nothing.
func TestReloadKeepsWhatIsKnown(t *testing.T) {
	inet := newInternet(t)
	r := start(t, inet, dirOf(t), plain)
	ask := func(want string) {
		t.Helper()
		if got := r.ask(t, "QUERY plain.example"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	const encrypt = "OK encrypt protocols=>=TLSv1.2"
	ask("NOTFOUND ")
	r.reload(t, plain+"[domain.'plain.example']\nfloor = 'encrypted'\n", "was reloaded")
	ask(encrypt)
	r.reload(t, plain+"[domain.'plain.example']\nflor = 'opportunistic'\n", "was not reloaded")
	ask(encrypt)
	r.reload(t, plain+"[domain.'plain.example']\nno-dane = true\nrequire-dane = true\n", "was not reloaded")
	ask(encrypt)
	asked := len(inet.AllQuestions())
	r.ask(t, "QUERY dane.example")
	if len(inet.AllQuestions()) == asked {
		t.Error("dane.example was known before")
	}
	asked = inet.Questions("dane.example", dnssec.TypeMX) // others may be under way that the answer did not need
	r.reload(t, strings.Replace(plain, "[socketmap]", "[socketmap]\nfingerprints = true", 1), "was reloaded")
	if got := r.ask(t, "QUERY dane.example"); !strings.HasPrefix(got, "OK fingerprint match=") {
		t.Errorf("%s", got)
	}
	if n := inet.Questions("dane.example", dnssec.TypeMX); n != asked {
		t.Errorf("%d queries for a domain that is known", n-asked)
	}
	ask("NOTFOUND ")
	r.reload(t, plain+"[policy]\nfloor = 'encrypted'\n", "need a restart")
	ask("NOTFOUND ")
}

// Sessions that Postfix reports are in the store when the daemon has ended.
func TestCollectedSessionsAreStored(t *testing.T) {
	inet := newInternet(t)
	r := start(t, inet, dirOf(t), plain+"[tlsrpt-reports]\ncontact = 'tls@sender.example'\n[tlsrpt-collector]\nlisten = ['unix:DIR/tlsrpt.sock']\n")
	c, err := net.Dial("unixgram", filepath.Join(r.dir, "tlsrpt.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, `{"d":"dane.example","policies":[{"policy-type":1,"policy-domain":"mx.dane.example","f":0}]}`)
	fmt.Fprint(c, `no JSON`)
	await.Until(t, "both are read", func() bool { return strings.Contains(r.log.String(), "a datagram is not understood") })
	r.end(t)
	stores, err := openStores(config.Store{File: filepath.Join(r.dir, "state.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer stores.close()
	var domains []string
	for each, err := range stores.reports.Domains(t.Context(), report.DayOf(time.Now())) {
		if err != nil {
			t.Fatal(err)
		}
		domains = append(domains, each)
	}
	if len(domains) != 1 || domains[0] != "dane.example" {
		t.Errorf("%q", domains)
	}
}

func TestSockets(t *testing.T) {
	dir := dirOf(t)
	path := filepath.Join(dir, "s")
	open := func() (*sockets, error) {
		return openSockets(&config.Config{Socketmap: config.Socketmap{Listen: []config.Address{{Kind: "unix", Where: path}}}})
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "another program listens") {
		t.Errorf("twice: %v", err)
	}
	// A daemon that was killed leaves its socket.
	first.policies[0].(*net.UnixListener).SetUnlinkOnClose(false)
	first.close()
	second, err := open()
	if err != nil {
		t.Fatal(err)
	}
	second.close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file: %v", err)
	}
	for _, c := range []*config.Config{
		{}, {Socketmap: config.Socketmap{Listen: []config.Address{{Kind: "systemd", Where: "policy"}}}},
		{Collector: config.Collector{Listen: []config.Address{{Kind: "inet", Where: "127.0.0.1:0"}}}},
	} {
		if _, err := openSockets(c); err == nil {
			t.Errorf("%+v listens", c)
		}
	}
}

// The daemon tells systemd when it is ready, reloads and ends, and gives signs of life.
func TestSystemdIsNotified(t *testing.T) {
	dir := dirOf(t)
	l, err := net.ListenPacket("unixgram", filepath.Join(dir, "notify"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	// All is read at once: the daemon would wait for room in the queue of the socket.
	heard, read := new(output), 0
	go func() {
		buffer := make([]byte, 1000)
		for {
			n, _, err := l.ReadFrom(buffer)
			if err != nil {
				return
			}
			fmt.Fprintf(heard, "%s\n", buffer[:n])
		}
	}()
	said := func(want string) {
		t.Helper()
		await.Until(t, want, func() bool {
			text := heard.String()
			at := strings.Index(text[read:], want)
			if at >= 0 {
				read += at + len(want)
			}
			return at >= 0
		})
	}
	r := start(t, newInternet(t), dir, plain)
	said("READY=1")
	said("WATCHDOG=1")
	r.reload(t, plain, "was reloaded")
	said("RELOADING=1")
	said("READY=1")
	r.end(t)
	said("STOPPING=1")
}

func TestCommand(t *testing.T) {
	dir := dirOf(t)
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("http://relay:secret@here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text   string
		args   []string
		code   int
		stderr string
	}{
		{plain, []string{"-config", file, "-test"}, 0, ""},
		{plain + "[domain.'a.example']\nnext-hop = ':'\n", []string{"-config", file, "-test"}, exitFailure, "a.example"},
		{plain + "x = 1\n", []string{"-config", file, "-test"}, exitFailure, "unknown keys: store.x"},
		{plain, []string{"-config", file + "x"}, exitFailure, "no such file"},
		{plain, []string{"-config", file, "-dkim-record"}, exitFailure, "dkim-key-file is not set"},
		{plain, nil, cli.ExitUsage, "-config is missing"},
		{plain, []string{"-config", file, "y"}, cli.ExitUsage, "unexpected argument y"},
		{"", []string{"-config", file}, exitFailure, "no listener"},
		{plain + "[tlsrpt-reports]\ncontact = 'nobody'\n", []string{"-config", file}, exitFailure, "Contact"},
		{plain + "[tlsrpt-reports]\ncontact = 'a@b.example'\ndkim-key-file = '/nonexistent'\n", []string{"-config", file, "-test"}, exitFailure, "/nonexistent"},
		{plain + "[dns]\nservers = ['dns.example']\n", []string{"-config", file, "-test"}, exitFailure, "dns.example"},
		{plain + "[dns]\nanchor-file = '/nonexistent'\n", []string{"-config", file, "-test"}, exitFailure, "/nonexistent"},
		{"[store]\nfile = '/nonexistent/store.db'\n", []string{"-config", file}, exitFailure, "/nonexistent/store.db"},
		{"[store]\nvalkey-url-file = '/nonexistent'\n", []string{"-config", file}, exitFailure, "/nonexistent"},
		{"[store]\nvalkey-url-file = 'DIR/url'\n", []string{"-config", file}, exitFailure, "no server URL"},
	} {
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(test.text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		inet := policytest.New(t)
		var stdout, stderr bytes.Buffer
		env := &cli.Env{Stdout: &stdout, Stderr: &stderr, DNS: inet.DNSConfig(), Policy: inet.Config()}
		if code := Command().Run(t.Context(), env, test.args); code != test.code || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%q: %d, %s, want %d, %s", test.args, code, &stderr, test.code, test.stderr)
		}
		if strings.Contains(stderr.String(), "secret") {
			t.Errorf("%q: the output has a password", test.args)
		}
	}
}
