package dashboard

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/bytesize"
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
}

func functionOf(f report.Function) functionRow {
	return functionRow{f, queuedBar(f.Counts), f.Counts.Waiting > 0 && f.Workers == 0}
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

// attention is something for an operator to look at.
type attention struct {
	Text, URL, Command string
}

func (d *Dashboard) overview() view {
	o := overview{States: map[string]int{}, Audit: d.audit.findings(), Outboxes: d.cfg.Outboxes(), Coordinators: d.cfg.Coordinators(), Backups: d.cfg.Backups()}
	if text := o.Backups.Trouble(time.Now()); text != "" {
		o.Attention = append(o.Attention, attention{Text: text, URL: "/", Command: "layshaft coordinator backup FILE"})
	}
	for i := range o.Coordinators.Members {
		if text := o.Coordinators.Members[i].Trouble(); text != "" {
			o.Attention = append(o.Attention, attention{Text: "coordinator " + text, URL: "#coordinators", Command: "layshaft coordinator members"})
		}
	}
	if text := o.Coordinators.Warning; text != "" {
		o.Attention = append(o.Attention, attention{Text: text, URL: "#coordinators", Command: "layshaft coordinator members"})
	}
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
		if w.State == report.Blocked {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("worker %s is blocked for a while, after failures in a row", w.Name), URL: "/workers"})
		}
		if w.FreeBytes > 0 && w.FreeBytes < 1<<30 {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("worker %s has %s of disk left", w.Name, bytesize.Format(w.FreeBytes)), URL: "/workers"})
		}
	}
	o.Leased = len(all) - o.States[string(report.Away)]
	o.Free = max(o.Slots-o.Busy, 0)
	o.SlotsBar = page.NewBar(0, o.Busy, 0, 0, o.Free)
	o.SlotsBar.Label = fmt.Sprintf("%s of %s slots busy", page.Num(o.Busy), page.Num(o.Slots))
	o.Workers, o.MoreWorkers = all[:min(len(all), few)], max(len(all)-few, 0)

	o.Sums = c.Sums()
	t := &o.Sums.Tasks
	o.StagesBar = page.NewBar(t.Done, t.Running, t.Failed, t.Cancelled, t.Waiting)
	ids, active := c.JobPage(0, few, report.JobRunning)
	o.Jobs, o.MoreJobs = d.rows(ids), max(active-few, 0)
	for i := range o.Jobs {
		if j := &o.Jobs[i]; j.Reason != "" {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("job %s waits: %s", j.ID, j.Reason), URL: "/jobs/" + string(j.ID)})
		}
	}
	o.Attention = append(o.Attention, failing(o.Jobs)...)
	failed, _ := c.JobPage(0, few, report.JobFailed)
	o.Attention = append(o.Attention, failedLately(d.rows(failed), time.Now())...)
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
	for i := range l.Functions {
		f := functionOf(l.Functions[i])
		o.Dead += f.Dead
		if i < few {
			o.Functions = append(o.Functions, f)
		}
		name, at := page.ShellQuote(plain.Text(f.Name)), functionURL(f.Name)
		if len(o.Attention) >= 2*few {
			continue
		}
		if f.Idle {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("function %s: no worker handles it, %s waiting", f.Name, page.Num(f.Counts.Waiting)), URL: at})
		}
		if f.Paused && f.Counts.Unfinished() > 0 {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("function %s is paused", f.Name), URL: at, Command: "layshaft task resume " + name})
		}
		if f.Dead > 0 {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("function %s: dead letters: %s", f.Name, page.Num(f.Dead)), URL: at, Command: "layshaft task dead " + name})
		}
	}
	for _, x := range o.Outboxes {
		if x.Late() {
			o.Attention = append(o.Attention, attention{Text: fmt.Sprintf("outbox of database %s: %s", x.Database, lateness(&x)), URL: "/", Command: "layshaft pg status " + page.ShellQuote(x.Database)})
		}
	}
	o.AttemptRate, o.EndedRate = d.samples.last(attemptsOf), d.samples.last(endedOf)
	o.Charts = d.samples.charts(o.Sums.Tasks.Waiting, o.QueuedTasks.Waiting+o.QueuedTasks.Delayed)
	return view{page: "overview", title: "Overview", section: "Overview", content: &o, scripts: []string{"chart.js"}}
}

// jobsView is the content of /jobs.
type jobsView struct {
	Jobs []jobRow
	At   pager
	Tabs []page.Link
	Sums sched.Sums
}

func (d *Dashboard) jobs(state string, n int) view {
	v := jobsView{Sums: d.cfg.Coordinator.Sums()}
	all := []report.Outcome{report.JobRunning, report.JobDone, report.JobFailed, report.JobCancelled}
	want, base, total := all, "/jobs", 0
	for _, o := range all {
		total += v.Sums.Jobs[o]
	}
	v.Tabs = []page.Link{{Text: "all " + page.Num(total), URL: "/jobs"}}
	for _, o := range all {
		at := "/jobs?state=" + o.String()
		if state == o.String() {
			want, base, total = []report.Outcome{o}, at, v.Sums.Jobs[o]
		}
		v.Tabs = append(v.Tabs, page.Link{Text: o.String() + " " + page.Num(v.Sums.Jobs[o]), URL: at, Here: state == o.String()})
	}
	planning := d.planning()
	if n := len(planning); n > 0 || state == report.JobPlanning.String() {
		v.Tabs = append(v.Tabs, page.Link{Text: "planning " + page.Num(n), URL: "/jobs?state=planning", Here: state == report.JobPlanning.String()})
		if state == report.JobPlanning.String() {
			v.Jobs = planning[:min(n, perPage)]
			return view{page: "jobs", title: "Jobs", section: "Jobs", content: &v}
		}
	}
	v.Tabs[0].Here = len(want) == len(all)
	from, to, at := cutTo(total, n, base)
	ids, _ := d.cfg.Coordinator.JobPage(from, to-from, want...)
	if v.Jobs, v.At = d.rows(ids), at; from == 0 && len(want) == len(all) {
		v.Jobs = append(planning[:min(len(planning), few)], v.Jobs...)
	}
	return view{page: "jobs", title: "Jobs", section: "Jobs", content: &v}
}

// workersView is the content of /workers.
type workersView struct {
	Workers     []report.Worker
	At          pager
	TaskWorkers []taskserver.TaskWorker
	More        int // of TaskWorkers, not shown
}

func (d *Dashboard) workers(n int) view {
	all := d.cfg.Server.Workers()
	from, to, at := cutTo(len(all), n, "/workers")
	l := d.cfg.Tasks.Overview()
	v := workersView{Workers: all[from:to], At: at, TaskWorkers: l.Workers[:min(len(l.Workers), perPage)], More: max(len(l.Workers)-perPage, 0)}
	return view{page: "workers", title: "Workers", section: "Workers", content: &v}
}

// functionsView is the content of /tasks.
type functionsView struct {
	Cluster     string
	Functions   []functionRow
	At          pager
	Budgets     []taskserver.Budget
	More        int // budgets that are not shown
	QueuedTasks report.TaskCounts
	QueuedBar   page.Bar
	Typical     string // how long attempts take
	Charts      []chart
}

func (d *Dashboard) functions(n int) view {
	l := d.cfg.Tasks.Overview()
	from, to, at := cutTo(len(l.Functions), n, "/tasks")
	v := functionsView{Cluster: d.cfg.Cluster, At: at, Budgets: l.Budgets[:min(len(l.Budgets), perPage)], More: max(len(l.Budgets)-perPage, 0), QueuedTasks: l.Totals, QueuedBar: queuedBar(l.Totals)}
	for _, f := range l.Functions[from:to] {
		v.Functions = append(v.Functions, functionOf(f))
	}
	v.Charts = d.samples.taskCharts(l.Totals.Waiting + l.Totals.Delayed)
	if l.Took.N > 0 {
		v.Typical = fmt.Sprintf("half of the attempts took up to %s, 99 of 100 up to %s", page.Dur(l.Took.Quantile(0.5)), page.Dur(l.Took.Quantile(0.99)))
	}
	return view{page: "functions", title: "Tasks", section: "Tasks", content: &v, scripts: []string{"chart.js"}}
}

// functionView is the content of a function's page.
type functionView struct {
	functionRow
	Limits  []limit
	Workers []taskserver.TaskWorker
	Tasks   []*taskRow
	More    bool // tasks
	Dead    []*taskRow
	AllDead int
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
	r := &taskRow{TaskDetail: t, Priority: priorityName(t)}
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

func (d *Dashboard) function(name string) view {
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
	add("queue of normal priority", lim.QueueNormal > 0, "%s tasks", page.Num(lim.QueueNormal))
	add("queue of high priority", lim.QueueHigh > 0, "%s tasks", page.Num(lim.QueueHigh))
	add("queue of low priority", lim.QueueLow > 0, "%s tasks", page.Num(lim.QueueLow))
	add("at once", lim.Concurrency > 0, "%s tasks on all workers", page.Num(lim.Concurrency))
	add("rate", lim.Rate > 0, "%v starts per second, %d at once after a pause", lim.Rate, max(lim.Burst, 1))
	add("weight", lim.Weight > 0, "%d starts for each one of a function without a weight", lim.Weight)
	for _, budget := range slices.Sorted(maps.Keys(lim.Needs)) {
		add("needs", true, "%d of budget %s", lim.Needs[budget], budget)
	}
	for _, w := range l.Workers {
		if slices.Contains(w.Functions, name) && len(v.Workers) < perPage {
			v.Workers = append(v.Workers, w)
		}
	}
	v.Charts, v.NoChart = d.samples.functionCharts(name, v.Counts)
	tasks, more := d.cfg.Tasks.Unfinished(name, perPage)
	v.More = more
	for _, t := range tasks {
		v.Tasks = append(v.Tasks, taskOf(t))
	}
	v.AllDead = v.functionRow.Dead
	for _, t := range d.cfg.Tasks.Dead(name, perPage) {
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
