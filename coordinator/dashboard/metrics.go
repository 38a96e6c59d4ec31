package dashboard

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/tally"
)

// The metrics are counted when they are asked for. No label has the name of a job or of a worker,
// and only the first functions have labels of their own.
var (
	workersDesc    = desc("workers", "Workers that have a lease, and workers that are away.", "state")
	backupDesc     = desc("backup_timestamp_seconds", "Time of the newest scheduled backup, in seconds since 1970.")
	backupSizeDesc = desc("backup_bytes", "Size of the newest scheduled backup.")
	membersDesc    = desc("coordinator_members", "Coordinators of a cluster with several, as the leader sees them.", "state")
	lagDesc        = desc("coordinator_lag_entries", "Log entries that the slowest coordinator that answers has still to apply, as the leader sees it.")
	slotsDesc      = desc("slots", "Slots of all workers that have a lease.", "state")
	jobsDesc       = desc("jobs", "Jobs that the coordinator remembers. A job is waiting when it has not ended and nothing of it runs. The client of a planning one lists its input.", "state")
	tasksDesc      = desc("tasks", "Tasks: of the stages of those jobs (kind stage), and queued tasks (kind queued), ended ones that are forgotten too.", "kind", "state")
	attemptsDesc   = desc("attempts_total", "Attempts of stages that have ended, by kind of stage and how.", "stage", "outcome")
	runningDesc    = desc("attempts", "Attempts of stages that workers have.", "stage")
	attemptDesc    = desc("attempt_duration_seconds", "How long attempts took whose output was committed.", "stage")
	lostDesc       = desc("outputs_lost", "Committed outputs of remembered jobs that were lost and made again.")
	outputDesc     = desc("output_bytes", "Stored bytes that committed attempts of remembered jobs wrote.")
	taskDesc       = desc("task_duration_seconds", "How long attempts at queued tasks took that workers ended.")
	waitDesc       = desc("task_wait_seconds", "How long queued tasks were ready before their first attempt.", "priority")
	backlogDesc    = desc("backlog_tasks", "Tasks that more slots would run: of stages whose inputs are complete (kind stage), and waiting queued tasks (kind queued).", "kind")
	functionDesc   = desc("function_tasks", "Queued tasks that have not ended. An empty function stands for all that have no label of their own.", "function", "state")
	endedDesc      = desc("function_tasks_total", "Queued tasks that have ended.", "function", "outcome")
	submittedDesc  = desc("function_submits_total", "Queued tasks that were accepted.", "function")
	handlersDesc   = desc("function_workers", "Workers of functions.", "function")
	deadDesc       = desc("dead_letters", "Queued tasks that failed for good and are kept.", "function")
	budgetSizeDesc = desc("budget_size", "How much there is of a budget.", "budget")
	budgetUsedDesc = desc("budget_used", "How much of a budget is in use.", "budget")
	outboxDesc     = desc("outbox_tasks", "Tasks in the outbox of a database: waiting to be queued, or refused for good.", "database", "state")
	outboxAgeDesc  = desc("outbox_oldest_seconds", "Age of the oldest task that waits in the outbox of a database.", "database")
	slotLagDesc    = desc("replication_slot_lag_bytes", "Log that a database keeps for a logical replication slot.", "database", "slot")
	syncDesc       = desc("sync_duration_seconds", "How long it took to make decisions durable.", "store")
	auditDesc      = desc("audit_findings", "Broken promises: tasks without an owner or a wake-up time, totals that do not conserve. Must be 0.")
	coreDesc       = desc("audit_core_findings", "The same by core.", "core")
	roundsDesc     = desc("audit_rounds_total", "How often all tasks of a core have been audited.", "core")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("layshaft_"+name, help, labels, nil)
}

// Describe names the metrics.
func (d *Dashboard) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, ch) }

// labelled is the limit of functions, and of budgets, with metrics of their own, because clients
// invent the names.
const labelled = 200

// collector sends metrics.
type collector chan<- prometheus.Metric

func (ch collector) gauge(d *prometheus.Desc, v int, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func (ch collector) counter(d *prometheus.Desc, v int, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (ch collector) durations(d *prometheus.Desc, t *tally.Durations, labels ...string) {
	ch <- prometheus.MustNewConstHistogram(d, t.N, t.Sum.Seconds(), t.Buckets(), labels...)
}

// Collect counts.
func (d *Dashboard) Collect(to chan<- prometheus.Metric) {
	ch := collector(to)
	states, slots, busy := map[report.State]int{}, 0, 0
	for _, w := range d.cfg.Server.Workers() {
		states[w.State]++
		slots += w.Slots
		busy += w.Busy()
	}
	for _, state := range []report.State{report.Ready, report.Draining, report.Blocked, report.Away} {
		ch.gauge(workersDesc, states[state], string(state))
	}
	ch.gauge(slotsDesc, busy, "busy")
	ch.gauge(slotsDesc, max(slots-busy, 0), "free")

	if all := d.cfg.Coordinators(); len(all.Members) > 0 {
		for _, state := range report.CoordinatorStates {
			ch.gauge(membersDesc, all.In(state), string(state))
		}
		ch.gauge(lagDesc, int(all.Behind()))
	}

	sums := d.cfg.Coordinator.Sums()
	ch.gauge(jobsDesc, len(d.cfg.Server.Planning()), "planning")
	ch.gauge(jobsDesc, sums.Waiting, "waiting")
	ch.gauge(jobsDesc, sums.Jobs[report.JobRunning]-sums.Waiting, "running")
	for _, o := range []report.Outcome{report.JobDone, report.JobFailed, report.JobCancelled} {
		ch.gauge(jobsDesc, sums.Jobs[o], o.String())
	}
	t := &sums.Tasks
	for _, s := range []struct {
		state string
		n     int
	}{{"waiting", t.Waiting}, {"running", t.Running}, {"done", t.Done}, {"failed", t.Failed}, {"cancelled", t.Cancelled}} {
		ch.gauge(tasksDesc, s.n, "stage", s.state)
	}
	ch.gauge(backlogDesc, sums.Launchable, "stage")
	ch.gauge(lostDesc, t.Lost)
	ch.gauge(outputDesc, int(t.Sum.Bytes))
	tallies := d.cfg.Coordinator.Tallies()
	for k := range tallies {
		x, stage, ended := &tallies[k], sched.StageKind(k).String(), 0
		for e, n := range x.Ended {
			ch.counter(attemptsDesc, n, stage, strings.ReplaceAll(sched.End(e).String(), " ", "_"))
			ended += n
		}
		ch.gauge(runningDesc, x.Begun-ended, stage)
		ch.durations(attemptDesc, &x.Took, stage)
	}
	if d.cfg.Syncs != nil {
		syncs := d.cfg.Syncs()
		ch.durations(syncDesc, &syncs, "journal")
	}
	d.queuedTasks(ch)
	d.scheduleMetrics(ch)
	if b := d.cfg.Backups(); !b.Last.IsZero() {
		ch.gauge(backupDesc, int(b.Last.Unix()))
		ch.gauge(backupSizeDesc, int(b.Bytes))
	}
	for _, o := range d.cfg.Outboxes() {
		if o.Error != "" {
			continue // a gap says more than an old number
		}
		ch.gauge(outboxDesc, int(o.Waiting), o.Database, "waiting")
		ch.gauge(outboxDesc, int(o.Refused), o.Database, "refused")
		ch.gauge(outboxAgeDesc, int(o.Oldest.Seconds()), o.Database)
		for _, s := range o.Slots {
			ch.gauge(slotLagDesc, int(s.Lag), o.Database, s.Name)
		}
	}

	d.audit.look()
	all := 0
	for _, f := range d.audit.findings() {
		all += len(f.Found)
		ch.gauge(coreDesc, len(f.Found), f.Core)
		ch.counter(roundsDesc, f.Rounds, f.Core)
	}
	ch.gauge(auditDesc, all)
}

// queuedTasks collects the metrics of queued tasks and functions.
func (d *Dashboard) queuedTasks(ch collector) {
	l := d.cfg.Tasks.Overview()
	for _, s := range states(l.Totals) {
		ch.gauge(tasksDesc, s.n, "queued", s.name)
	}
	ch.gauge(backlogDesc, l.Totals.Waiting, "queued")
	ch.durations(taskDesc, &l.Took)
	for _, p := range taskserver.Priorities {
		waited := l.Waited[p]
		ch.durations(waitDesc, &waited, p)
	}
	ch.durations(syncDesc, &l.Syncs, "tasks")

	// Which have labels does not change while functions come: else counters would jump.
	slices.SortFunc(l.Functions, func(a, b report.Function) int { return cmp.Compare(a.Number, b.Number) })
	for i := range min(len(l.Functions), labelled) {
		functionMetrics(ch, label(l.Functions[i].Name), &l.Functions[i])
	}
	if len(l.Functions) > labelled {
		var rest report.Function
		for i := labelled; i < len(l.Functions); i++ {
			rest.Add(&l.Functions[i])
		}
		functionMetrics(ch, "", &rest)
	}
	for _, b := range l.Budgets[:min(len(l.Budgets), labelled)] {
		ch.gauge(budgetSizeDesc, b.Size, label(b.Name))
		ch.gauge(budgetUsedDesc, b.Used, label(b.Name))
	}
}

func functionMetrics(ch collector, name string, f *report.Function) {
	for i, s := range states(f.Counts) {
		if i < 3 {
			ch.gauge(functionDesc, s.n, name, s.name)
		} else {
			ch.counter(endedDesc, s.n, name, s.name)
		}
	}
	ch.counter(submittedDesc, f.Counts.Submitted, name)
	ch.gauge(handlersDesc, f.Workers, name)
	ch.gauge(deadDesc, f.Dead, name)
}

// state is how many are in a state.
type state struct {
	name string
	n    int
}

// states lists counts, unfinished tasks first.
func states(t report.TaskCounts) []state {
	return []state{{"waiting", t.Waiting}, {"delayed", t.Delayed}, {"running", t.Running}, {"done", t.Done}, {"failed", t.Failed}, {"cancelled", t.Cancelled}}
}

// label makes a name valid for metrics.
func label(name string) string { return plain.Text(name) }
