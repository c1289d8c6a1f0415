//go:build linux

package bigsender

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/valkeystore"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// relayConfig is what a relay needs to know. It is passed in the environment.
type relayConfig struct {
	DNS, Anchors, Exit string
	Policies, Sums     string        // the Redis servers
	Roots              []byte        // PEM
	Clock              time.Duration // ahead of the real time
	Limits             limits
}

// limits are the bounds of a relay, which its descriptors must stay within.
type limits struct{ DNSSockets, Sessions, Fetches int }

// descriptors returns how many descriptors a relay may have open: what the limits
// permit, six sockets for the checks of the one server of the resolver (see
// dnssec.Bounds), and those of the program itself with its connections to Redis.
func (l limits) descriptors() int { return l.DNSSockets + 6 + l.Sessions + l.Fetches + 32 }

// relay is one relay of the fleet. It reads orders, one in each line, and writes
// results.
type relay struct {
	pool       *delivery.Pool
	resolver   *policy.Resolver
	aggregator *reporter.Aggregator
	policies   *valkeystore.Store
	sums       *valkeystore.Store
	clock      atomic.Int64 // ahead of the real time
	background sync.WaitGroup
	cancel     context.CancelFunc

	mu  sync.Mutex
	out *bufio.Writer
}

// runRelay is the main function of a relay. It ends when in does, or at an order to
// stop.
func runRelay(config relayConfig, in io.Reader, out io.Writer) error {
	r := &relay{out: bufio.NewWriter(out)}
	r.clock.Store(int64(config.Clock))
	if err := r.open(config); err != nil {
		return err
	}
	r.say("ready")
	var orders sync.WaitGroup
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if words[0] == "stop" {
			orders.Wait()
			return r.close()
		}
		orders.Go(func() { r.obey(words) })
	}
	return lines.Err()
}

func (r *relay) now() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) }

// open makes the parts of the relay, as a user of the library would.
func (r *relay) open(config relayConfig) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Roots)
	dns, err := dnssec.New(dnssec.Config{
		Servers: []string{config.DNS}, Anchors: config.Anchors, Now: r.now,
		Bounds: dnssec.Bounds{Sockets: config.Limits.DNSSockets},
	})
	if err != nil {
		return err
	}
	if r.policies, err = r.openStore(config.Policies); err != nil {
		return err
	}
	if r.sums, err = r.openStore(config.Sums); err != nil {
		return err
	}
	r.resolver, err = policy.New(policy.Config{
		DNS: dns, Store: r.policies, StoreKey: []byte("the key of this fleet"), RootCAs: roots, Dial: through(config.Exit),
		AllowPolicyHost: func(netip.Addr) bool { return true }, MaxFetches: config.Limits.Fetches, Now: r.now,
		Memory: 1 << 30,
	})
	if err != nil {
		return err
	}
	r.aggregator, err = reporter.NewAggregator(reporter.AggregatorConfig{Store: r.sums.Reports(), Now: r.now})
	if err != nil {
		return err
	}
	r.pool = &delivery.Pool{
		Dialer:      &delivery.Dialer{Resolver: r.resolver, Recorder: r, LocalName: "relay.example", ConnectTimeout: 5 * time.Second, CommandTimeout: 10 * time.Second},
		MaxSessions: config.Limits.Sessions,
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.background.Go(func() { r.resolver.Run(ctx) })
	r.background.Go(func() { r.aggregator.Run(ctx) })
	return nil
}

func (r *relay) openStore(addr string) (*valkeystore.Store, error) {
	return valkeystore.New(valkeystore.Config{Server: valkey.ClientOption{InitAddress: []string{addr}}, Now: r.now})
}

// close ends the relay as a program should, so that nothing is lost.
func (r *relay) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := r.pool.Close(ctx)
	r.cancel()
	r.background.Wait()
	return errors.Join(err, r.aggregator.Flush(ctx), r.resolver.Close(), r.policies.Close(), r.sums.Close())
}

// say writes a line at once.
func (r *relay) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", args...)
	r.out.Flush()
}

// Record is tlsrpt.Recorder. It says what the reports have to contain.
func (r *relay) Record(s *tlsrpt.Session) {
	var line strings.Builder
	fmt.Fprintf(&line, "session %s", s.Domain)
	for _, outcome := range s.Outcomes {
		result := "met"
		if outcome.Failed() {
			result = "failed"
		}
		fmt.Fprintf(&line, " %s %s", outcome.Policy.Type, result)
	}
	r.say("%s", line.String())
	r.aggregator.Record(s)
}

// obey carries out one order.
func (r *relay) obey(order []string) {
	switch order[0] {
	case "clock":
		ahead, _ := time.ParseDuration(order[1])
		r.clock.Store(int64(ahead))
		r.say("done clock")
	case "send":
		r.send(order[1], order[2])
	case "plan":
		var from, to, workers int
		fmt.Sscan(strings.Join(order[1:], " "), &from, &to, &workers)
		r.answer("planned", r.plan(from, to, workers))
	case "cost":
		r.answer("costs", r.costs())
	}
}

func (r *relay) answer(word string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	r.say("%s %s", word, text)
}

// send sends one message. Its number is in its header, by which the hosts' copies are
// counted.
func (r *relay) send(number, domain string) {
	text := fmt.Sprintf("From: <a@relay.example>\r\nTo: <user@%s>\r\nX-Number: %s\r\nSubject: news\r\n\r\n%s\r\n",
		domain, number, strings.Repeat("This is a line of the message.\r\n", 30))
	_, err := r.pool.Send(context.Background(), delivery.Mail{
		From: "a@relay.example", To: []delivery.Recipient{{Address: "user@" + domain}},
		Message: strings.NewReader(text), Size: int64(len(text)),
	})
	var failure *policy.Error
	switch {
	case err == nil:
		r.say("sent %s delivered", number)
	case errors.As(err, &failure) && failure.Permanent:
		r.say("sent %s bounced %s", number, err)
	default:
		r.say("sent %s deferred %s", number, err)
	}
}

// planCost is what the plans of some domains cost.
type planCost struct {
	Plans, Errors int
	CPU           time.Duration
}

// plan resolves domains by their numbers.
func (r *relay) plan(from, to, workers int) planCost {
	before := cpuTime()
	var next, failed atomic.Int64
	next.Store(int64(from))
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for d := next.Add(1) - 1; d < int64(to); d = next.Add(1) - 1 {
				if _, err := r.resolver.Resolve(context.Background(), domain(d).name()); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	working.Wait()
	return planCost{Plans: to - from, Errors: int(failed.Load()), CPU: cpuTime() - before}
}

// relayCost is what a relay has used so far, and holds now.
type relayCost struct {
	CPU                      time.Duration
	Heap                     uint64
	Plans                    uint64 // made
	Cached                   uint64 // calls of Resolve that memory answered
	PlanOctets, PolicyOctets int
	Dropped                  int64 // sessions that are in no report
}

func (r *relay) costs() relayCost {
	runtime.GC()
	runtime.GC() // what the first collection put into pools is freed by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := r.resolver.Stats()
	return relayCost{
		CPU: cpuTime(), Heap: m.HeapAlloc,
		Plans: s.OK.Count + s.Refused.Count + s.Temporary.Count + s.Permanent.Count, Cached: s.Cached,
		PlanOctets: s.PlanOctets, PolicyOctets: s.MTASTS.Octets,
		Dropped: r.aggregator.Dropped(),
	}
}

// cpuTime returns the processor time of this process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// relayEnv is the environment variable that makes the test binary a relay.
const relayEnv = "MXSEAL_BIGSENDER_RELAY"

// mainOfRelay runs a relay if the environment says so, and reports whether it did.
func mainOfRelay() (code int, isRelay bool) {
	text := os.Getenv(relayEnv)
	if text == "" {
		return 0, false
	}
	var config relayConfig
	err := json.Unmarshal([]byte(text), &config)
	if err == nil {
		err = runRelay(config, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		return 1, true
	}
	return 0, true
}
