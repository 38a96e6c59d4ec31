package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
)

// checkInspection returns an error if the target asks for something that only programs with package
// inspect can show.
func (t *settings) checkInspection() error {
	if inspection.Registered() != nil {
		return nil
	}
	for _, f := range []struct{ name, value string }{{"report", t.Report}, {"trace", t.Trace}, {"web", t.Web}, {"profile", t.Profile}} {
		if f.value != "" {
			return fmt.Errorf("%s %s: this program is built without it; the program must import _ %q", f.name, f.value, inspection.Package)
		}
	}
	return nil
}

// maxRunFiles is the number of runs of a process whose files are kept. Each later run replaces the
// last file.
const maxRunFiles = 100

// runFiles counts the runs of this process for each path of a report, trace or profile.
var runFiles struct {
	mu   sync.Mutex
	uses map[string]int
}

// numberFiles gives the run files of its own if an earlier run of this process has the paths:
// run-2.html for run.html. Otherwise the last run of a program would replace the files of the
// others.
func (t *settings) numberFiles() {
	if t.Explain {
		return
	}
	for _, f := range []struct {
		flag string
		path *string
	}{{"report", &t.Report}, {"trace", &t.Trace}, {"profile", &t.Profile}} {
		if *f.path == "" {
			continue
		}
		runFiles.mu.Lock()
		if runFiles.uses == nil {
			runFiles.uses = map[string]int{}
		}
		key := f.flag + " " + absolute(*f.path)
		n := min(runFiles.uses[key]+1, maxRunFiles)
		runFiles.uses[key] = n
		runFiles.mu.Unlock()
		if n > 1 {
			own := numbered(*f.path, n)
			t.note("%s %s is of an earlier run of this program; this run gets %s", f.flag, *f.path, own)
			*f.path = own
		}
	}
}

// numbered returns the n-th name of a file: run.html, run-2.html and so on.
func numbered(path string, n int) string {
	if n == 1 {
		return path
	}
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n, ext)
}

// quarantines has the job of each quarantine file that this process has written, by absolute path.
var quarantines struct {
	mu   sync.Mutex
	jobs map[string]job.ID
}

// quarantineOf returns the quarantine file of a job. If the program has named the file, and another
// job of this process has written it, the job gets another number of it. A job that runs again
// replaces its own file. claim reserves the file.
func (t *settings) quarantineOf(id job.ID, claim bool) string {
	path := t.Quarantine
	if t.defaultQuarantine || t.requeue != nil {
		return path // it belongs to the output, which the job replaces as well
	}
	q := &quarantines
	q.mu.Lock()
	defer q.mu.Unlock()
	own := path
	for n := 1; n <= maxRunFiles; n++ {
		own = numbered(path, n)
		by, ok := q.jobs[absolute(own)]
		if _, err := os.Stat(own); !ok || by == id || err != nil {
			break
		}
	}
	if claim {
		if q.jobs == nil {
			q.jobs = map[string]job.ID{}
		}
		q.jobs[absolute(own)] = id
	}
	return own
}

// recordsRun reports whether somebody wants the record of the run.
func (t *settings) recordsRun() bool { return t.Report != "" || t.Trace != "" || t.tracer != nil }

// recorder returns the Recorder of the run: the tracer, or the tools of package inspect.
func (t *settings) recorder() inspection.Recorder {
	if t.tracer != nil {
		return t.tracer
	}
	return inspection.Registered()
}

// record starts the record of a job inside this process.
func (e *embedded) record(t *settings, log *slog.Logger) {
	if t.recordsRun() || t.Web != "" {
		e.runs = t.recorder().NewRecord(log)
	}
}

func (e *embedded) history(context.Context, inspection.Recorder) (*report.Run, error) {
	return e.runs.Open(e.spec.ID)
}

func (e *cluster) history(ctx context.Context, r inspection.Recorder) (*report.Run, error) {
	encoded, err := e.client.History(ctx, e.spec.ID)
	if err != nil {
		return nil, err
	}
	return r.DecodeRecord(encoded)
}

// historyWait is how long a run waits for the record of its job at the end.
const historyWait = 30 * time.Second

// writeRunFiles writes Reporting.Report and Reporting.Trace.
func (j *Job) writeRunFiles(ctx context.Context) error {
	t := &j.target
	if !t.recordsRun() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	run, err := j.engine.history(ctx, t.recorder())
	if t.tracer != nil {
		j.trace(ctx, run, err)
	}
	if t.Report == "" && t.Trace == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record of job %s: %w", j.spec.ID, err)
	}
	var live *report.Job
	if st, ok := j.engine.status(); ok {
		live = &st
	}
	for _, f := range []struct {
		path  string
		write func(w io.Writer) error
	}{
		{t.Report, func(w io.Writer) error { return inspection.Registered().WriteReport(w, run, live, nil) }},
		{t.Trace, func(w io.Writer) error { return inspection.Registered().WriteTrace(w, run) }},
	} {
		if f.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if err := state.Replace(f.path, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// trace makes the spans of the job. If its record is missing, there is one span without stages.
func (j *Job) trace(ctx context.Context, run *report.Run, missing error) {
	if missing != nil {
		j.target.note("job %s has no spans of its stages: %v", j.spec.ID, missing)
		run = &report.Run{ID: j.spec.ID, Name: j.spec.Name, Submitted: j.begun, Ended: time.Now()}
		if st, ok := j.engine.status(); ok {
			run.Outcome, run.Failure = st.Outcome, st.Failure
		}
	}
	j.target.tracer.Job(ctx, run)
}
