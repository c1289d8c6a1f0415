package metrics

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// module is the one whose version mxseal_build_info has.
const module = "github.com/mxseal/mxseal"

// The series that are read from elsewhere when they are collected.
var (
	buildInfo      = describe("build_info", "Always 1. The labels are the versions of mxseal and of Go.", "version", "goversion")
	plans          = describe("plans_total", "Plans that were asked for, by result. A hit is a plan from memory.", "result", "cache")
	planDuration   = describe("plan_duration_seconds", "How long plans took that memory did not have.")
	planHosts      = describe("plan_hosts_total", "Mail hosts in new plans, by the level that was decided and by what decided it.", "level", "by")
	plansCached    = describe("plans_cached", "Plans in memory.")
	events         = describe("events_total", "Changes in what protects the mail of a domain, and problems.", "kind")
	dnsQueries     = describe("dns_queries_total", "DNS lookups, by outcome.", "outcome")
	dnsDuration    = describe("dns_duration_seconds", "How long DNS lookups took that memory did not answer.", "outcome")
	mtastsPolicies = describe("mtasts_policies", "MTA-STS policies in force in memory.", "mode")
	mtastsFetches  = describe("mtasts_fetches_total", "Fetches of MTA-STS policies, by result.", "result")
	fetchDuration  = describe("mtasts_fetch_duration_seconds", "How long fetches of MTA-STS policies took.", "result")
	oldestFailure  = describe("mtasts_oldest_refresh_failure_seconds", "For how long the fetches of an MTA-STS policy in force have failed, at most. 0 if none fails.")
	storeErrors    = describe("store_errors_total", "Calls of the store of MTA-STS policies that failed.", "op")
	storeDuration  = describe("store_duration_seconds", "How long calls of the store of MTA-STS policies took.", "op")
	dropped        = describe("tlsrpt_dropped_total", "Outcomes of sessions that no TLS report counts, because there was no room.")
	datagrams      = describe("tlsrpt_datagrams_total", "Datagrams of Postfix about TLS sessions, by result.", "result")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mxseal_"+name, help, labels, nil)
}

// stats collects the numbers that the Resolver and other parts count.
type stats struct{ Config }

func (s stats) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		buildInfo, plans, planDuration, planHosts, plansCached, events, dnsQueries, dnsDuration, mtastsPolicies, mtastsFetches,
		fetchDuration, oldestFailure, storeErrors, storeDuration, dropped, datagrams,
	} {
		ch <- desc
	}
}

func (s stats) Collect(ch chan<- prometheus.Metric) {
	out := output(ch)
	out.gauge(buildInfo, 1, version(), runtime.Version())
	now := s.Resolver.Stats()
	out.plans(now)
	out.dns(now.DNS)
	out.mtasts(now.MTASTS, s.Now())
	out.store(now.MTASTS.Store)
	out.reports(s.Config)
}

// version returns the version of mxseal in this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, each := range append(info.Deps, &info.Main) {
			if each.Path == module {
				return each.Version
			}
		}
	}
	return "unknown"
}

// output is where metrics go.
type output chan<- prometheus.Metric

func (o output) plans(s policy.Stats) {
	o.counter(plans, s.Cached, "ok", "hit")
	o.counter(plans, s.OK.Count+s.Refused.Count, "ok", "miss")
	// Memory has no errors.
	for _, miss := range []struct {
		result string
		count  uint64
	}{{"temporary", s.Temporary.Count}, {"permanent", s.Permanent.Count}} {
		o.counter(plans, 0, miss.result, "hit")
		o.counter(plans, miss.count, miss.result, "miss")
	}
	o.histogram(planDuration, sum(s.OK, s.Refused, s.Temporary, s.Permanent))
	hosts := map[[2]string]uint64{}
	for _, h := range s.Hosts {
		hosts[[2]string{h.Level.String(), decider(h.By)}] += h.Count
	}
	for labels, n := range hosts {
		o.counter(planHosts, n, labels[0], labels[1])
	}
	o.gauge(plansCached, float64(s.Plans))
	for kind, n := range s.Events {
		if kind != policy.PolicyEvent {
			o.counter(events, n, string(kind))
		}
	}
	for kind, n := range s.MTASTS.Events {
		o.counter(events, n, "mta-sts-"+string(kind))
	}
}

// decider returns what decided a level. The operator is named only where nothing else decided.
func decider(by policy.Mechanism) string {
	switch {
	case by.Has(policy.ByDANE | policy.ByMTASTS):
		return "both"
	case by.Has(policy.ByDANE):
		return "dane"
	case by.Has(policy.ByMTASTS):
		return "mta-sts"
	case by.Has(policy.ByOperator):
		return "operator"
	default:
		return "none"
	}
}

func (o output) dns(s dnssec.Stats) {
	o.counter(dnsQueries, s.Cached, "cached")
	for _, each := range []struct {
		outcome string
		took    dnssec.Latencies
	}{
		{"secure", s.Secure}, {"insecure", s.Insecure}, {"bogus", s.Bogus}, {"failed", s.Failed}, {"busy", s.Busy}, {"canceled", s.Canceled},
	} {
		o.counter(dnsQueries, each.took.Count, each.outcome)
		o.histogram(dnsDuration, each.took, each.outcome)
	}
}

func (o output) mtasts(s mtasts.Stats, now time.Time) {
	for mode, n := range s.Policies {
		o.gauge(mtastsPolicies, float64(n), string(mode))
	}
	f := s.Fetches
	for _, each := range []struct {
		result string
		took   mtasts.Latencies
	}{
		{"ok", f.Changed}, {"unchanged", f.Unchanged}, {"dns", f.DNS}, {"connect", f.Connect}, {"tls", f.TLS}, {"http", f.HTTP},
		{"invalid", f.Invalid}, {"timeout", f.Timeout},
	} {
		o.counter(mtastsFetches, each.took.Count, each.result)
		o.histogram(fetchDuration, dnssec.Latencies(each.took), each.result)
	}
	failing := 0.0
	if !s.FailingSince.IsZero() {
		failing = max(0, now.Sub(s.FailingSince).Seconds())
	}
	o.gauge(oldestFailure, failing)
}

func (o output) store(s mtasts.StoreStats) {
	for _, each := range []struct {
		op    string
		calls mtasts.CallStats
	}{{"get", s.Get}, {"put", s.Put}, {"delete", s.Delete}, {"lease", s.Lease}} {
		o.counter(storeErrors, each.calls.Failed, each.op)
		o.histogram(storeDuration, dnssec.Latencies(each.calls.Latencies), each.op)
	}
}

func (o output) reports(c Config) {
	lost := int64(0)
	if c.Aggregator != nil {
		lost = c.Aggregator.Dropped()
	}
	o.counter(dropped, uint64(lost))
	received := Datagrams{}
	if c.Datagrams != nil {
		received = c.Datagrams()
	}
	o.counter(datagrams, received.OK, "ok")
	o.counter(datagrams, received.Malformed, "malformed")
	o.counter(datagrams, received.Version, "version")
	o.counter(datagrams, received.Dropped, "dropped")
}

func (o output) counter(desc *prometheus.Desc, n uint64, labels ...string) {
	o <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}

func (o output) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	o <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func (o output) histogram(desc *prometheus.Desc, l dnssec.Latencies, labels ...string) {
	cumulative, count := make(map[float64]uint64), uint64(0)
	for i, bound := range bounds() {
		count += l.Buckets[i]
		cumulative[bound] = count
	}
	o <- prometheus.MustNewConstHistogram(desc, l.Count, l.Total.Seconds(), cumulative, labels...)
}

func sum(all ...dnssec.Latencies) (total dnssec.Latencies) {
	for _, each := range all {
		total.Count += each.Count
		total.Total += each.Total
		for i, n := range each.Buckets {
			total.Buckets[i] += n
		}
	}
	return total
}
