package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/policy/postfix"
)

// other is the value of a label for what is not known.
const other = "other"

// answers returns the values of the label answer: those of postfix.Reply.Level, those of
// a map for single hosts, and those of a transport map.
func answers() []string {
	return []string{
		"dane-only", "dane", "secure", "encrypt", "fingerprint", "notfound", "temp",
		"verify", "dane-verify", "refuse", "perm", "relay", other,
	}
}

// reasons returns the values of the label reason.
func reasons() []string { return append(names(postfix.Reasons()), other) }

// socketmap counts the answers of a socketmap server.
type socketmap struct {
	requests, inexact *prometheus.CounterVec
	duration          *prometheus.HistogramVec
	connections       prometheus.GaugeFunc
	byMap             map[string]mapSeries
}

// mapSeries are the series of one map. They are looked up once, because an answer from memory takes little
// longer than that.
type mapSeries struct {
	requests map[string]prometheus.Counter // by answer
	duration prometheus.Observer
}

func newSocketmap(maps []string, connections func() int) *socketmap {
	s := &socketmap{
		byMap: make(map[string]mapSeries),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mxseal_socketmap_duration_seconds", Help: "How long answers of the socketmap took.", Buckets: bounds(),
		}, []string{"map"}),
		connections: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mxseal_socketmap_connections", Help: "Connections to the socketmap.",
		}, func() float64 {
			if connections == nil {
				return 0
			}
			return float64(connections())
		}),
		inexact: counters("mxseal_socketmap_inexact_total", "Answers of the socketmap that cannot say all that the plan demands.", []string{"reason"}, reasons()),
	}
	all := append(slices.Clone(maps), other)
	s.requests = counters("mxseal_socketmap_requests_total", "Answers of the socketmap.", []string{"map", "answer"}, all, answers())
	for _, name := range all {
		each := mapSeries{make(map[string]prometheus.Counter), s.duration.WithLabelValues(name)}
		for _, answer := range answers() {
			each.requests[answer] = s.requests.WithLabelValues(name, answer)
		}
		s.byMap[name] = each
	}
	return s
}

// Answered counts an answer of a socketmap server. name is the map, answer what it said, such as
// postfix.Reply.Level, lost what the client cannot do of the plan, as in postfix.Reply.Inexact, and took how
// long the client waited. It does nothing without Config.Maps.
func (m *Metrics) Answered(name, answer string, lost []postfix.Loss, took time.Duration) {
	s := m.socketmap
	if s == nil {
		return
	}
	series := oneOf(s.byMap, name)
	oneOf(series.requests, answer).Inc()
	series.duration.Observe(took.Seconds())
	var counted []string
	for _, loss := range lost {
		if reason := known(reasons(), string(loss.Reason)); !slices.Contains(counted, reason) {
			counted = append(counted, reason)
			s.inexact.WithLabelValues(reason).Inc()
		}
	}
}

// oneOf returns the series of a value, or that of other if it has none.
func oneOf[T any](series map[string]T, value string) T {
	if each, found := series[value]; found {
		return each
	}
	return series[other]
}

// known returns a value if it is one of those, and other if not.
func known(values []string, value string) string {
	if slices.Contains(values, value) {
		return value
	}
	return other
}
