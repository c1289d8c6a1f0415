package metrics_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// query is a query of a file.
type query struct{ where, text string }

// dashboardQueries returns those of dashboard.json, also those of its variables.
func dashboardQueries(t *testing.T) (queries []query) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name, Type, Definition string
			}
		}
	}
	text, err := os.ReadFile("dashboard.json")
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q has no query", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, query{"panel " + panel.Title, target.Expr})
		}
	}
	for _, variable := range dashboard.Templating.List {
		if variable.Type == "query" {
			queries = append(queries, query{"variable " + variable.Name, variable.Definition})
		}
	}
	return queries
}

// alertQueries returns those of alerts.yml, each of which is in one line.
func alertQueries(t *testing.T) (queries []query) {
	t.Helper()
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if found, ok := strings.CutPrefix(line, "- alert: "); ok {
			name = found
		}
		if expr, ok := strings.CutPrefix(line, "expr: "); ok {
			queries = append(queries, query{"alert " + name, expr})
		}
	}
	return queries
}

var (
	selectors = regexp.MustCompile(`\b((?:mxseal|go|process)_\w+)(?:\{([^}]*)\})?`)
	matchers  = regexp.MustCompile(`(\w+)(=~|!=|!~|=)"([^"]*)"`)
	groupings = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// Every query of the dashboard and of the alerts names series that exist, with labels and values that exist,
// and every series but those of the program itself is in the dashboard.
func TestQueriesNameSeries(t *testing.T) {
	w := newWorld(t)
	w.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	// By the names in queries: the values of each label.
	known := map[string]map[string][]string{}
	shown := map[string]bool{}
	for _, family := range families {
		labels := map[string][]string{"job": nil, "instance": nil}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = append(labels[label.GetName()], label.GetValue())
			}
		}
		known[family.GetName()] = labels
		if family.GetType() == dto.MetricType_HISTOGRAM {
			delete(known, family.GetName())
			known[family.GetName()+"_count"], known[family.GetName()+"_sum"] = labels, labels
			known[family.GetName()+"_bucket"] = map[string][]string{"le": nil}
			for name, values := range labels {
				known[family.GetName()+"_bucket"][name] = values
			}
		}
	}
	dashboard, alerts := dashboardQueries(t), alertQueries(t)
	if len(dashboard) < 30 || len(alerts) < 10 {
		t.Fatalf("%d queries of the dashboard, %d of the alerts", len(dashboard), len(alerts))
	}
	for i, q := range slices.Concat(dashboard, alerts) {
		found := selectors.FindAllStringSubmatch(q.text, -1)
		if len(found) == 0 {
			t.Errorf("%s: no series in %s", q.where, q.text)
		}
		grouped := map[string]bool{}
		for _, s := range found {
			labels, exists := known[s[1]]
			if !exists {
				t.Errorf("%s: no series %s", q.where, s[1])
				continue
			}
			if i < len(dashboard) {
				shown[strings.TrimSuffix(s[1], "_bucket")] = true
			}
			for name := range labels {
				grouped[name] = true
			}
			for _, m := range matchers.FindAllStringSubmatch(s[2], -1) {
				values, exists := labels[m[1]]
				if !exists {
					t.Errorf("%s: %s has no label %s", q.where, s[1], m[1])
				}
				for value := range strings.SplitSeq(m[3], "|") {
					if values != nil && !slices.Contains(values, value) {
						t.Errorf("%s: %s is never %q in %s", q.where, m[1], value, s[1])
					}
				}
			}
		}
		for _, by := range groupings.FindAllStringSubmatch(q.text, -1) {
			for name := range strings.SplitSeq(by[1], ", ") {
				if !grouped[name] {
					t.Errorf("%s: no series of %s has a label %s", q.where, q.text, name)
				}
			}
		}
	}
	for _, family := range families {
		if name := family.GetName(); strings.HasPrefix(name, "mxseal_") && !shown[name] {
			t.Errorf("the dashboard has no %s", name)
		}
	}
}

// promtool runs Prometheus's own tool.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interop.Need(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(input)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// Prometheus accepts the alerts, and each fires when it has a reason to and not otherwise.
func TestAlertsFireWithReason(t *testing.T) {
	tests, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range alertQueries(t) {
		name := strings.TrimPrefix(q.where, "alert ")
		if !strings.Contains(string(tests), "alertname: "+name+"}") || !strings.Contains(string(tests), `alertname="`+name+`"`) {
			t.Errorf("%s is not tested", name)
		}
	}
	promtool(t, "", "check", "rules", "alerts.yml")
	promtool(t, "", "test", "rules", "alerts_test.yml")
}

// Prometheus can parse every query of the dashboard.
func TestDashboardQueriesParse(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h")
	for i, q := range dashboardQueries(t) {
		if strings.HasPrefix(q.where, "panel ") {
			text, err := json.Marshal(variables.Replace(q.text)) // JSON is YAML
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&rules, "  - {record: 'panel:q%d', expr: %s}\n", i, text)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
