package differential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// iterations is the maximum number of NSEC3 iterations that all three
// validators accept.
const iterations = 100

// A panel consists of the three validators. It is used for all trees.
type panel struct {
	t           testing.TB // unbound runs until this test ends
	dir         string
	unbound     *daemon.Daemon // nil before the first tree
	unboundPort int
	delvPath    string
	unboundPath string
	world       *world
	fronts      fronts
}

// fronts are the servers for ours, unbound and delv.
type fronts struct{ ours, unbound, delv *front }

func (f fronts) serve(w *world, s *scenario) {
	f.ours.serve(w, s)
	f.unbound.serve(w, s)
	f.delv.serve(w, s)
}

func newPanel(t testing.TB) *panel {
	p := &panel{t: t, dir: t.TempDir(), unboundPath: interop.Need(t, "unbound"), delvPath: interop.Need(t, "delv")}
	p.fronts = fronts{newFront(t), newFront(t), newFront(t)}
	return p
}

// turnTo switches the panel to another tree.
func (p *panel) turnTo(t testing.TB, w *world) {
	t.Helper()
	p.world = w
	p.fronts.serve(w, nil)
	dnsserver.WriteFile(t, p.file("root.key"), w.Anchors())
	var anchors strings.Builder
	for line := range strings.Lines(w.Anchors()) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		ds := rr.(*dns.DS)
		fmt.Fprintf(&anchors, ". static-ds %d %d %d %q;\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	}
	dnsserver.WriteFile(t, p.file("bind.keys"), "trust-anchors {\n"+anchors.String()+"};\n")
	if p.unbound == nil {
		p.startUnbound(t)
		return
	}
	p.writeConfig(t)
	dnsserver.Control(t, p.dir, "reload")
	p.awaitReload(t)
}

func (p *panel) file(name string) string { return filepath.Join(p.dir, name) }

func (p *panel) startUnbound(t testing.TB) {
	t.Helper()
	p.unboundPort = daemon.FreePort(t)
	p.writeConfig(t)
	p.unbound = daemon.Start(p.t, p.unboundReady, p.unboundPath, "-d", "-c", p.file("unbound.conf"))
}

// writeConfig writes the configuration of an unbound that only validates and
// adds no restrictions of its own.
func (p *panel) writeConfig(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(p.fronts.unbound.addr)
	clause := dnsserver.UnboundClause("127.0.0.1", p.unboundPort, p.dir, p.file("root.key"))
	dnsserver.WriteFile(t, p.file("unbound.conf"), clause+fmt.Sprintf(`	msg-cache-size: 512k
	rrset-cache-size: 512k
	key-cache-size: 512k
	root-key-sentinel: no
	val-log-level: 2
	ede: yes
	val-sig-skew-min: 0
	val-sig-skew-max: 0
	val-nsec3-keysize-iterations: "1024 %[1]d 2048 %[1]d 4096 %[1]d"
	aggressive-nsec: no
	qname-minimisation: no
	minimal-responses: no
	prefetch: no
	serve-expired: no
	rrset-roundrobin: no
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@%[2]s
`, iterations, port)+dnsserver.ControlClause(p.dir))
}

// awaitReload waits until unbound answers from the current tree. Answers from
// another tree would be bogus.
func (p *panel) awaitReload(t testing.TB) {
	t.Helper()
	deadline := time.After(2 * time.Minute) // other tests may have the processors
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

// ask asks all three validators. Their caches are empty.
func (p *panel) ask(t testing.TB, s *scenario) (ours, unbound, delv verdict) {
	t.Helper()
	dnsserver.Control(t, p.dir, "flush_zone .")
	dnsserver.Control(t, p.dir, "flush_infra all")
	p.fronts.serve(p.world, s)
	defer p.fronts.serve(p.world, nil)
	delved := make(chan verdict)
	go func() { delved <- p.askDelv(s.question) }()
	ours = p.askOurs(t, s.question)
	unbound, err := p.askUnbound(s.question)
	for range 4 { // on a busy machine it can fail several times
		if err != nil {
			dnsserver.Control(t, p.dir, "flush_zone .") // it would repeat a verdict without its reason
			unbound, err = p.askUnbound(s.question)
		}
	}
	delv = <-delved
	ours.told, unbound.told, delv.told = p.fronts.ours.told(), p.fronts.unbound.told(), p.fronts.delv.told()
	return ours, unbound, delv
}

func (p *panel) askOurs(t testing.TB, q question) verdict {
	t.Helper()
	v, err := dnssec.New(dnssec.Config{
		Servers: []string{p.fronts.ours.addr},
		Anchors: p.world.Anchors(),
		Limits:  dnssec.Limits{NSEC3Iterations: iterations},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := v.Lookup(context.Background(), q.Name, dnssec.Type(q.Type))
	return ofOurs(answer, err, q.Type)
}

func (p *panel) askUnbound(q question) (verdict, error) {
	query := new(dns.Msg).SetQuestion(q.Name, q.Type)
	query.SetEdns0(dns.DefaultMsgSize, true)
	reply, err := dnsserver.Ask(p.unboundPort, query)
	if err != nil {
		return verdict{status: unasked, detail: err.Error()}, err
	}
	return ofUnbound(reply, q.Type), nil
}

// askDelv runs delv, which queries and validates by itself.
func (p *panel) askDelv(q question) verdict {
	_, port, _ := net.SplitHostPort(p.fronts.delv.addr)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, p.delvPath, "-a", p.file("bind.keys"), "+root=.", "@127.0.0.1", "-p", port,
		"-t", dns.Type(q.Type).String(), q.Name)
	// BIND's allocator creates an arena for each processor, which costs more
	// than the query.
	command.Env = append(os.Environ(), "MALLOC_CONF=narenas:1", "UV_THREADPOOL_SIZE=1")
	out, err := command.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) && ctx.Err() == nil {
		err = nil // which the output explains
	}
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return verdict{status: unasked, detail: err.Error()}
	}
	return ofDelv(strings.TrimSpace(string(out)))
}

func number(name string, fallback uint64) uint64 {
	n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}
