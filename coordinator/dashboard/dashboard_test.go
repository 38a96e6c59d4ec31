package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// open returns a dashboard of a coordinator that runs until the test ends.
func open(t testing.TB) *Dashboard { return openAs(t, nil) }

// openAs is open, with a check of callers.
func openAs(t testing.TB, authorize func(context.Context, string) error) *Dashboard {
	t.Helper()
	data, err := datadir.Open(t.TempDir(), datadir.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Journal: data.Journal})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := taskserver.Open(taskserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := jobserver.New(jobserver.Config{Coordinator: c, Data: data, Authorize: authorize})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	running.Go(func() {
		if err := tasks.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	d, err := New(Config{Coordinator: c, Server: server, Tasks: tasks, Cluster: "<cluster>", Version: "v1", Syncs: data.Journal.Syncs})
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := errors.Join(tasks.Close(), data.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Dashboard) submitJob(t *testing.T, id, name string) {
	t.Helper()
	err := d.cfg.Coordinator.Submit(t.Context(), job.Spec{ID: job.ID(id), Name: name, Hash: "h", Stages: []job.Stage{{Name: name, Tasks: 3}, {Name: name, Tasks: 1, Combine: true,
		Inputs: []job.Edge{{Mode: job.Group}}}}}, report.Options{Owner: name, Tags: []string{name}, Submitted: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *Dashboard) submitTasks(t *testing.T, function string, n int) (ids []uint64) {
	t.Helper()
	all := make([]*tasksv1.TaskSpec, n)
	for i := range all {
		all[i] = &tasksv1.TaskSpec{Function: function, Unique: fmt.Sprint(function, i), Durability: tasksv1.Durability_DURABILITY_MEMORY}
	}
	out, err := d.cfg.Tasks.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: all})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range out.GetAccepted() {
		ids = append(ids, a.GetTask())
	}
	return ids
}

func get(t *testing.T, h http.Handler, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:7071"
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// What users call their things ends up as text, and every page keeps to the policy that it sends.
// Names may be any bytes. Pages show them escaped, and find them by either spelling.
func TestPagesEscapeBytes(t *testing.T) {
	t.Parallel()
	d := open(t)
	const evil, shown = "\x1b[31m\xe9\u202e", `\x1b[31m\xe9\xe2\x80\xae`
	id := d.submitTasks(t, evil, 1)[0]
	h := d.Handler()
	for _, path := range []string{"/", "/tasks", "/tasks?function=" + url.QueryEscape(evil), "/tasks?function=" + url.QueryEscape(shown), fmt.Sprintf("/tasks/%x", id), "/api/status"} {
		w := get(t, h, path, browser)
		want, body := shown, w.Body.String()
		if path == "/api/status" {
			want = strings.ReplaceAll(shown, `\`, `\\`)
		}
		if w.Code != http.StatusOK || plain.Lines(body) != body || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %q", path, w.Code, body)
		}
	}
}

func TestPagesEscape(t *testing.T) {
	t.Parallel()
	d := open(t)
	const evil = `<img src=x onerror="alert(1)">'&{{.}}`
	d.submitJob(t, "evil", evil)
	if err := d.cfg.Coordinator.Cancel(t.Context(), "evil", evil); err != nil {
		t.Fatal(err)
	}
	d.submitJob(t, "waits", evil)
	ids := d.submitTasks(t, evil, 2)
	h := d.Handler()
	inline := regexp.MustCompile(`(?i)<script(>| [^s])|<style|\son[a-z]+=| style=|javascript:|<img`)
	for _, path := range []string{"/", "/jobs", "/jobs?state=cancelled", "/jobs?state=" + url.QueryEscape(evil), "/jobs/evil", "/jobs/waits", "/workers", "/tasks",
		"/tasks?function=" + url.QueryEscape(evil), fmt.Sprintf("/tasks/%x", ids[0])} {
		w := get(t, h, path, browser)
		body := w.Body.String()
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		if x := strings.ReplaceAll(body, "&#34;", ""); inline.MatchString(regexp.MustCompile(`&lt;[^<]*`).ReplaceAllString(x, "")) {
			t.Errorf("%s: %q", path, inline.FindString(x))
		}
		if path != "/workers" && !strings.HasPrefix(path, "/jobs?state=%3C") && !strings.Contains(body, "&lt;img src=x") {
			t.Errorf("%s does not show the name", path)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
	for path, want := range map[string]string{
		"/jobs/evil":  "It waits", // not
		"/jobs/waits": "there are no workers",
		"/tasks?function=" + url.QueryEscape(evil): `layshaft task pause &#39;&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&#39;\&#39;&#39;`,
		"/": "no worker handles it",
	} {
		if got := strings.Contains(get(t, h, path, browser).Body.String(), want); got != (path != "/jobs/evil") {
			t.Errorf("%s: %q is there: %v", path, want, got)
		}
	}
	for _, path := range []string{"/jobs/none", "/tasks?function=none", "/tasks/7", "/tasks/x", "/elsewhere", "/jobs/" + url.PathEscape(evil)} {
		if w := get(t, h, path, browser); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "<img") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := httptest.NewRecorder(); true {
		if h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/jobs/waits", nil)); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
			t.Errorf("POST: %d", w.Code)
		}
	}
}

func TestNegotiation(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.submitJob(t, "j", "j")
	h := d.Handler()
	for _, x := range []struct {
		path, accept string
		html         bool
	}{
		{"/", "", false}, {"/", "*/*", false}, {"/", "application/json", false}, {"/", "application/json, text/html", false},
		{"/", browser, true}, {"/", "text/html", true}, {"/api/status", browser, false}, {"/api/status", "", false},
	} {
		w := get(t, h, x.path, x.accept)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != x.html {
			t.Errorf("%s for %q: %s", x.path, x.accept, w.Header().Get("Content-Type"))
		}
		if x.html {
			continue
		}
		var s Status
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || s.Cluster != "<cluster>" || len(s.Jobs) != 1 || s.Jobs[0].Waiting != 4 || s.Workers == nil || s.Functions == nil {
			t.Errorf("%s for %q: %+v, %v", x.path, x.accept, s, err)
		}
	}
	for _, path := range []string{"/style.css", "/live.js"} {
		if w := get(t, h, path, ""); w.Code != http.StatusOK || w.Body.Len() < 1000 {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}

// Listings are cut, and say so.
func TestBounds(t *testing.T) {
	t.Parallel()
	d := open(t)
	for i := range 120 {
		d.submitJob(t, fmt.Sprint("job", i), "n")
	}
	for i := range 250 {
		d.submitTasks(t, fmt.Sprintf("f%03d", i), 1)
	}
	d.submitTasks(t, "many", 60_000)
	h := d.Handler()
	row := regexp.MustCompile(`<th scope="row">`)
	for _, x := range []struct {
		path string
		rows int
		says string
	}{
		{"/", 20, "110 more are not shown"},
		{"/jobs", 100, "1 to 100 of 120"},
		{"/jobs?page=2", 20, "101 to 120 of 120"},
		{"/jobs?page=999999999", 20, "101 to 120 of 120"},
		{"/jobs?state=running&page=-3", 100, "/jobs?state=running&amp;page=2"},
		{"/jobs?state=done", 0, "None."},
		{"/tasks", 100, "1 to 100 of 251"},
		{"/tasks?page=3", 51, "201 to 251 of 251"},
		{"/tasks?function=many", 100, "There are more."},
	} {
		w := get(t, h, x.path, browser)
		if rows := len(row.FindAllString(w.Body.String(), -1)); rows != x.rows || !strings.Contains(w.Body.String(), x.says) || w.Body.Len() > 200_000 {
			t.Errorf("%s: %d rows, want %d; %d bytes; says %q: %v", x.path, rows, x.rows, w.Body.Len(), x.says, strings.Contains(w.Body.String(), x.says))
		}
	}
}

// However many look, a page is made once a second.
func TestPagesAreShared(t *testing.T) {
	t.Parallel()
	d := open(t)
	made := 0
	var viewers sync.WaitGroup
	begin := time.Now()
	for range 20 {
		viewers.Go(func() {
			for range 50 {
				if _, err := d.make(pageKey{"/x", true}, func() view { made++; return missing("x") }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	viewers.Wait()
	if most := 1 + int(time.Since(begin)/fresh); made < 1 || made > most {
		t.Errorf("made %d times, want at most %d", made, most)
	}
	for i := range 3 * maxMade {
		if _, err := d.make(pageKey{fmt.Sprint(i), false}, func() view { return missing("x") }); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.made) > maxMade {
		t.Errorf("%d pages are kept", len(d.made))
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.submitJob(t, "j", "secret-name")
	for i := range labelled + 50 {
		d.submitTasks(t, fmt.Sprintf("f%03d", i), 2)
	}
	d.submitTasks(t, "a\xff", 1)
	if _, err := d.cfg.Tasks.SetSchedule(t.Context(), &tasksv1.SetScheduleRequest{Spec: &tasksv1.ScheduleSpec{Name: "s", Cron: "@daily", Function: "f"}}); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	values := map[string]float64{}
	functions := map[string]bool{}
	docs, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		if !regexp.MustCompile("`" + f.GetName() + "[`{]").Match(docs) {
			t.Errorf("%s is missing in the table of metrics in docs/cluster.md", f.GetName())
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
				if l.GetName() == "function" {
					functions[l.GetValue()] = true
				}
				if strings.Contains(l.GetValue(), "secret") {
					t.Errorf("%s has the name of a job", name)
				}
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if len(functions) != labelled+1 || !functions[""] {
		t.Errorf("%d functions have labels", len(functions))
	}
	for name, want := range map[string]float64{
		"layshaft_audit_findings": 0, "layshaft_jobs waiting": 1, "layshaft_jobs running": 0, "layshaft_tasks stage waiting": 4, "layshaft_tasks queued waiting": 2*(labelled+50) + 1,
		"layshaft_function_tasks f000 waiting": 2, "layshaft_function_tasks  waiting": 101, "layshaft_function_submits_total ": 101, "layshaft_attempts_total done map": 0,
		"layshaft_workers ready": 0, "layshaft_task_wait_seconds high": 0, "layshaft_backlog_tasks stage": 3, "layshaft_backlog_tasks queued": 2*(labelled+50) + 1,
		"layshaft_sync_duration_seconds journal": 1, "layshaft_attempt_duration_seconds reduce": 0,
	} {
		if v, ok := values[name]; !ok || v != want && !(name == "layshaft_sync_duration_seconds journal" && v >= want) {
			t.Errorf("%s = %v (%v), want %v", name, v, ok, want)
		}
	}
	if values["layshaft_audit_rounds_total jobs"] < 1 || values["layshaft_audit_rounds_total tasks"] < 1 {
		t.Error("no audit has gone round")
	}
}

// What an audit finds stays until a whole round finds nothing.
func TestAudit(t *testing.T) {
	t.Parallel()
	broken := []string{"task 3 has no owner"}
	a := audit[int]{step: func(at int) ([]string, int) {
		if at == 2 {
			return broken, 3
		}
		return nil, (at + 1) % 5
	}}
	a.look()
	if f := a.findings("jobs"); f.Rounds != 1 || len(f.Found) != 1 || f.Ended.IsZero() {
		t.Errorf("findings %+v", f)
	}
	broken = nil
	a.look()
	if f := a.findings("jobs"); f.Rounds != 2 || len(f.Found) != 0 {
		t.Errorf("findings %+v", f)
	}
	off := &auditor{}
	off.look() // what is replayed is not looked at
}

func TestRates(t *testing.T) {
	t.Parallel()
	var h sampler
	at := time.Unix(1e9, 0)
	if h.last(endedOf) != 0 || h.charts(0, 0) != nil {
		t.Errorf("a rate %v of nothing", h.last(endedOf))
	}
	for i := range 2 * samples {
		h.add(sample{at: at.Add(time.Duration(i) * 2 * time.Second), ended: 10 * i})
	}
	if got := rates(h.series(), endedOf); len(got) != samples-1 || got[0] != 5 || h.last(endedOf) != 5 {
		t.Errorf("%d rates, %v, %v", len(got), got[0], h.last(endedOf))
	}
}

// Outboxes are on the overview, in JSON and in metrics; those that need a look come first.
func TestOutboxes(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.cfg.Outboxes = func() []report.Outbox {
		return []report.Outbox{
			{Database: "shop", Waiting: 1234, Oldest: 90 * time.Second, Slots: []report.Slot{{Name: "layshaft", Lag: 5 << 20}}},
			{Database: "<b>", Error: "no answer & no reason"},
			{Database: "stock", Refused: 2, Reason: "no such function"},
		}
	}
	body := get(t, d.Handler(), "/", browser).Body.String()
	for _, want := range []string{"outbox of database shop: the oldest task has waited for 1 min 30 s", "layshaft pg status shop", "1,234", "layshaft, 5.0 MiB behind", "nobody reads",
		"outbox of database &lt;b&gt;: no answer &amp; no reason", "outbox of database stock: 2 refused tasks, the latest: no such function"} {
		if !strings.Contains(body, want) {
			t.Errorf("the overview lacks %q", want)
		}
	}
	if body := get(t, d.Handler(), "/api/status", "").Body.String(); !strings.Contains(body, `"database": "shop"`) || !strings.Contains(body, `"lag": 5242880`) {
		t.Errorf("JSON: %s", body)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	if got["layshaft_outbox_tasks"] != 4 || got["layshaft_outbox_oldest_seconds"] != 2 || got["layshaft_replication_slot_lag_bytes"] != 1 {
		t.Errorf("metrics: %v", got)
	}
}

// Scheduled backups are on the overview, in JSON and in metrics; a failed one needs a look.
func TestBackups(t *testing.T) {
	t.Parallel()
	d := open(t)
	if body := get(t, d.Handler(), "/", browser).Body.String(); strings.Contains(body, "backup") {
		t.Error("the overview names backups without a schedule")
	}
	d = open(t)
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	d.cfg.Backups = func() report.Backups {
		return report.Backups{To: "s3://b/<x>", Every: time.Hour, Last: at, Bytes: 5 << 20, Kept: 3, Error: "no & access"}
	}
	body := get(t, d.Handler(), "/", browser).Body.String()
	for _, want := range []string{"backup to s3://b/&lt;x&gt; failed: no &amp; access", "last backup 2026-11-30 08:00 UTC, 5.0 MiB, in s3://b/&lt;x&gt;; 3 backups kept"} {
		if !strings.Contains(body, want) {
			t.Errorf("the overview lacks %q", want)
		}
	}
	if body := get(t, d.Handler(), "/api/status", "").Body.String(); !strings.Contains(body, `"last": "2026-11-30T08:00:00Z"`) {
		t.Errorf("JSON: %s", body)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0.0
	for _, f := range families {
		if f.GetName() == "layshaft_backup_timestamp_seconds" {
			found = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	if found != float64(at.Unix()) {
		t.Errorf("layshaft_backup_timestamp_seconds is %v, want %d", found, at.Unix())
	}
}
