package gearman

import (
	"container/heap"
	"maps"
	"slices"
	"time"
)

func (m *Memory) Status(id uint64) JobStatus { return m.jobs.get(id).status() }

func (m *Memory) StatusUnique(unique []byte) JobStatus {
	for _, f := range m.functions {
		if j := f.unique[string(unique)]; j != nil {
			return j.status()
		}
	}
	return JobStatus{}
}

func (j *memoryJob) status() JobStatus {
	if j == nil {
		return JobStatus{}
	}
	return JobStatus{Known: true, Running: j.worker != nil, Numerator: j.numerator, Denominator: j.denominator, Waiting: len(j.clients)}
}

func (m *Memory) Cancel(id uint64) error {
	j := m.jobs.get(id)
	if j == nil || j.worker != nil {
		return ErrNoJob
	}
	m.fail(j)
	return nil
}

func (m *Memory) Functions(yield func(FunctionStatus)) {
	for _, name := range slices.Sorted(maps.Keys(m.functions)) {
		f := m.functions[name]
		st := FunctionStatus{Name: name, Running: f.running, Workers: len(f.workers)}
		for p := range f.queues {
			st.Queued[p] = f.queues[p].n
		}
		st.Queued[Normal] += f.total - f.running - f.queues[High].n - f.queues[Normal].n - f.queues[Low].n // delayed
		yield(st)
	}
}

func (m *Memory) Jobs(from uint64, n int, yield func(JobInfo)) (next uint64) {
	return m.jobs.scan(from, m.last, n, func(j *memoryJob) {
		yield(JobInfo{ID: j.id, Unique: j.unique, Retries: j.retries, Ignored: !j.background && len(j.clients) == 0, Stored: j.background})
	})
}

func (m *Memory) CreateFunction(name string) { m.function([]byte(name)) }

func (m *Memory) DropFunction(name string) error {
	f := m.functions[name]
	switch {
	case f == nil:
		return ErrNoFunction
	case f.total > 0 || len(f.workers) > 0:
		return ErrBusy
	}
	delete(m.functions, name)
	return nil
}

func (m *Memory) Limit(name string, jobs [3]int) {
	if f := m.functions[name]; f != nil {
		f.limits = jobs
	}
}

// jobList is a queue out of whose middle jobs can be taken.
type jobList struct {
	first, last *memoryJob
	n           int
}

func (l *jobList) pushBack(j *memoryJob) {
	j.prev, j.next = l.last, nil
	if l.last == nil {
		l.first = j
	} else {
		l.last.next = j
	}
	l.last = j
	l.n++
}

func (l *jobList) remove(j *memoryJob) {
	if j.prev == nil {
		l.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		l.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.prev, j.next = nil, nil
	l.n--
}

const pageSize = 1024

// jobTable finds jobs by ID and lists them in that order. IDs come close together, so it holds them in pages.
type jobTable struct {
	pages map[uint64]*page
}

type page struct {
	jobs [pageSize]*memoryJob
	n    int
}

func (t *jobTable) get(id uint64) *memoryJob {
	if p := t.pages[id/pageSize]; p != nil {
		return p.jobs[id%pageSize]
	}
	return nil
}

func (t *jobTable) put(j *memoryJob) {
	p := t.pages[j.id/pageSize]
	if p == nil {
		if t.pages == nil {
			t.pages = map[uint64]*page{}
		}
		p = &page{}
		t.pages[j.id/pageSize] = p
	}
	p.jobs[j.id%pageSize] = j
	p.n++
}

func (t *jobTable) drop(j *memoryJob) {
	p := t.pages[j.id/pageSize]
	p.jobs[j.id%pageSize] = nil
	if p.n--; p.n == 0 {
		delete(t.pages, j.id/pageSize)
	}
}

// scan calls yield for n jobs from an ID on, and returns the ID to go on from, or 0 when it has come to last. It looks at no more than
// a bounded number of places at a time.
func (t *jobTable) scan(from, last uint64, n int, yield func(*memoryJob)) uint64 {
	from = max(from, 1)
	if t.pages[from/pageSize] == nil {
		from = t.pageFrom(from / pageSize)
	}
	for looks := 0; from != 0 && from <= last; from++ {
		if from%pageSize == 0 && t.pages[from/pageSize] == nil {
			if from = t.pageFrom(from / pageSize); from == 0 {
				return 0
			}
		}
		if j := t.get(from); j != nil {
			if n == 0 {
				return from
			}
			n--
			yield(j)
		} else if looks++; looks > 16*pageSize {
			return from
		}
	}
	return 0
}

// pageFrom returns the first ID of the first page at or after number, or 0.
func (t *jobTable) pageFrom(number uint64) uint64 {
	found := false
	var first uint64
	for p := range t.pages {
		if p >= number && (!found || p < first) {
			first, found = p, true
		}
	}
	if !found {
		return 0
	}
	return max(1, first*pageSize)
}

// timer ends the delay of a job that waits, or the time of one that runs.
type timer struct {
	at    time.Time
	job   *memoryJob
	index int
}

type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timers) Push(x any) {
	x.(*timer).index = len(*t)
	*t = append(*t, x.(*timer))
}

func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

func (m *Memory) startTimer(j *memoryJob, at time.Time) {
	j.timer = &timer{at: at, job: j}
	heap.Push(&m.timers, j.timer)
	if m.timers[0] == j.timer {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

func (m *Memory) stopTimer(j *memoryJob) {
	if j.timer != nil {
		heap.Remove(&m.timers, j.timer.index)
		j.timer = nil
	}
}
