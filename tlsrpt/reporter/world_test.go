package reporter_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	postTXT = "v=TLSRPTv1; rua=https://reports.example/v1"
	mailTXT = "v=TLSRPTv1; rua=mailto:tls@example.com"
	bothTXT = postTXT + ",mailto:tls@example.com"

	publicAddr = "93.184.215.14"
)

// world is the environment of a Reporter in a synctest bubble. The clock starts
// at midnight after the day of the tests.
type world struct {
	t     *testing.T
	began time.Time
	store reporter.MemoryStore
	pki   *testpki.Entity
	cert  *testpki.Entity // of reports.example
	log   logbuf.Buffer

	mu     sync.Mutex
	txt    map[string][]string // by domain; absent means not found
	txtErr error               // if not nil, returned for all domains
	lie    time.Duration       // what the next reading of the clock is off by
	asked  int                 // number of TXT lookups
	addrs  []netip.Addr        // the addresses of all endpoints
	status int                 // the status code of all endpoints
	posted []delivery
	mailed []delivery
	mail   error // the error that the Mailer returns
}

// delivery is a report that an endpoint received.
type delivery struct {
	after  time.Duration // since midnight
	to     string        // URL or address
	header http.Header
	octets []byte
	report *report.Report
	dialed string
}

func newWorld(t *testing.T) *world {
	pki := testpki.Root(t, "reports root")
	return &world{
		t: t, began: time.Now(), pki: pki,
		cert:   pki.Server(t, []string{"reports.example"}),
		txt:    map[string][]string{"example.com": {postTXT}},
		addrs:  []netip.Addr{netip.MustParseAddr(publicAddr)},
		status: http.StatusCreated,
	}
}

// midnight is the time at which the world starts.
var midnight = day.Add(24 * time.Hour)

// allStarted is the time after midnight at which all reports of the day are due
// and most are sent.
const allStarted = 4*time.Hour + time.Minute

// now returns the time of the world. Certificates of testpki are valid at that
// time.
func (w *world) now() time.Time { return midnight.Add(time.Since(w.began)) }

// misread is now, except that one reading is off by w.lie.
func (w *world) misread() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	lie := w.lie
	w.lie = 0
	return w.now().Add(lie)
}

// count adds a session to the sums of a domain.
func (w *world) count(domain string, day report.Day, outcomes ...tlsrpt.Outcome) {
	w.t.Helper()
	a := newAggregator(w.t, reporter.AggregatorConfig{Store: &w.store})
	s := session(outcomes...)
	s.Domain, s.Time = domain, day.Start()
	a.Record(s)
	if err := a.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// left returns the sums in the store.
func (w *world) left(domain string, day report.Day) []report.PolicyResult {
	w.t.Helper()
	part, err := w.store.Sums(w.t.Context(), day, domain)
	if err != nil {
		w.t.Fatal(err)
	}
	return part.Sums
}

func (w *world) config() reporter.Config {
	roots := x509.NewCertPool()
	roots.AddCert(w.pki.Cert)
	return reporter.Config{
		Store: &w.store, Organization: "Sender", Contact: "tls-reports@Sender.example",
		Resolver: w, Dial: w.dial, RootCAs: roots, Now: w.now,
		Mailer: reporter.MailerFunc(w.sendMail), Signer: reporter.SignerFunc(sign),
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
}

// instance returns the part of report IDs that is the Store's.
func (w *world) instance() string {
	w.t.Helper()
	id, err := w.store.ID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// id returns the report ID that begins like this.
func (w *world) id(begin string) string { return begin + "." + w.instance() + "@sender.example" }

// set changes the world while a Reporter runs.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) lookups() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

func (w *world) posts() []delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.posted
}

func (w *world) mails() []delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mailed
}

// start starts a Reporter. It stops when the test ends.
func (w *world) start(config reporter.Config) {
	w.t.Helper()
	w.startFor(config)
}

// startFor is like start, and returns a function to stop earlier.
func (w *world) startFor(config reporter.Config) (stop func()) {
	w.t.Helper()
	r, err := reporter.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	domain := strings.TrimSuffix(strings.TrimPrefix(name, "_smtp._tls."), ".")
	if "_smtp._tls."+domain+"." != name {
		w.t.Errorf("asked for TXT of %q", name) // RPT-1
	}
	if w.txtErr != nil {
		return nil, w.txtErr
	}
	if txts, ok := w.txt[domain]; ok {
		return txts, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (w *world) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addrs, nil
}

// dial connects to an endpoint for one request.
func (w *world) dial(_ context.Context, _, addr string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{w.cert.TLS()}})
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return // the client rejected the certificate
		}
		octets, err := io.ReadAll(request.Body)
		if err != nil {
			w.t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if request.Method != http.MethodPost {
			w.t.Errorf("method %s", request.Method) // RPT-14
		}
		rep, err := reporttest.Posted(octets)
		if err != nil {
			w.t.Error(err)
			return
		}
		to := "https://" + request.Host + request.URL.Path
		w.posted = append(w.posted, delivery{w.now().Sub(midnight), to, request.Header, octets, rep, addr})
		response := http.Response{StatusCode: w.status, Header: http.Header{"Location": {"https://reports.example/other"}}}
		if err := response.Write(conn); err != nil {
			w.t.Error(err)
		}
	}()
	return client, nil
}

func (w *world) sendMail(_ context.Context, from string, to []string, message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if from != "tls-reports@sender.example" || len(to) != 1 {
		w.t.Errorf("mail from %q to %q", from, to)
	}
	rep, err := reporttest.Mailed(message)
	if err != nil {
		w.t.Error(err)
		return err
	}
	w.mailed = append(w.mailed, delivery{w.now().Sub(midnight), to[0], nil, message, rep, ""})
	return w.mail
}

// sign adds a fake signature.
func sign(_ context.Context, message []byte, fields []string) ([]byte, error) {
	header := "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example;\r\n\ts=x; h=" +
		strings.Join(fields, ":\r\n\t ") + ";\r\n\tbh=; b=\r\n"
	return append([]byte(header), message...), nil
}

var errTemporary = errors.New("SERVFAIL")
