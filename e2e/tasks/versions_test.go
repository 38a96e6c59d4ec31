//go:build unix

package tasks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/layshaft/layshaft/e2e/internal/proc"
	"github.com/layshaft/layshaft/e2e/internal/programs"
	"github.com/layshaft/layshaft/tasks"
)

// buildFormer builds programs of a former commit: the one in FORMER, else the last tag,
// else the commit before this one. It skips the test where there is none.
func buildFormer(t *testing.T, names ...string) (bin string) {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	former := os.Getenv("FORMER")
	if former == "" {
		former, _ = git("describe", "--tags", "--abbrev=0", "HEAD~1")
	}
	if former == "" {
		former = "HEAD~1"
	}
	commit, err := git("rev-parse", "--verify", "--quiet", former+"^{commit}")
	if err != nil {
		t.Skipf("the former commit %s is not here, as in a shallow clone: %v", former, err)
	}
	tree := filepath.Join(t.TempDir(), "former")
	if out, err := exec.Command("git", "worktree", "add", "--detach", tree, commit).CombinedOutput(); err != nil {
		t.Skipf("commit %s cannot be checked out: %v: %s", commit, err, out)
	}
	t.Cleanup(func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() })
	t.Logf("former commit: %s", commit)
	bin = t.TempDir()
	for _, name := range names {
		cmd := exec.Command("go", "build", "-o", bin+"/", "./"+name)
		cmd.Dir = tree
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build of %s in %s: %v: %s", name, commit, err, out)
		}
	}
	return bin
}

// Three coordinators and a worker of a former commit are upgraded one by one, each in turn leading
// now and then, and one of them goes back, while tasks are submitted and run.
func TestUpgrade(t *testing.T) {
	if os.Getenv(programs.HeavyEnv) == "" {
		t.Skipf("builds a former commit; set %s=1", programs.HeavyEnv)
	}
	former := buildFormer(t, "cmd/layshaft", "e2e/tasks/internal/probe")
	g := prepareGroup(t)
	g.bin = []string{former, former, former}
	g.startAll(t)
	formerWorker := func() {
		w := proc.Start(t, patience, "former worker", exec.Command(filepath.Join(former, "probe"), "-cluster", g.address))
		g.checkResults(t, g.enqueue(t, 20))
		w.Kill()
	}
	formerWorker()
	ids := g.enqueue(t, 50)
	upgrades := []struct {
		i   int
		bin string
	}{{0, binDir}, {1, binDir}, {1, former}, {1, binDir}, {2, binDir}}
	step := 0
	g.storm(t, len(upgrades), func() {
		u := upgrades[step]
		step++
		if g.leader(t) == u.i && step%2 == 0 {
			run(t, "layshaft", "coordinator", "members", "transfer", "-cluster", g.address)
		}
		g.processes[u.i].Signal(t, syscall.SIGTERM)
		if code := g.processes[u.i].Wait(t); code != 0 {
			t.Errorf("coordinator %d ended with %d", u.i, code)
		}
		g.bin[u.i] = u.bin
		g.startMember(t, u.i)
		if _, err := tasks.Enqueue(within(t), g.Client, "record", fmt.Sprint("9.", step)); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
	})
	g.checkResults(t, ids)
	g.awaitMember(t, -1, len(g.peers))
	formerWorker()
}
