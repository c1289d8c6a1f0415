// Package maps has the maps of "mxseal serve" that mail servers ask: the TLS policy of a domain.
package maps

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

const (
	// patience is how long Postfix waits for a policy. It waits 100 seconds at most, and asks once
	// for each mail host.
	patience = 15 * time.Second
	// eximPatience is below the 5 seconds of Exim's readsocket.
	eximPatience = 4 * time.Second
	// stallPause is how long a domain whose policy was not there in time is answered at once: the
	// next host, or the next message, must not wait for it again.
	stallPause = 10 * time.Second
	// moment is how long a lookup of such a domain may take.
	moment = 100 * time.Millisecond
	// maxStaying bounds the plans that are made although nobody waits for them.
	maxStaying = 1_000
	// maxStalled bounds the domains that are remembered for that.
	maxStalled = 10_000
	// maxLosses bounds the domains whose losses have been logged.
	maxLosses = 10_000
)

// Resolver makes plans, as a policy.Resolver does.
type Resolver interface {
	Resolve(ctx context.Context, domain string, options ...policy.Option) (*policy.Plan, error)
}

// Settings are what the operator chooses. They may change while the maps are in use.
type Settings struct {
	// Fingerprints, DeferInsecureMX and TestingReports are those of postfix.Options.
	Fingerprints, DeferInsecureMX, TestingReports bool
	// NextHops answers for keys such as "[mail.example.org]:587", the next hops of transport_maps
	// and relayhost, as for a host that the operator configured. False means that they have no
	// policy here.
	NextHops bool
}

// Config configures New.
type Config struct {
	Resolver Resolver
	// Settings returns the settings that apply now. It must not block.
	Settings func() Settings
	// Answered is called for each answer about a domain. nil means that no function is called.
	Answered func(Answer)
	Logger   *slog.Logger
	Now      func() time.Time
}

// Answer is an answer about a domain.
type Answer struct {
	Map, Domain string
	// Level is what the client was told: the level of a postfix.Reply, or the value of the map exim.
	Level string
	// Reason is why the mail waits, and empty if it does not.
	Reason string
	// Lost is what the client cannot do of the plan.
	Lost []postfix.Loss
	Took time.Duration
}

// Maps are the maps. Make them with New.
type Maps struct {
	config  Config
	stalled times
	logged  times
	staying chan struct{}
}

// New returns the maps.
func New(config Config) *Maps {
	return &Maps{config: config, stalled: times{max: maxStalled}, logged: times{max: maxLosses}, staying: make(chan struct{}, maxStaying)}
}

// All returns the maps by their names: QUERY and QUERYwithTLSRPT, which postfix-tlspol has too, sts for
// sendmail, and exim.
func (m *Maps) All() map[string]socketmap.Map {
	return map[string]socketmap.Map{
		"QUERY":           m.policies("QUERY", postfix.Postfix),
		"QUERYwithTLSRPT": m.policies("QUERYwithTLSRPT", postfix.PostfixTLSRPT),
		"sts":             m.policies("sts", postfix.Sendmail),
		"exim":            m.exim,
	}
}

// policies returns the map of the TLS policies for a client.
func (m *Maps) policies(name string, client postfix.Client) socketmap.Map {
	return func(ctx context.Context, key string) socketmap.Reply {
		begun := m.config.Now()
		settings := m.config.Settings()
		domain, via, ask := target(key, settings.NextHops)
		if !ask {
			return socketmap.Reply{Status: socketmap.NotFound}
		}
		var options []policy.Option
		if via != "" {
			options = append(options, policy.Via(via))
		}
		plan, err := m.resolve(ctx, patience, domain, options...)
		o := settings.options(client)
		if via != "" && plan != nil {
			o.Via = plan.Via
		}
		reply := postfix.Policy(plan, err, o)
		answer := socketmap.Reply{Text: reply.Text}
		switch reply.Status {
		case postfix.Found:
			answer.Status = socketmap.Found
		case postfix.NotFound:
			answer.Status = socketmap.NotFound
		}
		m.answered(Answer{name, domain, reply.Level(), answer.Reason(), reply.Inexact, m.config.Now().Sub(begun)})
		m.logLosses(domain, reply)
		return answer
	}
}

// options are those of the answers to a client.
func (s Settings) options(client postfix.Client) postfix.Options {
	return postfix.Options{Client: client, Fingerprints: s.Fingerprints, DeferInsecureMX: s.DeferInsecureMX, TestingReports: s.TestingReports}
}

// target returns the domain that a key of Postfix is about, and the next hop in the syntax of
// policy.Via if the operator named one. Postfix also asks for the parent domains, with a leading dot: a
// policy does not cover subdomains. A path is that of a socket.
func target(key string, nextHops bool) (domain, via string, ask bool) {
	switch {
	case key == "", key[0] == '.', strings.Contains(key, "/"):
		return "", "", false
	case key[0] != '[' && !strings.Contains(key, ":"):
		return key, "", true
	case !nextHops:
		return "", "", false
	case key[0] != '[':
		domain, _, _ = strings.Cut(key, ":")
		return domain, key, true
	}
	host, _, closed := strings.Cut(key[1:], "]")
	if _, err := netip.ParseAddr(strings.TrimPrefix(host, "ipv6:")); err == nil || !closed {
		return "", "", false
	}
	return host, key, true
}

// resolve makes the plan of a domain. When the patience is over it returns an error, and the lookup goes on. A
// domain for which that happened recently gets what is known, and waits only a moment.
func (m *Maps) resolve(ctx context.Context, patience time.Duration, domain string, options ...policy.Option) (*policy.Plan, error) {
	w := &waiting{Context: ctx, maps: m, patience: patience, domain: domain, options: options}
	defer w.end()
	return m.config.Resolver.Resolve(w, domain, options...)
}

// stay waits for the plan of a domain, so that its lookup goes on, unless too many are waited for.
func (m *Maps) stay(ctx context.Context, domain string, options []policy.Option) {
	select {
	case m.staying <- struct{}{}:
		_, _ = m.config.Resolver.Resolve(ctx, domain, options...) // the Resolver remembers the result
		<-m.staying
	default:
	}
}

// Slow returns the domains whose policy was not there in time, and until when their mail waits without
// another lookup that takes long. The map is the caller's.
func (m *Maps) Slow() map[string]time.Time { return m.stalled.all(m.config.Now()) }

func (m *Maps) answered(a Answer) {
	if m.config.Answered != nil {
		m.config.Answered(a)
	}
}

// logLosses logs what the client cannot do of the plan, once a day for each domain.
func (m *Maps) logLosses(domain string, reply postfix.Reply) {
	if reply.Inexact == nil {
		return
	}
	now := m.config.Now()
	key := strings.ToLower(domain)
	if m.logged.has(key, now) {
		return
	}
	m.logged.add(key, now.Add(24*time.Hour), now)
	for _, loss := range reply.Inexact {
		m.config.Logger.Warn("the TLS policy cannot say all that the plan demands", "domain", names.Printable(domain, 255),
			"answer", reply.Level(), "weaker", reply.Weaker, "reason", string(loss.Reason), "detail", loss.String())
	}
}

// times remembers names until a time, a limited number of them. It forgets all when there is no room.
type times struct {
	max int

	mu    sync.Mutex
	until map[string]time.Time
}

func (t *times) has(name string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, found := t.until[name]
	if found && !now.Before(until) {
		delete(t.until, name)
		return false
	}
	return found
}

func (t *times) add(name string, until, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.until) >= t.max {
		for each, end := range t.until {
			if !now.Before(end) {
				delete(t.until, each)
			}
		}
	}
	if t.until == nil || len(t.until) >= t.max {
		t.until = make(map[string]time.Time)
	}
	t.until[name] = until
}

func (t *times) all(now time.Time) map[string]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := maps.Clone(t.until)
	maps.DeleteFunc(all, func(_ string, until time.Time) bool { return !now.Before(until) })
	return all
}
