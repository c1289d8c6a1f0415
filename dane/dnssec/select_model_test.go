package dnssec

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// mood is how a server of the model behaves for a while.
type mood uint8

const (
	well    mood = iota
	slow         // for all names
	lossy        // half of the datagrams are lost
	noUDP        // and TCP works
	useless      // SERVFAIL for everything
	silent
	moods
)

func (m mood) works() bool { return m <= noUDP }

// modeled is a server of the model.
type modeled struct {
	address string
	mood    mood
	delay   time.Duration
	since   time.Time
}

// modelAddresses are sets of servers. Addresses of this host are authenticated.
var modelAddresses = [][]string{
	{"192.0.2.1"},
	{"192.0.2.1", "192.0.2.2"},
	{"192.0.2.1", "192.0.2.2", "192.0.2.3"},
	{"127.0.0.1", "127.0.0.2", "127.0.0.3"},
	{"127.0.0.1", "192.0.2.2", "192.0.2.3"},
	{"127.0.0.1", "192.0.2.2", "127.0.0.3"},
}

// model is a random sequence of moods and lookups.
type model struct {
	*fleet
	t       *testing.T
	rand    *rand.Rand
	loss    *rand.Rand // of datagrams
	servers []*modeled
	v       *Validator
	n       int // names so far
}

// The model of server selection: whatever the servers do, answers are those of one healthy
// server, plaintext servers do not overtake authenticated ones, questions are bounded, a
// lookup succeeds if a server has worked for two seconds, and fails fast if all are silent.
func TestSelectionFollowsModel(t *testing.T) {
	t.Parallel()
	for i := range 24 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			random := seed.Rand(t)
			synctest.Test(t, func(t *testing.T) { runModel(t, random) })
		})
	}
}

func runModel(t *testing.T, random *rand.Rand) {
	m := &model{fleet: newFleet(mail(t)), t: t, rand: random, loss: rand.New(rand.NewPCG(random.Uint64(), 0))}
	addresses := modelAddresses[m.rand.IntN(len(modelAddresses))]
	for _, address := range addresses {
		m.servers = append(m.servers, &modeled{address: address})
		m.change(len(m.servers) - 1)
	}
	m.behave = m.react
	m.bend = func(server string, reply *dns.Msg) {
		m.log.Lock()
		defer m.log.Unlock()
		if m.at(server).mood == useless {
			reply.Rcode, reply.Answer, reply.Ns = dns.RcodeServerFailure, nil, nil
		}
	}
	cacheBytes := []int{1, 0}[m.rand.IntN(2)]
	m.v = m.fleet.validator(addresses...)
	start := time.Now()
	m.v.now = func() time.Time { return m.now.Add(time.Since(start)) }
	m.v.cache = m.world.validator(func(c *Config) { c.CacheBytes = cacheBytes }).cache
	for range 25 {
		for range m.rand.IntN(3) {
			m.change(m.rand.IntN(len(m.servers)))
		}
		if m.rand.IntN(3) > 0 {
			time.Sleep(time.Duration(m.rand.Int64N(int64(5 * time.Second))))
		}
		m.lookups(1)
		if m.rand.IntN(4) == 0 {
			m.lookups(1 + m.rand.IntN(6))
		}
	}
}

// change gives a server another mood.
func (m *model) change(i int) {
	m.log.Lock()
	defer m.log.Unlock()
	s := m.servers[i]
	s.mood, s.delay, s.since = mood(m.rand.IntN(int(moods))), time.Duration(1+m.rand.IntN(40))*time.Millisecond, time.Now()
	if s.mood == slow {
		s.delay = time.Duration(200+m.rand.IntN(1000)) * time.Millisecond
	}
}

func (m *model) at(server string) *modeled {
	return m.servers[slices.IndexFunc(m.servers, func(s *modeled) bool { return s.address == server })]
}

func (m *model) react(server, network string, _ dns.Question) (time.Duration, bool) {
	switch s := m.at(server); s.mood {
	case silent:
		return 0, false
	case noUDP:
		return s.delay, network == "tcp"
	case lossy:
		return s.delay, network == "tcp" || m.loss.IntN(2) == 0
	default:
		return s.delay, true
	}
}

// modelNames are names with the outcomes that their lookups must have. A star means a new
// label.
var modelNames = []struct {
	name    string
	status  Status
	outcome string
}{
	{"mx.example.com.", Secure, "records"},
	{"*.wild.example.com.", Secure, "records"},
	{"alias.example.com.", Secure, "records"},
	{"*.example.com.", Secure, "NXDOMAIN"},
	{"*.com.", Secure, "NXDOMAIN"},
	{"mx.plain.com.", Insecure, "records"},
	{"*.plain.com.", Insecure, "NXDOMAIN"},
	{"plain.com.", Insecure, "NODATA"},
	{"away.example.com.", Insecure, "records"},
}

// lookups looks up several names at once.
func (m *model) lookups(n int) {
	synctest.Wait() // attempts of the last lookup that were not needed end
	m.log.Lock()
	m.sent, m.overtaken = nil, nil
	m.log.Unlock()
	var running sync.WaitGroup
	for range n {
		m.n++
		about := modelNames[m.rand.IntN(len(modelNames))]
		name := strings.Replace(about.name, "*", fmt.Sprintf("n%d", m.n), 1)
		running.Go(func() {
			a, took, err := timed(m.t, m.v, name, TypeA)
			if err == nil && (a.Status != about.status || outcomeOf(a, nil) != about.outcome) {
				m.t.Errorf("%s: %+v, want %s, %s", name, a, about.status, about.outcome)
			}
			m.judge(name, about.status == Secure || about.outcome == "records", err, took)
		})
	}
	running.Wait()
	m.log.Lock()
	defer m.log.Unlock()
	if n == 1 { // several may have begun when it was known otherwise which servers work
		if len(m.overtaken) > 0 {
			m.t.Errorf("%d questions to plaintext servers while an authenticated one was asked, such as %v", len(m.overtaken), m.overtaken[0])
		}
		counts := make(map[dns.Question]int)
		for _, s := range m.sent {
			if counts[s.question]++; counts[s.question] > 4*len(m.servers) && s.question.Name != "." {
				m.t.Errorf("%v was asked %d times at %d servers", s.question, counts[s.question], len(m.servers))
			}
		}
	}
}

// judge checks the outcome of a lookup that has just ended.
func (m *model) judge(name string, positive bool, err error, took time.Duration) {
	m.log.Lock()
	defer m.log.Unlock()
	began := time.Now().Add(-took)
	var working, anyUseless, mixed bool
	allSilent, long := true, true
	var moods []string
	for _, s := range m.servers {
		lasts := began.Sub(s.since)
		working = working || s.mood.works() && lasts >= 2*time.Second
		allSilent = allSilent && s.mood == silent
		long = long && lasts > 1500*time.Millisecond // no replies to earlier questions arrive
		mixed = mixed || strings.HasPrefix(s.address, "127.") != strings.HasPrefix(m.servers[0].address, "127.")
		anyUseless = anyUseless || s.mood == useless || lasts < 2*failureTTL // which may be remembered
		moods = append(moods, fmt.Sprint(s.address, " ", s.mood, " ", s.delay, " for ", began.Sub(s.since)))
	}
	e := new(Error)
	if errors.As(err, &e) && e.Status == Bogus {
		m.t.Errorf("%s: %v", name, err)
	}
	switch {
	case working && !(anyUseless && (!positive || took == 0)) && (err != nil || took > 12*time.Second):
		m.t.Errorf("%s: %v after %v, and a server works: %v", name, err, took, moods)
	case allSilent && err == nil && e.Reason != 0:
		m.t.Errorf("%s: answered by silent servers", name)
	// A server that falls silent as the lookup begins is found out after 3.55 s.
	case allSilent && err != nil && (took > 2*time.Second && long && !mixed || took > 3600*time.Millisecond):
		m.t.Errorf("%s: %v after %v: %v", name, err, took, moods)
	}
}
