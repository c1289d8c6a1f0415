package situations

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// Each situation results in a report that its recipient can read: the report has the form of
// RFC 8460, repeats the policy, and an entry of the vocabulary explains every failure (R14,
// R15, R16). With MXSEAL_REPORTS, the explanations are saved beside the reports.
func TestReportOfEachSituation(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	trials, err := Build(t.Context(), inet, All(Groups()))
	if err != nil {
		t.Fatal(err)
	}
	var reports atomic.Int32
	t.Cleanup(func() {
		if n := reports.Load(); n < 70 && n > 1 { // -run may choose one
			t.Errorf("only %d situations gave a report", n)
		}
	})
	for _, trial := range trials {
		t.Run(trial.Domain, func(t *testing.T) {
			t.Parallel()
			trial.Run(t.Context(), SendMail)
			if len(trial.Reports()) == 0 {
				return
			}
			reports.Add(1)
			r := reportOf(t, trial)
			text, err := reporttest.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			received, err := report.Parse(bytes.NewReader(text))
			if err != nil || !reflect.DeepEqual(received, r) {
				t.Fatalf("%s\nwas read as %+v, %v", text, received, err)
			}
			for i := range received.Policies {
				checkPolicy(t, &received.Policies[i])
			}
			var explained strings.Builder
			if err := received.Explain(&explained); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s\n%s\n%s", trial.Title, text, explained.String())
			if dir := os.Getenv(reporttest.Dir); dir != "" {
				page := trial.Title + "\n" + string(text) + "\n" + explained.String()
				if err := os.WriteFile(filepath.Join(dir, trial.Domain+".txt"), []byte(page), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// reportOf returns the report about the sessions of a trial.
func reportOf(t *testing.T, trial *Trial) *report.Report {
	t.Helper()
	var store reporter.MemoryStore
	sessions := trial.Reports()
	// The failure of a domain as a whole has no time.
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	aggregator, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: &store, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range sessions {
		aggregator.Record(&sessions[i])
	}
	if err := aggregator.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	day := report.DayOf(cmp.Or(sessions[0].Time, now))
	part, err := store.Sums(t.Context(), day, sessions[0].Domain)
	if err != nil || len(part.Sums) == 0 {
		t.Fatalf("%d results, %v", len(part.Sums), err)
	}
	return &report.Report{
		Organization: "Sender", Contact: "tls@sender.test", ID: trial.Domain,
		Dates:    report.DateRange{Start: day.Start(), End: day.End()},
		Policies: part.Sums,
	}
}

// checkPolicy checks what a strict reader expects of an entry (RFC 8460 sections 4.4 and
// 4.5).
func checkPolicy(t *testing.T, p *report.PolicyResult) {
	t.Helper()
	mode := slices.ContainsFunc(p.Policy.Strings, func(line string) bool { return strings.HasPrefix(line, "mode: ") })
	var ofHosts, explained int64
	for _, d := range p.Details {
		explained += d.Sessions
		reason, found := tlsrpt.FindReason(tlsrpt.Failure{Type: d.Type, ReasonCode: d.ReasonCode})
		if !found && d.ReasonCode != "" {
			t.Errorf("the code of %s/%s is not listed", d.Type, d.ReasonCode)
		}
		if d.ReasonCode == "" && d.Type != tlsrpt.STARTTLSNotSupported && d.Type != tlsrpt.DANERequired {
			t.Errorf("%s has no code", d.Type)
		}
		if !d.Type.AboutHost() {
			if d.MXHost != "" || d.HELO != "" || d.ReceivingIP.IsValid() || p.Policy.Type != tlsrpt.STS {
				t.Errorf("R16: %+v under %s", d, p.Policy.Type)
			}
			continue
		}
		ofHosts += d.Sessions
		if d.MXHost == "" && d.Type != tlsrpt.DNSSECInvalid {
			t.Errorf("no host: %+v (%s)", d, reason.Meaning)
		}
	}
	switch {
	case p.Policy.Type == tlsrpt.STS && ofHosts > 0 && (!mode || len(p.Policy.MXHosts) == 0):
		t.Errorf("a policy without its text: %+v", p.Policy)
	case p.Policy.Type == tlsrpt.NoPolicyFound && len(p.Policy.Strings)+len(p.Policy.MXHosts) > 0:
		t.Errorf("no policy, and its text: %+v", p.Policy)
	case p.Summary.Successes+p.Summary.Failures == 0:
		t.Errorf("no sessions: %+v", p)
	case explained < p.Summary.Failures:
		t.Errorf("%d of %d failures are explained", explained, p.Summary.Failures)
	}
}
