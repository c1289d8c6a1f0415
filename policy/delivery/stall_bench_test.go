package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// What a domain that stalls at every step costs a thousand others to which the same
// message goes: median and 99th percentile of the time until each of them has it,
// with the stalling domain divided by without it. One run of each is an iteration,
// and the ratios are of all iterations.
func BenchmarkStallingDomain(b *testing.B) {
	const others = 1000
	var with, without []time.Duration
	for i := 0; b.Loop(); i++ {
		// In turns, so that neither is always first.
		if i%2 == 0 {
			without = append(without, deliverTo(b, others, false)...)
			with = append(with, deliverTo(b, others, true)...)
		} else {
			with = append(with, deliverTo(b, others, true)...)
			without = append(without, deliverTo(b, others, false)...)
		}
	}
	slices.Sort(with)
	slices.Sort(without)
	for name, percent := range map[string]int{"median": 50, "p99": 99} {
		place := len(with) * percent / 100
		b.ReportMetric(float64(without[place].Milliseconds()), name+"-ms-without")
		b.ReportMetric(float64(with[place])/float64(without[place]), name+"-ratio")
	}
}

// deliverTo sends a message to domains, and to one that stalls before them, and
// returns how long each of the others took.
func deliverTo(b *testing.B, domains int, stalling bool) []time.Duration {
	w := newWorld(make(map[string][]script))
	names := fakedns.Answers{}
	var to []string
	if stalling {
		names.Add(b, dnssec.Insecure, "stalls.example. MX 10 mx.stalls.example.")
		names.Deny(dnssec.Insecure, "mx.stalls.example. AAAA")
		var records []string
		for i, play := range stallsEverywhere() {
			addr := fmt.Sprintf("192.0.2.%d", i+1)
			w.scripts[addr] = []script{play}
			records = append(records, "mx.stalls.example. A "+addr)
		}
		names.Add(b, dnssec.Insecure, records...)
		for i := range 20 {
			to = append(to, fmt.Sprintf("r%d@stalls.example", i))
		}
	}
	for i := range domains {
		domain, addr := fmt.Sprintf("d%d.example", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)
		names.Add(b, dnssec.Insecure, fmt.Sprintf("%[1]s. MX 10 mx.%[1]s.", domain))
		names.Add(b, dnssec.Insecure, fmt.Sprintf("mx.%s. A %s", domain, addr))
		names.Deny(dnssec.Insecure, "mx."+domain+". AAAA")
		w.scripts[addr] = []script{inClearOnly}
		to = append(to, "x@"+domain)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	d := w.dialer()
	d.Recorder = nil
	d.Resolver = w.resolver(b, names, policy.Config{})
	d.CommandTimeout, d.IdleTimeout = time.Second, time.Second
	var (
		mu    sync.Mutex
		took  []time.Duration
		start = time.Now()
	)
	d.Delivered = func(Delivery) {
		mu.Lock()
		defer mu.Unlock()
		if took = append(took, time.Since(start)); len(took) == domains {
			cancel() // the stalling domain alone is left
		}
	}
	d.SendMail(ctx, "s@example.net", to, []byte(letter))
	if len(took) != domains {
		b.Fatalf("%d of %d domains got the message", len(took), domains)
	}
	return took
}

// stallsEverywhere are servers that stall each at another step.
func stallsEverywhere() []script {
	stall := func(s *server) {
		for {
			if _, ok := s.hear(); !ok {
				return
			}
		}
	}
	var plays []script
	for _, verb := range []string{"EHLO", "MAIL", "RCPT", "DATA", "."} {
		plays = append(plays, func(s *server) {
			s.say(greeting)
			s.serve(map[string]string{verb: ""})
		})
	}
	return append([]script{stall, func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		stall(s)
	}}, plays...)
}
