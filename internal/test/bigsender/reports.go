//go:build linux

package bigsender

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// tally counts sessions by their outcome.
type tally struct{ met, failed int64 }

// counted is what sessions are counted by in reports.
type counted struct {
	domain string // the recipient domain
	policy tlsrpt.PolicyType
}

// reportSink receives the reports of the day and adds them up.
type reportSink struct {
	mu      sync.Mutex
	reports int
	sums    map[counted]tally
	err     error
	arrived chan struct{}
}

func newReportSink() *reportSink {
	return &reportSink{sums: make(map[counted]tally), arrived: make(chan struct{}, 1)}
}

// ServeHTTP receives a report (RFC 8460 section 5.4). The path is the recipient
// domain.
func (s *reportSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	received, err := report.Parse(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = fmt.Errorf("report to %s: %w", r.URL.Path, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.reports++
	select {
	case s.arrived <- struct{}{}:
	default:
	}
	for _, result := range received.Policies {
		by := counted{strings.TrimPrefix(r.URL.Path, "/"), result.Policy.Type}
		sum := s.sums[by]
		s.sums[by] = tally{sum.met + result.Summary.Successes, sum.failed + result.Summary.Failures}
	}
}

func (s *reportSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports
}

// await waits until there are this many reports, or for this time.
func (s *reportSink) await(reports int, most time.Duration) {
	end := time.After(most)
	for s.count() < reports {
		select {
		case <-s.arrived:
		case <-end:
			return
		}
	}
}
