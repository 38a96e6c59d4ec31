//go:build unix

package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// run is a run of the probe's job on a cluster.
type run struct {
	*process
	t        testing.TB
	m        *members
	dir      string // of ran and do
	program  string // empty means the probe of binDir
	args     []string
	detached bool // the job goes on when the client has ended
}

// prepare makes a run that is not started yet. It passes flags to the probe.
func (m *members) prepare(flags ...string) *run {
	m.t.Helper()
	r := &run{t: m.t, m: m, dir: m.t.TempDir(), args: flags}
	for _, d := range []string{"ran", "do"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o700); err != nil {
			m.t.Fatal(err)
		}
	}
	return r
}

// start starts the client, again when it ran before.
func (r *run) start() *run {
	r.t.Helper()
	args := append([]string{"-cluster", r.m.grpc, "-dir", r.dir, "-counters"}, r.m.config.cli...)
	path := cmp.Or(r.program, filepath.Join(binDir, "probe"))
	r.process = launchCmd(r.t, "client", exec.Command(path, append(args, r.args...)...))
	return r
}

// do sets the action at a point; see act in the probe.
func (r *run) do(point, verb string) *run {
	r.t.Helper()
	path := filepath.Join(r.dir, "do", point)
	err := os.WriteFile(path+".tmp", []byte(verb), 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return r
}

// release ends all waits at points.
func (r *run) release(points ...string) {
	r.t.Helper()
	for _, p := range points {
		if err := os.Remove(filepath.Join(r.dir, "do", p)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// ran returns the process IDs of the workers whose children came to a point, in order.
func (r *run) ran(point string) (workers []int) {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "ran", point))
	if ignoreMissing(err) != nil {
		r.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var worker, child int
		if _, err := fmt.Sscan(string(line), &worker, &child); err == nil {
			workers = append(workers, worker)
		}
	}
	return workers
}

// at waits until a point was reached n times, and returns the number of the worker that came last.
func (r *run) at(point string, n int) int {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%s was reached %d times", point, n), func() bool { return len(r.ran(point)) >= n || !r.IsAlive() && !r.detached })
	all := r.ran(point)
	if len(all) < n {
		r.t.Fatalf("the client ended before %s was reached %d times", point, n)
	}
	return r.m.workerOf(all[n-1])
}

// child returns the process ID of the child that came last to a point.
func (r *run) child(point string) int {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "ran", point))
	if err != nil {
		r.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var worker, child int
	if _, err := fmt.Sscan(lines[len(lines)-1], &worker, &child); err != nil {
		r.t.Fatal(err)
	}
	return child
}

// times returns how often tasks of a kind, such as map, came to their point, by point.
func (r *run) times(kind string) map[string]int {
	r.t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "ran", kind+"-*"))
	if err != nil {
		r.t.Fatal(err)
	}
	n := map[string]int{}
	for _, p := range paths {
		n[filepath.Base(p)] = len(r.ran(filepath.Base(p)))
	}
	return n
}

// again returns the points of a kind that were reached more than once.
func (r *run) again(kind string) map[string]int {
	r.t.Helper()
	n := r.times(kind)
	for p, times := range n {
		if times == 1 {
			delete(n, p)
		}
	}
	return n
}

// succeeds waits for the end of the client, and checks that the job was done as inside one process.
func (r *run) succeeds() {
	r.t.Helper()
	r.awaitDone()
	r.consistent()
}

// awaitDone waits for the end of the client and compares its rows with the rows of a run inside one
// process, and its counters: what did not become a task's output must not be counted.
func (r *run) awaitDone() {
	r.t.Helper()
	if code := r.Wait(r.t); code != 0 {
		r.t.Fatalf("the client ended with exit code %d", code)
	}
	if got, want := r.Out.String()+counters(r.Err.String()), embedded(r.t, r.args...); got != want {
		r.t.Fatalf("rows or counters differ from those of a run inside one process:\n%s\nwant\n%s", got, want)
	}
}

// counters returns the lines that -counters prints, without what depends on where things ran.
func counters(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if name, _, found := strings.Cut(line, "\t"); found && (name == "items" || name == "records read" || name == "bad records") {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return b.String()
}

// consistent checks the invariants of a finished job.
func (r *run) consistent() {
	r.t.Helper()
	if n := r.m.metric("layshaft_audit_findings"); n != 0 {
		r.t.Errorf("the scheduler's audit has %v findings", n)
	}
	for _, j := range r.m.jobs() {
		if j.Outcome != "done" {
			r.t.Errorf("job %s is %s: %s", j.Job, j.Outcome, j.Failure)
		}
		for _, s := range j.Stages {
			if s.Done != s.Tasks || s.Waiting+s.Running+s.Failed+s.Cancelled != 0 {
				r.t.Errorf("stage %s: %+v, want all %d tasks done", s.Stage, s, s.Tasks)
			}
		}
	}
}

// results are results of runs inside one process, by their flags.
var results sync.Map

// embedded returns the rows and the counters of a run inside one process with the same flags.
func embedded(t testing.TB, flags ...string) string {
	t.Helper()
	key := strings.Join(flags, " ")
	if known, ok := results.Load(key); ok {
		return known.(string)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "ran"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-dir", dir, "-slots", "2", "-memory", "128MiB", "-counters"}, flags...)
	for i := range args {
		switch args[i] {
		case "-out":
			args[i+1] = t.TempDir()
		case "-pause":
			args[i+1] = "0s"
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "probe"), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("inside one process: %v\n%s", err, stderr.String())
	}
	all := string(out) + counters(stderr.String())
	if !strings.Contains(all, "items\t") {
		t.Fatalf("no counters in %q", all)
	}
	results.Store(key, all)
	return all
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parts returns the names and bytes of the part files in dir.
func parts(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no part files in %s (%v)", dir, err)
	}
	var all strings.Builder
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", filepath.Base(n), b)
	}
	return all.String()
}
