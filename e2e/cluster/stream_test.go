//go:build unix

package cluster

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/layshaft/layshaft/e2e/internal/programs"
)

// TestRollingRestart restarts all workers and the coordinator, one after the other, under a stream
// of jobs. None is lost.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 3})
	stop := make(chan struct{})
	var group sync.WaitGroup
	var counts [2]int
	var runs [2][]*run
	for k := range counts {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := m.prepare("-maps", "8", "-pause", "10ms").start()
				runs[k] = append(runs[k], r)
				select {
				case <-r.Ended:
					counts[k]++
				case <-t.Context().Done():
					return
				}
			}
		})
	}
	for i := range m.workers {
		m.workers[i].Signal(t, syscall.SIGTERM)
		if code := m.workers[i].Wait(t); code != 0 {
			t.Errorf("worker %d ended with exit code %d", i, code)
		}
		m.restartWorker(i)
		m.awaitWorkers(3)
	}
	m.coord.Signal(t, syscall.SIGTERM)
	if code := m.coord.Wait(t); code != 0 {
		t.Errorf("the coordinator ended with exit code %d", code)
	}
	m.startCoordinator()
	m.awaitWorkers(3)
	close(stop)
	group.Wait()
	t.Logf("%v jobs", counts)
	for _, r := range append(runs[0], runs[1]...) {
		r.awaitDone()
		r.onceEach("map", "reduce")
	}
	runs[0][0].consistent()
}

// usage is what a process holds.
type usage struct{ fds, goroutines int }

// held returns what the coordinator and the workers hold.
func (m *members) held() (all []usage) {
	m.t.Helper()
	for _, p := range append([]*process{m.coord}, m.workers...) {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, usage{len(fds), int(metric(m.t, at(served(m.t, p)[1]), "go_goroutines"))})
	}
	return all
}

// TestNoLeaks runs many jobs, and looks what the processes hold and what lies on their disks before
// and afterwards.
func TestNoLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts the files of /proc/PID/fd")
	}
	t.Parallel()
	jobs := 25
	if os.Getenv(programs.HeavyEnv) != "" {
		jobs = 200
	}
	if testing.Short() {
		jobs = 5
	}
	m := startMembers(t, config{workers: 2})
	children := func() (n int) {
		for _, w := range m.workers {
			n += len(w.Children(t))
		}
		return n
	}
	keepers := children() // each worker has one
	round := func() {
		m.prepare("-maps", "3", "-parts", "2").start().awaitDone()
	}
	for range 3 { // caches and connections
		round()
	}
	until(t, "no child is left", func() bool { return children() == keepers })
	before := m.held()
	stored := size(t, m.workerDir(0)+"/jobs")
	for range jobs {
		round()
	}
	until(t, "no child is left", func() bool { return children() == keepers })
	var after []usage
	const slack = 6 // connections of a moment
	until(t, fmt.Sprintf("what is held is as before, %+v", before), func() bool {
		after = m.held()
		for i := range after {
			if after[i].fds > before[i].fds+slack || after[i].goroutines > before[i].goroutines+3*slack {
				return false
			}
		}
		return true
	})
	t.Logf("before %+v, after %d jobs %+v", before, jobs, after)
	if now := size(t, m.workerDir(0)+"/jobs"); now > stored {
		t.Errorf("outputs take %d bytes, and took %d", now, stored)
	}
}

// TestSecondCoordinator starts a coordinator with the data of one that runs, and one of another
// cluster that workers of the first are told of: neither gets any workers.
func TestSecondCoordinator(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 1})
	r := m.prepare().do("map-3", "hold").start()
	r.at("map-3", 1)
	args := slices.Concat([]string{"coordinator", "-listen", "127.0.0.1:0", "-http", "none", "-gossip", "127.0.0.1:0", "-join", m.gossip}, certificates()["coordinator"], []string{"-data"})
	same := launch(t, "coordinator with the same data", "layshaft", append(args, m.dir+"/coordinator")...)
	if code := same.Wait(t); code == 0 {
		t.Error("two coordinators have the same data")
	}
	other := launch(t, "coordinator of another cluster", "layshaft", append(args, t.TempDir())...)
	other.Await(t, 0, "serving")
	for range 3 {
		m.workers[0].Kill()
		m.restartWorker(0)
		m.awaitWorkers(1)
	}
	r.release("map-3")
	r.succeeds()
	if other.Count("worker joined") > 0 {
		t.Error("a worker joined a coordinator of another cluster")
	}
}
