package sched

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// TestSimulate runs seeded clusters with faults of every kind. To repeat a failing seed, run go
// test -run 'Simulate/seed=417'.
func TestSimulate(t *testing.T) {
	n := seeds
	if testing.Short() {
		n /= 6
	}
	for seed := range n {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { simulate(t, uint64(seed)) })
	}
}

// world is the cluster around the core: workers, messages under way, and the journal.
type world struct {
	*testing.T
	rng     *rand.Rand
	start   time.Time
	now     time.Time
	core    *Scheduler
	cfg     Config
	records []Record
	mail    mailbox
	seq     int
	workers map[string]*simWorker
	names   []string // of all workers ever, in order
	faults  bool     // until faults end

	specs     map[job.ID]job.Spec
	options   map[job.ID]Options
	dropped   map[job.ID]bool
	ended     map[job.ID]JobEnded
	cancelled map[job.ID]bool
	launched  map[job.Attempt]bool
	commits   map[taskOf]*simCommit
	beats     map[string]time.Time // last join or heartbeat received by the core
	queued    simQueued
	budgets   simBudgets
}

type taskOf struct {
	job  job.ID
	task job.Task
}

type simCommit struct {
	attempt job.Attempt
	worker  string
	valid   bool // the core has no reason to think it is lost
}

type simWorker struct {
	name    string
	join    WorkerJoined // its own report of itself
	alive   bool
	silent  time.Time // its messages are not delivered before
	running map[job.Attempt]job.Launch
	store   map[job.Attempt]uint64
}

type message struct {
	at  time.Time
	seq int
	do  func()
}

type mailbox []message

func (m mailbox) Len() int      { return len(m) }
func (m mailbox) Swap(a, b int) { m[a], m[b] = m[b], m[a] }
func (m *mailbox) Push(x any)   { *m = append(*m, x.(message)) }
func (m *mailbox) Pop() any {
	x := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return x
}
func (m mailbox) Less(a, b int) bool {
	return m[a].at.Before(m[b].at) || m[a].at.Equal(m[b].at) && m[a].seq < m[b].seq
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.mail, message{w.now.Add(d), w.seq, do})
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }
func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d)))
}

func simulate(t *testing.T, seed uint64) {
	w := &world{T: t, rng: rand.New(rand.NewPCG(seed, 0)), start: time.Unix(0, 0), now: time.Unix(0, 0),
		cfg:     Config{LeaseTTL: 10 * time.Second, Settle: 8 * time.Second, SpeculateAfter: 2 * time.Second, BlockFor: 5 * time.Second},
		options: map[job.ID]Options{}, dropped: map[job.ID]bool{},
		workers: map[string]*simWorker{}, specs: map[job.ID]job.Spec{}, ended: map[job.ID]JobEnded{}, cancelled: map[job.ID]bool{},
		launched: map[job.Attempt]bool{}, commits: map[taskOf]*simCommit{}, beats: map[string]time.Time{}, faults: true}
	w.cfg.LocalityWait = []time.Duration{0, 0, -1, 5 * time.Second}[w.rng.IntN(4)]
	if w.chance(25) {
		w.cfg.Retain = 20 * time.Second
	}
	w.core = New(w.cfg)
	w.queued.init()
	w.budgets.clear()
	w.after(w.upTo(5*time.Second), w.changeQueued)
	for range 1 + w.rng.IntN(4) {
		w.addWorker()
	}
	for n := range 1 + w.rng.IntN(3) {
		w.after(w.upTo(20*time.Second), func() { w.submit(n) })
	}
	w.after(w.upTo(time.Second), w.misfortune)
	w.after(90*time.Second, func() { w.faults = false })

	for steps := 0; !w.over(); steps++ {
		if steps > 30000 || w.now.Sub(w.start) > time.Hour {
			t.Fatalf("no end after %d steps and %v: %v", steps, w.now.Sub(w.start), w.statuses())
		}
		next := w.core.Next()
		switch {
		case len(w.mail) > 0 && (next.IsZero() || !w.mail[0].at.After(next)):
			m := heap.Pop(&w.mail).(message)
			w.now = m.at
			m.do()
		case !next.IsZero():
			if next.After(w.now) {
				w.now = next
			}
			w.step(Tick{})
		default:
			t.Fatalf("nothing will ever happen: %v", w.statuses())
		}
		w.checkQueued()
		w.checkBudgets()
		if t.Failed() {
			return
		}
	}
	w.checkResults()
}

func (w *world) over() bool {
	return !w.faults && len(w.ended) == len(w.specs) && !w.hasQueuedWork() && !w.wantAll()
}

func (w *world) statuses() (out []report.Job) {
	for _, id := range w.core.Jobs() {
		st, _ := w.core.Status(id)
		out = append(out, st)
	}
	return out
}

// step passes an event to the core and checks every answer. Now and then the coordinator dies
// before it has written the records, or before it has carried out the commands.
func (w *world) step(ev Event) {
	yielded := w.core.yielded
	cmds := slices.Clone(w.core.Step(w.now, ev))
	for _, bad := range Audit(w.core) {
		w.Errorf("%v after %T %+v: %s", w.now.Sub(w.start), ev, ev, bad)
	}
	if next := w.core.Next(); !next.IsZero() && !next.After(w.now) {
		w.Errorf("%v after %T: the core wants to be woken at %v", w.now.Sub(w.start), ev, next.Sub(w.start))
	}
	w.checkLaunches(cmds, int(w.core.yielded-yielded))
	crash := w.faults && w.rng.IntN(300) == 0
	if crash && w.chance(50) {
		w.restart()
		return
	}
	for _, c := range cmds {
		if c, ok := c.(Write); ok {
			w.records = append(w.records, c.Record)
			w.recorded(c.Record)
		}
	}
	if crash {
		w.restart()
		return
	}
	for _, c := range cmds {
		w.act(c)
	}
}

func (w *world) recorded(rec Record) {
	switch rec := rec.(type) {
	case Committed:
		key := taskOf{rec.Attempt.Job, rec.Attempt.Task}
		if c := w.commits[key]; c != nil && c.valid {
			w.Errorf("%v: %s of job %s commits, but %s on %s counts and is not lost", w.now.Sub(w.start), rec.Attempt, rec.Attempt.Job, c.attempt, c.worker)
		}
		w.commits[key] = &simCommit{attempt: rec.Attempt, worker: rec.Worker}
	case OutputLost:
		if c := w.commits[taskOf{rec.Attempt.Job, rec.Attempt.Task}]; c != nil && c.attempt == rec.Attempt {
			c.valid = false
		}
	case Ended:
		if _, twice := w.ended[rec.Job]; twice {
			w.Errorf("job %s ended twice", rec.Job)
		}
		w.ended[rec.Job] = JobEnded{Job: rec.Job, Outcome: rec.Outcome, Failure: rec.Failure}
		if rec.At != w.now {
			w.Errorf("job %s ended at %v, says the record, not %v", rec.Job, rec.At, w.now)
		}
	case Reopened:
		if end, over := w.ended[rec.Job]; !over || end.Outcome != Done {
			w.Errorf("job %s runs again, but was not done", rec.Job)
		}
		delete(w.ended, rec.Job)
	case JobDropped:
		w.dropped[rec.Job] = true
	case OutputMoved:
		if c := w.commits[taskOf{rec.Attempt.Job, rec.Attempt.Task}]; c == nil || c.attempt != rec.Attempt {
			w.Errorf("%s of job %s moves to %s, but does not count", rec.Attempt, rec.Attempt.Job, rec.Worker)
		}
	}
}

func (w *world) act(c Command) {
	switch c := c.(type) {
	case Launch:
		a := c.Launch.Attempt
		if w.launched[a] {
			w.Errorf("attempt %s of job %s was launched before", a, a.Job)
		}
		w.launched[a] = true
		if _, over := w.ended[a.Job]; over {
			w.Errorf("attempt %s of job %s launched after its end", a, a.Job)
		}
		if silent := w.now.Sub(w.beats[c.Worker]); silent >= w.cfg.LeaseTTL || !w.core.HasLease(c.Worker) {
			w.Errorf("launch on %s, silent for %v", c.Worker, silent)
		}
		if c := w.commits[taskOf{a.Job, a.Task}]; c != nil && c.valid {
			w.Errorf("attempt %s of job %s launched, but %s counts", a, a.Job, c.attempt)
		}
		w.toWorker(c.Worker, func(x *simWorker) { w.run(x, c.Launch) })
	case CancelAttempt:
		w.toWorker(c.Worker, func(x *simWorker) {
			if _, ok := x.running[c.Attempt]; ok {
				delete(x.running, c.Attempt)
				w.report(x, AttemptFailed{x.name, c.Attempt, job.Failure{Kind: job.Cancelled}})
			}
		})
	case Commit:
		w.commits[taskOf{c.Attempt.Job, c.Attempt.Task}] = &simCommit{c.Attempt, c.Worker, true}
	case Refuse:
		w.toWorker(c.Worker, func(x *simWorker) { delete(x.store, c.Attempt) })
	case Release:
		for _, p := range c.Outputs {
			if x := w.commits[taskOf{p.Attempt.Job, p.Attempt.Task}]; x != nil && x.attempt == p.Attempt {
				x.valid = false // a client may need the rows made of it
			}
			w.toWorker(p.Worker, func(x *simWorker) { delete(x.store, p.Attempt) })
		}
	case Copy:
		w.toWorker(c.To, func(x *simWorker) { w.copy(x, c.Output) })
	case GrantQueued:
		w.granted(c)
	case AcquireBudgets:
		w.acquire(c)
	case ReleaseBudgets:
		w.release(c.Ticket)
	case Drained:
		w.checkDrained(c.Worker)
		w.workers[c.Worker].alive = false
		w.step(WorkerLost(c))
	case WorkerGone:
		w.forget(c.Worker)
	}
}

// forget notes that outputs on a worker may be made again.
func (w *world) forget(worker string) {
	for _, c := range w.commits {
		if c.worker == worker {
			c.valid = false
		}
	}
}

// restart replaces the coordinator. Messages to it are lost; workers notice and join again.
func (w *world) restart() {
	w.core = New(w.cfg)
	for _, r := range w.records {
		w.core.Restore(r)
	}
	if w.chance(50) { // the journal is replaced by a snapshot
		before := fmt.Sprintf("%+v", w.statuses())
		w.records = slices.Collect(w.core.Records())
		w.core = New(w.cfg)
		for _, r := range w.records {
			w.core.Restore(r)
		}
		if after := fmt.Sprintf("%+v", w.statuses()); after != before {
			w.Errorf("a snapshot changes the status from %s to %s", before, after)
		}
	}
	for _, c := range w.commits {
		c.valid = false
	}
	clear(w.beats)
	w.rejoinQueued()
	w.budgets.clear()
	w.step(Restarted{})
}

func (w *world) addWorker() {
	x := &simWorker{name: fmt.Sprintf("w%d", len(w.names)), alive: true, running: map[job.Attempt]job.Launch{}, store: map[job.Attempt]uint64{}}
	slots := 1 + w.rng.IntN(3)
	x.join = WorkerJoined{Worker: x.name, Slots: slots, Zone: []string{"", "z1", "z2"}[w.rng.IntN(3)], Reserved: w.rng.IntN(slots + 1),
		Tags: []string{"t1", "t2"}[:w.rng.IntN(3)], Platform: []string{"p1", "p2"}[w.rng.IntN(2)], Codes: []string{"c1", "c2"}[:w.rng.IntN(3)], AllowsShippedCode: w.chance(30)}
	if !w.faults { // every job finds a worker in the end
		x.join.Reserved, x.join.Tags, x.join.AllowsShippedCode, x.join.Platform = 0, []string{"t2", "t1"}, true, []string{"p1", "p2"}[len(w.names)%2]
	}
	x.join.WorkerID = "l" + x.name
	for _, name := range w.names {
		if old := w.workers[name]; !old.alive && w.chance(50) {
			x.join.WorkerID = old.join.WorkerID
		}
	}
	w.names = append(w.names, x.name)
	w.workers[x.name] = x
	w.beat(x)
}

// beat sends heartbeats all the time, and joins when the core does not know the worker.
func (w *world) beat(x *simWorker) {
	if !x.alive {
		return
	}
	w.report(x, Heartbeat{Worker: x.name, Running: sortedAttempts(x.running)})
	w.after(2*time.Second+w.upTo(time.Second), func() { w.beat(x) })
}

// report delivers an event from a worker a moment later. A worker that the core does not know
// joins.
func (w *world) report(x *simWorker, ev Event) {
	core := w.core
	d := 100 * time.Millisecond // the same delay for all, so a worker's messages stay in order
	if x.silent.After(w.now) {
		d += x.silent.Sub(w.now)
	}
	w.after(d, func() {
		if !x.alive || core != w.core && w.chance(50) {
			return
		}
		if !w.core.HasLease(x.name) {
			w.forget(x.name)
			w.beats[x.name] = w.now
			join := x.join
			join.Outputs, join.Running = sortedAttempts(x.store), sortedAttempts(x.running)
			w.step(join)
			if join.Draining && !x.alive {
				return // it was drained at once
			}
		}
		if _, beat := ev.(Heartbeat); beat {
			ev = Heartbeat{Worker: x.name, Running: sortedAttempts(x.running)}
			w.beats[x.name] = w.now
		}
		w.step(ev)
		// reported twice, and late
		if _, done := ev.(AttemptDone); done && w.faults && w.chance(10) {
			w.after(w.upTo(20*time.Second), func() { w.step(ev) })
		}
	})
}

func sortedAttempts[V any](m map[job.Attempt]V) []job.Attempt {
	return slices.AppendSeq([]job.Attempt{}, slices.Values(slices.SortedFunc(maps.Keys(m), func(a, b job.Attempt) int {
		return slices.Compare([]int{int(a.Job[0]), int(a.Job[1]), a.Task.Stage, a.Task.Index, a.N}, []int{int(b.Job[0]), int(b.Job[1]), b.Task.Stage, b.Task.Index, b.N})
	})))
}

func (w *world) toWorker(name string, do func(*simWorker)) {
	x := w.workers[name]
	w.after(50*time.Millisecond, func() {
		if x != nil && x.alive {
			do(x)
		}
	})
}

// run plays one attempt: it reads its inputs when it ends, and its output is a hash of them.
func (w *world) run(x *simWorker, l job.Launch) {
	x.running[l.Attempt] = l
	took := 200*time.Millisecond + w.upTo(2*time.Second)
	if w.chance(5) {
		took *= 10
	}
	w.after(took, func() {
		if _, ok := x.running[l.Attempt]; !ok || !x.alive {
			return
		}
		delete(x.running, l.Attempt)
		if w.faults && w.chance(6) {
			w.report(x, AttemptFailed{x.name, l.Attempt, job.Failure{Kind: job.Transient, Message: "boom"}})
			return
		}
		var inputs [][]uint64
		var lost []job.Attempt
		for _, edge := range l.Producers {
			var in []uint64
			for _, p := range edge {
				holder := w.workers[p.Worker]
				sum, ok := holder.store[p.Attempt]
				if !holder.alive || !ok {
					lost = append(lost, p.Attempt)
				}
				in = append(in, sum)
			}
			inputs = append(inputs, in)
		}
		if lost != nil {
			w.report(x, AttemptFailed{x.name, l.Attempt, job.Failure{Kind: job.InputLost, Message: "gone", Lost: lost[:1+w.rng.IntN(len(lost))]}})
			return
		}
		spec := w.specs[l.Attempt.Job]
		x.store[l.Attempt] = output(&spec, l.Attempt.Task, inputs)
		done := AttemptDone{Worker: x.name, Attempt: l.Attempt, Summary: Summary{Records: 1, Counters: map[string]int64{"n": 2}}}
		for range w.rng.IntN(7) {
			done.PartitionBytes = append(done.PartitionBytes, w.rng.Int64N(100<<20))
		}
		w.report(x, done)
	})
}

// output is the result of a task, computed from its inputs. The result of a combine stage is the
// sum of its inputs, whatever the groups, so an input left out or used twice is noticed.
func output(spec *job.Spec, t job.Task, inputs [][]uint64) uint64 {
	st := &spec.Stages[t.Stage]
	if st.Combine {
		if st.Slices > 1 && t.Index%st.Slices != 0 { // the first slice has everything
			return 0
		}
		return sum(inputs[0])
	}
	h := fnv.New64a()
	fmt.Fprint(h, spec.ID, t, len(inputs))
	for e, edge := range inputs {
		if spec.Stages[st.Inputs[e].From].Combine {
			edge = []uint64{sum(edge)}
		}
		for _, in := range edge {
			h.Write(binary.LittleEndian.AppendUint64(nil, in))
		}
	}
	return h.Sum64()
}

func sum(all []uint64) (s uint64) {
	for _, x := range all {
		s += x
	}
	return s
}

// copy plays a worker that copies an output, sometimes fails, and is sometimes late.
func (w *world) copy(x *simWorker, p job.Producer) {
	w.after(w.upTo(3*time.Second), func() {
		from := w.workers[p.Worker]
		value, ok := from.store[p.Attempt]
		switch {
		case !x.alive || w.faults && w.chance(5):
		case !ok || !from.alive || w.chance(10):
			w.report(x, AttemptFailed{x.name, p.Attempt, job.Failure{Kind: job.Transient, Message: "no copy"}})
		default:
			x.store[p.Attempt] = value
			w.report(x, OutputMoved{x.name, p.Attempt})
		}
	})
}

func (w *world) submit(n int) {
	spec := job.Spec{ID: job.ID(fmt.Sprint("j", n))}
	options := Options{Priority: w.rng.IntN(2), Interactive: w.chance(30), Owner: "me"}
	if w.chance(20) {
		options.Tags = []string{"t1", "t2"}[:1+w.rng.IntN(2)]
	}
	if w.chance(20) {
		options.Code, options.Platform = fmt.Sprint("c", 1+w.rng.IntN(3)), fmt.Sprint("p", 1+w.rng.IntN(2))
	}
	w.options[spec.ID] = options
	for k := range 1 + w.rng.IntN(4) {
		st := job.Stage{Tasks: w.rng.IntN(7), Inner: w.chance(30)}
		for from := range k {
			if w.chance(60) {
				st.Inputs = append(st.Inputs, job.Edge{From: from, Mode: job.Mode(w.rng.IntN(3))})
			}
		}
		if w.chance(25) {
			st.Needs = []job.Need{{Budget: "es", N: 1 + w.rng.IntN(2)}, {Budget: "pg", N: 1 + w.rng.IntN(3)}}[w.rng.IntN(2):]
		}
		if k > 0 && w.chance(30) {
			st.Combine, st.Tasks, st.Slices, st.Inputs = true, 1+w.rng.IntN(3), w.rng.IntN(3), []job.Edge{{From: k - 1 - w.rng.IntN(min(k, 2)), Mode: job.Group}}
			st.Tasks *= max(st.Slices, 1)
		}
		if st.Inputs == nil {
			for range st.Tasks {
				st.Splits = append(st.Splits, job.Split{Bytes: 10, Hosts: w.names[:w.rng.IntN(min(3, len(w.names)+1))]})
			}
		}
		spec.Stages = append(spec.Stages, st)
	}
	w.specs[spec.ID] = spec
	var try func()
	try = func() { // a client repeats until its submission is acknowledged
		if _, known := w.core.Hash(spec.ID); !known {
			w.step(Submitted{spec, options})
		}
		if !slices.ContainsFunc(w.records, func(r Record) bool { x, ok := r.(Submitted); return ok && x.Spec.ID == spec.ID }) {
			w.after(time.Second, try)
		}
	}
	try()
}

// misfortune does one bad thing to the cluster, and schedules itself again.
func (w *world) misfortune() {
	if !w.faults {
		w.addWorker()
		w.addWorker()
		return
	}
	x := w.workers[w.names[w.rng.IntN(len(w.names))]]
	switch w.rng.IntN(10) {
	case 8: // an operator drains it
		if x.alive {
			x.join.Draining = true
			w.step(DrainWorker{Worker: x.name})
		}
	case 9: // the same while its outputs are needed
		w.after(w.upTo(20*time.Second), func() {
			if x.alive {
				x.join.Draining = true
				w.step(DrainWorker{Worker: x.name})
			}
		})
	case 0, 1:
		w.addWorker()
	case 2: // dies; its lease ends
		x.alive = false
	case 3: // dies, and is reported
		x.alive = false
		w.step(WorkerLost{x.name})
	case 4: // its disk loses an output
		for _, a := range sortedAttempts(x.store) {
			if w.chance(30) {
				delete(x.store, a)
			}
		}
	case 5: // the network is cut
		x.silent = w.now.Add(w.upTo(20 * time.Second))
	case 6: // a client finds an output unreadable
		if id := job.ID(fmt.Sprint("j", w.rng.IntN(3))); w.specs[id].ID != "" {
			if c := w.core.Commits(id, len(w.specs[id].Stages)-1); len(c) > 0 {
				i := w.rng.IntN(len(c))
				if p := c[i]; p.Worker != "" && w.chance(50) {
					w.step(OutputLost{p.Attempt})
				} else {
					w.want(id, len(w.specs[id].Stages)-1, i)
				}
			}
		}
	case 7:
		if id := job.ID(fmt.Sprint("j", w.rng.IntN(3))); w.specs[id].ID != "" && w.chance(10) {
			w.cancelled[id] = true
			w.step(Cancelled{id, "enough"})
		}
	}
	w.after(w.upTo(4*time.Second), w.misfortune)
}

// want makes a client report an output that it cannot read, because nobody holds it or it claims
// so.
func (w *world) want(id job.ID, stage, task int) {
	if c := w.core.Commits(id, stage); task < len(c) {
		a := job.Attempt{Job: id, Task: job.Task{Stage: stage, Index: task}, N: c[task].Attempt.N}
		w.step(OutputWanted{a, c[task].Worker})
	}
}

// wantAll makes clients ask for all lost outputs of finished jobs, and reports whether there were
// any.
func (w *world) wantAll() (any bool) {
	for id, spec := range w.specs {
		last := len(spec.Stages) - 1
		for last > 0 && spec.Stages[last].Inner {
			last--
		}
		if spec.Stages[last].Inner {
			continue // no outputs are kept
		}
		for i, p := range w.core.Commits(id, last) {
			if _, over := w.ended[id]; over && p.Worker == "" {
				w.want(id, last, i)
				any = true
			}
		}
	}
	return any
}
