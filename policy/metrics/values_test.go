package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/metrics"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/policy/postfix"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// Failures are counted by what failed: a plan without hosts to send to is a plan, and its host is refused.
func TestFailuresByWhatFailed(t *testing.T) {
	w := newWorld(t)
	restore := w.inet.BreakDNS(policytest.Bogus, "_25._tcp.mx.dane.example")
	w.send(t, "a@dane.example", "b@dane.example", "c@dane.example")
	restore()
	w.inet.BreakDNS(policytest.ServFail, "sts.example", dnssec.TypeMX)
	w.send(t, "a@sts.example")
	values := series(t, w.registry)
	for _, name := range []string{"mxseal_dns_queries_total{bogus}", "mxseal_dns_duration_seconds{bogus}", "mxseal_dns_queries_total{failed}"} {
		if values[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	want(t, w.registry, map[string]float64{
		"mxseal_plans_total{miss,ok}":                       1,
		"mxseal_plans_total{miss,temporary}":                1,
		"mxseal_plan_duration_seconds{}":                    2,
		"mxseal_plan_hosts_total{dane,refused}":             1,
		"mxseal_deliveries_total{none,deferred}":            4,
		"mxseal_deliveries_total{authenticated,sent}":       0,
		"mxseal_sessions_total{tlsa,dnssec-invalid}":        1,
		"mxseal_sessions_total{sts,sts-policy-fetch-error}": 0,
	})
}

// The age of the oldest failing policy grows until a fetch succeeds.
func TestOldestRefreshFailure(t *testing.T) {
	w := newWorld(t)
	w.send(t, "a@sts.example")
	w.sts.Break(policytest.Status(http.StatusInternalServerError))
	w.sts.Announce("changed")
	w.inet.Advance(2 * time.Hour)
	w.send(t, "a@sts.example")
	// RPT-29: the session met the remembered policy.
	want(t, w.registry, map[string]float64{"mxseal_sessions_total{sts,ok}": 2, "mxseal_sessions_total{sts,sts-policy-fetch-error}": 0})
	w.inet.Advance(3 * time.Hour)
	const name = "mxseal_mtasts_oldest_refresh_failure_seconds{}"
	if age := series(t, w.registry)[name]; age < 3*3600 || age > 3*3600+60 {
		t.Errorf("%v seconds, want three hours", age)
	}
	want(t, w.registry, map[string]float64{"mxseal_mtasts_fetches_total{http}": 1, "mxseal_mtasts_policies{enforce}": 1})
	w.inet.Advance(-10 * time.Hour)
	want(t, w.registry, map[string]float64{name: 0})
}

// away is a store that cannot be reached.
type away struct{}

func (away) Get(context.Context, string) (mtasts.Entry, error) { return mtasts.Entry{}, errAway }
func (away) Put(context.Context, mtasts.Entry) error           { return errAway }
func (away) Delete(context.Context, string) error              { return errAway }
func (away) All(context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) { yield(mtasts.Entry{}, errAway) }
}

var errAway = errors.New("the store is away")

// Calls of the store are counted, and those that failed.
func TestStoreCallsAreCounted(t *testing.T) {
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	resolver := inet.Resolver(func(c *policy.Config) { c.Store, c.ProceedUnread = away{}, true })
	defer resolver.Close()
	_, registry := connected(t, metrics.Config{Resolver: resolver})
	if _, err := resolver.Resolve(t.Context(), "sts.example"); err != nil {
		t.Fatal(err)
	}
	values := series(t, registry)
	for _, op := range []string{"get", "put"} {
		calls, failed := values["mxseal_store_duration_seconds{"+op+"}"], values["mxseal_store_errors_total{"+op+"}"]
		if calls == 0 || calls != failed {
			t.Errorf("%s: %v calls, %v failed", op, calls, failed)
		}
	}
	if values["mxseal_events_total{mta-sts-store-failed}"] == 0 {
		t.Error("no event")
	}
}

// What recorders get is counted and passed on. A session that carries a report is only passed on.
func TestRecorderCountsAndPassesOn(t *testing.T) {
	w := newWorld(t)
	var passed []*tlsrpt.Session
	next := tlsrpt.RecorderFunc(func(s *tlsrpt.Session) { passed = append(passed, s) })
	session := &tlsrpt.Session{Outcomes: []tlsrpt.Outcome{
		{Policy: tlsrpt.Policy{Type: tlsrpt.TLSA}},
		{Policy: tlsrpt.Policy{Type: tlsrpt.STS}, Failures: []tlsrpt.Failure{{Type: tlsrpt.CertificateExpired}, {Type: tlsrpt.TLSAInvalid}}},
	}}
	carrying := *session
	carrying.CarriesReport = true
	w.metrics.Recorder(metrics.Own, nil).Record(&tlsrpt.Session{Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound}}}})
	recorder := w.metrics.Recorder(metrics.Postfix, next)
	recorder.Record(session)
	recorder.Record(&carrying)
	if len(passed) != 2 || passed[0] != session || passed[1] != &carrying {
		t.Errorf("passed on: %v", passed)
	}
	want(t, w.registry, map[string]float64{
		"mxseal_tlsrpt_recorded_total{postfix}":          1,
		"mxseal_tlsrpt_recorded_total{own}":              0,
		"mxseal_sessions_total{tlsa,ok}":                 1,
		"mxseal_sessions_total{no-policy-found,ok}":      1,
		"mxseal_sessions_total{sts,certificate-expired}": 1,
		"mxseal_sessions_total{sts,tlsa-invalid}":        0,
	})
}

// Reports, what they leave out, and datagrams.
func TestReportsAndDatagramsAreCounted(t *testing.T) {
	const octets = 1 << 20
	aggregator, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: &reporter.MemoryStore{}, MaxOctets: octets})
	if err != nil {
		t.Fatal(err)
	}
	m, registry := connected(t, metrics.Config{
		Resolver: policytest.New(t).Resolver(), Aggregator: aggregator,
		Datagrams: func() metrics.Datagrams { return metrics.Datagrams{OK: 1, Malformed: 2, Version: 3, Dropped: 4} },
	})
	for i := 0; aggregator.Dropped() < 7 && i < octets; i++ {
		domain := fmt.Sprintf("d%d.example", i)
		aggregator.Record(&tlsrpt.Session{Domain: domain, Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: domain}}}})
	}
	m.Reported(tlsrpt.Endpoint{Mail: "tls@example.org"}, nil)
	m.Reported(tlsrpt.Endpoint{URL: "https://example.org/"}, nil)
	m.Reported(tlsrpt.Endpoint{URL: "https://example.org/"}, errAway)
	want(t, registry, map[string]float64{
		"mxseal_tlsrpt_dropped_total{}":              7,
		"mxseal_tlsrpt_datagrams_total{ok}":          1,
		"mxseal_tlsrpt_datagrams_total{malformed}":   2,
		"mxseal_tlsrpt_datagrams_total{version}":     3,
		"mxseal_tlsrpt_datagrams_total{dropped}":     4,
		"mxseal_tlsrpt_reports_total{sent,mailto}":   1,
		"mxseal_tlsrpt_reports_total{failed,mailto}": 0,
		"mxseal_tlsrpt_reports_total{sent,https}":    1,
		"mxseal_tlsrpt_reports_total{failed,https}":  1,
	})
}

// Answers of the socketmap are counted by map and level, and each reason once for an answer.
func TestSocketmapAnswersAreCounted(t *testing.T) {
	resolver := policytest.New(t).Resolver()
	m, registry := connected(t, metrics.Config{Resolver: resolver, Maps: []string{"QUERY", "sts"}, Connections: func() int { return 5 }})
	m.Answered("QUERY", "dane-only", nil, 3*time.Millisecond)
	m.Answered("QUERY", "temp", []postfix.Loss{{Reason: postfix.Mixed}, {Reason: postfix.Mixed}, {Reason: postfix.Pin}}, time.Minute)
	m.Answered("evil\n", "notfound", nil, time.Millisecond)
	want(t, registry, map[string]float64{
		"mxseal_socketmap_requests_total{dane-only,QUERY}": 1,
		"mxseal_socketmap_requests_total{temp,QUERY}":      1,
		"mxseal_socketmap_requests_total{notfound,other}":  1,
		"mxseal_socketmap_requests_total{dane-only,sts}":   0,
		"mxseal_socketmap_duration_seconds{QUERY}":         2,
		"mxseal_socketmap_duration_seconds{other}":         1,
		"mxseal_socketmap_connections{}":                   5,
		"mxseal_socketmap_inexact_total{mixed}":            1,
		"mxseal_socketmap_inexact_total{pin}":              1,
		"mxseal_socketmap_inexact_total{floor}":            0,
	})
	// Without maps there are no such series, and Answered does nothing.
	m, registry = connected(t, metrics.Config{Resolver: resolver})
	m.Answered("QUERY", "temp", nil, 0)
	for name := range series(t, registry) {
		if strings.HasPrefix(name, "mxseal_socketmap_") {
			t.Errorf("%s without maps", name)
		}
	}
}

// The buckets are cumulative, have the bounds of the Stats, and the sums are in seconds.
func TestHistogramsAreCumulative(t *testing.T) {
	w := newWorld(t)
	w.metrics.Answered("QUERY", "temp", nil, 3*time.Millisecond)
	w.metrics.Answered("QUERY", "temp", nil, time.Minute)
	restore := w.inet.SlowDNS(12 * time.Millisecond)
	w.traffic(t)
	restore()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, family := range families {
		if family.GetType() != dto.MetricType_HISTOGRAM {
			continue
		}
		for _, metric := range family.GetMetric() {
			h := metric.GetHistogram()
			bounds := dnssec.LatencyBounds()
			if len(h.GetBucket()) < len(bounds) {
				t.Fatalf("%s has %d buckets", family.GetName(), len(h.GetBucket()))
			}
			before, least := uint64(0), 0.0
			for i, bound := range bounds {
				b := h.GetBucket()[i]
				if b.GetUpperBound() != bound.Seconds() || b.GetCumulativeCount() < before {
					t.Errorf("%s: bucket %d is %v after %d", family.GetName(), i, b, before)
				}
				if i > 0 {
					least += float64(b.GetCumulativeCount()-before) * bounds[i-1].Seconds()
				}
				before = b.GetCumulativeCount()
			}
			least += float64(h.GetSampleCount()-before) * bounds[len(bounds)-1].Seconds()
			if h.GetSampleSum() < least || h.GetSampleSum() > time.Hour.Seconds() || before > h.GetSampleCount() {
				t.Errorf("%s: sum %v of %d calls, want at least %v and no hours", family.GetName(), h.GetSampleSum(), h.GetSampleCount(), least)
			}
			if h.GetSampleCount() > 0 {
				seen++
			}
		}
		if h := family.GetMetric()[0].GetHistogram(); family.GetName() == "mxseal_plan_duration_seconds" {
			fast, all := h.GetBucket()[3].GetCumulativeCount(), h.GetBucket()[len(h.GetBucket())-1].GetCumulativeCount()
			if fast != 0 || all != h.GetSampleCount() || all == 0 {
				t.Errorf("%d plans of %d took less than one answer of DNS; %d in the buckets", fast, h.GetSampleCount(), all)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d histograms with calls", seen)
	}
}

// Everything may be counted while it is collected.
func TestCountingWhileCollecting(t *testing.T) {
	w := newWorld(t)
	const workers, rounds = 4, 5
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for range rounds {
				w.everything()
				if _, err := w.registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	want(t, w.registry, map[string]float64{
		"mxseal_tlsrpt_reports_total{sent,https}":         workers * rounds,
		"mxseal_socketmap_requests_total{notfound,QUERY}": workers * rounds,
		"mxseal_sessions_total{tlsa,ok}":                  3 * workers * rounds,
	})
}

// A Config needs a Resolver.
func TestConfigNeedsResolver(t *testing.T) {
	if _, err := metrics.New(metrics.Config{}); err == nil {
		t.Error("no error without Resolver")
	}
}
