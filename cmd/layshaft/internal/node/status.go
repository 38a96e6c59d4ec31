package node

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/layshaft/layshaft/coordinator"
)

// maxJobs is how many jobs the status shows.
const maxJobs = 100

// status is what / of a coordinator shows.
type status struct {
	Cluster string         `json:"cluster"`
	Version string         `json:"version"`
	Workers []workerStatus `json:"workers"`
	Jobs    []jobStatus    `json:"jobs"` // the newest first

	// Single calls of functions, all at one instant.
	Calls     coordinator.TaskTotals       `json:"calls"`
	Functions []coordinator.FunctionReport `json:"functions"`
}

type workerStatus struct {
	Worker   string  `json:"worker"`
	Zone     string  `json:"zone,omitempty"`
	Slots    int     `json:"slots"`
	Running  int     `json:"running"`
	Draining bool    `json:"draining"`
	Blocked  bool    `json:"blocked"`
	Silent   float64 `json:"silent_seconds"`
}

type jobStatus struct {
	Job     string `json:"job"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Owner   string `json:"owner,omitempty"`
	Reason  string `json:"reason,omitempty"`
	tasks
}

// tasks counts tasks by state.
type tasks struct {
	Tasks     int `json:"tasks"`
	Waiting   int `json:"waiting"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

func (t *tasks) add(st *coordinator.JobStatus) {
	for i := range st.Stages {
		s := &st.Stages[i]
		t.Tasks += s.Tasks
		t.Waiting += s.Waiting
		t.Running += s.Running
		t.Done += s.Done
		t.Failed += s.Failed
		t.Cancelled += s.Cancelled
	}
}

func clusterStatus(c *coordinator.Coordinator, t *coordinator.Tasks, cluster, version string) status {
	out := status{Cluster: cluster, Version: version, Workers: []workerStatus{}, Jobs: []jobStatus{}, Functions: []coordinator.FunctionReport{}}
	calls, functions := t.Status()
	out.Calls, out.Functions = calls, append(out.Functions, functions...)
	for _, w := range c.Workers() {
		out.Workers = append(out.Workers, workerStatus{Worker: w.Worker, Zone: w.Zone, Slots: w.Slots, Running: w.Running,
			Draining: w.Draining, Blocked: w.Blocked, Silent: time.Since(w.Heard).Seconds()})
	}
	for _, id := range slices.Backward(c.Jobs()) {
		if len(out.Jobs) == maxJobs {
			break
		}
		if st, ok := c.Status(id); ok {
			j := jobStatus{Job: string(id), Name: st.Name, Outcome: st.Outcome.String(), Owner: st.Options.Owner, Reason: st.Reason}
			j.add(&st)
			out.Jobs = append(out.Jobs, j)
		}
	}
	return out
}

// metrics are those of a coordinator, counted when they are asked for.
type metrics struct {
	c *coordinator.Coordinator
	t *coordinator.Tasks
}

var (
	workersDesc  = prometheus.NewDesc("layshaft_workers", "Workers that have a lease.", []string{"state"}, nil)
	slotsDesc    = prometheus.NewDesc("layshaft_slots", "Slots of all workers that have a lease.", []string{"state"}, nil)
	jobsDesc     = prometheus.NewDesc("layshaft_jobs", "Jobs that the coordinator remembers.", []string{"outcome"}, nil)
	tasksDesc    = prometheus.NewDesc("layshaft_tasks", "Tasks of those jobs.", []string{"state"}, nil)
	attemptsDesc = prometheus.NewDesc("layshaft_attempts", "Attempts on their way, or of those jobs and ended without output.", []string{"state"}, nil)
	lostDesc     = prometheus.NewDesc("layshaft_outputs_lost", "Committed outputs of those jobs that were lost and made again.", nil, nil)
	bytesDesc    = prometheus.NewDesc("layshaft_output_bytes", "Stored bytes that committed attempts of those jobs wrote.", nil, nil)
	callsDesc    = prometheus.NewDesc("layshaft_calls", "Single calls of functions.", []string{"function", "state"}, nil)
	callersDesc  = prometheus.NewDesc("layshaft_function_workers", "Workers of functions.", []string{"function"}, nil)
	deadDesc     = prometheus.NewDesc("layshaft_dead_letters", "Calls that failed for good and are kept.", []string{"function"}, nil)
	auditDesc    = prometheus.NewDesc("layshaft_audit_findings", "Broken promises of the scheduler, which must be 0.", nil, nil)
)

// Describe names the metrics.
func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect counts.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	workers, slots, running := map[string]int{}, 0, 0
	for _, w := range m.c.Workers() {
		state := "ready"
		if w.Draining {
			state = "draining"
		} else if w.Blocked {
			state = "blocked"
		}
		workers[state]++
		slots += w.Slots
		running += w.Running
	}
	for _, state := range []string{"ready", "draining", "blocked"} {
		set(workersDesc, workers[state], state)
	}
	set(slotsDesc, running, "busy")
	set(slotsDesc, max(slots-running, 0), "free")

	outcomes, failed, lost, bytes := map[coordinator.Outcome]int{}, 0, 0, int64(0)
	var t tasks
	for _, id := range m.c.Jobs() {
		st, ok := m.c.Status(id)
		if !ok {
			continue
		}
		outcomes[st.Outcome]++
		t.add(&st)
		for i := range st.Stages {
			failed += st.Stages[i].FailedAttempts
			lost += st.Stages[i].Lost
			bytes += st.Stages[i].Sum.Bytes
		}
	}
	for _, o := range []coordinator.Outcome{coordinator.JobRunning, coordinator.JobDone, coordinator.JobFailed, coordinator.JobCancelled} {
		set(jobsDesc, outcomes[o], o.String())
	}
	for _, s := range []struct {
		state string
		n     int
	}{{"waiting", t.Waiting}, {"running", t.Running}, {"done", t.Done}, {"failed", t.Failed}, {"cancelled", t.Cancelled}} {
		set(tasksDesc, s.n, s.state)
	}
	set(attemptsDesc, running, "running")
	set(attemptsDesc, failed, "failed")
	set(lostDesc, lost)
	set(bytesDesc, int(bytes))
	set(auditDesc, len(m.c.Audit()))
	m.functions(set)
}

// maxFunctions is how many functions have metrics of their own: clients make their names up.
const maxFunctions = 1000

func (m metrics) functions(set func(d *prometheus.Desc, v int, labels ...string)) {
	_, all := m.t.Status()
	for _, f := range all[:min(len(all), maxFunctions)] {
		name := f.Function
		if !utf8.ValidString(name) {
			name = strconv.QuoteToASCII(name)
		}
		for _, s := range []struct {
			state string
			n     int
		}{{"waiting", f.Tasks.Waiting}, {"delayed", f.Tasks.Delayed}, {"running", f.Tasks.Running}, {"done", f.Tasks.Done}, {"failed", f.Tasks.Failed},
			{"cancelled", f.Tasks.Cancelled}} {
			set(callsDesc, s.n, name, s.state)
		}
		set(callersDesc, f.Workers, name)
		set(deadDesc, f.Dead, name)
	}
}
