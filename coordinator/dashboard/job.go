package dashboard

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/layshaft/layshaft/internal/flame"
	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
)

// maxOthers is the limit of runs to compare with.
const maxOthers = 8

// run returns the record of a job, its state and its running attempts; ok is false when the job is
// unknown.
func (d *Dashboard) run(id job.ID) (r *report.Run, st report.Job, running []report.Attempt, ok bool) {
	st, ok = d.cfg.Server.Report(id)
	if !ok {
		return nil, st, nil, false
	}
	r = &report.Run{ID: id}
	if d.cfg.History != nil {
		recorded, err := d.cfg.History(id)
		switch {
		case err == nil:
			r = recorded
		case !errors.Is(err, fs.ErrNotExist):
			r.Damaged = fmt.Sprintf("The history cannot be read: %v", err)
		}
	}
	for _, a := range d.cfg.Coordinator.Attempts(id, math.MaxInt) {
		running = append(running, report.Attempt{Task: a.Attempt.Task, N: a.Attempt.N, Worker: a.Worker, Started: a.Since, Speculative: a.Speculative})
	}
	return r, st, running, true
}

// job is the page of a job.
func (d *Dashboard) job(id string) view {
	r, st, running, ok := d.run(job.ID(id))
	if !ok {
		return missing(noJob(id))
	}
	now := time.Now()
	c := runpage.New(report.ViewRun(r, &st, running, now), now)
	c.Live, c.Source = true, "/jobs/"+url.PathEscape(id)+"/attempts"
	c.Running, c.More = running[:min(len(running), perPage)], max(len(running)-perPage, 0)
	c.Others = d.others(&st)
	return view{page: "job", title: "Job " + id, section: "Jobs", content: c, scripts: []string{"timeline.js"}}
}

func noJob(id string) string {
	return fmt.Sprintf("Job %s is not known: it was never submitted here, or it has been forgotten.", id)
}

// others returns other runs of the same program, the latest first.
func (d *Dashboard) others(st *report.Job) (out []runpage.Other) {
	for _, id := range slices.Backward(d.cfg.Coordinator.Jobs()) {
		if len(out) == maxOthers {
			break
		}
		if x, ok := d.cfg.Coordinator.Status(id); ok && x.Name == st.Name && id != st.ID {
			row := rowOf(x)
			note := row.State
			if row.Known {
				note += ", " + page.Dur(row.Took)
			}
			out = append(out, runpage.Other{ID: string(id), Note: note})
		}
	}
	return out
}

// compareView is the content of the page that compares two runs.
type compareView struct {
	*report.Comparison
	Rows []compareRow
}

type compareRow struct {
	report.StageCompare
	Bar page.Bar // Busy after, against the larger one
}

// compare is the page that compares a job with an earlier one.
func (d *Dashboard) compare(id, other string) view {
	now := time.Now()
	var views [2]*report.RunView
	for i, x := range []string{other, id} {
		r, st, running, ok := d.run(job.ID(x))
		if !ok {
			return missing(noJob(x))
		}
		views[i] = report.ViewRun(r, &st, running, now)
	}
	v := &compareView{Comparison: report.Compare(views[0], views[1])}
	for _, s := range v.Comparison.Stages {
		most := max(s.BusyBefore, s.BusyAfter, 1e-9)
		b := page.Slots(int(1000*s.BusyAfter/most), 1000)
		b.Label = fmt.Sprintf("%.0f %% of the longer one", 100*s.BusyAfter/most)
		v.Rows = append(v.Rows, compareRow{s, b})
	}
	return view{page: "compare", title: "Job " + id + ", compared", section: "Jobs", content: v}
}

// ChangeText is the change with its sign.
func (r *compareRow) ChangeText() string {
	if r.BusyBefore == 0 || r.BusyAfter == 0 {
		return "–"
	}
	return fmt.Sprintf("%+.0f %%", 100*r.Change)
}

// Slower reports whether the stage got slower by far.
func (r *compareRow) Slower() bool { return r.Change > 0.2 && r.BusyAfter-r.BusyBefore > 0.1 }

// jobFiles serves what belongs to the page of a job.
func (d *Dashboard) jobFiles(mux *http.ServeMux) {
	serve := func(pattern, kind, ending string, write func(w io.Writer, r *http.Request, run *report.Run, st *report.Job, running []report.Attempt) error) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			run, st, running, ok := d.run(job.ID(r.PathValue("id")))
			if !ok {
				http.Error(w, "there is no such job", http.StatusNotFound)
				return
			}
			var b bytes.Buffer
			if err := write(&b, r, run, &st, running); err != nil {
				d.cfg.Log.Error("file of a job not made", "job", st.ID, "err", err)
				http.Error(w, "the file could not be made; the log says why", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", kind)
			if ending != "" {
				w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(string(st.ID))+ending))
			}
			if b.Len() < 4<<10 || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				_, _ = w.Write(b.Bytes()) // the reader has gone
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
			_, _ = z.Write(b.Bytes())
			_ = z.Close()
		})
	}
	serve("/jobs/{id}/attempts", "application/json", "", func(w io.Writer, r *http.Request, run *report.Run, _ *report.Job, running []report.Attempt) error {
		from, _ := strconv.Atoi(r.FormValue("from"))
		return runpage.WriteTimeline(w, run, running, from, time.Now())
	})
	serve("/jobs/{id}/report.html", "text/html; charset=utf-8", ".html", func(w io.Writer, _ *http.Request, run *report.Run, st *report.Job, running []report.Attempt) error {
		now := time.Now()
		return runpage.WriteHTML(w, run, report.ViewRun(run, st, running, now), d.cfg.Version, now)
	})
	serve("/jobs/{id}/trace.json", "application/json", ".trace.json", func(w io.Writer, _ *http.Request, run *report.Run, _ *report.Job, _ []report.Attempt) error {
		return runpage.WriteTrace(w, run)
	})
	serve("/jobs/{id}/history", "application/octet-stream", ".history", func(w io.Writer, _ *http.Request, run *report.Run, _ *report.Job, _ []report.Attempt) error {
		_, err := w.Write(history.Encode(run))
		return err
	})
	mux.HandleFunc("GET /jobs/{id}/profile", d.flameGraphs)
	mux.HandleFunc("GET /api/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		run, st, running, ok := d.run(job.ID(r.PathValue("id")))
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			writeJSON(w, map[string]string{"error": "there is no such job"})
			return
		}
		writeJSON(w, report.ViewRun(run, &st, running, time.Now()))
	})
}

// flameGraphs sends the page with the flame graphs of a job.
func (d *Dashboard) flameGraphs(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	_, st, _, ok := d.run(job.ID(id))
	if !ok {
		d.answer(w, r, missing(noJob(id)))
		return
	}
	encoded, err := []byte(nil), fs.ErrNotExist
	if d.cfg.Profile != nil {
		encoded, err = d.cfg.Profile(job.ID(id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.answer(w, r, missing(fmt.Sprintf("Job %s has no CPU profile; %s.", id, job.NoProfile)))
		return
	}
	var b bytes.Buffer
	var all *profile.Profile
	if err == nil {
		all, err = flame.Merge(id, encoded)
	}
	if err == nil {
		err = flame.WriteHTML(&b, "CPU profile of job "+id, flame.Graphs(all, st.StageName)...)
	}
	w.Header().Set("Content-Security-Policy", flame.Policy)
	d.send(w, r.URL.Path, renderedPage{status: http.StatusOK, body: b.Bytes()}, err)
}

// fileName returns a job ID without characters that file systems refuse.
func fileName(id string) string {
	return strings.Map(func(r rune) rune {
		if r > 127 || !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_.", r)) {
			return '_'
		}
		return r
	}, id)
}
