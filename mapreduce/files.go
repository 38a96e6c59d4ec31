package mapreduce

import (
	"context"
	"errors"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/filesys/remote"
)

// WithFiles calls f with a context in which sources see the files that jobs of the target see: on a
// cluster, the datasets of its workers, too. It is for looking at the input before a plan is built.
func WithFiles(ctx context.Context, target Target, f func(ctx context.Context) error) (err error) {
	t, err := settingsOf(target, "files")
	if err != nil {
		return err
	}
	input := &filesys.Input{Hidden: t.Hidden}
	ctx = filesys.WithInput(ctx, input)
	defer showPlanning(&t, input)()
	if t.cluster == nil {
		return f(ctx)
	}
	e, err := dialCluster(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.disconnect()) }()
	if _, err := e.workers(ctx, &t); err != nil {
		return err
	}
	files, err := e.files()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(filesys.WithSet(ctx, files))
	defer cancel(nil)
	defer e.reportPlanning(ctx, &t, "listing", cancel)()
	return planError(ctx, f(ctx))
}

// files returns the files that the jobs of the cluster see, and makes the lender of this process's
// files.
func (e *cluster) files() (filesys.Set, error) {
	lent, err := newLender()
	if err != nil {
		return nil, err
	}
	e.lender = lent
	files := lent.Files()
	datasets := remote.Dataset(e.router())
	datasets.Patience = 2 * time.Minute // as for other calls to a coordinator that may be restarting
	files["dataset"] = datasets
	return files, nil
}
