package gearman

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Memory is a Broker that keeps its jobs in memory and does what gearmand does, as plainly as can be. Jobs go by priority and age over
// all functions of a worker. Its lock is a Mutex.
type Memory struct {
	// Retries is how many workers a job may be lost with before it fails. 0 is no limit.
	Retries int
	// FirstID is the ID of the first job. 0 means one that no earlier process has used: microseconds since 1970.
	FirstID uint64

	sync.Mutex // guards the fields below
	last       uint64
	turn       uint64 // of the last job queued
	jobs       jobTable
	functions  map[string]*function
	timers     timers
	changed    chan struct{} // the first timer has changed
}

type function struct {
	name    string
	queues  [3]jobList
	total   int // jobs
	running int
	limits  [3]int
	unique  map[string]*memoryJob
	workers map[*memorySession]time.Duration // and their time-outs
	asleep  map[*memorySession]struct{}
}

type memoryJob struct {
	id          uint64
	function    *function
	key         string // in function.unique; empty: none
	unique      string
	reducer     string
	data        []byte
	priority    Priority
	background  bool
	retries     int
	turn        uint64 // its age in the queue
	prev, next  *memoryJob
	queued      bool // in a queue of the function
	timer       *timer
	worker      *memorySession
	clients     []*memorySession
	numerator   uint32
	denominator uint32
}

type memorySession struct {
	m         *Memory
	peer      Peer
	order     uint64 // of Attach
	functions []*function
	holds     map[*memoryJob]struct{}
	waits     map[*memoryJob]struct{}
	asleep    bool
}

// NewMemory returns an empty Memory. Run makes its timers go off.
func NewMemory() *Memory {
	return &Memory{functions: map[string]*function{}, changed: make(chan struct{}, 1)}
}

// Run ends the waits of delayed jobs, and the time of jobs whose worker takes too long, until ctx ends.
func (m *Memory) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.changed:
		case <-t.C:
		}
		m.Lock()
		next := m.fire(time.Now())
		m.Unlock()
		if next.IsZero() {
			t.Stop()
		} else {
			t.Reset(time.Until(next))
		}
	}
}

// fire ends the timers that are due and returns when the next one is.
func (m *Memory) fire(now time.Time) time.Time {
	for len(m.timers) > 0 {
		first := m.timers[0]
		if first.at.After(now) {
			return first.at
		}
		j := first.job
		m.stopTimer(j)
		if j.worker != nil {
			m.lost(j)
		} else {
			m.enqueue(j)
		}
	}
	return time.Time{}
}

func (m *Memory) function(name []byte) *function {
	f := m.functions[string(name)]
	if f == nil {
		f = &function{name: string(name), unique: map[string]*memoryJob{}, workers: map[*memorySession]time.Duration{},
			asleep: map[*memorySession]struct{}{}}
		m.functions[f.name] = f
	}
	return f
}

func (m *Memory) Attach(p Peer) Session {
	m.turn++
	return &memorySession{m: m, peer: p, order: m.turn, holds: map[*memoryJob]struct{}{}, waits: map[*memoryJob]struct{}{}}
}

// keyOf returns what jobs with the same unique ID, or the same data if it is "-", have in common.
func keyOf(unique, data []byte) string {
	if string(unique) != "-" {
		return string(unique)
	}
	if len(data) == 0 {
		return ""
	}
	sum := sha256.Sum256(data)
	return "\x00" + string(sum[:]) // no unique ID has a NUL
}

func (s *memorySession) Submit(sub Submission) (id, commit uint64, err error) {
	m := s.m
	f := m.function(sub.Function)
	key := keyOf(sub.Unique, sub.Data)
	j := f.unique[key]
	if j == nil {
		if limit := f.limits[sub.Priority]; limit > 0 && f.total >= limit {
			return 0, 0, ErrQueueFull
		}
		j = m.add(f, key, sub)
	}
	if sub.Background {
		j.background = true
	} else if _, waits := s.waits[j]; !waits {
		j.clients = append(j.clients, s)
		s.waits[j] = struct{}{}
	}
	return j.id, 0, nil
}

func (m *Memory) add(f *function, key string, sub Submission) *memoryJob {
	if m.last == 0 {
		m.last = cmp.Or(m.FirstID, uint64(time.Now().UnixMicro())) - 1
	}
	m.last++
	j := &memoryJob{id: m.last, function: f, key: key, unique: key, data: sub.Data, priority: sub.Priority, reducer: string(sub.Reducer)}
	if string(sub.Unique) == "-" {
		j.unique = "-"
	}
	if !sub.Keep {
		j.data = slices.Clone(sub.Data)
	}
	f.total++
	if key != "" {
		f.unique[key] = j
	}
	m.jobs.put(j)
	if now := time.Now(); sub.After > now.Unix() {
		m.startTimer(j, time.Unix(sub.After, 0))
	} else {
		m.enqueue(j)
	}
	return j
}

// enqueue puts a job at the end of its queue and wakes those who wait for one.
func (m *Memory) enqueue(j *memoryJob) {
	m.turn++
	f := j.function
	j.turn, j.queued = m.turn, true
	f.queues[j.priority].pushBack(j)
	if len(f.asleep) == 0 {
		return
	}
	awake := make([]*memorySession, 0, len(f.asleep))
	for s := range f.asleep {
		awake = append(awake, s)
	}
	slices.SortFunc(awake, func(a, b *memorySession) int { return cmp.Compare(a.order, b.order) })
	for _, s := range awake {
		s.wakeUp()
		s.peer.Wake()
	}
}

func (s *memorySession) wakeUp() {
	if s.asleep {
		s.asleep = false
		for _, f := range s.functions {
			delete(f.asleep, s)
		}
	}
}

// next returns the job that is first for the session.
func (s *memorySession) next() *memoryJob {
	for p := High; p <= Low; p++ {
		var best *memoryJob
		for _, f := range s.functions {
			if j := f.queues[p].first; j != nil && (best == nil || j.turn < best.turn) {
				best = j
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

func (s *memorySession) Sleep() bool {
	if s.next() != nil {
		return true
	}
	s.asleep = true
	for _, f := range s.functions {
		f.asleep[s] = struct{}{}
	}
	return false
}

func (s *memorySession) Grab() (Job, bool) {
	s.wakeUp()
	j := s.next()
	if j == nil {
		return Job{}, false
	}
	f := j.function
	f.queues[j.priority].remove(j)
	j.queued, j.worker = false, s
	f.running++
	s.holds[j] = struct{}{}
	if timeout := f.workers[s]; timeout > 0 {
		s.m.startTimer(j, time.Now().Add(timeout))
	}
	return Job{ID: j.id, Function: f.name, Unique: j.unique, Reducer: j.reducer, Data: j.data}, true
}

func (s *memorySession) Work(u Update) error {
	j := s.m.jobs.get(u.ID)
	if j == nil || j.worker != s {
		return ErrNoJob
	}
	if u.Kind == WorkStatus {
		j.numerator, j.denominator = number(u.Data), number(u.Denominator)
	}
	for _, c := range j.clients {
		c.peer.Update(u)
	}
	if u.Ends() {
		s.m.remove(j)
	}
	return nil
}

// number reads the digits of a status; what is none counts as 0.
func number(text []byte) uint32 {
	n, _ := strconv.ParseUint(string(text), 10, 32)
	return uint32(n)
}

// remove forgets a job, wherever it is.
func (m *Memory) remove(j *memoryJob) {
	f := j.function
	m.stopTimer(j)
	if j.queued {
		f.queues[j.priority].remove(j)
	}
	m.release(j)
	for _, c := range j.clients {
		delete(c.waits, j)
	}
	if j.key != "" {
		delete(f.unique, j.key)
	}
	f.total--
	m.jobs.drop(j)
}

// release takes a job from its worker.
func (m *Memory) release(j *memoryJob) {
	if j.worker != nil {
		delete(j.worker.holds, j)
		j.worker = nil
		j.function.running--
	}
}

// lost puts a job back whose worker has gone or taken too long.
func (m *Memory) lost(j *memoryJob) {
	m.stopTimer(j)
	m.release(j)
	j.retries++
	j.numerator, j.denominator = 0, 0
	switch {
	case m.Retries > 0 && j.retries >= m.Retries:
		m.fail(j)
	case !j.background && len(j.clients) == 0:
		m.remove(j)
	default:
		m.enqueue(j)
	}
}

func (m *Memory) fail(j *memoryJob) {
	for _, c := range j.clients {
		c.peer.Update(Update{ID: j.id, Kind: WorkFail})
	}
	m.remove(j)
}

func (s *memorySession) CanDo(name []byte, timeout time.Duration) {
	f := s.m.function(name)
	if _, can := f.workers[s]; !can {
		s.functions = append(s.functions, f)
	}
	f.workers[s] = timeout
	if s.asleep {
		f.asleep[s] = struct{}{}
	}
}

func (s *memorySession) CantDo(name []byte) {
	if f := s.m.functions[string(name)]; f != nil {
		s.functions = slices.DeleteFunc(s.functions, func(g *function) bool { return g == f })
		delete(f.workers, s)
		delete(f.asleep, s)
	}
}

func (s *memorySession) ResetAbilities() {
	for _, f := range s.functions {
		delete(f.workers, s)
		delete(f.asleep, s)
	}
	s.functions = nil
}

func (s *memorySession) Functions(yield func(string)) {
	for _, f := range s.functions {
		yield(f.name)
	}
}

func (s *memorySession) Close() {
	s.ResetAbilities()
	for _, j := range byTurn(s.waits) {
		j.clients = slices.DeleteFunc(j.clients, func(c *memorySession) bool { return c == s })
		if len(j.clients) == 0 && !j.background && j.worker == nil {
			s.m.remove(j)
		}
	}
	s.waits = nil
	for _, j := range byTurn(s.holds) {
		s.m.lost(j)
	}
}

func byTurn(set map[*memoryJob]struct{}) []*memoryJob {
	jobs := make([]*memoryJob, 0, len(set))
	for j := range set {
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b *memoryJob) int { return cmp.Compare(a.turn, b.turn) })
	return jobs
}
