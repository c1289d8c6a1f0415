package metrics

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// The outcomes of a delivery to a recipient.
const (
	sent     = "sent"
	deferred = "deferred"
	bounced  = "bounced"
)

// The reasons for cleartext.
const (
	notOffered = "not-offered"
	tlsFailed  = "handshake-failed"
)

// noLevel is the level of what was not sent.
const noLevel = "none"

// deliveries counts recipients.
type deliveries struct {
	outcomes, cleartext *prometheus.CounterVec
}

func newDeliveries() deliveries {
	d := deliveries{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mxseal_deliveries_total", Help: "Recipients of mail, by what came of the attempt to deliver.",
		}, []string{"outcome", "level"}),
		cleartext: counters("mxseal_cleartext_total", "Recipients to whom mail was sent in cleartext.", []string{"reason"}, []string{notOffered, tlsFailed}),
	}
	for _, level := range []policy.Level{policy.Refused, policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
		d.outcomes.WithLabelValues(sent, level.String())
	}
	for _, outcome := range []string{deferred, bounced} {
		d.outcomes.WithLabelValues(outcome, noLevel)
	}
	return d
}

// Delivered counts the recipients of a message that a mail host has accepted. It is for
// delivery.Dialer.Delivered.
func (m *Metrics) Delivered(d delivery.Delivery) {
	n := float64(len(d.Recipients))
	m.deliveries.outcomes.WithLabelValues(sent, d.Host.Level.String()).Add(n)
	switch {
	case d.TLS != nil:
	case d.TLSFailed:
		m.deliveries.cleartext.WithLabelValues(tlsFailed).Add(n)
	default:
		m.deliveries.cleartext.WithLabelValues(notOffered).Add(n)
	}
}

// Undelivered counts the recipients that a message did not reach. err is what a method Send or SendMail of
// package delivery returned. Other errors, and nil, are not counted.
func (m *Metrics) Undelivered(err error) {
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		return
	}
	for _, u := range failed.Undelivered {
		outcome := deferred
		if !u.Err.Temporary() {
			outcome = bounced
		}
		m.deliveries.outcomes.WithLabelValues(outcome, noLevel).Add(float64(len(u.Recipients)))
	}
}
