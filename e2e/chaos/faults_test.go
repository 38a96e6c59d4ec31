//go:build unix

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/layshaft/layshaft/internal/report"
)

// A fault disturbs the site and repairs it before it returns.
type fault struct {
	name   string
	weight int
	happen func(s *site, r *rand.Rand)
}

var faults = []fault{
	{"kill a worker", 4, func(s *site, r *rand.Rand) { s.worker(r).restart(r, syscall.SIGKILL) }},
	{"drain a worker", 2, func(s *site, r *rand.Rand) { s.worker(r).restart(r, syscall.SIGTERM) }},
	{"hang up on a worker", 1, func(s *site, r *rand.Rand) { s.worker(r).restart(r, syscall.SIGHUP) }},
	{"stop a worker for a while", 3, func(s *site, r *rand.Rand) { s.worker(r).pause(r, 8*time.Second) }},
	{"kill a child of a worker", 4, func(s *site, r *rand.Rand) { s.worker(r).killChild(r) }},
	{"kill a coordinator", 3, func(s *site, r *rand.Rand) { s.coordinator(r).restart(r, syscall.SIGKILL) }},
	{"end a coordinator", 2, func(s *site, r *rand.Rand) { s.coordinator(r).restart(r, syscall.SIGTERM) }},
	{"stop a coordinator for a while", 2, func(s *site, r *rand.Rand) { s.coordinator(r).pause(r, 10*time.Second) }},
	{"destroy the disk of a coordinator", 3, (*site).destroyDisk},
	{"kill a task worker", 3, func(s *site, r *rand.Rand) { s.taskWorker(r).restart(r, syscall.SIGKILL) }},
	{"drain a task worker", 2, func(s *site, r *rand.Rand) { s.taskWorker(r).restart(r, syscall.SIGTERM) }},
	{"stop a task worker for a while", 2, func(s *site, r *rand.Rand) { s.taskWorker(r).pause(r, 8*time.Second) }},
	{"cut all connections of clients", 3, func(s *site, _ *rand.Rand) { s.cut() }},
	{"kill everything", 1, (*site).killAll},
}

// inject makes n faults, two at a time, and returns when all are repaired.
func (s *site) inject(r *rand.Rand, n int) {
	var bag []fault
	for _, f := range faults {
		if len(s.coordinators) == 1 && f.name == "destroy the disk of a coordinator" {
			continue
		}
		for range f.weight {
			bag = append(bag, f)
		}
	}
	type plan struct {
		fault
		seed, pause uint64
	}
	plans := make(chan plan)
	var group sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	for range 2 {
		group.Go(func() {
			for p := range plans {
				r := rand.New(rand.NewPCG(p.seed, 0))
				<-time.After(time.Duration(p.pause) * time.Millisecond)
				mu.Lock()
				count[p.name]++
				mu.Unlock()
				p.happen(s, r)
			}
		})
	}
	for i := range n {
		p := plan{fault: bag[r.IntN(len(bag))], seed: r.Uint64(), pause: r.Uint64N(1200)}
		s.t.Logf("fault %d: %s", i+1, p.name)
		plans <- p
	}
	close(plans)
	group.Wait()
	var lines []string
	for name, n := range count {
		lines = append(lines, fmt.Sprintf("%s: %d", name, n))
	}
	sort.Strings(lines)
	s.t.Logf("%d faults: %s", n, strings.Join(lines, ", "))
}

func (s *site) coordinator(r *rand.Rand) *member {
	return s.coordinators[r.IntN(len(s.coordinators))]
}

// cut closes all connections of clients.
func (s *site) cut() {
	for _, p := range s.proxies {
		p.cut()
	}
	s.gearmanProxy.cut()
}

var (
	// destroying is held while the state is on two disks only. It guards stopDestroying.
	destroying     sync.Mutex
	stopDestroying bool
)

// destroyDisk kills a coordinator, removes its directory, and waits until a new one at its address
// has its place.
func (s *site) destroyDisk(r *rand.Rand) {
	destroying.Lock()
	defer destroying.Unlock()
	if stopDestroying {
		return
	}
	i := r.IntN(len(s.coordinators))
	m := s.coordinators[i]
	m.mu.Lock()
	m.end(syscall.SIGKILL)
	former, err := os.ReadFile(filepath.Join(s.coordinatorDir(i), "replica", "member"))
	if err := errors.Join(err, os.RemoveAll(s.coordinatorDir(i))); err != nil {
		s.t.Error(err)
	}
	m.start()
	m.mu.Unlock()
	lost, _, _ := strings.Cut(string(former), "\n")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; <-tick.C { // another fault may stop the new one
		out, err := s.command(append([]string{"coordinator", "members", "-o", "json", "-cluster", s.grpc}, s.certificate("client")...)...)
		var all []report.Coordinator
		if err == nil {
			err = json.Unmarshal([]byte(out), &all)
		}
		if err == nil && len(all) == len(s.coordinators) && !slices.ContainsFunc(all, func(m report.Coordinator) bool { return m.ID == lost || !m.Voter }) {
			return
		}
		if time.Since(begun) > settle {
			s.t.Errorf("coordinator %d was not replaced: %+v, %v", i, all, err)
			stopDestroying = true // with two coordinators, the next destroyed disk would be the end
			return
		}
	}
}

func (s *site) worker(r *rand.Rand) *member     { return s.workers[r.IntN(len(s.workers))] }
func (s *site) taskWorker(r *rand.Rand) *member { return s.ledgers[r.IntN(len(s.ledgers))] }

// restart ends the process with sig and starts it again, at once or within 3 seconds.
func (m *member) restart(r *rand.Rand, sig syscall.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(sig)
	if r.IntN(2) == 0 {
		<-time.After(time.Duration(r.IntN(3000)) * time.Millisecond)
	}
	m.start()
}

// pause stops the process for up to most.
func (m *member) pause(r *rand.Rand, most time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process.Signal(m.t, syscall.SIGSTOP)
	<-time.After(time.Duration(r.Int64N(int64(most))))
	m.process.Signal(m.t, syscall.SIGCONT)
}

// killChild kills one process that m has started, if there is one.
func (m *member) killChild(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	children, _ := m.process.ListChildren() // it may have ended
	if len(children) > 0 {
		_ = syscall.Kill(children[r.IntN(len(children))], syscall.SIGKILL) // it may have ended
	}
}

// killAll kills all processes at once and starts them again in any order.
func (s *site) killAll(r *rand.Rand) {
	all := slices.Concat(s.coordinators, s.workers, s.ledgers)
	for _, m := range all {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.asked.Store(true)
	}
	for _, m := range all {
		m.process.Signal(s.t, syscall.SIGKILL)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, m := range all {
		<-m.process.Ended
		m.start()
	}
}
