package dashboard

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Jobs in planning are on the pages, in the status and in the metrics.
func TestPlanning(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.submitJob(t, "j", "j")
	plan := &layshaftv1.PlanRequest{Id: "night-planning-X", Name: "night", Phase: "listing <logs>: 7 files"}
	if _, err := d.cfg.Server.Plan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	for path, want := range map[string][]string{
		"/":                      {"night-planning-X", "listing &lt;logs&gt;: 7 files", "1 planning, "},
		"/jobs":                  {"night-planning-X", "planning 1", `"/jobs/j"`},
		"/jobs?state=planning":   {"night-planning-X"},
		"/jobs/night-planning-X": {"<strong>Planning:</strong> listing &lt;logs&gt;: 7 files", "layshaft job cancel"},
	} {
		body := get(t, h, path, browser).Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q", path, w)
			}
		}
	}
	var s Status
	if err := json.Unmarshal(get(t, h, "/api/status", "").Body.Bytes(), &s); err != nil || len(s.Jobs) != 2 || s.Jobs[0].Outcome != "planning" || s.Jobs[0].Reason != plan.Phase {
		t.Errorf("status: %+v, %v", s.Jobs, err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(d)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "layshaft_jobs" && l[0].GetValue() == "planning" && m.GetGauge().GetValue() != 1 {
				t.Errorf("%v", m)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(families), `"planning"`) {
		t.Error("there is no metric")
	}
	for _, bad := range []*layshaftv1.PlanRequest{{}, {Id: "x", Phase: strings.Repeat("x", 501)}, {Id: "x", TookNanos: -1}} {
		if _, err := d.cfg.Server.Plan(t.Context(), bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
