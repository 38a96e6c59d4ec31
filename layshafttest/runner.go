package layshafttest

import (
	"context"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/inprocess"
	"github.com/layshaft/layshaft/internal/job"
)

// runner builds the programs of one worker from the definitions of this test. A real worker
// starts a child process instead.
type runner struct {
	w     *Worker
	files remote.Caller

	// mu guards the fields below.
	mu   sync.Mutex
	jobs map[job.ID]inprocess.Build
}

// Program builds the program of one slot.
func (r *runner) Program(id job.ID, slot int, spec *job.Spec, _ string, env []string) (*job.Program, error) {
	build, err := r.build(id)
	if err != nil {
		return nil, err
	}
	files := filesys.Set{"client": remote.Client(r.files), "dataset": remote.Dataset(r.files)}
	for _, v := range env {
		if at, ok := strings.CutPrefix(v, child.FilesEnv+"="); ok {
			_, client, _ := strings.Cut(at, " ")
			files[""] = remote.ClientFS(r.files, strings.TrimPrefix(client, "client/"))
		}
	}
	p, err := build(filesys.WithSet(context.Background(), files), spec, slot)
	if err != nil {
		return nil, err
	}
	for i, stage := range p.Stages {
		p.Stages[i] = func(ctx context.Context, run *job.Run) error {
			end := r.w.c.begin(Attempt{Job: string(id), Task: run.Attempt.Task.String(), Stage: spec.Stages[i].Name, Number: run.Attempt.N, Worker: r.w.i})
			err := stage(filesys.WithSet(ctx, files), run)
			end(err)
			return err
		}
	}
	return p, nil
}

func (r *runner) build(id job.ID) (inprocess.Build, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.jobs[id]; b != nil {
		return b, nil
	}
	b, err := r.w.c.inside.newProcess(id)
	if err == nil {
		if r.jobs == nil {
			r.jobs = map[job.ID]inprocess.Build{}
		}
		r.jobs[id] = b
	}
	return b, err
}

// End forgets a job.
func (r *runner) End(id job.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, id)
}

// Close does nothing: attempts own everything that runs.
func (r *runner) Close() error { return nil }
