package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/tlsrpt"
)

// The values of the labels of reports.
const (
	mailto   = "mailto"
	https    = "https"
	accepted = "sent"
	refused  = "failed"
)

func newReports() *prometheus.CounterVec {
	return counters("mxseal_tlsrpt_reports_total", "Attempts to deliver a TLS report to an endpoint.", []string{"scheme", "result"}, []string{mailto, https}, []string{accepted, refused})
}

// Reported counts an attempt to deliver a TLS report. It is for reporter.Config.Attempted.
func (m *Metrics) Reported(endpoint tlsrpt.Endpoint, err error) {
	scheme, result := https, accepted
	if endpoint.Mail != "" {
		scheme = mailto
	}
	if err != nil {
		result = refused
	}
	m.reports.WithLabelValues(scheme, result).Inc()
}
