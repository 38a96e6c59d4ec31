package dashboard

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// maxJobs is the limit of jobs in the status.
const maxJobs = 100

// Status is the JSON at /api/status, and at / for all clients except browsers.
type Status struct {
	Cluster string           `json:"cluster"`          // name of the cluster
	Version string           `json:"version"`          // version of the coordinator's program
	Notice  string           `json:"notice,omitempty"` // a warning for the operator, as on the pages
	Workers []report.Worker  `json:"workers"`          // present ones by name, then those that are away by ID
	Jobs    []report.JobView `json:"jobs"`             // the newest first, at most 100

	// Queued tasks, all at one instant.
	QueuedTasks report.TaskCounts `json:"queued_tasks"`
	Functions   []report.Function `json:"functions"`
}

// TaskStatus is the JSON at /api/tasks/ID, where ID may be the handle of a Gearman job. The fields
// are those of layshaft task status -o json, without the input and the result.
type TaskStatus struct {
	ID          string    `json:"id"`
	Function    string    `json:"function"`
	State       string    `json:"state"`
	Dead        bool      `json:"dead"`
	Priority    string    `json:"priority"`
	Durable     bool      `json:"durable"`
	Attempts    int       `json:"attempts"`
	Lost        int       `json:"lost"`
	MaxAttempts int       `json:"max_attempts"`
	Waiters     int       `json:"waiters"`
	Size        int       `json:"size"`
	Due         time.Time `json:"due,omitzero"`
	Ended       time.Time `json:"ended,omitzero"`
	N           uint64    `json:"n"`
	M           uint64    `json:"m"`
	Worker      string    `json:"worker,omitempty"`
	Unique      string    `json:"unique,omitempty"`
	Error       string    `json:"error,omitempty"`
	Reason      string    `json:"reason,omitempty"` // why it does not run now
}

func (d *Dashboard) taskJSON(w http.ResponseWriter, id string) {
	n, _ := wire.ParseTaskID(id)
	t, ok := d.cfg.Tasks.Task(taskserver.TaskID(n))
	if !ok {
		writeJSON(w, http.StatusNotFound, struct {
			Error string `json:"error"`
		}{noTask(id)})
		return
	}
	writeJSON(w, http.StatusOK, TaskStatus{ID: t.ID.String(), Function: t.Function, State: t.State.String(), Dead: t.DeadLetter, Priority: priorityName(t), Durable: t.Durable,
		Attempts: t.Attempts, Lost: t.Lost, MaxAttempts: t.Policy.Attempts, Waiters: t.Waiters, Size: t.Size, Due: t.Due, Ended: t.Died, N: t.N, M: t.M, Worker: t.WorkerName,
		Unique: t.Unique, Error: t.Error, Reason: t.Why})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(plain.JSON(v)) // the reader has gone
}

// status does not use a kept version: a script that asks after an event needs the effect of the
// event.
func (d *Dashboard) status() Status {
	out := Status{Cluster: d.cfg.Cluster, Version: d.cfg.Version, Workers: []report.Worker{}, Jobs: []report.JobView{}, Functions: []report.Function{}}
	if d.cfg.Notice != nil {
		out.Notice = d.cfg.Notice()
	}
	tasks := d.cfg.Tasks.Overview()
	out.QueuedTasks, out.Functions = tasks.Totals, append(out.Functions, tasks.Functions...)
	out.Workers = append(out.Workers, d.cfg.Server.Workers()...)
	for _, id := range slices.Backward(d.cfg.Coordinator.Jobs()) {
		if len(out.Jobs) == maxJobs {
			break
		}
		if r, ok := d.cfg.Server.Report(id); ok {
			out.Jobs = append(out.Jobs, report.ViewJob(&r))
		}
	}
	return out
}
