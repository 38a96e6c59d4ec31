package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/layshaft/layshaft/coordinator/recorder"
	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/runpage"
	"github.com/layshaft/layshaft/internal/state"
)

// recordsRun reports whether somebody wants the record of the run.
func (t *settings) recordsRun() bool { return t.Report != "" || t.Trace != "" || t.tracer != nil }

// record starts the record of a job inside this process.
func (e *embedded) record(t *settings, log *slog.Logger) {
	if t.recordsRun() || t.Web != "" {
		e.runs = recorder.New(nil, log)
	}
}

func (e *embedded) history(context.Context) (*report.Run, error) { return e.runs.Open(e.spec.ID) }

func (e *cluster) history(ctx context.Context) (*report.Run, error) {
	encoded, err := e.client.History(ctx, e.spec.ID)
	if err != nil {
		return nil, err
	}
	return history.Decode(encoded)
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
	run, err := j.engine.history(ctx)
	if t.tracer != nil {
		j.trace(ctx, run, err)
	}
	if t.Report == "" && t.Trace == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record of job %s: %w", j.spec.ID, err)
	}
	now := time.Now()
	var live *report.Job
	if st, ok := j.engine.status(); ok {
		live = &st
	}
	for _, f := range []struct {
		path  string
		write func(w io.Writer) error
	}{
		{t.Report, func(w io.Writer) error {
			return runpage.WriteHTML(w, run, report.ViewRun(run, live, nil, now), version(), now)
		}},
		{t.Trace, func(w io.Writer) error { return runpage.WriteTrace(w, run) }},
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

// version is the version of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
