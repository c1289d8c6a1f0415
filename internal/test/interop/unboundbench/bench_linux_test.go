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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
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

// serve runs the upstream server until standard input ends.
func serve() {
	tree := dnstree.New()
	tree.Zone("example")
	for i := range zones {
		tree.Zone(fmt.Sprintf("z%d.example", i)).Add("_25._tcp.mx 3600 IN TLSA 3 1 1 " + strings.Repeat("ab", 32))
	}
	if err := tree.Start(); err != nil {
		panic(err)
	}
	defer tree.Close()
	fmt.Println(tree.Addr())
	fmt.Println(strings.TrimSpace(tree.Anchors()))
	fmt.Println()
	io.Copy(io.Discard, os.Stdin)
}

// upstream is the server that both resolvers query.
type upstream struct {
	addr    string
	anchors string // file
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
	up := &upstream{addr: lines.Text(), anchors: filepath.Join(b.TempDir(), "anchors")}
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

// BenchmarkCold looks up the TLSA records of many domains that are not in a
// cache. It reports how many lookups a core can do per second, from the CPU
// time of the validating process, and the median latency of sequential lookups.
func BenchmarkCold(b *testing.B) {
	unbound := interop.Need(b, "unbound")
	up := startUpstream(b)
	ours := func(b *testing.B) (lookup func(string) error, cpu func() time.Duration) {
		v := up.validator(b)
		return func(name string) error {
			a, err := v.Lookup(context.Background(), name, dnssec.TypeTLSA)
			if err == nil && a.Status != dnssec.Secure {
				err = fmt.Errorf("%s is %v", name, a.Status)
			}
			return err
		}, ownTime
	}
	theirs := func(b *testing.B) (lookup func(string) error, cpu func() time.Duration) {
		port, pid := up.forward(b, unbound)
		return func(name string) error {
			m := new(dns.Msg).SetQuestion(name, dns.TypeTLSA)
			m.SetEdns0(1232, true)
			reply, err := dnsserver.Ask(port, m)
			if err == nil && !reply.AuthenticatedData {
				err = fmt.Errorf("%s is not secure: %v", name, reply)
			}
			return err
		}, func() time.Duration { return processTime(b, pid) }
	}
	// The first time, the upstream server must sign each answer.
	lookup, _ := ours(b)
	measure(b, lookup, ownTime)

	var medians, rates [2]float64
	for i, contender := range []struct {
		name  string
		start func(*testing.B) (func(string) error, func() time.Duration)
	}{{"unbound", theirs}, {"mxseal", ours}} {
		b.Run(contender.name, func(b *testing.B) {
			var latencies []time.Duration
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				lookup, cpu := contender.start(b)
				b.StartTimer()
				l, s := measure(b, lookup, cpu)
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
func measure(b *testing.B, lookup func(string) error, cpu func() time.Duration) (latencies []time.Duration, spent time.Duration) {
	b.Helper()
	if err := lookup(mailHost(0)); err != nil {
		b.Fatal(err)
	}
	before := cpu()
	for i := 1; i < zones; i++ {
		start := time.Now()
		if err := lookup(mailHost(i)); err != nil {
			b.Fatal(err)
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, cpu() - before
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

// ownTime returns the CPU time of this process.
func ownTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // cannot fail for RUSAGE_SELF
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
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
