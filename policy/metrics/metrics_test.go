package metrics_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/metrics"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/policy/postfix"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// connected returns Metrics of everything, and their registry.
func connected(t *testing.T, config metrics.Config) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	m, err := metrics.New(config)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	return m, registry
}

// series returns the value of each series, which is the count for a histogram, by its name and labels:
// mxseal_plans_total{hit,ok}. The values of labels are in the order of their names.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			if family.GetType() == dto.MetricType_HISTOGRAM {
				value = float64(metric.GetHistogram().GetSampleCount())
			}
			values[fmt.Sprintf("%s{%s}", family.GetName(), strings.Join(labels, ","))] = value
		}
	}
	return values
}

// want compares some series.
func want(t *testing.T, registry *prometheus.Registry, expected map[string]float64) {
	t.Helper()
	values := series(t, registry)
	for name, value := range expected {
		if got, found := values[name]; !found || got != value {
			t.Errorf("%s is %v (found: %t), want %v", name, got, found, value)
		}
	}
}

// The names follow the conventions of Prometheus, whatever has been counted.
func TestNamesFollowConventions(t *testing.T) {
	_, registry := connected(t, metrics.Config{Resolver: policytest.New(t).Resolver(), Maps: []string{"QUERY"}})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Every series is there from the start: traffic adds none, and all are 0 but the version.
func TestSeriesFromTheStart(t *testing.T) {
	w := newWorld(t)
	before := series(t, w.registry)
	for name, value := range before {
		if value != 0 && !strings.HasPrefix(name, "mxseal_build_info") {
			t.Errorf("%s begins with %v", name, value)
		}
	}
	w.traffic(t)
	w.everything()
	after := series(t, w.registry)
	for name := range after {
		if _, found := before[name]; !found {
			t.Errorf("%s was not there from the start", name)
		}
	}
	if len(after) != len(before) || len(before) < 150 {
		t.Errorf("%d series, and %d at the start", len(after), len(before))
	}
}

// world is a sender with everything connected, and domains of each kind.
type world struct {
	inet       *policytest.Internet
	metrics    *metrics.Metrics
	registry   *prometheus.Registry
	resolver   *policy.Resolver
	dialer     *delivery.Dialer
	aggregator *reporter.Aggregator
	sts        *policytest.PolicyHost
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{inet: policytest.New(t)}
	w.inet.Domain("dane.example").MX("mx.dane.example")
	w.inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	sts := w.inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example")
	w.inet.Host("mx.sts.example")
	w.sts = sts.Policy("enforce", "mx.sts.example")
	w.inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	w.inet.Host("mx.plain.example", policytest.NoSTARTTLS)
	w.inet.Domain("broken.example", policytest.Unsigned).MX("mx.broken.example")
	w.inet.Host("mx.broken.example", policytest.Reply("STARTTLS", "454 4.7.0 not now"))
	w.inet.Domain("stripped.example").MX("mx.stripped.example")
	w.inet.Host("mx.stripped.example", policytest.TLSA("3 1 1"), policytest.NoSTARTTLS)
	w.resolver = w.inet.Resolver()
	t.Cleanup(func() { w.resolver.Close() })
	var err error
	if w.aggregator, err = reporter.NewAggregator(reporter.AggregatorConfig{Store: &reporter.MemoryStore{}}); err != nil {
		t.Fatal(err)
	}
	w.metrics, w.registry = connected(t, metrics.Config{
		Resolver: w.resolver, Aggregator: w.aggregator, Now: w.inet.Now,
		Maps: []string{"QUERY", "exim"}, Connections: func() int { return 0 },
		Datagrams: func() metrics.Datagrams { return metrics.Datagrams{} },
	})
	w.dialer = &delivery.Dialer{
		Resolver: w.resolver, Recorder: w.metrics.Recorder(metrics.Own, w.aggregator), Delivered: w.metrics.Delivered, LocalName: "relay.example.net",
	}
	return w
}

func (w *world) send(t *testing.T, to ...string) {
	t.Helper()
	w.metrics.Undelivered(w.dialer.SendMail(t.Context(), "me@example.net", to, []byte("Subject: test\r\n\r\ntest\r\n")))
}

func (w *world) traffic(t *testing.T) {
	t.Helper()
	w.send(t, "a@dane.example", "b@dane.example")
	w.send(t, "a@sts.example")
	w.send(t, "a@plain.example", "b@plain.example", "c@plain.example")
	w.send(t, "a@broken.example")
	w.send(t, "a@stripped.example")
	w.send(t, "a@none.example")
}

// everything counts every value that a caller can pass, also those that no version of this module passes.
func (w *world) everything() {
	for _, source := range []metrics.Source{metrics.Own, metrics.Postfix, "another"} {
		recorder := w.metrics.Recorder(source, nil)
		for _, kind := range []tlsrpt.PolicyType{tlsrpt.TLSA, tlsrpt.STS, tlsrpt.NoPolicyFound, "another"} {
			recorder.Record(&tlsrpt.Session{Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: kind}}}})
			for _, result := range append(tlsrpt.AllResultTypes(), "another") {
				recorder.Record(&tlsrpt.Session{Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: kind}, Failures: []tlsrpt.Failure{{Type: result}}}}})
			}
		}
	}
	for _, name := range []string{"QUERY", "exim", "another"} {
		for _, answer := range []string{
			"dane-only", "dane", "secure", "encrypt", "fingerprint", "notfound", "temp", "verify", "dane-verify", "refuse", "perm", "relay", "another",
		} {
			w.metrics.Answered(name, answer, nil, time.Second)
		}
		for _, reason := range append(postfix.Reasons(), "another") {
			w.metrics.Answered(name, "temp", []postfix.Loss{{Reason: reason}}, time.Hour)
		}
	}
	for _, level := range []policy.Level{policy.Refused, policy.Opportunistic, policy.Encrypted, policy.Authenticated, 200} {
		w.metrics.Delivered(delivery.Delivery{Recipients: []string{"a"}, Host: &policy.Host{Level: level}})
	}
	for _, endpoint := range []tlsrpt.Endpoint{{Mail: "tls@dane.example"}, {URL: "https://dane.example/"}} {
		w.metrics.Reported(endpoint, nil)
		w.metrics.Reported(endpoint, errors.New("503"))
	}
	w.metrics.Undelivered(nil)
	w.metrics.Undelivered(errors.New("another"))
}

// The numbers are those of the traffic.
func TestValuesAreThoseOfTraffic(t *testing.T) {
	w := newWorld(t)
	w.traffic(t)
	w.send(t, "a@dane.example")
	want(t, w.registry, map[string]float64{
		"mxseal_plans_total{miss,ok}":        5,
		"mxseal_plans_total{hit,ok}":         1,
		"mxseal_plans_total{miss,permanent}": 1,
		"mxseal_plans_total{miss,temporary}": 0,
		"mxseal_plan_duration_seconds{}":     6,
		"mxseal_plans_cached{}":              5,

		"mxseal_plan_hosts_total{dane,authenticated}":    2,
		"mxseal_plan_hosts_total{mta-sts,authenticated}": 1,
		"mxseal_plan_hosts_total{none,opportunistic}":    2,
		"mxseal_plan_hosts_total{none,refused}":          0,

		"mxseal_mtasts_policies{enforce}":          1,
		"mxseal_mtasts_fetches_total{ok}":          1,
		"mxseal_mtasts_fetch_duration_seconds{ok}": 1,
		"mxseal_events_total{mta-sts-found}":       1,

		"mxseal_deliveries_total{authenticated,sent}":                   4,
		"mxseal_deliveries_total{opportunistic,sent}":                   4,
		"mxseal_cleartext_total{not-offered}":                           3,
		"mxseal_cleartext_total{handshake-failed}":                      1,
		"mxseal_deliveries_total{none,deferred}":                        1,
		"mxseal_deliveries_total{none,bounced}":                         1,
		"mxseal_sessions_total{tlsa,ok}":                                2,
		"mxseal_sessions_total{sts,ok}":                                 1,
		"mxseal_sessions_total{tlsa,starttls-not-supported}":            1,
		"mxseal_sessions_total{no-policy-found,starttls-not-supported}": 2,
		"mxseal_tlsrpt_recorded_total{own}":                             6,
		"mxseal_tlsrpt_recorded_total{postfix}":                         0,
	})
}
