package check

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
)

// status is the exit status of a Nagios plugin (Monitoring Plugins Development Guidelines,
// section "Plugin Return Codes").
type status int

const (
	ok status = iota
	warning
	critical
	unknown
)

func (s status) String() string { return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[s] }

// statusOf returns the status for a verdict. A degraded domain still gets its mail.
func statusOf(v survey.Verdict) status {
	switch v {
	case survey.Protected:
		return ok
	case survey.Unprotected, survey.Degraded:
		return warning
	default:
		return critical
	}
}

// plugin prints the results as a Nagios plugin does: one line with performance data, and then
// the problems.
type plugin struct {
	w          io.Writer
	began      time.Time
	now        func() time.Time
	worst      status
	summaries  []string
	problems   []string
	hosts, bad int
}

func (p *plugin) print(r *survey.Result) error {
	p.worst = max(p.worst, statusOf(r.Verdict))
	p.summaries = append(p.summaries, field(r.Name())+" "+r.Verdict.String()+": "+field(r.Why))
	if r.Error != nil {
		p.problems = append(p.problems, field(r.Error.Error()))
	}
	for _, problem := range r.Problems {
		p.problems = append(p.problems, field(problem))
	}
	if r.Plan != nil {
		p.hosts += len(r.Plan.Hosts)
	}
	p.bad += len(r.Problems)
	return nil
}

func (p *plugin) end() int {
	fmt.Fprintf(p.w, "MXSEAL %s - %s | time=%.3fs hosts=%d problems=%d\n", p.worst,
		strings.Join(p.summaries, "; "), p.now().Sub(p.began).Seconds(), p.hosts, p.bad)
	for _, problem := range p.problems {
		fmt.Fprintln(p.w, problem)
	}
	return int(p.worst)
}

// field returns text for the line of a plugin, where "|" begins the performance data.
func field(s string) string { return strings.ReplaceAll(cli.Clean(s), "|", "/") }
