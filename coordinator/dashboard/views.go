package dashboard

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

const (
	perPage = 100 // rows of a listing
	few     = 10  // rows of a listing on the overview
)

// pager is the position in a listing.
type pager struct {
	Total, From, To int // From and To from 1; From is 0 when there is nothing
	Prev, Next      string
}

// cutTo returns the rows of page p of n. base is the address without the page.
func cutTo(n, p int, base string) (from, to int, at pager) {
	p = min(p, max((n+perPage-1)/perPage, 1))
	from, to = min((p-1)*perPage, n), min(p*perPage, n)
	at = pager{Total: n, From: min(from+1, n), To: to}
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	if p > 1 {
		at.Prev = fmt.Sprintf("%s%spage=%d", base, sep, p-1)
	}
	if to < n {
		at.Next = fmt.Sprintf("%s%spage=%d", base, sep, p+1)
	}
	return from, to, at
}

// jobRow is a job in a listing.
type jobRow struct {
	report.Job
	State   string // planning, running, waiting, done, failed or cancelled
	Took    time.Duration
	Known   bool // Took
	Counts  report.Counts
	Bar     page.Bar
	Trouble int // attempts that failed
}

func rowOf(st report.Job) jobRow {
	r := jobRow{Job: st, State: st.Outcome.String()}
	attempts := 0
	for i := range st.Stages {
		s := &st.Stages[i]
		r.Counts.Add(s)
		r.Trouble += s.FailedAttempts
		attempts += s.Attempts
	}
	if st.Outcome == report.JobRunning && attempts == 0 {
		r.State = "waiting"
	}
	if from := st.Options.Submitted; !from.IsZero() && (!st.Outcome.IsEnd() || !st.Ended.IsZero()) {
		r.Known, r.Took = true, time.Since(from)
		if !st.Ended.IsZero() {
			r.Took = st.Ended.Sub(from)
		}
	}
	r.Bar = barOf(r.Counts)
	return r
}

func barOf(c report.Counts) page.Bar {
	return page.NewBar(c.Done, c.Running, c.Failed, c.Cancelled, c.Waiting)
}

// rows returns the states of jobs.
func (d *Dashboard) rows(ids []job.ID) (out []jobRow) {
	for _, id := range ids {
		if st, ok := d.cfg.Coordinator.Status(id); ok {
			out = append(out, rowOf(st))
		}
	}
	return out
}

// planning returns the jobs whose clients list their input.
func (d *Dashboard) planning() (out []jobRow) {
	for _, st := range d.cfg.Server.Planning() {
		out = append(out, rowOf(st))
	}
	return out
}

// functionRow is a function in a listing.
type functionRow struct {
	report.Function
	Bar  page.Bar
	Idle bool // tasks wait and nobody can do them
	Rate functionRate
}

// RateText is how many tasks ended per second in the last minute.
func (r *functionRow) RateText() string { return rateText(float64(r.Rate.ended)) }

// TimeText is how long attempts took in the last minute.
func (r *functionRow) TimeText() string {
	if r.Rate.p50 == 0 {
		return "–"
	}
	dur := func(v float32) string {
		return page.Dur(time.Duration(float64(v) * float64(time.Second)).Round(time.Microsecond))
	}
	return "≤ " + dur(r.Rate.p50) + " / " + dur(r.Rate.p99)
}

func functionOf(f report.Function) functionRow {
	return functionRow{Function: f, Bar: queuedBar(f.Counts), Idle: f.Counts.Waiting > 0 && f.Workers == 0}
}

func queuedBar(c report.TaskCounts) page.Bar {
	return page.NewBar(c.Done, c.Running, c.Failed, c.Cancelled, c.Waiting+c.Delayed)
}

// overview is the content of /.
type overview struct {
	Workers           []report.Worker
	MoreWorkers       int
	Leased            int // workers that have a lease
	States            map[string]int
	Slots, Busy, Free int
	SlotsBar          page.Bar
	Sums              sched.Sums
	StagesBar         page.Bar
	Jobs              []jobRow
	MoreJobs          int
	Planning          int // jobs whose clients list their input
	QueuedTasks       report.TaskCounts
	QueuedBar         page.Bar
	Functions         []functionRow
	MoreFunctions     int
	Dead              int
	Outboxes          []report.Outbox
	Coordinators      report.Coordinators
	Backups           report.Backups
	Audit             []findings
	Broken            []string
	Attention         []attention
	AttemptRate       float64 // per second
	EndedRate         float64 // per second
	Charts            []chart
}

func (d *Dashboard) overview() view {
	o := overview{States: map[string]int{}, Audit: d.audit.findings(), Outboxes: d.cfg.Outboxes(), Coordinators: d.cfg.Coordinators(), Backups: d.cfg.Backups()}
	c := d.cfg.Coordinator
	for _, f := range o.Audit {
		o.Broken = append(o.Broken, f.Found...)
	}
	all := d.cfg.Server.Workers()
	for i := range all {
		w := &all[i]
		o.States[string(w.State)]++
		o.Slots += w.Slots
		o.Busy += w.Busy()
	}
	o.Leased = len(all) - o.States[string(report.Away)]
	o.Free = max(o.Slots-o.Busy, 0)
	o.SlotsBar = page.NewBar(0, o.Busy, 0, 0, o.Free)
	o.SlotsBar.Label = fmt.Sprintf("%s of %s busy", page.Num(o.Busy), page.Counted(o.Slots, "slot"))
	o.Workers, o.MoreWorkers = all[:min(len(all), few)], max(len(all)-few, 0)

	o.Sums = c.Sums()
	t := &o.Sums.Tasks
	o.StagesBar = page.NewBar(t.Done, t.Running, t.Failed, t.Cancelled, t.Waiting)
	ids, active := c.JobPage(0, perPage, report.JobRunning)
	running := d.rows(ids)
	o.Jobs, o.MoreJobs = slices.Clip(running[:min(len(running), few)]), max(active-few, 0)
	planning := d.planning()
	if o.Planning = len(planning); o.Planning > 0 {
		o.Jobs = append(planning[:min(few, o.Planning)], o.Jobs...)
	}
	if len(o.Jobs) == 0 { // show what was last
		ids, total := c.JobPage(0, few, report.JobDone, report.JobFailed, report.JobCancelled)
		o.Jobs, o.MoreJobs = d.rows(ids), max(total-few, 0)
	}

	l := d.cfg.Tasks.Overview()
	o.QueuedTasks, o.QueuedBar = l.Totals, queuedBar(l.Totals)
	slices.SortStableFunc(l.Functions, func(a, b report.Function) int { return b.Counts.Unfinished() - a.Counts.Unfinished() })
	o.MoreFunctions = max(len(l.Functions)-few, 0)
	of := d.samples.functionRates()
	for i := range l.Functions {
		f := functionOf(l.Functions[i])
		o.Dead += f.Dead
		if f.Rate = of[f.Name]; i < few {
			o.Functions = append(o.Functions, f)
		}
	}
	failed, _ := c.JobPage(0, few, report.JobFailed)
	o.Attention = d.needsAttention(&o, running, d.rows(failed), all, l.Functions, time.Now())
	o.AttemptRate, o.EndedRate = d.samples.last(attemptsOf), d.samples.last(endedOf)
	o.Charts = d.samples.charts(o.Sums.Tasks.Waiting, o.QueuedTasks.Waiting+o.QueuedTasks.Delayed)
	return view{page: "overview", title: "Overview", section: "Overview", content: &o, scripts: []string{"chart.js"}}
}

// jobsView is the content of /jobs.
type jobsView struct {
	Filter filter
	Jobs   []jobRow
	At     pager
	Tabs   []page.Link
	Found  string
}

var (
	jobStates = []option{{"", "all"}, {"planning", "planning"}, {"running", "running"}, {"done", "done"}, {"failed", "failed"}, {"cancelled", "cancelled"}}
	jobSorts  = []option{{"", "newest first"}, {"took", "longest first"}, {"failed", "most failed attempts"}, {"tasks", "most tasks"}}
)

// maxScanned is the limit of jobs that a search or an order looks at, the newest ones.
const maxScanned = 5000

func (d *Dashboard) jobs(f filter) view {
	v := jobsView{Filter: f}
	sums := d.cfg.Coordinator.Sums()
	all := []report.Outcome{report.JobRunning, report.JobDone, report.JobFailed, report.JobCancelled}
	want, total := all, 0
	for _, o := range all {
		total += sums.Jobs[o]
	}
	planning := d.planning()
	v.Tabs = []page.Link{{Text: "all " + page.Num(total), URL: f.StateURL(""), Here: f.State == ""}}
	if n := len(planning); n > 0 || f.State == "planning" {
		v.Tabs = append(v.Tabs, page.Link{Text: "planning " + page.Num(n), URL: f.StateURL("planning"), Here: f.State == "planning"})
	}
	for _, o := range all {
		if f.State == o.String() {
			want, total = []report.Outcome{o}, sums.Jobs[o]
		}
		v.Tabs = append(v.Tabs, page.Link{Text: o.String() + " " + page.Num(sums.Jobs[o]), URL: f.StateURL(o.String()), Here: f.State == o.String()})
	}
	out := view{page: "jobs", title: "Jobs", section: "Jobs", content: &v}
	if f.State == "planning" {
		total, want = 0, nil
	}
	if f.Q == "" && f.Sort == "" { // only the jobs of this page are looked at
		from, to, at := cutTo(total, f.Page, f.base())
		if v.At = at; total > 0 {
			ids, _ := d.cfg.Coordinator.JobPage(from, to-from, want...)
			v.Jobs = d.rows(ids)
		}
		if from == 0 && (f.State == "" || f.State == "planning") {
			v.Jobs = append(planning[:min(len(planning), perPage)], v.Jobs...)
		}
		return out
	}
	var rows []jobRow
	if want != nil {
		ids, _ := d.cfg.Coordinator.JobPage(0, maxScanned, want...)
		rows = d.rows(ids)
	}
	if f.State == "" || f.State == "planning" {
		rows = append(planning, rows...)
	}
	rows = slices.DeleteFunc(rows, func(r jobRow) bool {
		return !f.matches(append([]string{string(r.ID), r.Name, r.Options.Owner, r.Reason}, r.Options.Tags...)...)
	})
	switch f.Sort {
	case "took":
		sortBy(rows, func(r *jobRow) time.Duration { return r.Took })
	case "failed":
		sortBy(rows, func(r *jobRow) int { return r.Trouble })
	case "tasks":
		sortBy(rows, func(r *jobRow) int { return r.Counts.Tasks })
	}
	if v.Found = f.describeCount(len(rows)); total > maxScanned {
		v.Found = strings.TrimPrefix(v.Found+", ", ", ") + "among the newest " + page.Num(maxScanned) + " jobs"
	}
	from, to, at := cutTo(len(rows), f.Page, f.base())
	v.Jobs, v.At = rows[from:to], at
	return out
}

// workersView is the content of /workers.
type workersView struct {
	Filter      filter
	Workers     []report.Worker
	At          pager
	Found       string
	TaskWorkers []taskserver.TaskWorker
	More        int // of TaskWorkers, not shown
}

var (
	workerStates = []option{{"", "all"}, {"ready", "ready"}, {"draining", "draining"}, {"blocked", "blocked"}, {"away", "away"}}
	workerSorts  = []option{{"", "by name"}, {"busy", "busiest first"}, {"disk", "least free disk"}, {"heard", "longest silent"}}
)

func (d *Dashboard) workers(f filter) view {
	all := slices.DeleteFunc(d.cfg.Server.Workers(), func(w report.Worker) bool {
		return f.State != "" && f.State != string(w.State) || !f.matches(slices.Concat([]string{w.Name, w.ID, w.Address, w.Zone, w.Platform, w.Version}, w.Tags, w.Datasets)...)
	})
	switch f.Sort {
	case "busy":
		sortBy(all, func(w *report.Worker) int { return w.Busy() })
	case "disk":
		sortBy(all, func(w *report.Worker) int64 {
			if w.FreeBytes == 0 { // not known
				return math.MinInt64
			}
			return -w.FreeBytes
		})
	case "heard":
		sortBy(all, func(w *report.Worker) report.Seconds { return w.Silent })
	}
	from, to, at := cutTo(len(all), f.Page, f.base())
	task := slices.DeleteFunc(d.cfg.Tasks.Overview().Workers, func(w taskserver.TaskWorker) bool { return !f.matches(append([]string{w.Name}, w.Functions...)...) })
	v := workersView{Filter: f, Workers: all[from:to], At: at, Found: f.describeCount(len(all)), TaskWorkers: task[:min(len(task), perPage)], More: max(len(task)-perPage, 0)}
	return view{page: "workers", title: "Workers", section: "Workers", content: &v}
}

// functionsView is the content of /tasks.
type functionsView struct {
	Filter      filter
	Functions   []functionRow
	At          pager
	Found       string
	Budgets     []taskserver.Budget
	More        int // budgets that are not shown
	QueuedTasks report.TaskCounts
	QueuedBar   page.Bar
	Typical     string // how long attempts take
	Charts      []chart
}

var (
	functionStates = []option{{"", "all"}, {"queued", "with waiting tasks"}, {"dead", "with dead letters"}, {"paused", "paused"}, {"idle", "without a worker"}}
	functionSorts  = []option{{"", "by name"}, {"waiting", "most waiting"}, {"running", "most running"}, {"rate", "fastest first"}, {"time", "longest attempts"},
		{"done", "most done"}, {"failed", "most failed"}, {"dead", "most dead letters"}}
)

func (d *Dashboard) functions(f filter) view {
	l := d.cfg.Tasks.Overview()
	v := functionsView{Filter: f, Budgets: l.Budgets[:min(len(l.Budgets), perPage)], More: max(len(l.Budgets)-perPage, 0), QueuedTasks: l.Totals, QueuedBar: queuedBar(l.Totals)}
	of := d.samples.functionRates()
	var rows []functionRow
	for i := range l.Functions {
		r := functionOf(l.Functions[i])
		fits := map[string]bool{"": true, "queued": r.Counts.Waiting+r.Counts.Delayed > 0, "dead": r.Dead > 0, "paused": r.Paused, "idle": r.Function.Workers == 0}
		if fits[f.State] && f.matches(r.Name) {
			r.Rate = of[r.Name]
			rows = append(rows, r)
		}
	}
	keys := map[string]func(r *functionRow) float64{
		"waiting": func(r *functionRow) float64 { return float64(r.Counts.Waiting + r.Counts.Delayed) }, "running": func(r *functionRow) float64 { return float64(r.Counts.Running) },
		"rate": func(r *functionRow) float64 { return float64(r.Rate.ended) }, "time": func(r *functionRow) float64 { return float64(r.Rate.p99) },
		"done": func(r *functionRow) float64 { return float64(r.Counts.Done) }, "failed": func(r *functionRow) float64 { return float64(r.Counts.Failed) },
		"dead": func(r *functionRow) float64 { return float64(r.Dead) },
	}
	if key := keys[f.Sort]; key != nil {
		sortBy(rows, key)
	}
	from, to, at := cutTo(len(rows), f.Page, f.base())
	v.Functions, v.At, v.Found = rows[from:to], at, f.describeCount(len(rows))
	v.Charts = d.samples.taskCharts(l.Totals.Waiting + l.Totals.Delayed)
	if l.Took.N > 0 {
		v.Typical = fmt.Sprintf("half of the attempts took up to %s, 99 of 100 up to %s", page.Dur(l.Took.Quantile(0.5)), page.Dur(l.Took.Quantile(0.99)))
	}
	return view{page: "functions", title: "Tasks", section: "Tasks", content: &v, scripts: []string{"chart.js"}}
}

// taskStates are the states of the tasks on the page of a function.
var taskStates = []option{{"", "all"}, {"running", "running"}, {"waiting", "waiting"}, {"delayed", "delayed"}}

// functionView is the content of a function's page.
type functionView struct {
	functionRow
	Limits  []limit
	Workers []taskserver.TaskWorker
	State   string // of Tasks; empty means all
	Tabs    []page.Link
	Tasks   []*taskRow
	More    bool // tasks
	Dead    []*taskRow
	At      pager // of Dead
	Charts  []chart
	NoChart string // why there are none
}

type limit struct{ Name, Value string }

// taskRow is a task in a listing.
type taskRow struct {
	taskserver.TaskDetail
	Priority string
	// Bar shows the progress; nil without any.
	Bar *page.Bar
	// In is the time until Due.
	In string
	// Shown is the beginning of the input, and Result of the result.
	Shown, Result *preview
}

// Size64 is the size of the input in bytes.
func (t *taskRow) Size64() int64 { return int64(t.Size) }

// Live reports whether the task has not ended.
func (t *taskRow) Live() bool {
	return slices.Contains([]string{"waiting", "delayed", "running"}, t.State.String())
}

func priorityName(t taskserver.TaskDetail) string {
	return [...]string{"normal", "high", "low"}[min(t.Priority, 2)]
}

func taskOf(t taskserver.TaskDetail) *taskRow {
	r := &taskRow{TaskDetail: t, Priority: priorityName(t), Shown: newPreview(t.Input, t.Size)}
	if len(t.Result) > 0 {
		r.Result = newPreview(t.Result, t.ResultSize)
	}
	if t.M > 0 {
		done := min(t.N, t.M)
		b := page.Bar{Label: fmt.Sprintf("%d of %d", t.N, t.M), Parts: []page.Part{{Class: "running", To: 1000 * float64(done) / float64(t.M)}}}
		r.Bar = &b
	}
	if !t.Due.IsZero() {
		r.In = page.Dur(time.Until(t.Due))
	}
	return r
}

func (d *Dashboard) function(name string, f filter) view {
	l := d.cfg.Tasks.Overview()
	i := slices.IndexFunc(l.Functions, func(f report.Function) bool { return f.Name == name })
	if i < 0 {
		return missing(noFunction(name))
	}
	v := functionView{functionRow: functionOf(l.Functions[i])}
	lim := &v.Function.Limits
	add := func(name string, set bool, format string, args ...any) {
		if set {
			v.Limits = append(v.Limits, limit{name, fmt.Sprintf(format, args...)})
		}
	}
	add("queue of normal priority", lim.QueueNormal > 0, "%s", page.Counted(lim.QueueNormal, "task"))
	add("queue of high priority", lim.QueueHigh > 0, "%s", page.Counted(lim.QueueHigh, "task"))
	add("queue of low priority", lim.QueueLow > 0, "%s", page.Counted(lim.QueueLow, "task"))
	add("at once", lim.Concurrency > 0, "%s on all workers", page.Counted(lim.Concurrency, "task"))
	add("rate", lim.Rate > 0, "%v starts per second, %d at once after a pause", lim.Rate, max(lim.Burst, 1))
	add("weight", lim.Weight > 0, "%s for each one of a function without a weight", report.Plural(lim.Weight, "start"))
	for _, budget := range slices.Sorted(maps.Keys(lim.Needs)) {
		add("needs", true, "%d of budget %s", lim.Needs[budget], budget)
	}
	for _, w := range l.Workers {
		if slices.Contains(w.Functions, name) && len(v.Workers) < perPage {
			v.Workers = append(v.Workers, w)
		}
	}
	v.Charts, v.NoChart = d.samples.functionCharts(name, v.Counts)
	tasks, more := d.cfg.Tasks.Unfinished(name, f.State, perPage)
	v.State, v.More = f.State, more
	for _, t := range tasks {
		v.Tasks = append(v.Tasks, taskOf(t))
	}
	for _, x := range []struct {
		state, text string
		n           int
	}{{"", "all", v.Counts.Unfinished()}, {"running", "running", v.Counts.Running}, {"waiting", "waiting", v.Counts.Waiting}, {"delayed", "delayed", v.Counts.Delayed}} {
		v.Tabs = append(v.Tabs, page.Link{Text: x.text + " " + page.Num(x.n), URL: f.StateURL(x.state), Here: f.State == x.state})
	}
	from, to, at := cutTo(v.functionRow.Dead, f.Page, f.base())
	v.At = at
	for _, t := range d.cfg.Tasks.Dead(name, from, to-from) {
		v.Dead = append(v.Dead, taskOf(t))
	}
	return view{page: "function", title: "Function " + name, section: "Tasks", content: &v, scripts: []string{"chart.js"}}
}

func noFunction(name string) string {
	return fmt.Sprintf("Function %s is not known: no task of it was submitted, and no worker handles it.", name)
}

func (d *Dashboard) task(id string) view {
	n, _ := wire.ParseTaskID(id)
	t, ok := d.cfg.Tasks.Task(taskserver.TaskID(n))
	if !ok {
		return missing(noTask(id))
	}
	r := taskOf(t)
	return view{page: "task", title: "Task " + t.ID.String(), section: "Tasks", content: r}
}

func noTask(id string) string {
	return fmt.Sprintf("Task %s is not known: there was none, or it has been forgotten.", id)
}

func functionURL(name string) string { return "/tasks?function=" + url.QueryEscape(plain.Text(name)) }

// lateness returns in words why somebody should look at an outbox.
func lateness(o *report.Outbox) string {
	switch {
	case o.Error != "":
		return o.Error
	case o.Refused > 0:
		return fmt.Sprintf("%s refused tasks, the latest: %s", page.Num(o.Refused), o.Reason)
	}
	return fmt.Sprintf("the oldest task has waited for %s", page.Dur(o.Oldest))
}
