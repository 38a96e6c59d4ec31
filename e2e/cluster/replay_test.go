//go:build unix

package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var firstFailed = regexp.MustCompile(`(\d+/\d+)#\d+ on `)

// failedTask returns the job of the last run, and its task that failed first, as JOB/STAGE/TASK.
func (m *members) failedTask() string {
	m.t.Helper()
	var jobs []jobView
	m.ask(&jobs, "job", "list")
	id := jobs[0].Job // the latest
	out, stderr, code := m.layshaft("job", "report", id)
	found := firstFailed.FindStringSubmatch(out)
	if code != 0 || found == nil {
		m.t.Fatalf("report: exit code %d\n%s%s", code, out, stderr)
	}
	return id + "/" + found[1]
}

// filesBelow returns the files in and below a directory.
func filesBelow(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return ignoreMissing(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReplay fails jobs by a panic, by the end of the process and by an error of a reduce. Each time
// the attempt fails again in a program in the foreground, at the same record or with the same
// error. Nothing is written, and without the fault the attempt succeeds.
func TestReplay(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	probe := filepath.Join(binDir, "probe")
	out := filepath.Join(t.TempDir(), "out")
	for _, x := range []struct{ point, verb, same, failure string }{
		{"map-4", "panic", "at the same record as on the cluster, memio.Generate(6 of int64):5, number 2 of its split, with the same error", "memio.Generate(6 of int64):5: panic: told to"},
		{"map-5", "exit", "at the same record as on the cluster, memio.Generate(6 of int64):6, number 3 of its split", "memio.Generate(6 of int64):6: the process ended with exit status 7"},
		{"reduce-7", "fail", "with the same error as on the cluster", "told to fail"},
	} {
		r := m.prepare("-splits", "2", "-out", out, "-keys", "11").do(x.point, x.verb).start()
		if code := r.Wait(t); code != 1 {
			t.Fatalf("%s: exit code %d", x.point, code)
		}
		task, before := m.failedTask(), filesBelow(t, out)
		_, text, code := m.layshaft("task", "replay", task, probe)
		if code != 3 || !strings.Contains(text, x.same) || !strings.Contains(text, x.failure) {
			t.Errorf("replay of %s: exit code %d, want 3, %q and %q in:\n%s", x.point, code, x.same, x.failure, text)
		}
		r.release(x.point)
		_, text, code = m.layshaft("task", "replay", task, probe)
		if code != 0 || !strings.Contains(text, "the attempt succeeded: it read") || !strings.Contains(text, "on the cluster it had failed with: ") {
			t.Errorf("replay of %s without the fault: exit code %d\n%s", x.point, code, text)
		}
		if after := filesBelow(t, out); !slices.Equal(after, before) {
			t.Errorf("the replay of %s left %s", x.point, after)
		}
	}
	if _, text, code := m.layshaft("task", "replay", m.failedTask(), "/bin/true"); code != 1 || !strings.Contains(text, "ended (exit status 0) before it connected") {
		t.Errorf("replay in another program: exit code %d\n%s", code, text)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "layshaft-replay-*")); len(left) > 0 {
		t.Errorf("replays left %s", left)
	}
}
