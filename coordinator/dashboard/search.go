package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

// searchView is the content of /search.
type searchView struct {
	Q         string
	Jobs      []jobRow
	Functions []functionRow
	Workers   []report.Worker
	Task      *taskRow
	// MoreJobs, MoreFunctions and MoreWorkers are the URLs of lists with more results.
	MoreJobs, MoreFunctions, MoreWorkers string
}

// Nothing reports whether nothing was found.
func (v *searchView) Nothing() bool {
	return len(v.Jobs) == 0 && len(v.Functions) == 0 && len(v.Workers) == 0 && v.Task == nil
}

// search answers a search over everything. A whole ID or name leads to its page.
func (d *Dashboard) search(w http.ResponseWriter, r *http.Request) {
	f := newFilter(r, nil, nil)
	if to := d.exact(f.Q); to != "" {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	d.show(w, r, f.key(), func() view { return d.searchPage(f) })
}

// exact returns the URL of the thing with a whole ID or name, or "".
func (d *Dashboard) exact(q string) string {
	if q == "" {
		return ""
	}
	if _, ok := d.cfg.Server.Report(job.ID(q)); ok {
		return jobPath(q)
	}
	if slices.ContainsFunc(d.cfg.Tasks.Overview().Functions, func(f report.Function) bool { return f.Name == plain.Bytes(q) }) {
		return functionURL(plain.Bytes(q))
	}
	if slices.ContainsFunc(d.cfg.Server.Workers(), func(w report.Worker) bool { return w.Name == q }) {
		return workerURL(q)
	}
	if t := d.findTask(q); t != nil {
		return "/tasks/" + t.ID.String()
	}
	return ""
}

// findTask returns a task by its ID.
func (d *Dashboard) findTask(q string) *taskRow {
	if n, ok := wire.ParseTaskID(q); ok {
		if t, ok := d.cfg.Tasks.Task(taskserver.TaskID(n)); ok {
			return taskOf(t)
		}
	}
	return nil
}

// searchPage returns the page of a search without an exact result.
func (d *Dashboard) searchPage(f filter) view {
	v := searchView{Q: f.Q}
	out := view{page: "search", title: "Search", query: f.Q, content: &v}
	if f.Q == "" {
		return out
	}
	at := func(path string) filter { return filter{Path: path, Q: f.Q, Page: 1} }
	jobs := d.jobs(at("/jobs")).content.(*jobsView)
	functions := d.functions(at("/tasks")).content.(*functionsView)
	workers := d.workers(at("/workers")).content.(*workersView)
	v.Jobs, v.Functions, v.Workers = jobs.Jobs, functions.Functions, workers.Workers
	if len(v.Jobs) > few {
		v.Jobs, v.MoreJobs = v.Jobs[:few], at("/jobs").base()
	}
	if len(v.Functions) > few {
		v.Functions, v.MoreFunctions = v.Functions[:few], at("/tasks").base()
	}
	if len(v.Workers) > few {
		v.Workers, v.MoreWorkers = v.Workers[:few], at("/workers").base()
	}
	return out
}

// workerView is the content of the page of a worker.
type workerView struct {
	report.Worker
	SlotsBar page.Bar
	Attempts []workerAttempt
	More     int // attempts that are not shown
	Tasks    []taskserver.TaskWorker
}

// workerAttempt is a running attempt.
type workerAttempt struct {
	Job     job.ID
	Attempt string
	For     string
}

func (d *Dashboard) worker(name string) view {
	all := d.cfg.Server.Workers()
	i := slices.IndexFunc(all, func(w report.Worker) bool { return w.Name == name })
	if i < 0 {
		return missing(noWorker(name))
	}
	v := workerView{Worker: all[i], SlotsBar: page.Slots(all[i].Busy(), all[i].Slots)}
	ids, _ := d.cfg.Coordinator.JobPage(0, perPage, report.JobRunning)
	for _, id := range ids {
		for _, a := range d.cfg.Coordinator.Attempts(id, 10*perPage) {
			if a.Worker != name {
				continue
			}
			if len(v.Attempts) == perPage {
				v.More++
				continue
			}
			x := workerAttempt{Job: id, Attempt: fmt.Sprintf("%s#%d", a.Attempt.Task, a.Attempt.N), For: page.DurSince(a.Since)}
			if a.Speculative {
				x.Attempt += ", speculative"
			}
			v.Attempts = append(v.Attempts, x)
		}
	}
	for _, w := range d.cfg.Tasks.Overview().Workers {
		if w.Share == name || w.Share != "" && w.Share == all[i].ID {
			w.Functions = slices.Clone(w.Functions)
			slices.Sort(w.Functions)
			v.Tasks = append(v.Tasks, w)
		}
	}
	return view{page: "worker", title: "Worker " + name, section: "Workers", content: &v}
}

func noWorker(name string) string {
	return fmt.Sprintf("Worker %s is not known: it has left, or there was none.", strings.TrimSpace(name))
}
