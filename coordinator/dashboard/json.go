package dashboard

import (
	"net/http"
	"slices"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
)

// maxJobs is the limit of jobs in the status.
const maxJobs = 100

// Status is the JSON at /api/status, and at / for all clients except browsers.
type Status struct {
	Cluster string           `json:"cluster"`          // name of the cluster
	Version string           `json:"version"`          // version of the coordinator's program
	Notice  string           `json:"notice,omitempty"` // a warning for the operator, as on the pages
	Workers []report.Worker  `json:"workers"`          // present ones by name, then workers that are away by ID
	Jobs    []report.JobView `json:"jobs"`             // the newest first, at most 100

	// Queued tasks, all at one instant.
	QueuedTasks report.TaskCounts `json:"queued_tasks"`
	Functions   []report.Function `json:"functions"`

	// Schedules by name; absent if there are none.
	Schedules []report.Schedule `json:"schedules,omitempty"`

	// Backups are the scheduled backups; absent without a schedule.
	Backups *report.Backups `json:"backups,omitempty"`
	// Coordinators of a cluster with several, by address.
	Coordinators []report.Coordinator `json:"coordinators,omitempty"`

	// Outboxes of PostgreSQL whose tasks this coordinator forwards.
	Outboxes []report.Outbox `json:"outboxes,omitempty"`
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = plain.WriteJSON(w, v) // the reader has gone
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
	out.Schedules = d.cfg.Tasks.Schedules()
	if b := d.cfg.Backups(); b.To != "" {
		out.Backups = &b
	}
	out.Outboxes, out.Coordinators = d.cfg.Outboxes(), d.cfg.Coordinators().Members
	out.Workers = append(out.Workers, d.cfg.Server.Workers()...)
	for _, r := range d.cfg.Server.Planning() {
		if len(out.Jobs) < maxJobs {
			out.Jobs = append(out.Jobs, report.ViewJob(&r))
		}
	}
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
