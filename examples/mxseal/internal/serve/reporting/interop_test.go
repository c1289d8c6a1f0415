package reporting

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Real programs receive reports. A Postfix without STARTTLS, whose domain has
// an MTA-STS policy that it does not meet, accepts and stores the report
// (RPT-16, RPT-77). python3-dkim verifies its signature (RPT-18, RPT-19,
// RPT-74). A second reader checks it against RFC 8460 sections 4 and 5 (RPT-22
// to RPT-49, RPT-66 to RPT-75). An nginx receives a report over https (RPT-14,
// RPT-78, RPT-79).
func TestRealProgramsReceiveReports(t *testing.T) {
	python := needPython(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, key)
	authority := mailserver.NewCA(t, "reports authority")
	posts := startEndpoint(t, w, "reports.test", authority)
	postfix := mailserver.StartPostfix(t, []mailserver.Entrance{{Addr: "203.0.113.25"}})
	w.redirect("203.0.113.25:25", postfix.Ports["203.0.113.25"])
	w.Domain("mailed.test", policytest.Unsigned).MX("mx.mailed.test").Add("mx A 203.0.113.25").Policy("enforce", "mx.mailed.test")
	w.Domain("_smtp._tls.mailed.test", policytest.Unsigned).Add(`@ TXT "v=TLSRPTv1; rua=mailto:tls@mailed.test"`)
	w.mailHost("posted.test")
	w.Domain("_smtp._tls.posted.test", policytest.Unsigned).Add(`@ TXT "v=TLSRPTv1; rua=https://reports.test/v1/tlsrpt"`)

	relay := w.start(t)
	for range 3 {
		if err := relay.send("you@mailed.test"); err == nil || !strings.HasPrefix(err.Error(), "4") {
			t.Errorf("mail to a host without TLS: %v", err)
		}
	}
	if err := relay.send("you@posted.test"); err != nil {
		t.Error(err)
	}
	relay.end(t) // another process sends the reports
	w.tomorrow()
	w.start(t)
	await.Until(t, "a report by mail and one by https", func() bool { return len(postfix.Messages(t)) > 0 && len(posts.all()) > 0 })

	mailed := postfix.Messages(t)[0]
	stored, err := reporttest.Mailed([]byte(mailed))
	if err != nil {
		t.Fatal(err)
	}
	read, err := report.Parse(strings.NewReader(readStrictly(t, w, python, mailed)))
	if err != nil {
		t.Fatal(err)
	}
	for name, rep := range map[string]*report.Report{"as stored": stored, "as the second reader has it": read} {
		p := rep.Policies[0]
		if len(rep.Policies) != 1 || p.Policy.Type != tlsrpt.STS || p.Policy.Domain != "mailed.test" ||
			p.Summary.Failures != 3 || p.Summary.Successes != 0 || p.Details[0].Type != tlsrpt.STARTTLSNotSupported {
			t.Errorf("%s: %+v", name, rep)
		}
	}
	post := posts.all()[0]
	rep, err := reporttest.Posted(post.body)
	if err != nil {
		t.Fatal(err)
	}
	if post.line != "POST /v1/tlsrpt application/tlsrpt+gzip" || rep.Policies[0].Policy.Type != tlsrpt.TLSA || rep.Policies[0].Summary.Successes != 1 {
		t.Errorf("%s: %+v", post.line, rep)
	}
	if len(postfix.Messages(t)) != 1 || len(posts.all()) != 1 {
		t.Errorf("%d reports by mail, %d by https", len(postfix.Messages(t)), len(posts.all()))
	}
}

// needPython returns the Python of Debian, which has the python3-dkim package.
func needPython(t *testing.T) string {
	t.Helper()
	python := interop.Need(t, "/usr/bin/python3")
	out, err := exec.Command(python, "-c", "import dkim").CombinedOutput()
	interop.NeedThat(t, err == nil, "it needs Debian's python3-dkim: %v: %q", err, out)
	return python
}

// readStrictly returns the report that the second reader finds in a message, as
// JSON.
func readStrictly(t *testing.T, w *world, python, message string) string {
	t.Helper()
	name, record := w.dkimRecord(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(python, "testdata/read_report.py", name, record)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(message), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s\n%s", err, stderr.String(), message)
	}
	// The second reader rejects a message that was changed.
	for _, change := range [][2]string{{"TLS-Report-Domain: mailed", "TLS-Report-Domain: nailed"}, {"report-type=\"tlsrpt\"", "report-type=\"other\""}} {
		cmd := exec.Command(python, "testdata/read_report.py", name, record)
		changed := strings.Replace(message, change[0], change[1], 1)
		cmd.Stdin = strings.NewReader(changed)
		if out, err := cmd.CombinedOutput(); err == nil || changed == message {
			t.Errorf("%q in place of %q: %s", change[1], change[0], out)
		}
	}
	return stdout.String()
}

// endpoint is an https endpoint: an nginx and the requests that it forwarded.
type endpoint struct {
	mu    sync.Mutex
	posts []post
}

type post struct {
	line string // method, path and media type
	body []byte
}

func (e *endpoint) all() []post {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.posts
}

func (e *endpoint) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.posts = append(e.posts, post{fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type")), body})
	rw.WriteHeader(http.StatusCreated)
}

// startEndpoint starts an nginx for host, with a certificate of the authority.
func startEndpoint(t *testing.T, w *world, host string, authority mailserver.Identity) *endpoint {
	t.Helper()
	e := new(endpoint)
	behind := httptest.NewServer(e)
	t.Cleanup(behind.Close)
	chain := mailserver.NewServer(t, &authority, host).File(t)
	port := mailserver.StartNginx(t, t.TempDir(), chain, "location / { proxy_pass "+behind.URL+"; }", "")
	w.Domain(host, policytest.Unsigned).Add("@ A 203.0.113.80")
	w.redirect("203.0.113.80:443", port)
	roots := x509.NewCertPool()
	if w.config.RootCAs != nil {
		roots = w.config.RootCAs.Clone()
	}
	roots.AddCert(authority.Cert)
	w.config.RootCAs = roots
	return e
}
