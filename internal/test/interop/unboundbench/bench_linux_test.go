package unboundbench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/cputime"
	"github.com/mxseal/mxseal/internal/test/dnstree"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/dnsserver"
)

// zones is the number of domains to look up in one iteration. Each has its own
// keys. The zones above are the same for all.
const zones = 300

func mailHost(i int) string { return fmt.Sprintf("_25._tcp.mx.z%d.example.", i) }

// upstreamVariable makes the test binary run the upstream server. It is a
// separate process, so that its CPU time is not measured.
const upstreamVariable = "MXSEAL_UNBOUNDBENCH_UPSTREAM"

func TestMain(m *testing.M) {
	if os.Getenv(upstreamVariable) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

// serve runs the upstream server until standard input ends. For each line of it, serve says
// how many questions there were since the line before.
func serve() {
	tree := dnstree.New()
	tree.Zone("example")
	for i := range zones {
		tree.Zone(fmt.Sprintf("z%d.example", i)).Add("_25._tcp.mx 3600 IN TLSA 3 1 1 " + strings.Repeat("ab", 32))
	}
	for _, kind := range hostileKinds {
		for i := range hostileZones {
			kind.build(tree, kind.zone(i))
		}
	}
	tree.Zone("registry", dnstree.NSEC3(0, "", true))
	for i := range registered {
		var unsigned []dnstree.Option
		if i%20 != 0 {
			unsigned = append(unsigned, dnstree.Unsigned)
		}
		tree.Zone(fmt.Sprintf("d%d.registry", i), unsigned...).Add("@ 3600 IN MX 10 mx.example.")
	}
	if err := tree.Start(); err != nil {
		panic(err)
	}
	defer tree.Close()
	fmt.Println(tree.Addr())
	fmt.Println(strings.TrimSpace(tree.Anchors()))
	fmt.Println()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(len(tree.Queries(dnstree.Everywhere)))
		tree.Reset()
	}
}

// upstream is the server that both resolvers query.
type upstream struct {
	addr    string
	anchors string // file

	in  io.Writer
	out *bufio.Scanner
}

// questions returns how many there were since the last call.
func (up *upstream) questions(b *testing.B) int {
	fmt.Fprintln(up.in)
	up.out.Scan()
	n, err := strconv.Atoi(up.out.Text())
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func startUpstream(b *testing.B) *upstream {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), upstreamVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	up := &upstream{addr: lines.Text(), anchors: filepath.Join(b.TempDir(), "anchors"), in: in, out: lines}
	var anchors strings.Builder
	for lines.Scan() && lines.Text() != "" {
		anchors.WriteString(lines.Text() + "\n")
	}
	dnsserver.WriteFile(b, up.anchors, anchors.String())
	return up
}

func (up *upstream) validator(b *testing.B) *dnssec.Validator {
	v, err := dnssec.New(dnssec.Config{Servers: []string{up.addr}, AnchorFile: up.anchors})
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// contender is a resolver in the benchmark.
type contender struct {
	lookup func(name string, t uint16) (dnssec.Status, error)
	cpu    func() time.Duration
	held   func() uint64 // memory in use, in octets
}

func (up *upstream) ours(b *testing.B) contender {
	v := up.validator(b)
	return contender{
		lookup: func(name string, t uint16) (dnssec.Status, error) {
			a, err := v.Lookup(context.Background(), name, dnssec.Type(t))
			if err != nil {
				return dnssec.Bogus, err
			}
			return a.Status, nil
		},
		cpu: func() time.Duration { return cputime.Used(b) },
		held: func() uint64 {
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return stats.TotalAlloc
		},
	}
}

func (up *upstream) theirs(b *testing.B, unbound string) contender {
	port, pid := up.forward(b, unbound)
	return contender{
		lookup: func(name string, t uint16) (dnssec.Status, error) {
			m := new(dns.Msg).SetQuestion(name, t)
			m.SetEdns0(1232, true)
			reply, err := dnsserver.Ask(port, m)
			switch {
			case err != nil:
				return dnssec.Indeterminate, err
			case reply.Rcode == dns.RcodeServerFailure:
				return dnssec.Bogus, nil
			case reply.AuthenticatedData:
				return dnssec.Secure, nil
			}
			return dnssec.Insecure, nil
		},
		cpu:  func() time.Duration { return processTime(b, pid) },
		held: func() uint64 { return residentMemory(b, pid) },
	}
}

// registered is how many domains one top-level domain has, of which one in twenty is signed.
const registered = 1000

// BenchmarkRegistry looks up the MX records of a thousand domains of one top-level domain. It
// reports what a lookup costs, and that beside unbound.
func BenchmarkRegistry(b *testing.B) {
	unbound := interop.Need(b, "unbound")
	up := startUpstream(b)
	look := func(b *testing.B, c contender) (r result) {
		b.Helper()
		if _, err := c.lookup("d0.registry.", dns.TypeMX); err != nil {
			b.Fatal(err)
		}
		up.questions(b)
		before := c.cpu()
		for i := 1; i < registered; i++ {
			status, err := c.lookup(fmt.Sprintf("d%d.registry.", i), dns.TypeMX)
			if want := i%20 == 0; err != nil || (status == dnssec.Secure) != want {
				b.Fatalf("domain %d: %v, %v", i, status, err)
			}
		}
		r.cpu = (c.cpu() - before) / (registered - 1)
		r.questions = float64(up.questions(b)) / (registered - 1)
		b.ReportMetric(r.questions, "questions")
		b.ReportMetric(float64(r.cpu.Microseconds()), "cpu-µs")
		b.ReportMetric(0, "ns/op")
		return r
	}
	var theirs, ours result
	b.Run("unbound", func(b *testing.B) { theirs = look(b, up.theirs(b, unbound)) })
	b.Run("mxseal", func(b *testing.B) {
		look(b, up.ours(b)) // the upstream server signs each answer once
		ours = look(b, up.ours(b))
		b.ReportMetric(ours.questions/theirs.questions, "x-questions-of-unbound")
		b.ReportMetric(float64(ours.cpu)/float64(theirs.cpu), "x-cpu-of-unbound")
	})
}

// BenchmarkHostile looks up names that are made to be costly, in zones of their own. It
// reports for each lookup the questions to the upstream server and the processor time, and
// both beside unbound. Of the memory it reports what a lookup allocates in all, which is
// more than it holds, and by how much unbound grows.
func BenchmarkHostile(b *testing.B) {
	unbound := interop.Need(b, "unbound")
	up := startUpstream(b)
	for _, kind := range hostileKinds {
		var theirs, ours result
		b.Run(kind.what+"/unbound", func(b *testing.B) { theirs = up.attack(b, kind, up.theirs(b, unbound)) })
		b.Run(kind.what+"/mxseal", func(b *testing.B) {
			up.attack(b, kind, up.ours(b)) // the upstream server signs each answer once
			ours = up.attack(b, kind, up.ours(b))
			b.ReportMetric(ours.questions/theirs.questions, "x-questions-of-unbound")
			if theirs.cpu > 0 {
				b.ReportMetric(float64(ours.cpu)/float64(theirs.cpu), "x-cpu-of-unbound")
			}
			if ours.status != theirs.status {
				b.Logf("%s: unbound says %v, we say %v", kind.what, theirs.status, ours.status)
			}
		})
	}
}

// result is the cost of one lookup.
type result struct {
	questions float64
	cpu       time.Duration
	status    dnssec.Status // of the last
}

// attack looks up all names of a kind.
func (up *upstream) attack(b *testing.B, kind hostileKind, c contender) (r result) {
	b.Helper()
	if _, err := c.lookup(mailHost(0), dns.TypeTLSA); err != nil { // the zones above
		b.Fatal(err)
	}
	up.questions(b)
	before, held := c.cpu(), c.held()
	for i := range hostileZones {
		r.status, _ = c.lookup(kind.name(i), kind.qtype)
	}
	r.cpu = (c.cpu() - before) / hostileZones
	r.questions = float64(up.questions(b)) / hostileZones
	b.ReportMetric(r.questions, "questions")
	b.ReportMetric(float64(r.cpu.Microseconds())/1000, "cpu-ms")
	b.ReportMetric(float64(c.held()-held)/hostileZones/1024, "KiB")
	b.ReportMetric(0, "ns/op")
	return r
}

// residentMemory returns the memory of another process (field 2 of /proc/pid/statm, proc(5)).
func residentMemory(b *testing.B, pid int) uint64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(stat))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// BenchmarkCold looks up the TLSA records of many domains that are not in a
// cache. It reports how many lookups a core can do per second, from the CPU
// time of the validating process, and the median latency of sequential lookups.
func BenchmarkCold(b *testing.B) {
	unbound := interop.Need(b, "unbound")
	up := startUpstream(b)
	start := map[string]func(*testing.B) contender{
		"unbound": func(b *testing.B) contender { return up.theirs(b, unbound) },
		"mxseal":  up.ours,
	}
	// The first time, the upstream server must sign each answer.
	measure(b, up.ours(b))

	var medians, rates [2]float64
	for i, name := range []string{"unbound", "mxseal"} {
		b.Run(name, func(b *testing.B) {
			var latencies []time.Duration
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				c := start[name](b)
				b.StartTimer()
				l, s := measure(b, c)
				latencies, spent = append(latencies, l...), spent+s
			}
			slices.Sort(latencies)
			medians[i] = float64(latencies[len(latencies)/2])
			rates[i] = float64(len(latencies)) / spent.Seconds()
			b.ReportMetric(medians[i]/1e3, "median-µs")
			b.ReportMetric(rates[i], "lookups/s/core")
			if i == 1 && rates[0] > 0 {
				b.ReportMetric(rates[1]/rates[0], "x-rate-of-unbound")
				b.ReportMetric(medians[1]/medians[0], "x-latency-of-unbound")
			}
		})
	}
}

// measure looks up all domains. It looks up the zones above them first, outside
// the measurement.
func measure(b *testing.B, c contender) (latencies []time.Duration, spent time.Duration) {
	b.Helper()
	lookup := func(i int) {
		if status, err := c.lookup(mailHost(i), dns.TypeTLSA); err != nil || status != dnssec.Secure {
			b.Fatalf("%s: %v, %v", mailHost(i), status, err)
		}
	}
	lookup(0)
	before := c.cpu()
	for i := 1; i < zones; i++ {
		start := time.Now()
		lookup(i)
		latencies = append(latencies, time.Since(start))
	}
	return latencies, c.cpu() - before
}

// forward starts an unbound that forwards to the upstream server and validates.
func (up *upstream) forward(b *testing.B, unbound string) (port, pid int) {
	b.Helper()
	dir, port := b.TempDir(), daemon.FreePort(b)
	host, upstreamPort, err := net.SplitHostPort(up.addr)
	if err != nil {
		b.Fatal(err)
	}
	config := filepath.Join(dir, "unbound.conf")
	dnsserver.WriteFile(b, config, dnsserver.UnboundClause("127.0.0.1", port, dir, up.anchors)+fmt.Sprintf(`forward-zone:
	name: "."
	forward-addr: %s@%s
remote-control:
	control-enable: no
`, host, upstreamPort))
	ready := func() error {
		_, err := dnsserver.Ask(port, new(dns.Msg).SetQuestion(".", dns.TypeSOA))
		return err
	}
	daemon.Start(b, ready, unbound, "-d", "-c", config)
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		b.Fatal(err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.Fatal(err)
	}
	return port, pid
}

// processTime returns the CPU time of another process. The resolution is 10 ms
// (fields 14 and 15 of proc_pid_stat(5)).
func processTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * 10 * time.Millisecond
}
