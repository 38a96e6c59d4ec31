package dashboard

import (
	"slices"

	"github.com/layshaft/layshaft/internal/report"
)

// maxJobs is the limit of jobs in the status.
const maxJobs = 100

// Status is the JSON at /api/status, and at / for all clients except browsers.
type Status struct {
	Cluster string          `json:"cluster"` // name of the cluster
	Version string          `json:"version"` // version of the coordinator's program
	Workers []report.Worker `json:"workers"` // present ones by name, then those that are away by ID
	Jobs    []JobStatus     `json:"jobs"`    // the newest first, at most 100

	// Queued tasks, all at one instant.
	QueuedTasks report.TaskCounts `json:"queued_tasks"`
	Functions   []report.Function `json:"functions"`
}

// JobStatus is the state of a job. Job is its ID, Name the name of its plan, and Owner the name of
// the submitter. Outcome is running, done, failed or cancelled. Reason explains why a running job
// makes no progress, and is empty otherwise.
type JobStatus struct {
	Job     string `json:"job"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Owner   string `json:"owner,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Counts
}

// Counts counts tasks by state: Waiting, Running, Done, Failed or Cancelled. Tasks is always the
// sum of these five.
type Counts struct {
	Tasks     int `json:"tasks"`
	Waiting   int `json:"waiting"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
}

func (t *Counts) add(s *report.Stage) {
	t.Tasks += s.Tasks
	t.Waiting += s.Waiting
	t.Running += s.Running
	t.Done += s.Done
	t.Failed += s.Failed
	t.Cancelled += s.Cancelled
}

// status does not use a kept version: a script that asks after an event needs the effect of the
// event.
func (d *Dashboard) status() Status {
	out := Status{Cluster: d.cfg.Cluster, Version: d.cfg.Version, Workers: []report.Worker{}, Jobs: []JobStatus{}, Functions: []report.Function{}}
	tasks := d.cfg.Tasks.Look()
	out.QueuedTasks, out.Functions = tasks.Totals, append(out.Functions, tasks.Functions...)
	out.Workers = append(out.Workers, d.cfg.Server.Workers()...)
	for _, id := range slices.Backward(d.cfg.Coordinator.Jobs()) {
		if len(out.Jobs) == maxJobs {
			break
		}
		if st, ok := d.cfg.Coordinator.Status(id); ok {
			j := JobStatus{Job: string(id), Name: st.Name, Outcome: st.Outcome.String(), Owner: st.Options.Owner, Reason: st.Reason}
			for i := range st.Stages {
				j.add(&st.Stages[i])
			}
			out.Jobs = append(out.Jobs, j)
		}
	}
	return out
}
