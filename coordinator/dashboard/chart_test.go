package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/tally"
)

// A chart says in words what it draws, and leaves gaps out.
func TestChart(t *testing.T) {
	t.Parallel()
	to := time.UnixMilli(1_000_000)
	c := newChart("Tasks", perSecond, to, time.Minute, line{name: "a", values: []float64{0, 30, 15}}, line{name: "b", values: []float64{math.NaN(), 1}})
	if c.Top != "50/s" || c.From != "2 min 00 s ago" || c.Lines[0].Points != "0.0,100.0 300.0,41.2 600.0,70.6" || c.Lines[1].Points != "600.0,98.0" || c.Lines[0].Area != "" {
		t.Errorf("%+v", c)
	}
	if want := "Tasks, since 2 min 00 s ago: a now 15/s, at most 30/s; b now 1.0/s, at most 1.0/s"; c.Label != want {
		t.Errorf("label %q, want %q", c.Label, want)
	}
	if want := `{"from":880000,"step":60000,"form":"rate","names":["a","b"],"lines":[[0,30,15],[null,null,1]]}`; c.Data != want {
		t.Errorf("data %s, want %s", c.Data, want)
	}
	one := newChart("Waiting", count, to, time.Second, line{values: []float64{5, 5}})
	if one.Lines[0].Area != "0.0,100 0.0,2.0 600.0,2.0 600.0,100" || one.Top != "5" {
		t.Errorf("%+v", one)
	}
	if none := newChart("Nothing", seconds, to, time.Second, line{}); none.Lines[0].Now != "0 µs" || !json.Valid([]byte(none.Data)) {
		t.Errorf("%+v", none)
	}
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 7: 10, 10: 10, 21: 50, 999: 1000} {
		if got := niceTop(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("niceTop(%v) = %v, want %v", v, got, want)
		}
	}
}

// The hour of a function has rates and durations between samples. The number of functions is
// bounded, and an idle one makes room.
func TestFunctionSamples(t *testing.T) {
	t.Parallel()
	var h sampler
	at := time.Unix(1e9, 0)
	var took tally.Durations
	step := func(i int, functions ...report.Function) {
		h.addHour(sample{at: at.Add(time.Duration(i) * hourEvery)}, functions, map[string]tally.Durations{"f": took})
	}
	f := report.Function{Name: "f", Counts: report.TaskCounts{Submitted: 100, Done: 100}}
	step(0, f, report.Function{Name: "never used"})
	f.Counts = report.TaskCounts{Submitted: 135, Done: 130, Failed: 3, Waiting: 1, Delayed: 1}
	for range 30 {
		took.Add(20 * time.Millisecond)
	}
	step(1, f)
	points, last, tracked := h.function("f")
	if want := (functionSample{waiting: 2, done: 2, failed: 0.2, p50: 0.03, p99: 0.03}); len(points) != 2 || points[1] != want || points[0].done == points[0].done || !last.Equal(at.Add(hourEvery)) || !tracked {
		t.Errorf("%+v at %v", points, last)
	}
	if r := h.functionRates()["f"]; r.ended < 2.19 || r.ended > 2.21 || r.p99 != 0.03 {
		t.Errorf("%+v", r)
	}
	if _, ok := h.functions["never used"]; ok {
		t.Error("a function without tasks has samples")
	}
	many := []report.Function{f}
	for i := range maxTracked + 10 {
		many = append(many, report.Function{Name: fmt.Sprint("g", i), Counts: report.TaskCounts{Submitted: 1}})
	}
	for i := range hourSamples + 2 {
		step(i+2, many...)
	}
	if len(h.functions) != maxTracked || len(h.functions["f"].points) != hourSamples {
		t.Errorf("%d functions, %d points", len(h.functions), len(h.functions["f"].points))
	}
	if _, _, tracked := h.function("g509"); tracked {
		t.Error("a function without room counts as tracked")
	}
	many[510].Counts.Submitted = 2
	step(hourSamples+2, many...)
	if _, _, tracked := h.function("g509"); !tracked || len(h.functions) != maxTracked {
		t.Errorf("an idle function of %d makes no room for one with a change", len(h.functions))
	}
	if step(hourSamples+4, f); len(h.functions) != 1 {
		t.Errorf("%d functions, most of them are gone", len(h.functions))
	}
}

// Pages with charts have a text for people who do not see them.
func TestChartsAreOnPages(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.submitTasks(t, "f", 3)
	now := time.Now()
	for i := range 5 {
		s := takeSample(d.cfg.Coordinator, d.cfg.Server, d.cfg.Tasks)
		s.at = now.Add(time.Duration(i-5) * sampleEvery)
		d.samples.add(s)
		d.samples.addHour(s, d.cfg.Tasks.Overview().Functions, d.cfg.Tasks.FunctionTimes())
	}
	for path, want := range map[string]string{"/": `aria-label="Tasks waiting, since `, "/tasks": "Tasks per second, since", "/tasks?function=f": "waiting now 3, at most 3; running now 0"} {
		w := get(t, d.Handler(), path, browser)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), "chart.js") {
			t.Errorf("%s lacks %q: %s", path, want, w.Body)
		}
	}
}
