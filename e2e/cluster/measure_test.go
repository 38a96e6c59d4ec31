//go:build unix

package cluster

import (
	"syscall"
	"testing"
	"time"
)

// TestRecoveryTimes measures how long it takes until the attempt of a worker that is killed, and of
// one that falls silent, runs elsewhere.
func TestRecoveryTimes(t *testing.T) {
	t.Parallel()
	m := startMembers(t, config{workers: 2, lease: "10s"})
	r := m.prepare().do("map-5", "hold").start()
	victim := r.at("map-5", 1)
	m.committed(5)
	start := time.Now()
	m.workers[victim].Kill()
	r.at("map-5", 2)
	took := time.Since(start)
	t.Logf("after a reset connection: %v", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("the attempt of a killed worker ran elsewhere after %v, want 1s at most", took)
	}
	if testing.Short() {
		return
	}
	m.restartWorker(victim)
	m.awaitWorkers(2)
	m.committed(5) // again
	silent := m.workers[r.at("map-5", 2)]
	start = time.Now()
	silent.Signal(t, syscall.SIGSTOP)
	r.at("map-5", 3)
	took = time.Since(start)
	t.Logf("after silence, with a lease of 10s: %v", took.Round(time.Millisecond))
	if took > 12*time.Second {
		t.Errorf("the attempt of a silent worker ran elsewhere after %v, want its lease of 10s and little more", took)
	}
	r.release("map-5")
	r.succeeds()
}

// paced are flags of a job whose tasks take time without taking processors, so that many workers
// fit on a small machine.
var paced = []string{"-maps", "160", "-pause", "250ms", "-each", "50"}

// timed runs a job and returns how long its client took.
func (m *members) timed(during func(r *run)) time.Duration {
	m.t.Helper()
	start := time.Now()
	r := m.prepare(paced...).start()
	during(r)
	r.awaitDone()
	return time.Since(start)
}

// TestKillTwoOfEight compares a job on eight workers with one in the middle of which two of them
// are killed.
func TestKillTwoOfEight(t *testing.T) {
	heavy(t)
	m := startMembers(t, config{workers: 8, lease: "10s", speculate: true})
	m.timed(func(*run) {}) // ships the program
	whole := m.timed(func(*run) {})
	less := m.timed(func(r *run) {
		until(t, "half of it is done", func() bool { return len(r.times("mapped")) >= 80 })
		m.workers[0].Kill()
		m.workers[1].Kill()
	})
	t.Logf("undisturbed %v, two of eight killed %v (%.2fx)", whole.Round(time.Millisecond), less.Round(time.Millisecond), less.Seconds()/whole.Seconds())
	if limit := whole*5/4 + 10*time.Second; less > limit {
		t.Errorf("it took %v, want %v at most", less, limit)
	}
}

// TestOneOfEightSlow compares a job on eight workers with one where one of them, with its children,
// gets a tenth of the time.
func TestOneOfEightSlow(t *testing.T) {
	heavy(t)
	m := startMembers(t, config{workers: 8, lease: "10s", speculate: true})
	m.timed(func(*run) {})
	whole := m.timed(func(*run) {})
	stop, stopped := make(chan struct{}), make(chan struct{})
	slow := m.workers[0]
	send := func(s syscall.Signal) {
		for _, pid := range append(slow.Children(t), slow.Cmd.Process.Pid) {
			_ = syscall.Kill(pid, s)
		}
	}
	go func() {
		defer close(stopped)
		defer send(syscall.SIGCONT)
		for on := false; ; on = !on {
			d := 450 * time.Millisecond
			if on {
				send(syscall.SIGCONT)
				d = 50 * time.Millisecond
			} else {
				send(syscall.SIGSTOP)
			}
			select {
			case <-time.After(d): // of the duty cycle
			case <-stop:
				return
			}
		}
	}()
	more := m.timed(func(*run) {})
	close(stop)
	<-stopped
	t.Logf("undisturbed %v, one of eight slow %v (%.2fx)", whole.Round(time.Millisecond), more.Round(time.Millisecond), more.Seconds()/whole.Seconds())
	if more > whole*3/2 {
		t.Errorf("it took %v, want %v at most", more, whole*3/2)
	}
}
