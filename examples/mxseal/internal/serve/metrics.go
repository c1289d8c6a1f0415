package serve

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mxseal/mxseal/policy/metrics"
)

// maxScrapes bounds the collections of metrics at the same time. Each reads all policies.
const maxScrapes = 4

// newMetrics returns the metrics of the daemon. They are read only after the socketmap and the collector of
// datagrams have been made.
func (d *daemon) newMetrics() (*metrics.Metrics, error) {
	c := metrics.Config{
		Resolver: d.resolver, Now: d.env.Policy.Now,
		Datagrams: func() (n metrics.Datagrams) {
			if d.received != nil {
				n = metrics.Datagrams(d.received.Counts())
			}
			return n
		},
	}
	if d.reports != nil {
		c.Aggregator = d.reports.recorder
	}
	if d.settings.Socketmap.Listen != nil {
		c.Maps = []string{"QUERY", "QUERYwithTLSRPT", "sts", "exim"}
	}
	if d.settings.Relay.Transport != nil {
		c.Maps = append(c.Maps, transportMap)
	}
	c.Connections = func() (n int) {
		for _, server := range d.answering {
			n += server.Connections()
		}
		return n
	}
	return metrics.New(c)
}

// scrapes returns the handler that writes the metrics in the format of Prometheus.
func (d *daemon) scrapes() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(d.metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}
