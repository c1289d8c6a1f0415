// Package reporting tests the reports that the daemon sends about the mail of its relay.
package reporting

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/serve"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// world is a private internet, and the configuration of a daemon in it.
type world struct {
	*policytest.Internet
	config policy.Config
	file   string
	addr   string // of the relay
}

// newWorld returns a world in which the daemon keeps its state in a file, reports, and signs with a key. Without a
// key, it does not report.
func newWorld(t *testing.T, key any) *world {
	t.Helper()
	inet := policytest.New(t)
	dir := t.TempDir()
	w := &world{Internet: inet, config: inet.Config(), file: filepath.Join(dir, "conf"), addr: fmt.Sprintf("127.0.0.1:%d", daemon.FreePort(t))}
	text := "name = 'relay.sender.test'\n[store]\nfile = '" + filepath.Join(dir, "state.db") + "'\n[relay]\nsmtp = ['inet:" + w.addr + "']\n"
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "key.pem")
		w.write(t, name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		text += "[tlsrpt-reports]\ncontact = 'tls-reports@sender.test'\norganization = 'Sender'\ndkim-key-file = '" + name + "'\n"
	}
	w.write(t, w.file, text)
	return w
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dkimRecord returns the name and the text of the DNS record that the daemon prints.
func (w *world) dkimRecord(t *testing.T) (name, text string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := serve.Command().Run(t.Context(), &cli.Env{Stdout: &stdout, Stderr: &stderr}, []string{"-config", w.file, "-dkim-record"}); code != 0 {
		t.Fatalf("%d: %s", code, &stderr)
	}
	for _, part := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(stdout.String(), -1) {
		text += part[1]
	}
	name, _, _ = strings.Cut(stdout.String(), " ")
	return name, text
}

// running is a daemon.
type running struct {
	addr string
	log  *logbuf.Buffer
	stop context.CancelFunc
	code chan int // the exit status
}

// start starts a daemon. It ends with the test, or when end is called.
func (w *world) start(t *testing.T) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{addr: w.addr, log: new(logbuf.Buffer), stop: stop, code: make(chan int, 1)}
	env := &cli.Env{Stdout: io.Discard, Stderr: r.log, DNS: w.DNSConfig(), Policy: w.config}
	go func() {
		defer close(r.code)
		r.code <- serve.Command().Run(ctx, env, []string{"-config", w.file})
	}()
	t.Cleanup(func() { r.end(t) })
	await.Until(t, "the daemon is ready", func() bool { return strings.Contains(r.log.String(), "msg=ready") })
	return r
}

// end stops the daemon if it is still running.
func (r *running) end(t *testing.T) {
	r.stop()
	if code := <-r.code; code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	if t.Failed() {
		t.Logf("log of the daemon:\n%s", r.log)
	}
}

// send sends a message like any mail program.
func (r *running) send(to string) error {
	return smtp.SendMail(r.addr, nil, "me@sender.test", []string{to}, []byte("Subject: hello\r\n\r\nHello.\r\n"))
}

// tomorrow moves the clock to a time when all reports of today are due.
func (w *world) tomorrow() {
	due := (report.DayOf(w.Now()) + 1).Start().Add(5 * time.Hour)
	w.Advance(due.Sub(w.Now()))
}

// mailHost returns the mail host of a new domain with DANE.
func (w *world) mailHost(domain string) *policytest.Host {
	w.Domain(domain).MX("mx." + domain)
	return w.Host("mx."+domain, policytest.TLSA("3 1 1"))
}

// redirect redirects connections to an address to a port of 127.0.0.1.
func (w *world) redirect(addr string, port int) {
	dial := w.config.Dial
	w.config.Dial = func(ctx context.Context, network, to string) (net.Conn, error) {
		if to == addr {
			return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		}
		return dial(ctx, network, to)
	}
}
