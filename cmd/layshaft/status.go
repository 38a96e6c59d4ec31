package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/tasks"
)

type (
	workerListCmd  struct{ clientFlags }
	workerDrainCmd struct {
		clientFlags
		Name string `arg:"" help:"Worker name or prefix. For a worker that is away, give its full ID; the cluster then stops waiting for its files."`
		Wait bool   `help:"Wait until the worker has left."`
	}
	statusCmd struct {
		clientFlags
		Limit int `default:"20" help:"Largest number of jobs to show."`
	}
	versionCmd struct{ outputFlag }
)

func workerTable(w io.Writer, workers []report.Worker) {
	row(w, "WORKER", "STATE", "ADDRESS", "ZONE", "BUSY", "FREE DISK", "DATASETS", "HEARD")
	for _, v := range workers {
		free := "-" // not reported yet
		if v.FreeBytes > 0 {
			free = bytesize.Format(v.FreeBytes)
		}
		if v.State == report.Away {
			row(w, v.ID, string(v.State), "-", "", "-", "-", strings.Join(v.Datasets, ","), "-")
			continue
		}
		row(w, v.Name, string(v.State), v.Address, v.Zone, fmt.Sprintf("%d/%d", v.Busy(), v.Slots), free, strings.Join(v.Datasets, ","),
			formatSince(v.Silent.Duration())+" ago")
	}
	for _, v := range workers {
		if v.WaitingReason != "" {
			row(w)
			row(w, v.Name+" drains: "+v.WaitingReason)
		}
	}
}

func (f *clientFlags) workers(ctx context.Context) ([]report.Worker, error) {
	client, err := f.dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.AllWorkers(ctx)
}

func (f *clientFlags) coordinators(ctx context.Context) (report.Coordinators, error) {
	client, err := f.dial()
	if err != nil {
		return report.Coordinators{}, err
	}
	defer client.Close()
	return client.Coordinators(ctx)
}

// taskWorkers returns the workers of tasks with slots of their own, and the workers of Gearman.
func (f *clientFlags) taskWorkers(ctx context.Context) (own []tasks.WorkerStatus, err error) {
	err = f.client(func(c *tasks.Client) error {
		all, err := c.Workers(ctx)
		own = slices.DeleteFunc(all, func(w tasks.WorkerStatus) bool { return w.SlotsOf != "" })
		return err
	})
	return own, err
}

// taskWorkerTable writes the second table of worker list, if there are any.
func taskWorkerTable(w io.Writer, workers []tasks.WorkerStatus) {
	if len(workers) == 0 {
		return
	}
	row(w)
	row(w, "TASK WORKER", "PROTOCOL", "BUSY", "FUNCTIONS")
	for _, v := range workers {
		protocol, busy := "layshaft", fmt.Sprintf("%d/%d", len(v.Running), v.Slots)
		if v.Gearman {
			protocol, busy = "gearman", fmt.Sprint(len(v.Running))
		}
		var names []string
		for _, f := range v.Functions {
			names = append(names, plain.Word(f))
		}
		row(w, v.Name, protocol, busy, strings.Join(names, " "))
	}
}

// Run lists workers.
func (c *workerListCmd) Run(ctx context.Context) error {
	workers, err := c.workers(ctx)
	if err != nil {
		return err
	}
	of, err := c.taskWorkers(ctx)
	if err != nil {
		return err
	}
	all := []any{} // one list for scripts: task workers have a name, workers have a worker
	for _, w := range workers {
		all = append(all, w)
	}
	for _, w := range of {
		all = append(all, w)
	}
	return c.print(all, func(w io.Writer) {
		workerTable(w, workers)
		taskWorkerTable(w, of)
	})
}

// drainLook is the interval between checks whether a worker has left.
const drainLook = 500 * time.Millisecond

// Run drains a worker.
func (c *workerDrainCmd) Run(ctx context.Context) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := findWorker(ctx, client, c.Name)
	if errors.Is(err, wire.ErrUnknownWorker) {
		return c.abandonWorker(ctx, client, err)
	}
	if err != nil {
		return err
	}
	if err := client.DrainWorker(ctx, found.Name); err != nil {
		return err
	}
	state, said, look := "draining", "", time.NewTicker(drainLook)
	defer look.Stop()
	for c.Wait && state == "draining" {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		workers, err := client.Workers(ctx)
		if err != nil {
			return err
		}
		state = "left"
		for _, w := range workers {
			if w.Name != found.Name {
				continue
			}
			if state = "draining"; w.WaitingReason != "" && w.WaitingReason != said {
				said = w.WaitingReason
				fmt.Fprintf(os.Stderr, "layshaft: worker %s waits: %s\n", plain.Text(w.Name), plain.Text(said))
			}
		}
	}
	v := map[string]string{"worker": found.Name, "state": state}
	return c.print(v, func(w io.Writer) { row(w, "worker "+found.Name+" "+state) })
}

// abandonWorker makes the cluster stop waiting for a worker that is away. unknown is the error for
// a worker that is not.
func (c *workerDrainCmd) abandonWorker(ctx context.Context, client *client.Client, unknown error) error {
	workers, err := client.AllWorkers(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(workers, func(w report.Worker) bool { return w.State == report.Away && w.ID == c.Name }) {
		return unknown
	}
	if err := client.DrainWorker(ctx, c.Name); err != nil {
		return err
	}
	return c.print(map[string]string{"worker": c.Name, "state": "given up"}, func(w io.Writer) {
		row(w, "worker "+c.Name+" is given up: nobody waits for its files")
	})
}

// Run shows the cluster on one screen.
func (c *statusCmd) Run(ctx context.Context) error {
	workers, err := c.workers(ctx)
	if err != nil {
		return err
	}
	jobs, err := c.jobs(ctx, c.Limit)
	if err != nil {
		return err
	}
	members, err := c.coordinators(ctx)
	if err != nil {
		return err
	}
	var queue tasks.Overview
	if err := c.client(func(t *tasks.Client) (err error) { queue, err = t.Overview(ctx); return err }); err != nil {
		return err
	}
	note(members.Warning)
	view := struct {
		Cluster      string               `json:"cluster"`
		Coordinators []report.Coordinator `json:"coordinators,omitempty"`
		Workers      []report.Worker      `json:"workers"`
		Jobs         []report.JobView     `json:"jobs"`
		Functions    []tasks.Function     `json:"functions"`
	}{c.Cluster, members.Members, workers, jobs, append([]tasks.Function{}, queue.Functions...)}
	return c.print(view, func(w io.Writer) { statusTable(w, &members, workers, jobs, queue.Functions) })
}

// statusTable writes the cluster on one screen.
func statusTable(w io.Writer, members *report.Coordinators, workers []report.Worker, jobs []report.JobView, functions []tasks.Function) {
	leased, slots, running, queued := 0, 0, 0, 0
	for _, v := range workers {
		if v.State != report.Away {
			leased++
		}
		slots += v.Slots
		running += v.Running
		queued += v.QueuedTasks
	}
	if text := members.Summary(); text != "" {
		row(w, text)
	}
	fmt.Fprintf(w, "%s, %d of %s busy: %s, %s run%s\n\n", report.Plural(leased, "worker"), running+queued, report.Plural(slots, "slot"),
		report.Plural(running, "attempt"), report.Plural(queued, "queued task"), backlog(functions))
	workerTable(w, workers)
	fmt.Fprintln(w)
	jobTable(w, jobs)
	if len(functions) > 0 {
		fmt.Fprintln(w)
		overviewTable(w, &tasks.Overview{Functions: functions})
	}
}

// Run prints the version.
func (c *versionCmd) Run() error {
	v := map[string]string{"version": version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "go": runtime.Version()}
	return c.print(v, func(w io.Writer) { row(w, "layshaft", v["version"], v["platform"], v["go"]) })
}
