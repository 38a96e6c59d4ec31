//go:build unix

package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// text writes files of random words, a different set for each seed.
func text(t testing.TB, dir string, seed uint64, files, bytesEach int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range files {
		var b strings.Builder
		for b.Len() < bytesEach {
			fmt.Fprintf(&b, "w%d", int(r.ExpFloat64()*3000))
			b.WriteByte(" \n"[r.IntN(8)/7])
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-%d.txt", seed, i)), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// lines returns all lines of the files that match any of the globs, sorted.
func lines(t testing.TB, globs ...string) string {
	t.Helper()
	var all []string
	for _, g := range globs {
		names, err := filepath.Glob(g)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")...)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// datasets returns a directory for each worker, with different files in each, and a function for
// config.own that offers them as dataset in, and others as dataset out.
func datasets(t testing.TB, workers, files int) (dirs []string, own func(i int) []string) {
	t.Helper()
	for i := range workers {
		dir := t.TempDir()
		for _, d := range []string{"in", "out"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		text(t, filepath.Join(dir, "in"), uint64(i), files, 100_000)
		dirs = append(dirs, dir)
	}
	return dirs, func(i int) []string {
		return []string{"-dataset", "in=" + filepath.Join(dirs[i], "in"), "-dataset", "out=" + filepath.Join(dirs[i], "out") + ":rw"}
	}
}

func below(dirs []string, glob string) (all []string) {
	for _, d := range dirs {
		all = append(all, filepath.Join(d, glob))
	}
	return all
}

// counted runs wordcount inside one process and returns all counts.
func counted(t testing.TB, globs ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "counts")
	if b, err := exec.CommandContext(t.Context(), filepath.Join(binDir, "wordcount"), append([]string{"-out", out, "-progress", "none"}, globs...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return lines(t, filepath.Join(out, "part-*"))
}

// TestDatasets runs a detached job whose input and output lie on the workers: attempts go where
// their files are.
func TestDatasets(t *testing.T) {
	t.Parallel()
	dirs, own := datasets(t, 3, 4)
	m := startMembers(t, config{workers: 3, own: own, coord: []string{"-locality-wait", "20s"}})
	p := launch(t, "wordcount", "wordcount", "-cluster", m.grpc, "-detach", "-out", "dataset://out/counts", "dataset://in/*.txt")
	if code := p.Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	j := m.job()
	if out, stderr, code := m.layshaft("job", "wait", j.Job); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	if got, want := lines(t, below(dirs, "out/counts/part-*")...), counted(t, below(dirs, "in/*.txt")...); got != want {
		t.Errorf("%d bytes of counts differ from the %d of a run inside one process", len(got), len(want))
	}
	if s := m.job().Stages[0]; s.Local.Attempts != s.Tasks || s.Tasks < 3 || s.Local.Bytes < 1_000_000 {
		t.Errorf("%d attempts with %d bytes were local, of %d tasks", s.Local.Attempts, s.Local.Bytes, s.Tasks)
	}
	var report struct{ Job string }
	m.ask(&report, "job", "report", j.Job)
	if report.Job != j.Job {
		t.Errorf("report of job %q, want %s", report.Job, j.Job)
	}
	// What was written can be read, by another job.
	again := launch(t, "wordcount", "wordcount", "-cluster", m.grpc, "dataset://out/counts/part-*")
	if code := again.Wait(t); code != 0 || len(again.Out.String()) == 0 {
		t.Errorf("reading the output: exit code %d, %d bytes", code, len(again.Out.String()))
	}
}

// TestRemoteReads lets workers without the files take attempts of the one that has them.
func TestRemoteReads(t *testing.T) {
	t.Parallel()
	dirs, own := datasets(t, 1, 12)
	m := startMembers(t, config{workers: 3, coord: []string{"-locality-wait", "0s"}, own: func(i int) []string {
		if i == 0 {
			return own(0)
		}
		return nil
	}})
	out := t.TempDir() + "/counts"
	p := launch(t, "wordcount", "wordcount", "-cluster", m.grpc, "-out", out, "dataset://in/*.txt")
	if code := p.Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got, want := lines(t, out+"/part-*"), counted(t, below(dirs, "in/*.txt")...); got != want {
		t.Errorf("%d bytes of counts differ from the %d of a run inside one process", len(got), len(want))
	}
	if s := m.job().Stages[0]; s.Remote.Attempts == 0 || s.Remote.Bytes == 0 || s.Local.Attempts+s.Remote.Attempts != s.Tasks {
		t.Errorf("local %+v, remote %+v of %d tasks", s.Local, s.Remote, s.Tasks)
	}
}

// TestHolderDies kills the only worker that has the files, and starts it again: the job waits for
// it.
func TestHolderDies(t *testing.T) {
	t.Parallel()
	dirs, own := datasets(t, 2, 6)
	m := startMembers(t, config{workers: 2, own: own})
	out := t.TempDir() + "/counts"
	p := launch(t, "wordcount", "wordcount", "-cluster", m.grpc, "-out", out, "dataset://in/*.txt")
	m.coord.Await(t, 0, `"attempt launched"`)
	m.workers[1].Kill()
	m.restartWorker(1)
	if code := p.Wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got, want := lines(t, out+"/part-*"), counted(t, below(dirs, "in/*.txt")...); got != want {
		t.Errorf("%d bytes of counts differ from the %d of a run inside one process", len(got), len(want))
	}
}

// linesWith returns the lines of standard error of a process that contain a text.
func linesWith(p *process, text string) (found []string) {
	all, _ := p.Err.Lines(0)
	for _, l := range all {
		if strings.Contains(l, text) {
			found = append(found, l)
		}
	}
	return found
}

// TestHolderAway kills a worker that alone holds some files: a job that begins says so instead of
// reading the others, until that worker is given up.
func TestHolderAway(t *testing.T) {
	t.Parallel()
	dirs, own := datasets(t, 2, 2)
	m := startMembers(t, config{workers: 2, own: own})
	run := func(args ...string) (*process, int) {
		p := launch(t, "wordcount", "wordcount", append([]string{"-cluster", m.grpc, "-progress", "none"}, args...)...)
		return p, p.Wait(t)
	}
	p, code := run("-explain", "dataset://in/*.txt")
	if out := p.Out.String(); code != 0 || !strings.Contains(out, "stage 0: attempts local: 2 (") || !strings.Contains(out, "remote: 0 (0 B)") {
		t.Errorf("-explain: exit code %d\n%s", code, out)
	}
	p, code = run(below(dirs, "in/*.txt")...)
	if said := linesWith(p, "of this machine"); code != 0 || len(said) != 0 { // the workers are here, too
		t.Errorf("files of the client: exit code %d, %q", code, said)
	}
	id := m.workerList()[0].ID
	i := slices.IndexFunc([]int{0, 1}, func(i int) bool {
		b, err := os.ReadFile(filepath.Join(m.workerDir(i), "self.json"))
		return err == nil && strings.Contains(string(b), id)
	})
	m.workers[i].Kill()
	for _, glob := range []string{"dataset://in/*.txt", fmt.Sprintf("dataset://in/%d-0.txt", i)} {
		p, code := run(glob)
		if said := linesWith(p, "worker "+id+", which offers dataset in, is away"); code == 0 || len(said) != 1 || !strings.Contains(said[0], "layshaft worker drain "+id) || p.Out.String() != "" {
			t.Errorf("%s without a holder: exit code %d, %q", glob, code, said)
		}
	}
	if out, stderr, code := m.layshaft("worker", "drain", id); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
	if p, code := run("dataset://in/*.txt"); code != 0 || len(p.Out.String()) == 0 {
		t.Errorf("without a worker that was given up: exit code %d, %d bytes", code, len(p.Out.String()))
	}
}
