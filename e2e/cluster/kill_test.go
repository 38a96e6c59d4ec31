//go:build unix

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUndisturbed runs jobs on a cluster where nothing goes wrong: every task runs once.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	for _, flags := range [][]string{nil, {"-tiers"}} {
		r := m.prepare(flags...).start()
		r.succeeds()
		r.onceEach("map", "reduce")
	}
}

// onceEach checks that no task of these kinds ran twice.
func (r *run) onceEach(kinds ...string) {
	r.t.Helper()
	for _, kind := range kinds {
		if n := r.again(kind); len(n) > 0 {
			r.t.Errorf("ran again: %v", n)
		}
	}
}

// onlyLost checks that maps ran again only where the dead worker had run them, and once more at the
// most.
func (r *run) onlyLost(dead int) {
	r.t.Helper()
	for point, n := range r.again("map") {
		if ran := r.ran(point); ran[0] != dead || n != 2 {
			r.t.Errorf("%s ran on %v: only what %d had run may run again, once", point, ran, dead)
		}
	}
}

// committed waits until n tasks of the newest job are committed.
func (m *members) committed(n int) {
	m.t.Helper()
	until(m.t, fmt.Sprint(n, " tasks are committed"), func() bool {
		js := m.look().Jobs
		return len(js) > 0 && js[0].Done >= n // the newest
	})
	// It shows what it has decided while it writes that. What it hears from a worker afterwards it
	// takes in when it has written it.
	seen := time.Now()
	until(m.t, "what is committed is on the disk", func() bool {
		since := time.Since(seen).Seconds()
		return slices.ContainsFunc(m.look().Workers, func(w heard) bool { return w.Silent < since })
	})
}

// die kills worker i and returns the process ID that it had.
func (m *members) die(i int) int {
	m.t.Helper()
	m.workers[i].Kill()
	return m.workers[i].Cmd.Process.Pid
}

// TestKillWorkerInMap kills a worker while its user code maps. Its committed maps are lost with it
// and run again, no others.
func TestKillWorkerInMap(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 3})
	r := m.prepare("-maps", "9").do("map-8", "hold").start()
	victim := r.at("map-8", 1)
	m.committed(8)
	dead := m.die(victim)
	r.at("map-8", 2)
	r.release("map-8")
	r.succeeds()
	r.onlyLost(dead)
	r.onceEach("reduce")
}

// shuffleHeavy are flags of a job whose partitions are too large to be fetched at once.
var shuffleHeavy = []string{"-maps", "6", "-each", "30000", "-size", "200", "-keys", "8", "-parts", "2"}

// TestKillWorkerServingShuffle kills a worker while another one reads its output.
func TestKillWorkerServingShuffle(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare(shuffleHeavy...)
	for _, p := range []string{"reduce-0", "reduce-1", "reduce-2", "reduce-3", "reduce-4", "reduce-5", "reduce-6", "reduce-7"} {
		r.do(p, "hold")
	}
	began := time.Now()
	r.start()
	until(t, "both reduces have begun to read", func() bool { return len(r.times("reduce")) == 2 })
	dead := m.die(0)
	killed := time.Now()
	// a slow machine needs as long again for the lost maps
	limit := max(8*time.Second, 4*time.Second+2*killed.Sub(began))
	for p := range 8 {
		r.release("reduce-" + string(rune('0'+p)))
	}
	r.succeeds()
	if took := time.Since(killed); took > limit {
		t.Errorf("the job went on for %v, want at most %v: what reads from a worker that is gone must not wait for each of its outputs", took, limit)
	}
	r.onlyLost(dead)
}

// TestKillWorkerInReduce kills a worker while its user code reduces.
func TestKillWorkerInReduce(t *testing.T) {
	t.Parallel()
	for _, tiers := range []string{"-tiers=false", "-tiers"} {
		m := startMembers(t, config{workers: 3})
		r := m.prepare("-maps", "9", tiers).do("reduce-5", "hold").start()
		dead := m.die(r.at("reduce-5", 1))
		r.at("reduce-5", 2)
		r.release("reduce-5")
		r.succeeds()
		r.onlyLost(dead)
	}
}

// killInCommit kills a worker whose attempt at a point is sealed and reported, before the
// coordinator has heard of it, and returns its number.
func killInCommit(t testing.TB, point string) (r *run, victim int) {
	t.Helper()
	m := startMembers(t, config{workers: 2})
	r = m.prepare("-maps", "4").do(point, "hold").start()
	victim = r.at(point, 1)
	m.coord.Signal(t, syscall.SIGSTOP)
	from := m.workers[victim].Line()
	r.release(point)
	m.workers[victim].Await(t, from, `"attempt ended"`)
	m.workers[victim].Kill()
	m.coord.Signal(t, syscall.SIGCONT)
	return r, victim
}

// TestKillWorkerInCommit kills a worker in the commit of a map.
func TestKillWorkerInCommit(t *testing.T) {
	t.Parallel()
	r, victim := killInCommit(t, "mapped-3")
	r.succeeds()
	r.onlyLost(r.m.workers[victim].Cmd.Process.Pid)
}

// TestKillWorkerWithResult kills a worker in the commit of the last task of a job: the job may be
// done before it is known that its rows are gone. When the worker comes back they are read from
// there.
func TestKillWorkerWithResult(t *testing.T) {
	t.Parallel()
	r, victim := killInCommit(t, "reduce-5")
	r.m.restartWorker(victim)
	r.succeeds()
}

// TestKillWorkerWithResultForGood is the same with a worker that does not come back: the job runs
// again.
func TestKillWorkerWithResultForGood(t *testing.T) {
	heavy(t)
	t.Parallel()
	r, _ := killInCommit(t, "reduce-5")
	if code := r.WaitFor(t, 2*time.Minute); code != 0 {
		t.Fatalf("the client ended with exit code %d", code)
	}
	r.succeeds()
}

// TestKillCoordinator kills the coordinator at several moments of a job and starts it again: the
// job continues, what is committed is not run again, and neither is what was running.
func TestKillCoordinator(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"map-0", "map-5", "mapped-5", "reduce-0", "reduce-11"} {
		t.Run(at, func(t *testing.T) {
			m := startMembers(t, config{workers: 2, slots: 2})
			r := m.prepare().do(at, "hold").start()
			r.at(at, 1)
			m.coord.Kill()
			m.startCoordinator()
			m.awaitWorkers(2)
			r.release(at)
			r.succeeds()
			r.onceEach("map", "reduce")
		})
	}
}

// TestKillCoordinatorInCommit kills the coordinator after workers have sealed attempts that it
// could not hear of.
func TestKillCoordinatorInCommit(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"mapped-5", "reduce-11"} {
		t.Run(at, func(t *testing.T) {
			m := startMembers(t, config{workers: 2})
			r := m.prepare().do(at, "hold").start()
			holder := m.workers[r.at(at, 1)]
			m.coord.Signal(t, syscall.SIGSTOP)
			from := holder.Line()
			r.release(at)
			holder.Await(t, from, `"attempt ended"`)
			m.coord.Kill()
			m.startCoordinator()
			r.succeeds()
			r.onceEach("map", "reduce")
		})
	}
}

// TestKillCoordinatorAgainAndAgain kills the coordinator as soon as it has taken something in,
// until the job is done.
func TestKillCoordinatorAgainAndAgain(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare("-maps", "12").start()
	kills := 0
	for _, p := range []string{"map-0", "map-3", "mapped-4", "map-7", "mapped-11", "reduce-3", "reduce-8"} {
		until(t, p+" was reached", func() bool { return len(r.ran(p)) > 0 || !r.IsAlive() })
		if !r.IsAlive() {
			break
		}
		m.coord.Kill()
		m.startCoordinator()
		kills++
	}
	r.succeeds()
	r.onceEach("map", "reduce")
	t.Logf("%d kills", kills)
}

// TestKillBoth kills the coordinator and a worker, and starts both again with their data: committed
// outputs are kept.
func TestKillBoth(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"map-5", "reduce-11"} {
		t.Run(at, func(t *testing.T) {
			m := startMembers(t, config{workers: 2})
			r := m.prepare().do(at, "hold").start()
			victim := r.at(at, 1)
			if at == "map-5" {
				m.committed(5)
			}
			m.coord.Kill()
			m.workers[victim].Kill()
			m.startCoordinator()
			m.restartWorker(victim)
			r.at(at, 2)
			r.release(at)
			r.succeeds()
			again := r.again("map")
			delete(again, at) // it was running
			if len(again) > 0 {
				t.Errorf("ran again: %v", again)
			}
		})
	}
}

// TestKillAll kills every process but the client, at once.
func TestKillAll(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare().do("map-5", "hold").start()
	r.at("map-5", 1)
	m.committed(5)
	m.coord.Kill()
	for i := range m.workers {
		m.workers[i].Kill()
	}
	m.startCoordinator()
	for i := range m.workers {
		m.restartWorker(i)
	}
	r.release("map-5")
	r.succeeds()
	again := r.again("map")
	delete(again, "map-5")
	if len(again) > 0 {
		t.Errorf("ran again, though their outputs were kept: %v", again)
	}
}

// TestKillChild kills the process that runs user code. The worker stands and tries again.
func TestKillChild(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 1})
	r := m.prepare().do("map-3", "hold").start()
	r.at("map-3", 1)
	if err := syscall.Kill(r.child("map-3"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.at("map-3", 2)
	r.release("map-3")
	r.succeeds()
	again := r.again("map")
	delete(again, "map-3")
	if len(again) > 0 {
		t.Errorf("ran again, though their outputs were committed: %v", again)
	}
	if !m.workers[0].IsAlive() {
		t.Error("the worker ended with its child")
	}
	if j := m.job(); j.Stages[0].FailedAttempts != 1 {
		t.Errorf("%d failed attempts are counted, want 1", j.Stages[0].FailedAttempts)
	}
}

// TestZombie stops a worker for longer than its lease. Its attempt runs elsewhere; when it comes
// back it is refused and joins anew.
func TestZombie(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 3})
	r := m.prepare("-maps", "9").do("map-8", "hold").do("reduce-5", "hold").start()
	victim := m.workers[r.at("map-8", 1)]
	m.committed(8)
	victim.Signal(t, syscall.SIGSTOP)
	r.at("map-8", 2)
	m.awaitWorkers(2)
	r.release("map-8") // the child of the zombie goes on as well
	r.at("reduce-5", 1)
	victim.Signal(t, syscall.SIGCONT)
	m.awaitWorkers(3)
	r.release("reduce-5")
	r.succeeds()
	r.onlyLost(victim.Cmd.Process.Pid)
	if !victim.IsAlive() || strings.Contains(victim.Err.String(), "panic") {
		t.Error("the zombie did not recover")
	}
	next := m.prepare("-maps", "12").start() // it works again
	next.succeeds()
}

// TestSleepingCoordinator stops the coordinator for longer than every lease, so that its workers
// give their connections up, too. When it wakes, it blames nobody: what ran continues, and a task
// with a single attempt is done.
func TestSleepingCoordinator(t *testing.T) {
	t.Parallel()
	free := filepath.Join(t.TempDir(), "free")
	m := startMembers(t, config{workers: 2, slots: 2, worker: []string{"-function", "hold=touch " + free + "-begun; until [ -e " + free + " ]; do sleep 0.05; done; cat"}})
	r := m.prepare().do("map-3", "hold").start()
	r.at("map-3", 1)
	m.committed(5)
	id, stderr, code := m.layshaft("task", "submit", "-attempts", "1", "-hard-limit", "15s", "-input", "the input", "hold")
	if code != 0 {
		t.Fatalf("task submit: exit code %d, %s", code, stderr)
	}
	task := launch(t, "task", "layshaft", "task", "wait", strings.TrimSpace(id), "-timeout", "1m", "-cluster", m.grpc)
	until(t, "the task runs", func() bool {
		_, err := os.Stat(free + "-begun")
		return err == nil
	})
	m.coord.Signal(t, syscall.SIGSTOP)
	<-time.After(17 * time.Second) // longer than connections are kept without an answer
	from := m.coord.Line()
	m.coord.Signal(t, syscall.SIGCONT)
	m.coord.Await(t, from, "did not run for a while")
	<-time.After(3 * time.Second) // longer than a lease
	r.release("map-3")
	r.succeeds()
	r.onceEach("map", "reduce")
	if err := os.WriteFile(free, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := task.Wait(t); code != 0 || task.Out.String() != "the input" {
		t.Errorf("the task: exit code %d, %q", code, task.Out.String())
	}
	if n := m.coord.Count(`"worker lost"`); n > 0 {
		t.Errorf("%d workers were lost", n)
	}
}
