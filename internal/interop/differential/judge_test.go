package differential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/interop"
	"github.com/mxseal/mxseal/internal/interop/daemon"
	"github.com/mxseal/mxseal/internal/interop/dnsserver"
)

// iterations is the most NSEC3 iterations that all three validators check.
const iterations = 100

// A verdict is what a validator makes of an answer.
type verdict struct {
	status status
	answer string // "rcode: data", where it is known
	detail string
}

// A status is what a validator reports. Its letters are the short form.
type status string

const (
	secure   status = "secure"
	insecure status = "insecure"
	failed   status = "failed"
)

// A panel is the three validators, fit for one tree after the other.
type panel struct {
	t           testing.TB // that unbound runs for
	dir         string
	unbound     *daemon.Daemon // nil before the first tree
	unboundPort int
	delvPath    string
	unboundPath string
	world       *world
}

func newPanel(t testing.TB) *panel {
	return &panel{t: t, dir: t.TempDir(), unboundPath: interop.Need(t, "unbound"), delvPath: interop.Need(t, "delv")}
}

// turnTo has the panel ask another tree, which is served.
func (p *panel) turnTo(t testing.TB, w *world) {
	t.Helper()
	p.world = w
	dnsserver.WriteFile(t, p.file("root.key"), w.AnchorText())
	var anchors strings.Builder
	for _, rr := range w.Anchors() {
		ds := rr.(*dns.DS)
		fmt.Fprintf(&anchors, ". static-ds %d %d %d %q;\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	}
	dnsserver.WriteFile(t, p.file("bind.keys"), "trust-anchors {\n"+anchors.String()+"};\n")
	if p.unbound == nil {
		p.startUnbound(t)
		return
	}
	p.writeConfig(t)
	p.control(t, "reload")
	p.awaitReload(t)
}

func (p *panel) file(name string) string { return filepath.Join(p.dir, name) }

func (p *panel) startUnbound(t testing.TB) {
	t.Helper()
	p.unboundPort = daemon.FreePort(t)
	p.writeConfig(t)
	p.unbound = daemon.Start(p.t, p.unboundReady, p.unboundPath, "-d", "-c", p.file("unbound.conf"))
}

// writeConfig writes the configuration of an unbound that validates what the
// tree says and adds nothing of its own.
func (p *panel) writeConfig(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(p.world.Addr())
	dnsserver.WriteFile(t, p.file("unbound.conf"), fmt.Sprintf(`server:
	interface: 127.0.0.1@%d
	access-control: 127.0.0.0/8 allow
	do-not-query-localhost: no
	do-ip6: no
	do-daemonize: no
	use-syslog: no
	logfile: ""
	username: ""
	chroot: ""
	directory: %[2]q
	pidfile: ""
	num-threads: 1
	msg-cache-size: 512k
	rrset-cache-size: 512k
	key-cache-size: 512k
	module-config: "validator iterator"
	trust-anchor-file: "%[2]s/root.key"
	trust-anchor-signaling: no
	root-key-sentinel: no
	val-log-level: 2
	ede: yes
	val-sig-skew-min: 0
	val-sig-skew-max: 0
	val-nsec3-keysize-iterations: "1024 %[3]d 2048 %[3]d 4096 %[3]d"
	aggressive-nsec: no
	qname-minimisation: no
	minimal-responses: no
	prefetch: no
	serve-expired: no
	rrset-roundrobin: no
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@%[4]s
remote-control:
	control-enable: yes
	control-interface: "%[2]s/control"
	control-use-cert: no
`, p.unboundPort, p.dir, iterations, port))
}

// control does what unbound-control would.
func (p *panel) control(t testing.TB, command string) {
	t.Helper()
	conn, err := net.Dial("unix", p.file("control"))
	if err != nil {
		t.Fatalf("unbound control: %v", err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "UBCT1 %s\n", command)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "ok") {
		t.Fatalf("unbound control %s: %q, %v", command, answer, err)
	}
}

// awaitReload waits until unbound answers from the tree that the panel is
// turned to: another one would be bogus.
func (p *panel) awaitReload(t testing.TB) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		err := p.unboundReady()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("unbound is not ready after a reload: %v\n%s", err, p.unbound.Log())
		case <-poll.C:
		}
	}
}

func (p *panel) unboundReady() error {
	v, err := p.askUnbound(question{".", dns.TypeSOA})
	if err == nil && v.status != secure {
		err = fmt.Errorf("the root is %s: %s", v.status, v.detail)
	}
	return err
}

// ask asks all three, none of which remembers anything.
func (p *panel) ask(t testing.TB, q question) (ours, unbound, delv verdict) {
	t.Helper()
	p.control(t, "flush_zone .")
	p.control(t, "flush_infra all")
	delved := make(chan verdict)
	go func() { delved <- p.askDelv(q) }()
	ours = p.askOurs(t, q)
	unbound, err := p.askUnbound(q)
	if err != nil {
		t.Errorf("ask unbound for %s: %v", q, err)
	}
	return ours, unbound, <-delved
}

func (p *panel) askOurs(t testing.TB, q question) verdict {
	t.Helper()
	v, err := dnssec.New(dnssec.Config{
		Servers: []string{p.world.Addr()},
		Anchors: p.world.Anchors(),
		Limits:  dnssec.Limits{NSEC3Iterations: iterations},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := v.Lookup(context.Background(), q.Name, q.Type)
	if err != nil {
		return verdict{status: failed, detail: err.Error()}
	}
	return verdict{
		status: status(answer.Status.String()),
		answer: content(answer.Rcode, answer.Records, q.Type),
		detail: fmt.Sprintf("at %s, aliases %v", answer.Name, answer.Aliases),
	}
}

func (p *panel) askUnbound(q question) (verdict, error) {
	query := new(dns.Msg).SetQuestion(q.Name, q.Type)
	query.SetEdns0(1232, true)
	reply, err := dnsserver.Ask(p.unboundPort, query)
	for range 4 { // a busy machine
		if err != nil {
			reply, err = dnsserver.Ask(p.unboundPort, query)
		}
	}
	switch {
	case err != nil:
		return verdict{status: failed, detail: err.Error()}, err
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return verdict{status: failed, detail: dns.RcodeToString[reply.Rcode] + extended(reply)}, nil
	}
	v := verdict{status: insecure, answer: content(reply.Rcode, reply.Answer, q.Type)}
	if reply.AuthenticatedData {
		v.status = secure
	}
	return v, nil
}

func extended(reply *dns.Msg) string {
	var text strings.Builder
	for _, option := range reply.IsEdns0().Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok {
			fmt.Fprintf(&text, ", EDE %d %q", ede.InfoCode, ede.ExtraText)
		}
	}
	return text.String()
}

// askDelv runs delv, which fetches and validates by itself. It reports a
// validated denial as a failed resolution ("ncache").
func (p *panel) askDelv(q question, options ...string) verdict {
	_, port, _ := net.SplitHostPort(p.world.Addr())
	args := append([]string{"-a", p.file("bind.keys"), "+root=.", "@127.0.0.1", "-p", port, "-t", dns.Type(q.Type).String(), q.Name}, options...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, p.delvPath, args...)
	// BIND's allocator takes an arena for each processor, which costs more
	// than the question.
	command.Env = append(os.Environ(), "MALLOC_CONF=narenas:1,tcache:false", "UV_THREADPOOL_SIZE=1")
	out, err := command.CombinedOutput()
	text := strings.TrimSpace(string(out))
	v := verdict{detail: text}
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit), ctx.Err() != nil:
		v = verdict{detail: fmt.Sprintf("delv did not run: %v", err)} // no status agrees with this
	case strings.Contains(text, "resolution failed") && !strings.Contains(text, "resolution failed: ncache"):
		v.status = failed
	case strings.Contains(text, "unsigned answer"), strings.Contains(text, "negative response, unsigned"),
		strings.Contains(text, "pending validation"): // in an insecure zone
		v.status = insecure
	case strings.Contains(text, "fully validated"):
		v.status = secure
	}
	return v
}

// content is what an answer says, in a comparable form.
func content(rcode int, records []dns.RR, t uint16) string {
	var set []string
	for _, rr := range records {
		if rr.Header().Rrtype == t {
			bare := dns.Copy(rr)
			bare.Header().Name, bare.Header().Ttl = ".", 0
			set = append(set, strings.ToLower(strings.TrimPrefix(bare.String(), ".\t0\tIN\t")))
		}
	}
	slices.Sort(set)
	return dns.RcodeToString[rcode] + ": " + strings.Join(slices.Compact(set), ", ")
}

func number(name string, fallback uint64) uint64 {
	n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}
