package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/layshaft/layshaft/e2e/internal/loopdisk"
)

// diskSize is enough for what a member keeps.
const diskSize = 192 << 20

// TestPowerCutOfCoordinator cuts the power of the coordinator's machine in the middle of a job,
// when it has just acknowledged another one, and once more when both are done. What it acknowledged
// is there.
func TestPowerCutOfCoordinator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := loopdisk.New(t, filepath.Join(dir, "coordinator"), diskSize)
	out := t.TempDir()
	m := startMembers(t, config{dir: dir, workers: 2, lease: "10s", own: func(int) []string { return []string{"-file-root", out} }})
	r := m.prepare().do("map-5", "hold").start()
	r.at("map-5", 1)
	m.committed(5)

	next := m.prepare("-out", "file://"+out+"/rows").do("map-0", "hold")
	next.args = append(next.args, "-detach")
	next.start()
	if code := next.Wait(t); code != 0 {
		t.Fatalf("submitting ended with exit code %d", code)
	}
	cut := func() {
		m.coord.Kill()
		disk.Cut()
		m.startCoordinator()
		m.awaitWorkers(2)
	}
	cut()
	if n := len(m.jobs()); n != 2 {
		t.Fatalf("%d jobs are remembered, want the 2 that were acknowledged", n)
	}
	r.release("map-5")
	next.release("map-0")
	until(t, "both jobs are done", func() bool {
		done := 0
		for _, j := range m.look().Jobs {
			if j.Outcome == "done" {
				done++
			}
		}
		return done == 2
	})
	r.succeeds()
	cut()
	for _, j := range m.jobs() {
		if j.Outcome != "done" {
			t.Errorf("job %s was done before the power was cut, and is %s", j.Job, j.Outcome)
		}
	}
	r.onceEach("map", "reduce")
	next.onceEach("map", "reduce")
	plain := m.prepare("-out", t.TempDir()+"/rows")
	plain.start().awaitDone()
	if got, want := parts(t, out+"/rows"), parts(t, plain.args[1]); got != want {
		t.Errorf("the detached job wrote\n%s\nwant\n%s", got, want)
	}
}

// largeOutputs are flags of a job whose outputs are kept in segment files.
var largeOutputs = []string{"-maps", "6", "-each", "3000", "-size", "200", "-noise"}

// TestPowerCutOfWorker cuts the power of a worker's machine. The coordinator is away meanwhile, so
// that it does not give the outputs up first. Those that are kept with their manifests are there.
// Segments are written to the disk a while after the commit: those that are not there yet are found
// to be lost, and made again.
func TestPowerCutOfWorker(t *testing.T) {
	t.Parallel()
	cuts := []struct {
		name  string
		flags []string
		await bool // segments are on the disk
		kept  bool
	}{
		{"small outputs", nil, false, true},
		{"segments at once", largeOutputs, false, false},
		{"segments later", largeOutputs, true, true},
	}
	if testing.Short() {
		cuts = cuts[:2] // segments take 10 s
	}
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := startMembers(t, config{lease: "10s"})
			disk := loopdisk.New(t, m.workerDir(0), diskSize)
			m.startWorker()
			m.awaitWorkers(1)
			r := m.prepare(c.flags...).do("map-5", "hold").start()
			r.at("map-5", 1)
			m.committed(5)
			if c.await {
				awaitSegments(t, m.workerDir(0), 5)
			}
			m.coord.Kill()
			m.workers[0].Kill()
			disk.Cut()
			m.restartWorker(0)
			m.startCoordinator()
			r.at("map-5", 2)
			r.release("map-5")
			r.succeeds()
			if c.kept {
				r.onlyRunning("map-5")
			}
			t.Logf("%d maps ran again", len(r.again("map")))
			for p, n := range r.again("map") {
				if n > 2 {
					t.Errorf("%s ran %d times, want no more than twice", p, n)
				}
			}
		})
	}
}

// awaitSegments waits until n segments below dir are known to be on the disk: they are read-only
// then.
func awaitSegments(t testing.TB, dir string, n int) {
	t.Helper()
	until(t, "segments are on the disk", func() bool {
		paths, err := filepath.Glob(filepath.Join(dir, "jobs", "*", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, p := range paths {
			if fi, err := os.Stat(p); err == nil && fi.Mode().Perm()&0o200 == 0 {
				done++
			}
		}
		return done >= n
	})
}

// onlyRunning checks that only running maps ran again.
func (r *run) onlyRunning(points ...string) {
	r.t.Helper()
	again := r.again("map")
	for _, p := range points {
		delete(again, p)
	}
	if len(again) > 0 {
		r.t.Errorf("ran again, though their outputs were committed: %v", again)
	}
}

// TestPowerCutOfAll cuts the power of the machine on which the whole cluster runs, again and again.
func TestPowerCutOfAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := loopdisk.New(t, dir, 2*diskSize)
	m := startMembers(t, config{dir: dir, workers: 2, lease: "10s"})
	r := m.prepare("-maps", "9")
	points := []string{"map-4", "mapped-8", "reduce-5", "reduce-11"}
	for _, p := range points {
		r.do(p, "hold")
	}
	r.start()
	for _, p := range points {
		until(t, p+" was reached", func() bool { return len(r.ran(p)) > 0 || !r.IsAlive() })
		m.coord.Kill()
		for _, w := range m.workers {
			w.Kill()
		}
		disk.Cut()
		r.release(p)
		m.startCoordinator()
		for i := range m.workers {
			m.restartWorker(i)
		}
	}
	r.succeeds()
	ran := 0
	for _, n := range r.again("map") {
		ran += n - 1
	}
	if most := len(points) * len(m.workers); ran > most {
		t.Errorf("%d maps ran again, want no more than the %d that may have been running", ran, most)
	}
}

// TestPowerCutOfState cuts the power of a machine where a job runs inside one process, with -state:
// what was committed is there, or found to be lost and done again if it was too large to be kept
// with its manifest. When it is done its files are there.
func TestPowerCutOfState(t *testing.T) {
	t.Parallel()
	disk := loopdisk.New(t, filepath.Join(t.TempDir(), "disk"), 512<<20) // 256 MiB are kept in reserve
	for _, flags := range [][]string{nil, largeOutputs} {
		r := &run{t: t, dir: t.TempDir()}
		for _, d := range []string{"ran", "do"} {
			if err := os.Mkdir(filepath.Join(r.dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(disk.Dir, "rows")
		args := append([]string{"-dir", r.dir, "-state", filepath.Join(disk.Dir, "state"), "-slots", "2", "-memory", "64MiB", "-counters", "-out", out}, flags...)
		start := func() {
			r.process = launch(t, "run inside one process", "probe", args...)
		}
		r.do("reduce-0", "hold")
		start()
		until(t, "all maps are committed", func() bool { return len(r.ran("reduce-0")) == 1 || !r.IsAlive() })
		r.Kill()
		disk.Cut()
		r.release("reduce-0")
		start()
		if code := r.Wait(t); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		if flags == nil { // segments may not have been on the disk
			r.onceEach("map")
		}
		if got, want := r.Out.String()+counters(r.Err.String()), embedded(t, flags...); got != want {
			t.Errorf("rows and counters are\n%s\nwant\n%s", got, want)
		}
		disk.Cut()
		plain := t.TempDir() + "/rows"
		whole := launch(t, "undisturbed run", "probe", append([]string{"-dir", r.dir, "-slots", "2", "-out", plain}, flags...)...)
		if code := whole.Wait(t); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		if got, want := parts(t, out), parts(t, plain); got != want {
			t.Errorf("after the power cut the files are\n%s\nwant\n%s", got, want)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
}
