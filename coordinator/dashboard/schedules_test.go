package dashboard

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// TestSchedules looks at schedules on the pages, in the JSON and in the metrics, and presses the
// buttons.
func TestSchedules(t *testing.T) {
	t.Parallel()
	d := open(t)
	h := d.Handler()
	if body := get(t, h, "/schedules", browser).Body.String(); !strings.Contains(body, "No schedules yet.") {
		t.Errorf("without schedules: %s", body)
	}
	for _, x := range []*tasksv1.ScheduleSpec{
		{Name: "shop/nightly", Cron: "30 2 * * *", Zone: "Europe/Berlin", Program: []string{"/opt/catalog", "-in", "<b>"}},
		{Name: "digest", Cron: "@daily", Function: "digest"},
	} {
		if _, err := d.cfg.Tasks.SetSchedule(t.Context(), &tasksv1.SetScheduleRequest{Spec: x}); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		s, _ := d.cfg.Tasks.Schedule("shop/nightly")
		return s.State()
	}
	for _, x := range []struct{ action, asks, want, back string }{
		{"pause-schedule", "Pause schedule shop/nightly?", "paused", "/schedules/shop/nightly"},
		{"resume-schedule", "Resume schedule shop/nightly?", "waiting", "/schedules/shop/nightly"},
		{"run-schedule", "Run schedule shop/nightly now?", "running", "/schedules/shop/nightly"},
	} {
		if body := get(t, h, "/act/"+x.action+"?id=shop/nightly", browser).Body.String(); !strings.Contains(body, "<h1>"+x.asks+"</h1>") {
			t.Errorf("%s asks: %s", x.action, body)
		}
		if w := post(t, h, x.action, "shop/nightly", "Accept", browser); w.Code != http.StatusSeeOther || w.Header().Get("Location") != x.back || state() != x.want {
			t.Errorf("%s: %d to %s, state %s", x.action, w.Code, w.Header().Get("Location"), state())
		}
	}
	if w := post(t, h, "run-schedule", "shop/nightly"); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "last task has not ended") {
		t.Errorf("a second run: %d %s", w.Code, w.Body)
	}
	body := get(t, h, "/schedules/shop/nightly", browser).Body.String()
	for _, want := range []string{"catalog -in &lt;b&gt;", "in Europe/Berlin", "program/catalog", "on request", "/act/remove-schedule?id=shop%2fnightly"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of a schedule has no %q:\n%s", want, body)
		}
	}
	body = get(t, h, "/schedules?state=running", browser).Body.String()
	if !strings.Contains(body, "/schedules/shop/nightly") || strings.Contains(body, "/schedules/digest") {
		t.Errorf("the running ones: %s", body)
	}
	if body := get(t, h, "/api/status", "").Body.String(); !strings.Contains(body, `"cron": "30 2 * * *"`) || !strings.Contains(body, `"outcome": "running"`) {
		t.Errorf("JSON: %s", body)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range got {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"layshaft_schedules running": 1, "layshaft_schedules waiting": 1, "layshaft_schedule_times_total fired shop/nightly": 1,
		"layshaft_schedule_times_total fired digest": 0, "layshaft_schedule_failures_total shop/nightly": 0, "layshaft_schedule_success_age_seconds digest": 0} {
		if v, ok := values[name]; !ok || v != want && !(strings.Contains(name, "age") && v < 60) {
			t.Errorf("%s = %v (%v), want %v", name, v, ok, want)
		}
	}
	if w := post(t, h, "remove-schedule", "digest", "Accept", browser); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/schedules" {
		t.Errorf("remove: %d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := get(t, h, "/schedules/digest", browser); w.Code != http.StatusNotFound {
		t.Errorf("a removed schedule: %d", w.Code)
	}
}
