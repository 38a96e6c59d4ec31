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

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/wire"
)

type (
	workerListCmd  struct{ clientFlags }
	workerDrainCmd struct {
		clientFlags
		Name string `arg:"" help:"The worker, or how its name begins; of one that is away its ID, which gives it up: nobody waits for its files."`
		Wait bool   `help:"Wait until it has left."`
	}
	statusCmd struct {
		clientFlags
		Limit int `default:"20" help:"How many jobs at most."`
	}
	versionCmd struct{ outputFlag }
)

// workerView is a worker as -o json prints it.
type workerView struct {
	Worker   string   `json:"worker"`
	ID       string   `json:"id"`
	State    string   `json:"state"`           // ready, draining, blocked or away
	Waits    string   `json:"waits,omitempty"` // what it waits for when it drains
	Address  string   `json:"address"`
	Zone     string   `json:"zone,omitempty"`
	Platform string   `json:"platform"`
	Version  string   `json:"version"`
	Tags     []string `json:"tags,omitempty"`
	Datasets []string `json:"datasets,omitempty"`
	Slots    int      `json:"slots"`
	Reserved int      `json:"reserved"`
	Running  int      `json:"running"`      // attempts
	Calls    int      `json:"calls"`        // single calls of functions in its slots
	Memory   int64    `json:"memory_bytes"` // that one attempt may hold
	Free     int64    `json:"free_bytes"`   // on its disk
	Ships    bool     `json:"allows_shipped_code"`
	Silent   float64  `json:"silent_seconds"`
}

func viewWorker(w *coordinator.WorkerInfo) workerView {
	v := workerView{Worker: w.Name, ID: w.ID, State: "ready", Waits: w.Waits, Address: w.Address, Zone: w.Zone, Platform: w.Platform, Version: w.Version, Tags: w.Tags,
		Datasets: w.Datasets, Slots: w.Slots, Reserved: w.Reserved, Running: w.Running, Calls: w.Calls, Memory: w.Memory, Free: w.FreeBytes, Ships: w.Ships, Silent: w.Silent.Seconds()}
	if w.Draining {
		v.State = "draining"
	} else if w.Blocked {
		v.State = "blocked"
	}
	return v
}

func workerTable(w io.Writer, workers []workerView) {
	row(w, "WORKER", "STATE", "ADDRESS", "ZONE", "BUSY", "FREE DISK", "DATASETS", "HEARD")
	for _, v := range workers {
		free := "-" // it has not said yet
		if v.Free > 0 {
			free = bytesize.Format(v.Free)
		}
		if v.State == "away" {
			row(w, v.ID, v.State, "-", "", "-", "-", strings.Join(v.Datasets, ","), "-")
			continue
		}
		row(w, v.Worker, v.State, v.Address, v.Zone, fmt.Sprintf("%d/%d", v.Running+v.Calls, v.Slots), free, strings.Join(v.Datasets, ","),
			since(time.Duration(v.Silent*float64(time.Second)))+" ago")
	}
	for _, v := range workers {
		if v.Waits != "" {
			row(w)
			row(w, v.Worker+" drains: "+v.Waits)
		}
	}
}

func (f *clientFlags) workers(ctx context.Context) ([]workerView, error) {
	client, err := f.dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	workers, away, err := client.WorkersAndAway(ctx)
	views := make([]workerView, len(workers), len(workers)+len(away))
	for i := range workers {
		views[i] = viewWorker(&workers[i])
	}
	for i := range away {
		views = append(views, workerView{Worker: away[i].ID, ID: away[i].ID, State: "away", Datasets: away[i].Datasets})
	}
	return views, err
}

// Run lists workers.
func (c *workerListCmd) Run(ctx context.Context) error {
	views, err := c.workers(ctx)
	if err != nil {
		return err
	}
	return c.print(views, func(w io.Writer) { workerTable(w, views) })
}

// drainLook is how often it is looked whether a worker has left.
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
		return c.giveUp(ctx, client, err)
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
			if state = "draining"; w.Waits != "" && w.Waits != said {
				said = w.Waits
				fmt.Fprintf(os.Stderr, "layshaft: worker %s waits: %s\n", w.Name, said)
			}
		}
	}
	v := map[string]string{"worker": found.Name, "state": state}
	return c.print(v, func(w io.Writer) { row(w, "worker "+found.Name+" "+state) })
}

// giveUp has nobody wait for a worker that is away. unknown is the error for one that is not.
func (c *workerDrainCmd) giveUp(ctx context.Context, client *coordinator.Client, unknown error) error {
	_, away, err := client.WorkersAndAway(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(away, func(w coordinator.AwayWorker) bool { return w.ID == c.Name }) {
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
	view := struct {
		Cluster string       `json:"cluster"`
		Workers []workerView `json:"workers"`
		Jobs    []jobView    `json:"jobs"`
	}{c.Cluster, workers, jobs}
	return c.print(view, func(w io.Writer) {
		slots, running, calls := 0, 0, 0
		for _, v := range workers {
			slots += v.Slots
			running += v.Running
			calls += v.Calls
		}
		fmt.Fprintf(w, "%d workers, %d of %d slots busy: %d attempts, %d tasks\n\n", len(workers), running+calls, slots, running, calls)
		workerTable(w, workers)
		fmt.Fprintln(w)
		jobTable(w, jobs)
	})
}

// Run prints the version.
func (c *versionCmd) Run() error {
	v := map[string]string{"version": version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "go": runtime.Version()}
	return c.print(v, func(w io.Writer) { row(w, "layshaft", v["version"], v["platform"], v["go"]) })
}
