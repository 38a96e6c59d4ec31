package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/dashboard"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/httpapi"
	"github.com/layshaft/layshaft/coordinator/jobserver"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/tasks"
)

// three are three coordinators. One leads, one is behind, one is unreachable.
type three struct{ jobserver.Members }

func (three) List(context.Context) (report.Coordinators, error) {
	return report.Coordinators{Members: []report.Coordinator{
		{ID: "aaa", Address: "c1:7070", Voter: true, State: report.Lagging, Behind: 5000, Reason: "it is getting what it has missed"},
		{ID: "bbb", Address: "c2:7070", Leader: true, Voter: true, State: report.Current},
		{ID: "ccc", Address: "c3:7070", State: report.Unreachable, Reason: "connection refused"},
	}, Warning: "two coordinators survive no loss"}, nil
}

// cluster is a coordinator with a worker that runs two queued tasks in its slots, a queued task
// that waits, a dead letter, a worker that is away, a job that waits, and a schedule.
type cluster struct {
	board  *dashboard.Dashboard
	api    http.Handler
	client *client.Client
	tasks  *tasks.Client
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	data, err := datadir.Open(t.TempDir(), datadir.Options{NoSync: true, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := coordinator.New(coordinator.Config{Journal: data.Journal})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := taskserver.Open(taskserver.Config{Coordinator: c})
	if err != nil {
		t.Fatal(err)
	}
	server, err := jobserver.New(jobserver.Config{Coordinator: c, Data: data, Tasks: queue, Members: three{}, Grace: time.Nanosecond,
		Identity: func(context.Context) string { return "tester" }})
	if err != nil {
		t.Fatal(err)
	}
	board, err := dashboard.New(dashboard.Config{Coordinator: c, Server: server, Tasks: queue, Cluster: "golden", Version: "v1", Syncs: data.Journal.Syncs,
		Coordinators: func() report.Coordinators { all, _ := three{}.List(t.Context()); return all }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	running.Go(func() { _ = queue.Run(ctx) })
	running.Go(func() { _ = server.Run(ctx, l) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := errors.Join(queue.Close(), data.Close()); err != nil {
			t.Error(err)
		}
	})
	conn, err := client.Dial(client.Config{Address: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	x := &cluster{board: board, client: conn, api: httpapi.New(httpapi.Config{Tasks: queue, Caller: (*http.Request).Context})}
	if x.tasks, err = tasks.Dial(tasks.Cluster{Address: l.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.tasks.Close() })
	x.join(t, &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "here-1", Id: "here", Slots: 2, Zone: "z1", Address: "10.0.0.1:7071", Platform: "linux/amd64", Version: "v1", Datasets: []string{"catalog"}})
	leave := x.join(t, &layshaftv1.Hello{Protocol: wire.Protocol, Worker: "lost-1", Id: "lost", Slots: 4, Address: "10.0.0.2:7071", Datasets: []string{"archive"}})
	x.runTasks(t)
	spec := &job.Spec{ID: "nightly", Name: "nightly report", Hash: "h", Stages: []job.Stage{{Name: "read", Tasks: 3}, {Name: "sum", Tasks: 1, Inputs: []job.Edge{{}}}}}
	if _, err := x.client.Submit(t.Context(), spec, report.Options{Tags: []string{"gpu"}, Detached: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.tasks.SetSchedule(t.Context(), tasks.Schedule{Name: "shop/prices", Cron: "30 2 * * *", Jitter: time.Minute, Program: []string{"catalog", "-in", "prices"}}); err != nil {
		t.Fatal(err)
	}
	leave()
	x.wait(t, "worker lost to be away", func() bool { w := server.Workers(); return len(w) == 2 && w[1].State == report.Away })
	return x
}

func (x *cluster) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// join joins a worker, whose connection breaks when leave is called.
func (x *cluster) join(t *testing.T, hello *layshaftv1.Hello) (leave func()) {
	t.Helper()
	hello.Protocol = wire.Protocol
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	var stream grpc.BidiStreamingClient[layshaftv1.WorkRequest, layshaftv1.WorkResponse]
	x.wait(t, "the server", func() bool {
		var err error
		if stream, err = layshaftv1.NewCoordinatorServiceClient(x.client.Conn()).Work(ctx); err != nil {
			return false
		}
		_ = stream.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Hello{Hello: hello}})
		_, err = stream.Recv()
		return err == nil
	})
	_ = stream.Send(&layshaftv1.WorkRequest{Body: &layshaftv1.WorkRequest_Heartbeat{Heartbeat: &layshaftv1.Heartbeat{FreeBytes: 5 << 30}}})
	x.wait(t, "the heartbeat", func() bool {
		ws, err := x.client.Workers(t.Context())
		return err == nil && len(ws) > 0 && ws[0].FreeBytes > 0
	})
	return leave
}

// runTasks has worker here run two queued tasks in its slots, after one that failed for good, while
// a fourth waits.
func (x *cluster) runTasks(t *testing.T) {
	t.Helper()
	rpc := tasksv1.NewTasksServiceClient(x.client.Conn())
	stream, err := rpc.WorkTasks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Hello{Hello: &tasksv1.TaskHello{Protocol: wire.Protocol, Worker: "tasks of here", SlotsOf: "here",
		Abilities: &tasksv1.TaskAbilities{Slots: 2, Functions: []*tasksv1.TaskFunction{{Function: "resize"}}}}}})
	submit := func(specs ...*tasksv1.TaskSpec) {
		t.Helper()
		if _, err := rpc.SubmitTasks(t.Context(), &tasksv1.SubmitTasksRequest{Tasks: specs}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(n int) (all []*tasksv1.TaskAssign) {
		t.Helper()
		for len(all) < n {
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m.GetAssigns()...)
		}
		return all
	}
	submit(&tasksv1.TaskSpec{Function: "resize", Background: true})
	failed := &tasksv1.TaskReport{Attempt: receive(1)[0].GetAttempt(), Content: &tasksv1.TaskReport_Fatal{Fatal: []byte("no image")}}
	_ = stream.Send(&tasksv1.WorkTasksRequest{Body: &tasksv1.WorkTasksRequest_Reports{Reports: &tasksv1.TaskReports{Reports: []*tasksv1.TaskReport{failed}}}})
	x.wait(t, "the dead letter", func() bool {
		o, err := x.tasks.Overview(t.Context())
		return err == nil && o.Functions[0].Dead == 1
	})
	submit(&tasksv1.TaskSpec{Function: "resize"}, &tasksv1.TaskSpec{Function: "resize"}, &tasksv1.TaskSpec{Function: "resize"})
	receive(2)
	x.wait(t, "two busy slots", func() bool {
		ws, err := x.client.Workers(t.Context())
		return err == nil && ws[0].Busy() == 2
	})
}

// get returns a page of the dashboard.
func (x *cluster) get(path, accept string) string {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	if strings.HasPrefix(path, "/api/v1/") {
		x.api.ServeHTTP(w, r)
	} else {
		x.board.Handler().ServeHTTP(w, r)
	}
	return w.Body.String()
}

// table returns what a command prints.
func table(t *testing.T, print func(w *tabwriter.Writer)) string {
	t.Helper()
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	print(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// compact returns v as JSON without spaces.
func compact(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v) // also compacts raw messages
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestViewsAgree compares the command line, the page, /api/status and the metrics: workers, one of
// them away, a job, a function with tasks that run, wait and failed, and a schedule.
func TestViewsAgree(t *testing.T) {
	x := startCluster(t)
	workers, err := x.client.AllWorkers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := table(t, func(w *tabwriter.Writer) { workerTable(w, workers) }); !regexp.MustCompile(`(?m)^here-1 +ready .* 2/2 `).MatchString(text) ||
		!regexp.MustCompile(`(?m)^lost +away .*archive`).MatchString(text) {
		t.Errorf("worker list:\n%s", text)
	}
	jobs, err := x.client.Jobs(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	overview, err := x.tasks.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := table(t, func(w *tabwriter.Writer) { overviewTable(w, &overview) }); !regexp.MustCompile(`(?m)^resize +0 +1 +0 +0 +2 +0 +1 +0 +1 +1 *$`).MatchString(text) {
		t.Errorf("task status:\n%s", text)
	}
	if text := table(t, func(w *tabwriter.Writer) { jobTable(w, []report.JobView{report.ViewJob(&jobs[0])}) }); !regexp.MustCompile(`(?m)^nightly +running +0/4 .*tester`).MatchString(text) {
		t.Errorf("job list:\n%s", text)
	}
	members, err := x.client.Coordinators(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := table(t, func(w *tabwriter.Writer) { memberTable(w, members.Members) }); !regexp.MustCompile(`(?m)^bbb +c2:7070 +yes +yes +0 +ready$`).MatchString(text) ||
		!regexp.MustCompile(`(?m)^ccc +c3:7070 +no +no +- +unreachable: connection refused$`).MatchString(text) {
		t.Errorf("members:\n%s", text)
	}
	const summary = "3 coordinators, c2:7070 leads; c1:7070 is 5000 log entries behind; c3:7070 is unreachable"
	if text := table(t, func(w *tabwriter.Writer) { statusTable(w, &members, workers, nil, nil) }); !strings.HasPrefix(text, summary+"\n") {
		t.Errorf("status:\n%s", text)
	}
	var status struct {
		Coordinators []json.RawMessage `json:"coordinators"`
		Workers      []report.Worker   `json:"workers"`
		Jobs         []json.RawMessage `json:"jobs"`
		Functions    []json.RawMessage `json:"functions"`
		Schedules    []json.RawMessage `json:"schedules"`
		Totals       tasks.Counts      `json:"queued_tasks"`
	}
	if err := json.Unmarshal([]byte(x.get("/api/status", "application/json")), &status); err != nil {
		t.Fatal(err)
	}
	if got, want := compact(t, status.Coordinators), compact(t, members.Members); got != want {
		t.Errorf("/api/status:\n%s\nmembers:\n%s", got, want)
	}
	for i := range status.Workers {
		status.Workers[i].Silent, workers[i].Silent = 0, 0
	}
	if got, want := compact(t, status.Workers), compact(t, workers); got != want {
		t.Errorf("/api/status:\n%s\nworker list:\n%s", got, want)
	}
	if got, want := compact(t, status.Functions), compact(t, overview.Functions); got != want {
		t.Errorf("/api/status:\n%s\ntask status:\n%s", got, want)
	}
	if got, want := compact(t, status.Jobs), compact(t, []report.JobView{report.ViewJob(&jobs[0])}); got != want {
		t.Errorf("/api/status:\n%s\njob list:\n%s", got, want)
	}
	schedules, err := x.tasks.Schedules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := table(t, func(w *tabwriter.Writer) { scheduleTable(w, schedules) }); !regexp.MustCompile(`(?m)^shop/prices +30 2 \* \* \* +UTC +waiting .* catalog -in prices$`).MatchString(text) {
		t.Errorf("schedule list:\n%s", text)
	}
	if got, want := compact(t, status.Schedules), compact(t, schedules); got != want {
		t.Errorf("/api/status:\n%s\nschedule list:\n%s", got, want)
	}
	if got, want := compact(t, json.RawMessage(x.get("/api/v1/schedules", ""))), compact(t, schedules); got != want {
		t.Errorf("/api/v1/schedules:\n%s\nschedule list:\n%s", got, want)
	}
	for _, s := range []tasks.State{tasks.StateWaiting, tasks.StateRunning, tasks.StateFailed} {
		for at, err := range x.tasks.Tasks(t.Context(), "resize", s) {
			if err != nil {
				t.Fatal(err)
			}
			want, err := x.tasks.Status(t.Context(), at.ID)
			if err != nil {
				t.Fatal(err)
			}
			var got tasks.Status
			if err := json.Unmarshal([]byte(x.get("/api/v1/tasks/"+at.ID.String(), "")), &got); err != nil {
				t.Fatal(err)
			}
			if s == tasks.StateWaiting && !strings.HasPrefix(got.Reason, "its workers wait for slots of here") {
				t.Errorf("reason %q", got.Reason)
			}
			if got, want := compact(t, got), compact(t, want); got != want {
				t.Errorf("/api/v1/tasks:\n%s\ntask status:\n%s", got, want)
			}
		}
	}
	if status.Totals != overview.Totals {
		t.Errorf("/api/status counts %+v, task status %+v", status.Totals, overview.Totals)
	}
	function := x.get("/tasks?function=resize", "text/html")
	for _, text := range []string{"0 high, 1 normal, 0 low", "<dt>Submitted</dt><dd>4</dd>", "<dt>Workers</dt><dd>1</dd>", "Dead letters <small>1</small>"} {
		if !strings.Contains(function, text) {
			t.Errorf("the page of a function does not contain %s", text)
		}
	}
	page := x.get("/workers", "text/html")
	for _, text := range []string{"2 of 2 busy", `<span class="tag away">away</span>`, "archive"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page of workers does not contain %s", text)
		}
	}
	page = x.get("/schedules", "text/html")
	for _, text := range []string{"catalog -in prices", `<span class="tag waiting">waiting</span>`, schedules[0].Due.Format(report.ScheduleTime)} {
		if !strings.Contains(page, text) {
			t.Errorf("the page of schedules does not contain %s", text)
		}
	}
	for _, text := range []string{summary, `<span class="bad">unreachable</span>: connection refused`, "two coordinators survive no loss"} {
		if !strings.Contains(x.get("/", "text/html"), text) {
			t.Errorf("the overview does not contain %s", text)
		}
	}
	if overview := x.get("/", "text/html"); !strings.Contains(overview, "2 of 2 slots busy") || !strings.Contains(overview, "1 away") {
		t.Error("the overview does not show 2 of 2 slots busy and 1 worker away")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(x.board)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			metrics[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{"layshaft_coordinator_members ready": 1, "layshaft_coordinator_members behind": 1, "layshaft_coordinator_members unreachable": 1,
		"layshaft_slots busy": 2, "layshaft_slots free": 0, "layshaft_workers ready": 1, "layshaft_workers away": 1,
		"layshaft_jobs waiting": 1, "layshaft_tasks stage waiting": 4, "layshaft_tasks queued waiting": 1,
		"layshaft_function_tasks resize waiting": 1, "layshaft_function_tasks resize running": 2, "layshaft_function_tasks_total resize failed": 1,
		"layshaft_function_submits_total resize": 4, "layshaft_function_workers resize": 1, "layshaft_dead_letters resize": 1, "layshaft_schedules waiting": 1, "layshaft_schedule_times_total fired shop/prices": 0} {
		if got, ok := metrics[name]; !ok || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// Times and numbers that differ from run to run.
var unstable = regexp.MustCompile(`\d+(\.\d+)? ?(ns|µs|ms|s)\b( ago)?|\d{4}-\d\d-\d\d[T ][\d:]+(\.\d+)?( UTC|Z)?|datetime="[^"]*"|\d\d:\d\d:\d\d|(style|script)\.(css|js)\?[^"]*`)

// TestGolden compares the output of commands and whole pages with files. -update writes the files.
func TestGolden(t *testing.T) {
	x := startCluster(t)
	workers, err := x.client.AllWorkers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := x.client.Jobs(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	members, err := x.client.Coordinators(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	schedules, err := x.tasks.Schedules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	views := make([]report.JobView, len(jobs))
	for i := range jobs {
		views[i] = report.ViewJob(&jobs[i])
	}
	overview, err := x.tasks.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"schedule-list.txt": table(t, func(w *tabwriter.Writer) { scheduleTable(w, schedules) }),
		"schedules.html":    x.get("/schedules", "text/html"),
		"schedule.html":     x.get("/schedules/shop/prices", "text/html"),
		"workers.html":      x.get("/workers", "text/html"),
		"jobs.html":         x.get("/jobs", "text/html"),
		"members.txt":       table(t, func(w *tabwriter.Writer) { memberTable(w, members.Members) }),
		"worker-list.txt":   table(t, func(w *tabwriter.Writer) { workerTable(w, workers) }),
		"status.txt":        table(t, func(w *tabwriter.Writer) { statusTable(w, &members, workers, views, overview.Functions) }),
		"overview.html":     x.get("/", "text/html"),
		"job.html":          x.get("/jobs/nightly", "text/html"),
		"functions.html":    x.get("/tasks", "text/html"),
	} {
		path, got := filepath.Join("testdata", "golden", name), unstable.ReplaceAllString(text, "TIME")
		got = regexp.MustCompile(` +\n`).ReplaceAllString(regexp.MustCompile(`TIME +`).ReplaceAllString(got, "TIME "), "\n")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; run go test ./cmd/layshaft -run TestGolden -update and read the diff:\n%s", path, firstDifference(got, string(want)))
		}
	}
}

// firstDifference returns the first line that differs, as it is and as it should be.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + strings.Join(w[min(i, len(w)):min(i+1, len(w))], "")
		}
	}
	return "lines are missing at the end"
}
