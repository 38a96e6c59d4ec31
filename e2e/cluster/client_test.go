//go:build unix

package cluster

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestKillClient kills the client in the middle. The same command finds the job again and gets its
// rows; nothing runs twice.
func TestKillClient(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"map-3", "reduce-5"} {
		m := startMembers(t, config{workers: 2})
		r := m.prepare().do(at, "hold").start()
		r.at(at, 1)
		r.Kill()
		r.start()
		r.Await(t, 0, "was submitted before")
		r.release(at)
		r.succeeds()
		r.onceEach("map", "reduce")
		if n := len(m.jobs()); n != 1 {
			t.Errorf("there are %d jobs, want 1", n)
		}
	}
}

// TestClientComesLate kills the client and starts it again when the job is done.
func TestClientComesLate(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare().do("map-3", "hold").start()
	r.at("map-3", 1)
	r.Kill()
	r.release("map-3")
	until(t, "the job is done", func() bool { return m.look().Jobs[0].Outcome == "done" })
	r.start()
	r.succeeds()
	r.onceEach("map", "reduce")
}

// TestInterruptClient sends ^C to a client without a terminal: the job is cancelled, and its
// attempts end.
func TestInterruptClient(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare().do("map-3", "hold").start()
	r.at("map-3", 1)
	r.Signal(t, os.Interrupt)
	if code := r.Wait(t); code != 1 || !strings.Contains(r.Err.String(), "interrupt") {
		t.Errorf("exit code %d, want 1 and an error that tells of the interruption", code)
	}
	if j := m.job(); j.Outcome != "cancelled" {
		t.Errorf("the job is %s, want cancelled", j.Outcome)
	}
	until(t, "nothing runs", func() bool {
		n := 0
		for _, w := range m.workerList() {
			n += w.Running
		}
		return n == 0
	})
	r.release("map-3")
	r.start() // the same command runs it anew
	r.awaitDone()
}

// TestDetach submits a job that needs no client, and waits for it from elsewhere.
func TestDetach(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	m := startMembers(t, config{workers: 2, own: func(int) []string { return []string{"-file-root", out} }})
	r := m.prepare("-out", "file://"+out+"/rows").do("map-3", "hold")
	r.args, r.detached = append(r.args, "-detach"), true
	r.start()
	if code := r.Wait(t); code != 0 || !strings.Contains(r.Err.String(), "layshaft job wait") {
		t.Fatalf("exit code %d, want 0 and a line that says how to wait", code)
	}
	id := m.job().Job
	wait := launch(t, "job wait", "layshaft", "job", "wait", id, "-cluster", m.grpc)
	r.at("map-3", 1)
	m.coord.Kill()
	m.startCoordinator()
	r.release("map-3")
	if code := wait.Wait(t); code != 0 || !strings.Contains(wait.Out.String(), "done") {
		t.Fatalf("job wait ended with exit code %d: %s", code, wait.Out.String())
	}
	r.consistent()
	plain := m.prepare("-out", t.TempDir()+"/rows")
	plain.start().awaitDone()
	if got, want := parts(t, out+"/rows"), parts(t, plain.args[1]); got != want {
		t.Errorf("the detached job wrote\n%s\nwant\n%s", got, want)
	}
	if p := m.prepare("-out", "file://"+t.TempDir()+"/rows").start(); p.Wait(t) == 0 || !strings.Contains(p.Err.String(), "start the workers with -file-root") {
		t.Errorf("a job writes outside the file root: %s", p.Err.String())
	}
}

// TestDrain tells a worker to leave that holds outputs which are still needed: they are moved, and
// nothing runs again.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"SIGTERM", "SIGHUP", "worker drain"} {
		m := startMembers(t, config{workers: 2})
		r := m.prepare("-maps", "8").do("map-7", "hold").start()
		leaves := 1 - r.at("map-7", 1) // the other one
		m.committed(7)
		if s, ok := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP}[how]; ok {
			m.workers[leaves].Signal(t, s)
		} else {
			var id string
			for _, w := range m.workerList() {
				if w.Running == 0 {
					id = w.Worker
				}
			}
			if out, stderr, code := m.layshaft("worker", "drain", "-wait", id); code != 0 {
				t.Fatalf("%s: exit code %d\n%s%s", how, code, out, stderr)
			}
		}
		if code := m.workers[leaves].Wait(t); code != 0 {
			t.Errorf("%s: the worker ended with exit code %d", how, code)
		}
		r.release("map-7")
		r.succeeds()
		r.onceEach("map", "reduce")
		if n := m.job(); n.lost() != 0 {
			t.Errorf("%s: %d outputs were lost", how, n.lost())
		}
	}
}

// TestDrainWaitsForAttempts tells a worker to leave that runs an attempt: it ends it first.
func TestDrainWaitsForAttempts(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2})
	r := m.prepare("-maps", "8").do("map-7", "hold").start()
	leaves := m.workers[r.at("map-7", 1)]
	leaves.Signal(t, syscall.SIGTERM)
	until(t, "it drains", func() bool {
		for _, w := range m.workerList() {
			if w.State == "draining" {
				return true
			}
		}
		return false
	})
	m.committed(7)
	r.release("map-7")
	r.succeeds()
	r.onceEach("map", "reduce")
	if code := leaves.Wait(t); code != 0 {
		t.Errorf("the worker ended with exit code %d", code)
	}
}
