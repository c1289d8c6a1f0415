package reporter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// This test simulates a week of three relays that share a store, with 250
// domains. The relays crash, also between the acceptance of a report and the
// deletion of its sums, lose contact with the store for hours, and are all down
// for more than a day. DNS is down for hours and fails at random. So do
// endpoints and the store, which can also execute a call and lose the reply.
// Every session is in exactly one report of its domain and day.
func TestWeekReportsEachSessionOnce(t *testing.T) {
	f := simulate(t, 20260301, true)
	if f.repeated == 0 || f.restarts < 5 {
		t.Errorf("%d reports repeated, %d restarts: nothing was shown", f.repeated, f.restarts)
	}
}

// The same week without crashes: no report is sent twice.
func TestWeekWithoutCrashesSendsOnce(t *testing.T) {
	if f := simulate(t, 20260308, false); f.repeated > 0 || f.restarts > relays {
		t.Errorf("%d reports repeated, %d restarts", f.repeated, f.restarts)
	}
}

func simulate(t *testing.T, seed uint64, crashes bool) (f *fleet) {
	if testing.Short() {
		t.Skip("simulates a week")
	}
	t.Parallel()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		f = newFleet(newWorld(t), seed)
		f.crashing = crashes
		for step := range int(7 * 24 * time.Hour / stepTime) {
			f.step(step)
			wait(stepTime)
		}
		f.endOutages()
		wait(3 * 24 * time.Hour) // all reports are sent
		f.check()
	})
	return f
}

const (
	stepTime = 10 * time.Minute
	relays   = 3
	domains  = 250
	// outage is the day on which DNS is down. away is the day on which all
	// relays go down at noon, until the evening of the next day.
	outage, away = 2, 4
)

type fleet struct {
	*world
	relays   [relays]*relay
	names    []string
	silent   map[string]bool // domains without a TLSRPT record
	crashing bool            // relays crash
	restarts int
	calm     atomic.Bool // nothing fails any more
	mailed   atomic.Int64

	mu       sync.Mutex
	random   *rand.Rand
	recorded map[counted]report.Summary
	reports  map[string]*report.Report // by ID
	copies   map[string]int            // by endpoint and ID
	repeated int
	late     int // reports of second parts
}

// counted is the key by which sessions are counted.
type counted struct {
	day    report.Day
	domain string
	policy tlsrpt.PolicyType
}

// relay is one of the relays: a process, or several in turn.
type relay struct {
	fleet    *fleet
	recorder *reporter.Aggregator
	store    *unreliable
	stop     func()
	unsure   atomic.Bool // the store may not have all sums
	downTo   int         // the step at which it is up again
}

func newFleet(w *world, seed uint64) *fleet {
	f := &fleet{
		world: w, silent: make(map[string]bool), random: rand.New(rand.NewPCG(seed, 0)),
		recorded: make(map[counted]report.Summary), reports: make(map[string]*report.Report),
		copies: make(map[string]int),
	}
	for i := range domains {
		name := fmt.Sprintf("d%d.example", i)
		f.names = append(f.names, name)
		switch i % 10 {
		case 0:
			f.silent[name] = true
		case 1:
			f.silent[name] = true
			w.txt[name] = []string{"v=TLSRPTv1; rua=ftp://example.com"}
		case 2:
			w.txt[name] = []string{"v=TLSRPTv1; rua=mailto:tls@" + name + ",mailto:archive@" + name}
		default:
			w.txt[name] = []string{"v=TLSRPTv1; rua=mailto:tls@" + name}
		}
	}
	for i := range 20 { // each delivery to these takes a TLS handshake
		w.txt[f.names[10*i+5]] = []string{"v=TLSRPTv1; rua=https://reports.example/v1"}
	}
	for i := range f.relays {
		f.relays[i] = f.begin()
	}
	return f
}

// chance is true in one of n cases, unless everything is calm.
func (f *fleet) chance(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.calm.Load() && f.random.IntN(n) == 0
}

// begin starts a process.
func (f *fleet) begin() *relay {
	r := &relay{fleet: f, store: &unreliable{MemoryStore: &f.store, fleet: f}}
	r.recorder = newAggregator(f.t, reporter.AggregatorConfig{Store: r.store, Now: f.now})
	config := f.config()
	config.Store, config.Resolver, config.Mailer = r.store, f, reporter.MailerFunc(r.sendMail)
	config.EndpointInterval = time.Millisecond // all https endpoints are on one host
	r.stop = f.startFor(config)
	return r
}

// die ends a process at once. Nothing that it does later has an effect.
func (r *relay) die() { r.store.dead.Store(true) }

// day is the number of days since the start.
func (f *fleet) day() int { return int(f.now().Sub(midnight) / (24 * time.Hour)) }

func (f *fleet) hour() int { return f.now().Hour() }

func (f *fleet) allAway() bool {
	return f.day() == away && f.hour() >= 12 || f.day() == away+1 && f.hour() < 20
}

// step simulates ten minutes.
func (f *fleet) step(step int) {
	for i, r := range f.relays {
		// The relays lose contact with the store in turn, from evening to
		// morning.
		r.store.away.Store(f.day()%relays == i && f.hour() >= 21 || (f.day()+relays-1)%relays == i && f.hour() < 9)
		switch {
		case r.store.dead.Load() && step >= r.downTo && !f.allAway():
			r.stop()
			f.restarts++
			r = f.begin()
			f.relays[i] = r
		case r.store.dead.Load():
			r.stop()
			continue
		case !r.unsure.Load() && (f.allAway() || f.crashing && f.chance(100)):
			r.die()
			r.downTo = step + 2
			continue
		}
		if f.allAway() {
			continue
		}
		r.unsure.Store(true)
		for range 20 {
			r.record()
		}
		if r.recorder.Flush(f.t.Context()) == nil {
			r.unsure.Store(false)
		}
	}
}

// record records one session.
func (r *relay) record() {
	f := r.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	s := session()
	s.Time, s.Domain = f.now(), f.names[f.random.IntN(domains)]
	sts := stsPolicy
	sts.Domain = s.Domain
	switch f.random.IntN(5) {
	case 0:
		s.Outcomes = []tlsrpt.Outcome{met(sts), missed(danePolicy, selfSigned)}
	case 1:
		s.Outcomes = []tlsrpt.Outcome{missed(sts, selfSigned, noSTARTTLS)}
		s.HELO = fmt.Sprintf("mx%d.example", f.random.IntN(5))
	case 2:
		s.Outcomes = []tlsrpt.Outcome{met(danePolicy)}
		s.CarriesReport = f.random.IntN(2) == 0
	default:
		s.Outcomes = []tlsrpt.Outcome{met(tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: s.Domain})}
	}
	r.recorder.Record(s)
	if s.CarriesReport {
		return
	}
	for _, o := range s.Outcomes {
		key := counted{report.DayOf(s.Time), s.Domain, o.Policy.Type}
		sum := f.recorded[key]
		if len(o.Failures) == 0 {
			sum.Successes++
		} else {
			sum.Failures++
		}
		f.recorded[key] = sum
	}
}

// LookupTXT fails for all domains for half a day, and at random otherwise.
func (f *fleet) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if f.day() == outage && f.hour() < 11 || f.chance(10) {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	return f.world.LookupTXT(ctx, name)
}

// sendMail accepts a report or returns an error. Sometimes the relay dies at
// that moment.
func (r *relay) sendMail(_ context.Context, _ string, to []string, message []byte) error {
	switch {
	case r.store.dead.Load():
		return errors.New("the process is dead")
	case r.fleet.chance(10):
		return errors.New("450 later")
	}
	rep, err := reporttest.Mailed(message)
	if err != nil {
		r.fleet.t.Error(err)
		return err
	}
	r.fleet.receive(to[0], rep)
	if n := r.fleet.mailed.Add(1); n%200 == 0 && r.fleet.crashing && !r.unsure.Load() {
		r.die() // before it can record that the report was accepted
	}
	return nil
}

// receive handles a report as a recipient does. A report with a known ID is a
// repetition (RFC 8460 section 5.3) and must be identical.
func (f *fleet) receive(to string, rep *report.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.reports[rep.ID]; known != nil && !bytes.Equal(marshal(f.t, known), marshal(f.t, rep)) {
		f.t.Errorf("two reports have the ID %s", rep.ID)
	}
	f.reports[rep.ID] = rep
	if f.copies[to+rep.ID]++; f.copies[to+rep.ID] > 1 {
		f.repeated++
	}
}

func (f *fleet) endOutages() {
	f.calm.Store(true)
	for i, r := range f.relays {
		r.store.away.Store(false)
		if r.store.dead.Load() {
			r.stop()
			f.relays[i] = f.begin()
		} else if err := r.recorder.Flush(f.t.Context()); err != nil {
			f.t.Error(err)
		}
	}
}

// check compares the recorded sessions with the reported ones.
func (f *fleet) check() {
	for _, d := range f.posts() {
		f.receive(d.to, d.report)
	}
	reported := make(map[counted]report.Summary)
	sessions := int64(0)
	for id, rep := range f.reports {
		date, domain, _ := strings.Cut(strings.TrimSuffix(id, f.id("")), ".")
		if strings.Contains(date, "-") {
			f.late++
		}
		for _, p := range rep.Policies {
			key := counted{report.DayOf(rep.Dates.Start), domain, p.Policy.Type}
			sum := reported[key]
			sum.Successes += p.Summary.Successes
			sum.Failures += p.Summary.Failures
			reported[key] = sum
			sessions += p.Summary.Successes + p.Summary.Failures
		}
	}
	maps.DeleteFunc(f.recorded, func(key counted, _ report.Summary) bool { return f.silent[key.domain] })
	wrong := 0
	for _, key := range slices.Collect(maps.Keys(f.recorded)) {
		if got, want := reported[key], f.recorded[key]; got != want {
			if wrong++; wrong <= 10 {
				f.t.Errorf("%v: reported %v, recorded %v", key, got, want)
			}
		}
	}
	if len(reported) != len(f.recorded) || wrong > 0 {
		f.t.Errorf("%d of %d sums are wrong; %d are reported", wrong, len(f.recorded), len(reported))
	}
	for day := report.DayOf(midnight) - 1; day < report.DayOf(f.now()); day++ {
		for domain := range f.store.Domains(f.t.Context(), day) {
			f.t.Errorf("%v: %s is left", day, domain)
		}
	}
	f.t.Logf("%d outcomes in %d reports, %d of them late parts; %d repeated; %d restarts",
		sessions, len(f.reports), f.late, f.repeated, f.restarts)
	if f.late < 100 || sessions < 10_000 {
		f.t.Error("too little happened to show anything")
	}
}

// unreliable is the store as seen by one relay.
type unreliable struct {
	*reporter.MemoryStore
	fleet *fleet
	dead  atomic.Bool // the relay has died
	away  atomic.Bool // the store is unreachable
}

var errNoContact = errors.New("no contact with the store")

// fails reports whether a call does not reach the store.
func (u *unreliable) fails() bool { return u.dead.Load() || u.away.Load() || u.fleet.chance(200) }

// answered sometimes replaces the result of a call with an error.
func (u *unreliable) answered(err error) error {
	if err == nil && (u.dead.Load() || u.fleet.chance(50)) {
		return errNoContact
	}
	return err
}

func (u *unreliable) Add(ctx context.Context, b *reporter.Batch) error {
	if u.fails() {
		return errNoContact
	}
	return u.answered(u.MemoryStore.Add(ctx, b))
}

func (u *unreliable) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	if u.fails() {
		return func(yield func(string, error) bool) { yield("", errNoContact) }
	}
	return u.MemoryStore.Domains(ctx, day)
}

func (u *unreliable) Sums(ctx context.Context, day report.Day, domain string) (reporter.Part, error) {
	if u.fails() {
		return reporter.Part{}, errNoContact
	}
	return u.MemoryStore.Sums(ctx, day, domain)
}

func (u *unreliable) Seal(ctx context.Context, day report.Day, domain string) (int, error) {
	if u.fails() {
		return 0, errNoContact
	}
	number, err := u.MemoryStore.Seal(ctx, day, domain)
	return number, u.answered(err)
}

func (u *unreliable) Delete(ctx context.Context, day report.Day, domain string, number int) error {
	if u.fails() {
		return errNoContact
	}
	return u.answered(u.MemoryStore.Delete(ctx, day, domain, number))
}

func (u *unreliable) DeleteBefore(ctx context.Context, day report.Day) error {
	if u.fails() {
		return errNoContact
	}
	return u.MemoryStore.DeleteBefore(ctx, day)
}

func (u *unreliable) Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (func(), bool, error) {
	if u.fails() {
		return nil, false, errNoContact
	}
	release, ok, err := u.MemoryStore.Lease(ctx, day, domain, d)
	if !ok || err != nil {
		return nil, ok, err
	}
	return func() {
		if !u.fails() {
			release()
		}
	}, true, nil
}
