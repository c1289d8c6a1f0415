package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// Config configures New, which reads it once.
type Config struct {
	// Resolver has the numbers of plans, policies, lookups and the store. It is required.
	Resolver *policy.Resolver
	// Aggregator has the number of dropped outcomes. nil means that it stays 0.
	Aggregator *reporter.Aggregator
	// Datagrams returns what a collector of Postfix's datagrams has received so far. It must be
	// safe for concurrent use. nil means that the numbers stay 0.
	Datagrams func() Datagrams
	// Maps are the names of the maps that a socketmap server has, in the form in which
	// [Metrics.Answered] gets them. Empty means that the series of the socketmap are left out.
	Maps []string
	// Connections returns how many connections the socketmap server has. It must be safe for
	// concurrent use. nil means that the number stays 0.
	Connections func() int
	// Now is the clock, that of policy.Config. nil means time.Now.
	Now func() time.Time
}

// Datagrams are counts of datagrams by what came of them.
type Datagrams struct {
	OK        uint64
	Malformed uint64
	Version   uint64 // of a version of the format that is not known
	Dropped   uint64 // not read, because too many waited
}

// Metrics is a [prometheus.Collector] with all series of this package. Its methods are safe for
// concurrent use.
type Metrics struct {
	stats      stats
	sessions   sessions
	deliveries deliveries
	reports    *prometheus.CounterVec
	socketmap  *socketmap // nil for none
}

// New returns Metrics. The caller registers them, once in each registry. The error is that of a Config
// without Resolver.
func New(config Config) (*Metrics, error) {
	if config.Resolver == nil {
		return nil, errors.New("metrics: Config.Resolver is required")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	m := &Metrics{stats: stats{config}, sessions: newSessions(), deliveries: newDeliveries(), reports: newReports()}
	if len(config.Maps) > 0 {
		m.socketmap = newSocketmap(config.Maps, config.Connections)
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, part := range m.parts() {
		part.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It reads all policies in memory, which takes some
// milliseconds for a hundred thousand.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, part := range m.parts() {
		part.Collect(ch)
	}
}

func (m *Metrics) parts() []prometheus.Collector {
	parts := []prometheus.Collector{m.stats, m.sessions.results, m.sessions.recorded, m.deliveries.outcomes, m.deliveries.cleartext, m.reports}
	if s := m.socketmap; s != nil {
		parts = append(parts, s.requests, s.duration, s.connections, s.inexact)
	}
	return parts
}

// counters returns counters for all combinations of the values of their labels.
func counters(name, help string, labels []string, values ...[]string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	combinations := [][]string{nil}
	for _, each := range values {
		var longer [][]string
		for _, begin := range combinations {
			for _, value := range each {
				longer = append(longer, append(begin[:len(begin):len(begin)], value))
			}
		}
		combinations = longer
	}
	for _, values := range combinations {
		vec.WithLabelValues(values...)
	}
	return vec
}

// bounds returns the bounds of the histograms in seconds.
func bounds() (seconds []float64) {
	for _, bound := range dnssec.LatencyBounds() {
		seconds = append(seconds, bound.Seconds())
	}
	return seconds
}

// names returns the texts of values of any kind.
func names[T ~string](values []T) (texts []string) {
	for _, value := range values {
		texts = append(texts, string(value))
	}
	return texts
}
