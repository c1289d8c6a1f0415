package valkeystore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/logbuf"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// openOrSealed matches the keys of sums.
const openOrSealed = "*:report:[os]*"

// endpoint receives the reports of all domains.
type endpoint struct {
	t    testing.TB
	web  *httptest.Server
	root *testpki.Entity

	mu      sync.Mutex
	hold    chan struct{} // if not nil, reports are read but not answered until it is closed
	reports []*report.Report
}

func newEndpoint(t testing.TB) *endpoint {
	t.Helper()
	alive := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(48*time.Hour)
	}
	e := &endpoint{t: t, root: testpki.Root(t, "root", alive)}
	site := e.root.Server(t, []string{"reports.example"}, alive)
	e.web = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.web.TLS = &tls.Config{Certificates: []tls.Certificate{site.TLS()}}
	e.web.StartTLS()
	t.Cleanup(e.web.Close)
	return e
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rep, err := reporttest.Posted(body)
	if err != nil {
		e.t.Error(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.reports = append(e.reports, rep)
	hold := e.hold
	e.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.WriteHeader(http.StatusCreated)
}

func (e *endpoint) received() []*report.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reports[:len(e.reports):len(e.reports)]
}

// answer sets whether the endpoint answers.
func (e *endpoint) answer(does bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if does {
		close(e.hold)
		e.hold = nil
	} else {
		e.hold = make(chan struct{})
	}
}

// reportVisit tells a process where to report and for which day.
type reportVisit struct {
	Web   string // address
	Roots string // PEM
	Day   report.Day
}

func (e *endpoint) visit(day report.Day) *reportVisit {
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.root.Cert.Raw})
	return &reportVisit{Web: e.web.Listener.Addr().String(), Roots: string(roots), Day: day}
}

// reporter returns a Reporter whose clock says that all reports of the day are
// due.
func (v *reportVisit) reporter(store reporter.Store, log io.Writer) (*reporter.Reporter, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(v.Roots))
	began, due := time.Now(), (v.Day + 1).Start().Add(4*time.Hour)
	return reporter.New(reporter.Config{
		Store: store, Organization: "Sender", Contact: "tls-reports@sender.example",
		Resolver: v, RootCAs: roots, Interval: time.Microsecond, EndpointInterval: time.Microsecond,
		Now:    func() time.Time { return due.Add(time.Since(began)) },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, v.Web)
		},
	})
}

func (v *reportVisit) LookupTXT(context.Context, string) ([]string, error) {
	return []string{"v=TLSRPTv1; rua=https://reports.example/"}, nil
}

func (v *reportVisit) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("11.0.0.1")}, nil // not used, because Dial ignores it
}

// run reports at each line of input.
func (v *reportVisit) run(store reporter.Store, in io.Reader) error {
	sender, err := v.reporter(store, os.Stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { sender.Run(ctx) })
	_, err = io.Copy(io.Discard, in)
	cancel()
	running.Wait()
	return err
}

// A relay that dies while it sends a report leaves a sealed part and a lease.
// After the lease has expired, another relay sends the same report with the
// same ID. Later sessions are not in it.
func TestRelayDiesWhileReporting(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	end := newEndpoint(t)
	end.answer(false)
	direct := open(t, at(srv.addr)).Reports()
	day := today()
	add(t, direct, batch("w", 1, domain, sessions(stsPolicy(1), 3, untrusted("a"))))

	o := orders{Server: srv.addr, Version: formVersion, Reports: end.visit(day)}
	first := startRelay(t, o)
	eventually(t, "a report is under way", func() bool { return len(end.received()) == 1 })
	first.kill(t)
	late := batch("w", 2, domain, sessions(noPolicy, 10))
	late.Sums[0].Day = day
	add(t, direct, late)
	end.answer(true)
	if _, ok, err := direct.Lease(t.Context(), day, domain, time.Minute); err != nil || ok {
		t.Fatalf("the lease of the killed relay: %v, %v", ok, err)
	}
	left, err := srv.admin(t, "PTTL", direct.keys.lease(day, domain)).AsInt64()
	if err != nil || left <= 0 {
		t.Errorf("the lease has no end: %d, %v", left, err)
	}

	srv.admin(t, "PEXPIRE", direct.keys.lease(day, domain), "1")
	eventually(t, "the lease has expired", func() bool { return len(srv.keys(t, "*:lease:*")) == 0 })
	second := startRelay(t, o)
	eventually(t, "what was reported is deleted", func() bool {
		part, err := direct.Sums(t.Context(), day, domain)
		return err == nil && part.Number == 2
	})
	eventually(t, "the lease is released", func() bool { return len(srv.keys(t, "*:lease:*")) == 0 })
	second.kill(t)
	startRelay(t, o)
	eventually(t, "the rest is reported", func() bool { return len(srv.keys(t, openOrSealed)) == 0 })
	got := end.received()
	if len(got) != 3 || !reflect.DeepEqual(got[0], got[1]) || got[2].ID == got[0].ID {
		t.Fatalf("reports %+v", got)
	}
	if n := total(reporter.Part{Sums: got[1].Policies}); n != 4 {
		t.Errorf("%d sessions in the report that was sent twice", n)
	}
	if n := total(reporter.Part{Sums: got[2].Policies}); n != 10 {
		t.Errorf("%d sessions in the next one", n)
	}
}

// Three relays add and report over connections that break, and one of them adds
// while the others report. Each session is in exactly one report.
func TestEachSessionInOneReport(t *testing.T) {
	t.Parallel()
	base := seed.New(t)
	srv := startServer(t)
	end := newEndpoint(t)
	day := today()
	const relays, domains, each = 3, 60, 4000
	var ways []*proxy
	var stores []*Reports
	var counters []*reporter.Aggregator
	for range relays {
		way := startProxy(t, srv.addr)
		ways = append(ways, way)
		stores = append(stores, open(t, at(way.addr)).Reports())
		counter, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: stores[len(stores)-1]})
		if err != nil {
			t.Fatal(err)
		}
		counters = append(counters, counter)
	}
	counted := make([]map[string]int64, relays)
	count := func(i int, halfway func()) {
		random := rand.New(rand.NewPCG(base, uint64(i)))
		counted[i] = make(map[string]int64)
		for n := range each {
			if n == each/2 {
				halfway()
			}
			name := fmt.Sprintf("d%d.example", random.IntN(domains))
			o := tlsrpt.Outcome{Policy: stsPolicy(random.IntN(3))}
			o.Policy.Domain = name
			if random.IntN(3) == 0 {
				o.Failures = []tlsrpt.Failure{{Type: tlsrpt.CertificateExpired}}
			}
			counters[i].Record(&tlsrpt.Session{
				Domain: name, Time: day.Start(), MXHost: "mx." + name,
				HELO: fmt.Sprintf("mx%d", random.IntN(30)), Outcomes: []tlsrpt.Outcome{o},
			})
			counted[i][name]++
			if n%100 == 0 {
				if random.IntN(4) == 0 {
					ways[i].loseReply(":0\r\n")
				}
				_ = counters[i].Flush(t.Context()) // the next Flush retries
			}
		}
		again(t, "flushed", func() error { return counters[i].Flush(t.Context()) })
		ways[i].loseReply("")
	}
	rep := func(counting ...int) {
		ctx, cancel := context.WithCancel(t.Context())
		var counts, reporters sync.WaitGroup
		var logs logbuf.Buffer
		for i, store := range stores {
			sender, err := end.visit(day).reporter(store, &logs)
			if err != nil {
				t.Fatal(err)
			}
			reporters.Go(func() { sender.Run(ctx) })
			if len(counting) > 0 && i != counting[0] {
				ways[i].loseReply("*2\r\n") // the reply of a seal or of a read
			}
		}
		for _, i := range counting {
			counts.Go(func() {
				count(i, func() { // so that the last sessions of a domain are not in its first part
					again(t, "sealed", func() error {
						_, err := stores[i].Seal(t.Context(), day, "d0.example")
						return err
					})
				})
			})
		}
		counts.Wait()
		// Reports that are in progress or wait for a retry are sent by the next
		// rounds.
		calls, quiet := 0, 0
		eventually(t, "the server is hardly asked for anything", func() bool {
			if n := srv.calls(t, "eval"); n > calls {
				calls, quiet = n, 0
			} else {
				quiet++
			}
			return quiet > 20
		})
		cancel()
		reporters.Wait()
		// Leases whose release was lost would expire only after the test.
		for _, name := range srv.keys(t, "*:lease:*") {
			srv.admin(t, "DEL", name)
		}
	}

	var first sync.WaitGroup
	first.Go(func() { count(0, func() {}) })
	first.Go(func() { count(1, func() {}) })
	first.Wait()
	rep(2)
	const rounds = 50 // each reports what broken connections have left
	for n := 0; len(srv.keys(t, openOrSealed)) > 0; n++ {
		if n == rounds {
			t.Fatalf("not all is reported in %d rounds", rounds)
		}
		rep()
	}

	var want int64
	for _, m := range counted {
		for _, n := range m {
			want += n
		}
	}
	reports := make(map[string]*report.Report) // by ID
	copies := 0
	got := make(map[string]int64)
	for _, r := range end.received() {
		if known := reports[r.ID]; known != nil {
			copies++
			if !reflect.DeepEqual(known, r) {
				t.Errorf("two reports %s", r.ID)
			}
			continue
		}
		reports[r.ID] = r
		_, name, _ := strings.Cut(strings.TrimSuffix(r.ID, "@sender.example"), ".")
		name = name[:strings.LastIndexByte(name, '.')] // without the ID of the store
		got[name] += total(reporter.Part{Sums: r.Policies})
	}
	for name := range got {
		if sum := counted[0][name] + counted[1][name] + counted[2][name]; got[name] != sum {
			t.Errorf("%s: %d sessions reported of %d", name, got[name], sum)
		}
	}
	if want != relays*each || len(got) != domains || len(reports) <= domains {
		t.Errorf("%d sessions counted; %d reports for %d domains", want, len(reports), len(got))
	}
	t.Logf("%d sessions in %d reports, of which %d were sent twice", want, len(reports), copies)
}
