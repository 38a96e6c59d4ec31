package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/layshaft/layshaft/internal/addresses"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/security"
	"github.com/layshaft/layshaft/internal/wire"
)

// dial connects to the coordinator named by the flags. The caller closes the client.
func (f *clientFlags) dial() (*client.Client, error) {
	if f.Timeout <= 0 {
		return nil, usageError{fmt.Errorf("-timeout %v must be more than 0s", f.Timeout)}
	}
	if _, err := addresses.Parse(f.Cluster); err != nil {
		return nil, usageError{fmt.Errorf("-cluster: %w", err)}
	}
	cfg := client.Config{Address: f.Cluster, Connect: f.Timeout, Away: f.waiting}
	if files := f.files(); files != (security.Files{}) {
		tls, err := security.Load(files, warnings())
		if err != nil {
			return nil, usageError{err}
		}
		cfg.Credentials = tls.Client(security.Coordinator)
	}
	c, err := client.Dial(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// warnings returns a log for standard error: a command logs nothing else than warnings.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// searched is the number of jobs to search for an ID prefix.
const searched = 10_000

// findJob returns the job whose ID equals id or starts with it.
func findJob(ctx context.Context, c *client.Client, id string) (report.Job, error) {
	if id == "" {
		return report.Job{}, missing("the ID of the job is empty; see layshaft job list")
	}
	st, err := c.Status(ctx, job.ID(id))
	if !errors.Is(err, wire.ErrUnknownJob) {
		return st, err
	}
	jobs, listErr := c.Jobs(ctx, searched)
	if listErr != nil {
		return st, listErr
	}
	var found []report.Job
	for _, j := range jobs {
		if strings.HasPrefix(string(j.ID), id) {
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return st, fmt.Errorf("%w; see layshaft job list", err)
	case 1:
		return found[0], nil
	}
	return st, fmt.Errorf("%d jobs start with %q, such as %s and %s; give a longer prefix", len(found), id, found[0].ID, found[1].ID)
}

// findWorker returns the worker whose name or ID equals name or starts with it.
func findWorker(ctx context.Context, c *client.Client, name string) (report.Worker, error) {
	if name == "" {
		return report.Worker{}, missing("the name of the worker is empty; see layshaft worker list")
	}
	workers, err := c.Workers(ctx)
	if err != nil {
		return report.Worker{}, err
	}
	var found []report.Worker
	for _, w := range workers {
		if w.Name == name {
			return w, nil
		}
		if strings.HasPrefix(w.Name, name) || strings.HasPrefix(w.ID, name) {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 0:
		return report.Worker{}, fmt.Errorf("worker %q: %w; see layshaft worker list", name, wire.ErrUnknownWorker)
	case 1:
		return found[0], nil
	}
	return report.Worker{}, fmt.Errorf("%d workers start with %q, such as %s and %s; give a longer prefix", len(found), name, found[0].Name, found[1].Name)
}
