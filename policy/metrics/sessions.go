package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/tlsrpt"
)

// Source says who had the sessions that a Recorder gets.
type Source string

const (
	// Own means this program.
	Own Source = "own"
	// Postfix means a Postfix that sends datagrams about its sessions.
	Postfix Source = "postfix"
)

// succeeded is the result of a session without failures.
const succeeded = "ok"

// sessions counts what recorders get.
type sessions struct {
	results, recorded *prometheus.CounterVec
}

func newSessions() sessions {
	results := append([]string{succeeded}, names(tlsrpt.AllResultTypes())...)
	policies := names([]tlsrpt.PolicyType{tlsrpt.TLSA, tlsrpt.STS, tlsrpt.NoPolicyFound})
	return sessions{
		results:  counters("mxseal_sessions_total", "Attempts at TLS sessions with mail hosts, once for each policy that applied.", []string{"result", "policy"}, results, policies),
		recorded: counters("mxseal_tlsrpt_recorded_total", "Sessions that were recorded for TLS reports.", []string{"source"}, names([]Source{Own, Postfix})),
	}
}

// Recorder returns a Recorder that counts sessions and passes them on to next. nil means that the results of
// sessions are counted and nothing is recorded. Sessions that carry reports are passed on and not counted, as
// in reports. A source other than Postfix means Own.
func (m *Metrics) Recorder(source Source, next tlsrpt.Recorder) tlsrpt.Recorder {
	if source != Postfix {
		source = Own
	}
	recorded := m.sessions.recorded.WithLabelValues(string(source))
	return tlsrpt.RecorderFunc(func(s *tlsrpt.Session) {
		if !s.CarriesReport {
			if next != nil {
				recorded.Inc()
			}
			for _, o := range s.Outcomes {
				m.sessions.results.WithLabelValues(result(o), policyType(o)).Inc()
			}
		}
		if next != nil {
			next.Record(s)
		}
	})
}

// result returns one of the registered result types, whatever a datagram says.
func result(o tlsrpt.Outcome) string {
	switch {
	case !o.Failed():
		return succeeded
	case o.Failures[0].Type.Valid():
		return string(o.Failures[0].Type)
	default:
		return string(tlsrpt.ValidationFailure)
	}
}

// policyType returns one of the registered policy types.
func policyType(o tlsrpt.Outcome) string {
	switch o.Policy.Type {
	case tlsrpt.TLSA, tlsrpt.STS:
		return string(o.Policy.Type)
	default:
		return string(tlsrpt.NoPolicyFound)
	}
}
