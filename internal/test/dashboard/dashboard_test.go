//go:build linux && amd64 && !race

// The types of Grafana are large, and .ci/run would compile them for each system and for the race detector.

package dashboard

import (
	"bytes"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// file is what users import into Grafana.
const file = "../../../policy/metrics/dashboard.json"

// Grafana's own types have every field of the dashboard, with values that they permit: also the options of the panels
// and the queries, which depend on the kinds of the panels and of the data source.
func TestGrafanaReadsDashboard(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := cog.NewRuntime()
	known.RegisterPanelcfgVariant(stat.VariantConfig())
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	read := func(text []byte) string {
		//lint:ignore SA1019 the first format of dashboards, which earlier versions of Grafana read too
		var d dashboard.Dashboard
		for _, err := range []error{d.UnmarshalJSONStrict(text), d.Validate()} {
			if err != nil && err.Error() != "" { // an empty list of errors has no text
				return err.Error()
			}
		}
		if len(d.Panels) < 40 || d.Title == nil || *d.Title != "mxseal" {
			return "not all was read"
		}
		return ""
	}
	if problem := read(text); problem != "" {
		t.Error(problem)
	}
	// What is wrong is found.
	for from, to := range map[string]string{
		`"schemaVersion":`:    `"schemaVersions":`,
		`"gridPos":`:          `"gridPosition":`,
		`"graphMode": "area"`: `"graphMode": 1`,
		`"legendFormat":`:     `"legend":`,
	} {
		changed := bytes.Replace(text, []byte(from), []byte(to), 1)
		if bytes.Equal(changed, text) {
			t.Errorf("the dashboard has no %s", from)
		}
		if problem := read(changed); problem == "" {
			t.Errorf("%s in place of %s is not found", to, from)
		}
	}
}
