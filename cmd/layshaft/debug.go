package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/worker"
)

// debugBundleCmd writes an archive with everything that a person needs to look into a problem.
type debugBundleCmd struct {
	clientFlags
	To   string `arg:"" optional:"" name:"file" help:"The archive. Default: layshaft-debug-TIME.tar.gz."`
	Jobs int    `default:"20" placeholder:"NUMBER" help:"Number of jobs, the latest, whose histories are included."`
}

// diagnoseLimit is how long one process may take to answer.
const diagnoseLimit = 30 * time.Second

// bundle collects the files of an archive.
type bundle struct {
	// mu guards the fields below.
	mu    sync.Mutex
	files map[string][]byte
	names []string
	gaps  []string // what could not be read
}

func (b *bundle) add(name string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[name], b.names = data, append(b.names, name)
}

// addJSON adds a value, or the error of reading it.
func (b *bundle) addJSON(name string, v any, err error) {
	text := []byte(nil)
	if err == nil {
		text, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		b.miss(name, err)
		return
	}
	b.add(name, append([]byte(report.MaskText(string(text))), '\n'))
}

// miss notes that something could not be read.
func (b *bundle) miss(name string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaps = append(b.gaps, fmt.Sprintf("%s: %v", name, err))
}

// addProcess adds the files of one process.
func (b *bundle) addProcess(dir string, files []report.DebugFile, err error) {
	if err != nil {
		b.miss(dir, err)
	}
	for _, f := range files {
		b.add(path.Join(dir, path.Base(f.Name)), f.Data)
	}
}

// Run writes the archive.
func (c *debugBundleCmd) Run(ctx context.Context) error {
	if c.Jobs < 0 {
		return usageError{fmt.Errorf("-jobs %d must not be negative", c.Jobs)}
	}
	began := time.Now()
	to := c.To
	if to == "" {
		to = "layshaft-debug-" + began.UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	coordinator, err := c.dial()
	if err != nil {
		return err
	}
	defer coordinator.Close()
	workers, err := coordinator.AllWorkers(ctx)
	if err != nil {
		return err // nobody answers, so there is nothing to collect
	}
	b := &bundle{files: map[string][]byte{}}
	b.addJSON("state/workers.json", workers, nil)
	c.addStates(ctx, b, coordinator)
	limited, cancel := context.WithTimeout(ctx, diagnoseLimit)
	files, err := coordinator.Diagnose(limited)
	cancel()
	b.addProcess("coordinator", files, err)
	if err := c.addWorkers(ctx, b, coordinator, workers); err != nil {
		return err
	}
	b.add("bundle.txt", b.summary(c.Cluster, began))
	size, err := b.write(to, began)
	if err != nil {
		return err
	}
	for _, gap := range b.gaps {
		fmt.Fprintln(os.Stderr, "missing:", plain.Text(gap))
	}
	fmt.Printf("%s: %s, %s; read it before you pass it on: it names users, inputs and addresses\n", plain.Text(to), report.Plural(len(b.names), "file"), bytesize.Format(size))
	return nil
}

// addStates adds what the coordinator knows about jobs and tasks.
func (c *debugBundleCmd) addStates(ctx context.Context, b *bundle, coordinator *client.Client) {
	jobs, err := coordinator.Jobs(ctx, searched)
	views := make([]report.JobView, len(jobs))
	for i := range jobs {
		views[i] = report.ViewJob(&jobs[i])
	}
	b.addJSON("state/jobs.json", views, err)
	for i := range jobs[:min(len(jobs), c.Jobs)] {
		name := "jobs/" + fileName(string(jobs[i].ID)) + ".history"
		if encoded, err := coordinator.History(ctx, jobs[i].ID); err != nil {
			b.miss(name, err)
		} else {
			b.add(name, encoded)
		}
	}
	members, err := coordinator.Coordinators(ctx)
	b.addJSON("state/coordinators.json", members, err)
	err = c.client(func(t *tasks.Client) error {
		o, err := t.Overview(ctx)
		b.addJSON("state/tasks.json", o, err)
		return nil
	})
	if err != nil {
		b.miss("state/tasks.json", err)
	}
}

// addWorkers adds the files of all present workers.
func (c *debugBundleCmd) addWorkers(ctx context.Context, b *bundle, coordinator *client.Client, workers []report.Worker) error {
	peers, err := c.peers(coordinator)
	if err != nil {
		return err
	}
	defer peers.close()
	var group sync.WaitGroup
	calls := make(chan struct{}, 16)
	for i := range workers {
		w := &workers[i]
		dir := "workers/" + fileName(w.Name)
		if w.State == report.Away {
			b.miss(dir, errors.New("the worker is away"))
			continue
		}
		group.Go(func() {
			calls <- struct{}{}
			defer func() { <-calls }()
			ctx, cancel := context.WithTimeout(ctx, diagnoseLimit)
			defer cancel()
			conn, err := peers.conn(ctx, w.Name)
			var files []report.DebugFile
			if err == nil {
				files, err = worker.RemoteDiagnose(ctx, conn)
			}
			b.addProcess(dir, files, err)
		})
	}
	group.Wait()
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fileName returns a name as a safe name of a file.
func fileName(name string) string { return notInNames.ReplaceAllString(name, "_") }

// summary describes the archive.
func (b *bundle) summary(cluster string, at time.Time) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "layshaft debug bundle of %s, made %s by layshaft %s\n", cluster, at.UTC().Format(time.RFC3339), version())
	fmt.Fprintln(&text, "Passwords, tokens and keys in settings, parameters and logs are masked where they look like such.")
	fmt.Fprintln(&text, "jobs/*.history: read with \"layshaft history FILE\".")
	for _, gap := range b.gaps {
		fmt.Fprintln(&text, "missing:", plain.Text(gap))
	}
	return text.Bytes()
}

// write writes the archive with access for its owner only, and returns its size. The file appears
// when it is complete.
func (b *bundle) write(to string, at time.Time) (size int64, err error) {
	if to, err = state.Replaceable(to); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".layshaft-debug-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	z := gzip.NewWriter(f)
	archive := tar.NewWriter(z)
	slices.Sort(b.names)
	for _, name := range b.names {
		data := b.files[name]
		err = errors.Join(err, archive.WriteHeader(&tar.Header{Name: "layshaft-debug/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: at}))
		_, e := archive.Write(data)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, archive.Close(), z.Close())
	if info, e := f.Stat(); e == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), to)
}
