package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// naive is a simple model of the queue with slices and loops: order, unique keys, delays, retries,
// lost workers, concurrency.
type naive struct {
	now   time.Time
	stamp int
	turn  uint32
	seq   int
	// unended tasks, in order of submission
	tasks  []*naiveTask
	queues map[string][3][]*naiveTask
	limit  map[string]int
	weight map[string]int
	served map[string]*[3]int // starts by function and rank, divided by the weight
	// suspects of lost workers, by function; alone marks peers that run one, emptiesFor those that get
	// nothing until they are empty
	suspects   map[string][]*naiveTask
	alone      map[int]bool
	emptiesFor map[int]string
}

type naiveTask struct {
	fn       string
	rank     int
	key      string
	stamp    int
	tries    int
	again    bool      // joined by a fresh submit since the last start
	earlier  int       // tries before it ran again
	due      time.Time // when delayed
	timer    int       // order of setting the timer
	on       int
	attempts int
	// lost attempts, and how many of them ran without other tasks beside
	lost, lostAlone int
	suspect         bool
}

func (m *naive) ready(t *naiveTask, front bool) {
	if t.suspect {
		if !front {
			m.stamp++
			t.stamp = m.stamp
		}
		m.suspects[t.fn] = append(m.suspects[t.fn], t)
		return
	}
	q := m.queues[t.fn]
	if front {
		q[t.rank] = slices.Insert(q[t.rank], 0, t)
	} else {
		m.stamp++
		t.stamp = m.stamp
		q[t.rank] = append(q[t.rank], t)
	}
	m.queues[t.fn] = q
}

func (m *naive) delay(t *naiveTask, d time.Duration) {
	m.seq++
	t.due, t.timer = m.now.Add(d).Truncate(time.Millisecond), m.seq
	if t.due.Before(m.now.Add(d)) {
		t.due = t.due.Add(time.Millisecond)
	}
}

func (m *naive) advance(to time.Time) {
	m.now = to
	var due []*naiveTask
	for _, t := range m.tasks {
		if !t.due.IsZero() && !t.due.After(to) {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *naiveTask) int {
		if c := a.due.Compare(b.due); c != 0 {
			return c
		}
		return a.timer - b.timer
	})
	for _, t := range due {
		t.due = time.Time{}
		m.ready(t, false)
	}
}

func (m *naive) running(fn string) (n int) {
	for _, t := range m.tasks {
		if t.fn == fn && t.on != 0 {
			n++
		}
	}
	return n
}

// reopen ends the closing of peers for functions without suspects.
func (m *naive) reopen() {
	for q, fn := range m.emptiesFor {
		if len(m.suspects[fn]) == 0 {
			delete(m.emptiesFor, q)
		}
	}
}

// grabAlone is the part of grab about suspects. closed means that p gets nothing else.
func (m *naive) grabAlone(p int, can []string) (t *naiveTask, closed bool) {
	held := 0
	for _, x := range m.tasks {
		if x.on == p {
			held++
		}
	}
	m.alone[p] = m.alone[p] && held > 0
	for _, fn := range can {
		if l := m.limit[fn]; held > 0 || l > 0 && m.running(fn) >= l {
			continue
		}
		for _, x := range m.suspects[fn] {
			if t == nil || x.rank < t.rank || x.rank == t.rank && x.stamp < t.stamp {
				t = x
			}
		}
	}
	if t != nil {
		m.suspects[t.fn] = remove(m.suspects[t.fn], t)
		m.alone[p] = true
		m.start(t, p)
		return t, true
	}
	for _, fn := range can {
		taken := false
		for _, x := range m.emptiesFor {
			taken = taken || x == fn
		}
		if held > 0 && !m.alone[p] && m.emptiesFor[p] == "" && len(m.suspects[fn]) > 0 && !taken {
			m.emptiesFor[p] = fn
		}
	}
	return nil, m.alone[p] || m.emptiesFor[p] != ""
}

func (m *naive) grab(p int, can []string) *naiveTask {
	if t, closed := m.grabAlone(p, can); closed {
		return t
	}
	var best [3]*naiveTask
	var most [3]int
	for _, fn := range can {
		if l := m.limit[fn]; l > 0 && m.running(fn) >= l {
			continue
		}
		for r, q := range m.queues[fn] {
			if len(q) == 0 {
				continue
			}
			most[r] = max(most[r], m.served[fn][r])
			if best[r] == nil || m.served[fn][r] <= m.served[best[r].fn][r] {
				best[r] = q[0]
			}
		}
	}
	var t *naiveTask
	for _, b := range best {
		if t == nil {
			t = b
		}
	}
	if t == nil {
		return nil
	}
	if t.rank == 0 && (best[1] != nil || best[2] != nil) || t.rank == 1 && best[2] != nil {
		m.turn += 2654435769
		if f := float64(m.turn) / (1 << 32) * 18; f < 1 && best[2] != nil {
			t = best[2]
		} else if f >= 1 && f < 2 && best[1] != nil {
			t = best[1]
		}
	}
	served := &m.served[t.fn][t.rank]
	*served = max(*served, most[t.rank]-serving) + serving/max(m.weight[t.fn], 1)
	q := m.queues[t.fn]
	q[t.rank] = q[t.rank][1:]
	m.queues[t.fn] = q
	m.start(t, p)
	return t
}

func (m *naive) start(t *naiveTask, p int) {
	t.on, t.again = p, false
	t.tries++
}

func (m *naive) end(t *naiveTask) {
	m.tasks = remove(m.tasks, t)
	m.dequeue(t)
}

func (m *naive) dequeue(t *naiveTask) {
	m.suspects[t.fn] = remove(m.suspects[t.fn], t)
	q := m.queues[t.fn]
	q[t.rank] = remove(q[t.rank], t)
	m.queues[t.fn] = q
}

// endOrRepeat ends t, or lets it run again.
func (m *naive) endOrRepeat(t *naiveTask) {
	if !t.again {
		m.end(t)
		return
	}
	t.again, t.earlier, t.lost, t.lostAlone, t.suspect, t.on = false, t.tries, 0, 0, false, 0
	m.ready(t, false)
}

// join gives t the higher priority and the earlier start of both.
func (m *naive) join(t *naiveTask, rank int, delay time.Duration) {
	if rank < t.rank {
		m.dequeue(t)
		t.rank = rank
		if t.on == 0 && t.due.IsZero() {
			m.ready(t, false)
		}
	}
	if t.due.IsZero() {
		return
	}
	if delay == 0 {
		t.due = time.Time{}
		m.ready(t, false)
	} else {
		old := *t
		if m.delay(t, delay); !t.due.Before(old.due) {
			*t = old
		}
	}
}

// retry gives t another attempt after d, unless it was the last.
func (m *naive) retry(t *naiveTask, d time.Duration, last bool) {
	t.on = 0
	if last {
		m.endOrRepeat(t)
		return
	}
	if d == 0 {
		m.ready(t, true)
	} else {
		m.delay(t, d)
	}
}

// TestAgainstModel sends the same events to the queue and the model and compares the assignments.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(seeds / 5) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			now := time.Unix(1e9, 0)
			q := New(Config{})
			m := &naive{now: now, queues: map[string][3][]*naiveTask{}, limit: map[string]int{}, weight: map[string]int{}, served: map[string]*[3]int{"a": {}, "b": {}, "c": {}},
				suspects: map[string][]*naiveTask{}, alone: map[int]bool{}, emptiesFor: map[int]string{}}
			ids := map[*naiveTask]ID{}
			can := map[int][]string{}
			fns := []string{"a", "b", "c"}
			for p := 1; p <= 4; p++ {
				for _, fn := range fns[:1+rng.IntN(3)] {
					can[p] = append(can[p], fn)
					q.Step(now, &CanDo{Peer: Peer(p), Function: fn})
				}
			}
			var sub Submit // reused, as shells do
			for range 1500 {
				var task *naiveTask
				if len(m.tasks) > 0 {
					task = m.tasks[rng.IntN(len(m.tasks))]
				}
				p := 1 + rng.IntN(4)
				switch k := rng.IntN(20); {
				case k < 8:
					x := &naiveTask{fn: fns[rng.IntN(3)], rank: rng.IntN(3), attempts: 1 + rng.IntN(4)}
					sub = Submit{Function: x.fn, Priority: [3]Priority{High, Normal, Low}[x.rank], Policy: Policy{Attempts: x.attempts, Backoff: time.Second}}
					if rng.IntN(3) == 0 {
						x.key = fmt.Sprint(rng.IntN(5))
						sub.Unique, sub.Fresh = KeyOf(x.key), rng.IntN(2) == 0
					}
					delay := time.Duration(0)
					if rng.IntN(4) == 0 {
						delay = time.Duration(rng.Int64N(int64(100 * time.Hour)))
						if rng.IntN(2) == 0 {
							delay %= 5 * time.Second
						}
						sub.Due = now.Add(delay)
					}
					var joined *naiveTask
					for _, y := range m.tasks {
						if y.fn == x.fn && x.key != "" && y.key == x.key {
							joined = y
						}
					}
					if joined != nil {
						joined.again = joined.again || sub.Fresh
						m.join(joined, x.rank, delay)
					} else {
						m.tasks = append(m.tasks, x)
						if delay > 0 {
							m.delay(x, delay)
						} else {
							m.ready(x, false)
						}
					}
					for _, c := range q.Step(now, &sub) {
						if c.Op == Accepted && joined != nil && c.Task != ids[joined] {
							t.Fatalf("%+v: task %d, want it joined to %d", sub, c.Task, ids[joined])
						} else if c.Op == Accepted {
							ids[x] = c.Task
						}
					}
				case k < 13:
					want := m.grab(p, can[p])
					for _, c := range q.Step(now, &Grab{Peer: Peer(p)}) {
						if c.Op == Assign && (want == nil || c.Task != ids[want] || int(c.N) != want.tries) || c.Op == NoTask && want != nil {
							t.Fatalf("%d gets %+v, want %+v, task %d", p, c, want, ids[want])
						}
					}
				case k < 17 && task != nil && task.on != 0:
					task.suspect = false
					what, p := pickOne(rng, []Notice{Done, Done, Failed, Fatal}), Peer(task.on)
					if what != Failed {
						m.endOrRepeat(task)
					} else {
						failed := task.tries - task.earlier - task.lost
						m.retry(task, time.Second<<(failed-1), failed >= task.attempts)
					}
					q.Step(now, &Report{Peer: p, Task: ids[task], Notice: what})
				case k < 18 && task != nil && task.on == 0:
					m.end(task)
					q.Step(now, &Cancel{Task: ids[task]})
				case k == 18 && rng.IntN(5) == 0:
					var held []*naiveTask
					for _, x := range m.tasks {
						if x.on == p {
							held = append(held, x)
						}
					}
					slices.SortFunc(held, func(a, b *naiveTask) int { return b.stamp - a.stamp })
					for _, x := range held {
						x.lost++
						x.suspect = true
						if len(held) == 1 {
							x.lostAlone++
						}
						d := time.Duration(0)
						if x.lost > 1 {
							d = min(time.Second<<(x.lost-2), time.Hour)
						}
						m.retry(x, d, x.attempts == 1 || x.lostAlone >= x.attempts)
					}
					delete(m.emptiesFor, p)
					q.Step(now, &PeerGone{Peer: Peer(p)})
					for _, fn := range can[p] {
						q.Step(now, &CanDo{Peer: Peer(p), Function: fn})
					}
				case k == 18:
					fn := fns[rng.IntN(3)]
					m.limit[fn] = rng.IntN(4)
					m.weight[fn] = rng.IntN(4)
					q.Step(now, &SetFunction{fn, Limits{Concurrency: m.limit[fn], Weight: m.weight[fn]}})
				case k == 19:
					d := time.Duration(rng.IntN(2000)) * time.Millisecond
					if rng.IntN(10) == 0 {
						d = time.Duration(rng.Int64N(int64(30 * time.Hour)))
					}
					now = now.Add(d)
					m.advance(now)
					q.Step(now, Tick{})
				}
				m.reopen()
			}
			for _, bad := range q.Audit() {
				t.Error(bad)
			}
		})
	}
}

// TestLowIsNotStarved counts the starts of each priority while all of them always wait: for one
// worker, and for several workers in turn, some of them with only one function.
func TestLowIsNotStarved(t *testing.T) {
	for workers := 1; workers <= 7; workers++ {
		q := New(Config{})
		now := time.Unix(1e9, 0)
		counts := map[string]int{}
		for _, p := range []Priority{High, Normal, Low} {
			for _, fn := range []string{"a", "b"} {
				for range 20_000 {
					q.Step(now, &Submit{Function: fn, Priority: p})
				}
			}
		}
		for p := 1; p <= workers; p++ {
			q.Step(now, &CanDo{Peer: Peer(p), Function: "a"})
			if p%2 == 0 {
				q.Step(now, &CanDo{Peer: Peer(p), Function: "b"})
				q.Step(now, &CantDo{Peer: Peer(p), Function: "a"})
			}
		}
		const starts = 20_000
		for n := range starts {
			for _, c := range q.Step(now, &Grab{Peer: Peer(1 + n%workers)}) {
				x, _ := q.Status(c.Task)
				counts[fmt.Sprint(x.Function, x.Priority)]++
				q.Step(now, &Report{Peer: c.Peer, Task: c.Task, Notice: Done})
			}
		}
		for _, fn := range []string{"a", "b"}[:min(workers, 2)] {
			all := counts[fn+"0"] + counts[fn+"1"] + counts[fn+"2"]
			for _, p := range []Priority{Normal, Low} {
				if n := counts[fmt.Sprint(fn, p)]; n*20 < all || n*10 > all {
					t.Errorf("%d workers: %d of %d starts of %s have priority %d; want 5 to 10 %%", workers, n, all, fn, p)
				}
			}
		}
	}
}

// TestManyUniques adds and removes keys and compares with a map.
func TestManyUniques(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	q := New(Config{})
	now := time.Unix(1e9, 0)
	live := map[Key]ID{}
	for range 30_000 {
		k := Key{rng.Uint64N(3000)<<40 | 1, 1}
		if id := live[k]; id != 0 && rng.IntN(2) == 0 {
			q.Step(now, &Cancel{Task: id})
			delete(live, k)
			continue
		}
		for _, c := range q.Step(now, &Submit{Function: "f", Unique: k}) {
			if c.Op == Accepted && live[k] != 0 && (c.Task != live[k] || c.N != 1) {
				t.Fatalf("key %v: task %d, want %d", k, c.Task, live[k])
			} else if c.Op == Accepted {
				live[k] = c.Task
			}
		}
	}
	for _, bad := range q.Audit() {
		t.Error(bad)
	}
}
