package delivery

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/cputime"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// serveVariable is set for a process that is the mail host of BenchmarkSessionCPU, so
// that the CPU time of the benchmark's own process is that of the client.
const serveVariable = "MXSEAL_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		serveUntilEOF()
		return
	}
	os.Exit(m.Run())
}

// serveUntilEOF prints the address and the key's digest of a mail host with TLS, and
// serves until standard input ends.
func serveUntilEOF() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	cert := certificates().good
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		panic(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}} // with tickets, for those who ask for them
	fmt.Printf("%s %x\n", listener.Addr(), sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			s := &server{conn: conn, lines: bufio.NewReader(conn), world: newWorld(nil)}
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			secured := tls.Server(conn, config)
			if secured.Handshake() == nil {
				s.lines = bufio.NewReader(secured)
				s.conn = &groupingConn{Conn: secured, lines: s.lines}
				s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250 PIPELINING\r\n"})
			}
		}()
	}
}

// groupingConn sends the replies to a group of commands as a unit (RFC 2920 section 3.2).
type groupingConn struct {
	net.Conn
	lines   *bufio.Reader // the commands
	replies []byte
}

func (c *groupingConn) Write(p []byte) (int, error) {
	c.replies = append(c.replies, p...)
	if c.lines.Buffered() > 0 {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.replies)
	c.replies = c.replies[:0]
	return len(p), err
}

// mailHostProcess starts a mail host and returns its address and its TLSA digest.
func mailHostProcess(b *testing.B) (addr, digest string) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), serveVariable+"=1")
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		child.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr, digest, _ = strings.Cut(strings.TrimSpace(line), " ")
	return addr, digest
}

// What a session by DANE 3 1 1 with the plan cached costs a client in CPU time, next to
// the same conversation by net/smtp without verification, with the same server and
// certificate: the medians of ten runs of each in turn, and their ratio.
func BenchmarkSessionCPU(b *testing.B) {
	const runs, sessions = 10, 200
	d, dial := dialerOfProcess(b)
	ours := func() error {
		client, err := d.Dial(b.Context(), "example.org")
		if err != nil {
			return err
		}
		if client.Host.By != policy.ByDANE {
			return fmt.Errorf("the session is by %v", client.Host.By)
		}
		return client.Quit()
	}
	theirs := func() error {
		conn, err := dial(b.Context(), "", "")
		if err != nil {
			return err
		}
		client, err := smtp.NewClient(conn, "mx.example.net")
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.Hello("sender.example"); err != nil {
			return err
		}
		if err := client.StartTLS(&tls.Config{ServerName: "mx.example.net", InsecureSkipVerify: true}); err != nil {
			return err
		}
		return client.Quit()
	}
	cost := func(session func() error) time.Duration {
		runtime.GC() // each run pays for its own garbage only
		before := cputime.Used(b)
		for range sessions {
			if err := session(); err != nil {
				b.Fatal(err)
			}
		}
		return (cputime.Used(b) - before) / sessions
	}
	for b.Loop() {
		var dane, plain []time.Duration
		for i := range runs {
			if i%2 == 0 {
				dane, plain = append(dane, cost(ours)), append(plain, cost(theirs))
			} else {
				plain, dane = append(plain, cost(theirs)), append(dane, cost(ours))
			}
		}
		slices.Sort(dane)
		slices.Sort(plain)
		b.ReportMetric(float64(dane[runs/2]), "cpu-ns/DANE")
		b.ReportMetric(float64(plain[runs/2]), "cpu-ns/net-smtp")
		b.ReportMetric(float64(dane[runs/2])/float64(plain[runs/2]), "DANE/net-smtp")
	}
}

// dialerOfProcess returns a Dialer for example.org, whose host is another process with
// DANE 3 1 1, and a function that connects to it.
func dialerOfProcess(b *testing.B) (d *Dialer, dial func(context.Context, string, string) (net.Conn, error)) {
	addr, digest := mailHostProcess(b)
	dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	names := fakedns.Answers{}
	names.Add(b, dnssec.Secure, "example.org. MX 0 mx.example.net.")
	names.Add(b, dnssec.Secure, "mx.example.net. A 192.0.2.1")
	names.Deny(dnssec.Secure, "mx.example.net. AAAA")
	names.Add(b, dnssec.Secure, "_25._tcp.mx.example.net. TLSA 3 1 1 "+digest)
	r, err := policy.New(policy.Config{DNS: names, NoMTASTS: true, Dial: dial})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return &Dialer{Resolver: r, LocalName: "sender.example"}, dial
}
