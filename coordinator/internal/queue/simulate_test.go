package queue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestSimulate runs random clients, workers, faults and restarts against the queue, by seed, and
// keeps its own account of every task.
func TestSimulate(t *testing.T) {
	n := uint64(seeds)
	if testing.Short() {
		n /= 6
	}
	for seed := range n {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 150 {
				w.act()
			}
			w.heal()
		})
	}
}

// fact is the simulated world's account of a task.
type fact struct {
	durable       bool
	input, result bool // stored by the shell
	// notified or seen as ended
	ended     bool
	cancelled bool
	dropped   bool
	again     bool // a fresh submit joined it since the last start
	on        Peer // peer whose attempt counts, or 0
	// how often each peer must be notified of the end
	waits map[Peer]int
}

type world struct {
	t       *testing.T
	rng     *rand.Rand
	q       *Queue
	now     time.Time
	records map[string][]byte
	facts   map[ID]*fact
	order   []ID // IDs in facts
	workers []Peer
	pushed  map[Peer]int // slots
	// attempts on workers, stopped or not
	busy    map[Peer]map[ID]bool
	clients []Peer
	last    Peer
	groups  []ID
	refs    uint64
	gathers []ID
	acquire []uint64
	shares  map[string]*simShare
}

// simShare has the numbers announced by a share and the slots lent to it.
type simShare struct{ want, held [3]int }

func (w *world) share(name string) *simShare {
	if w.shares[name] == nil {
		w.shares[name] = &simShare{}
	}
	return w.shares[name]
}

// checkShares checks that no slot was lost or invented.
func (w *world) checkShares() {
	for name, s := range w.shares {
		var held [3]int
		for _, p := range w.q.peers {
			if p != nil && p.share != nil && p.share.name == name {
				for _, r := range p.runs {
					if x := w.q.runs.at(r); !x.lent {
						held[priorities[x.slotRank]]++
					}
				}
			}
		}
		if held != s.held {
			w.t.Fatalf("share %s has %v slots, and runs %v", name, s.held, held)
		}
	}
}

// lent counts the runs of p beyond its slots, with the one that just starts: it is marked later.
func (w *world) lent(p *peer) (n int) {
	for _, r := range p.runs {
		n += int(boolBit(w.q.runs.at(r).lent))
	}
	return n
}

// grant grants a wanted slot, if there is one.
func (w *world) grant() bool {
	for _, name := range slices.Sorted(maps.Keys(w.shares)) {
		for _, p := range priorities {
			if s := w.shares[name]; s.want[p] > 0 && w.rng.IntN(2) == 0 {
				s.want[p]--
				s.held[p]++
				w.step(&Grant{name, p})
				return true
			}
		}
	}
	return false
}

var functions = []string{"a", "b", "c", "d"}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1e9, 0), records: map[string][]byte{}, facts: map[ID]*fact{},
		pushed: map[Peer]int{}, busy: map[Peer]map[ID]bool{}, shares: map[string]*simShare{}}
	w.q = New(Config{MaxDead: 5, KeepDead: 2 * time.Hour, KeepIdle: 8 * time.Hour})
	return w
}

func pickOne[T any](r *rand.Rand, s []T) (x T) {
	if len(s) > 0 {
		x = s[r.IntN(len(s))]
	}
	return x
}

func (w *world) act() {
	r := w.rng
	f := pickOne(r, functions)
	switch k := r.IntN(100); {
	case k < 25:
		s := &Submit{Function: f, Priority: Priority(r.IntN(3)), Size: r.IntN(100), Durable: r.IntN(2) == 0,
			Policy: Policy{Attempts: r.IntN(4), Backoff: time.Duration(r.IntN(3)) * time.Second}}
		if r.IntN(2) == 0 {
			s.Peer = pickOne(r, w.clients)
		}
		if r.IntN(3) == 0 {
			s.Unique = KeyOf(pickOne(r, []string{"x", "y", "z"}))
			s.Fresh = r.IntN(3) == 0
		}
		if r.IntN(6) == 0 {
			s.Due = w.now.Add(time.Duration(r.IntN(20000)-1000) * time.Millisecond)
		}
		for _, d := range []*time.Duration{&s.Policy.Soft, &s.Policy.Hard, &s.Policy.Keep} {
			if r.IntN(4) == 0 {
				*d = time.Duration(r.IntN(5000)) * time.Millisecond
			}
		}
		if r.IntN(8) == 0 {
			s.Group = pickOne(r, w.groups)
		}
		for r.IntN(8) == 0 {
			s.Then = append(s.Then, Next{Function: pickOne(r, functions), Policy: Policy{Keep: time.Duration(r.IntN(2)) * time.Second}})
		}
		if r.IntN(5) == 0 {
			s.Parent = pickOne(r, w.order)
		}
		w.step(s)
	case k < 28:
		w.last++
		w.clients = append(w.clients, w.last)
	case k < 33:
		w.last++
		w.workers = append(w.workers, w.last)
		w.busy[w.last] = map[ID]bool{}
		for range 1 + r.IntN(3) {
			w.step(&CanDo{Peer: w.last, Function: pickOne(r, functions), Timeout: time.Duration(r.IntN(2)*r.IntN(4)) * time.Second})
		}
		if r.IntN(2) == 0 {
			w.pushed[w.last] = 1 + r.IntN(4)
			s := &SetSlots{Peer: w.last, N: w.pushed[w.last], Reserved: r.IntN(2)}
			if r.IntN(2) == 0 {
				s.Share = pickOne(r, []string{"m", "n"})
			}
			w.step(s)
		}
	case k < 45:
		if p := pickOne(r, w.workers); p != 0 && (w.pushed[p] == 0 || r.IntN(5) == 0) {
			w.step(&Grab{Peer: p, Max: r.IntN(3)})
		} else if p != 0 {
			w.report(p)
		}
	case k < 48:
		if p := pickOne(r, w.workers); p != 0 {
			w.step(&Sleep{p})
		}
	case k < 70:
		if p := pickOne(r, w.workers); p != 0 {
			w.report(p)
		}
	case k < 74:
		id := pickOne(r, w.order)
		if r.IntN(4) == 0 {
			w.step(&RunNow{Task: id})
			return
		}
		w.step(&Cancel{Task: id})
	case k < 76:
		w.gone(pickOne(r, append(slices.Clone(w.clients), w.workers...)))
	case k < 78:
		if p := pickOne(r, w.clients); p != 0 {
			a := &Attach{Peer: p, Task: pickOne(r, w.order), Parent: pickOne(r, w.order)}
			if r.IntN(4) == 0 {
				a.Task = pickOne(r, w.groups)
			}
			if r.IntN(2) == 0 {
				a.Task, a.Function, a.Unique = 0, f, KeyOf("x")
			}
			w.step(a)
		}
	case k < 79:
		if p, id := pickOne(r, w.clients), pickOne(r, w.order); p != 0 && id != 0 {
			if n := w.facts[id].waits[p]; n > 0 {
				w.facts[id].waits[p]--
			}
			w.step(&Detach{p, id})
		}
	case k < 81:
		var l Limits
		if r.IntN(2) == 0 {
			l = Limits{Concurrency: r.IntN(3), Paused: r.IntN(4) == 0, Queue: [3]int{r.IntN(2) * 5, 0, r.IntN(2) * 3}}
			if r.IntN(3) == 0 {
				l.Rate, l.Burst = 0.2+r.Float64()*10, r.IntN(3)
			}
			if r.IntN(2) == 0 {
				l.Needs = []Need{{Budget: "pg", N: 1 + r.IntN(2)}, {Budget: "es", N: 1}}[:1+r.IntN(2)]
			}
		}
		w.step(&SetFunction{f, l})
	case k < 82:
		w.step(&SetBudget{pickOne(r, []string{"pg", "es"}), r.IntN(5)})
	case k < 84:
		w.refs++
		w.step(&Acquire{w.refs, []Need{{"pg", 1 + r.IntN(3), r.IntN(4)}, {"es", 1 + r.IntN(2), r.IntN(3)}}[:1+r.IntN(2)], r.IntN(9) == 0})
		w.acquire = append(w.acquire, w.refs)
	case k < 86:
		if ref := pickOne(r, w.acquire); ref != 0 {
			w.acquire = remove(w.acquire, ref)
			w.step(&Release{ref})
		}
	case k < 88:
		var dead []ID
		w.q.DeadLetters(f, 10, func(x Info) { dead = append(dead, x.ID) })
		if id := pickOne(r, dead); id != 0 && r.IntN(2) == 0 {
			w.facts[id].ended = false
			for _, c := range w.step(&Retry{Task: id}) {
				w.facts[id].ended = w.facts[id].ended || c.Op == Unknown
			}
		} else if id != 0 {
			w.step(&Forget{Task: id})
		}
	case k < 89:
		w.step(&DropFunction{Function: f})
	case k < 91:
		g := &OpenGroup{Partial: r.IntN(2) == 0, Durable: r.IntN(2) == 0}
		if r.IntN(3) > 0 {
			g.Then = []Next{{Function: f, Priority: High}}
		}
		w.step(g)
	case k < 93:
		if g := pickOne(r, w.groups); g != 0 {
			w.step(&CloseGroup{g})
		}
	case k < 96:
		w.gather()
	case k < 98 && r.IntN(2) == 0:
		for r.IntN(6) > 0 && w.grant() {
		}
		if r.IntN(4) == 0 {
			w.share("m").held[High]++
			w.step(&Grant{"m", High}) // a grant without a want
		}
	case k < 99 && r.IntN(2) == 0:
		w.restart()
	default:
		w.advance(time.Duration(r.IntN(4000)) * time.Millisecond)
	}
}

func (w *world) gather() {
	if id := pickOne(w.rng, w.gathers); id != 0 {
		w.gathers = remove(w.gathers, id)
		if f := w.facts[id]; !f.dropped {
			f.input = true
		}
		if w.rng.IntN(8) == 0 {
			w.step(&GatherFailed{Task: id})
			return
		}
		w.step(&Gathered{Task: id, Size: 10})
	}
}

func (w *world) advance(d time.Duration) {
	end := w.now.Add(d)
	for next := w.q.Next(); !next.IsZero() && !next.After(end); next = w.q.Next() {
		if next.After(w.now) {
			w.now = next
		}
		w.step(Tick{})
	}
	w.now = end
}

// report makes p report about one of its tasks, or about a task of another worker.
func (w *world) report(p Peer) {
	var tasks []ID
	for id := range w.busy[p] {
		tasks = append(tasks, id)
	}
	slices.Sort(tasks)
	id := pickOne(w.rng, tasks)
	if id == 0 || w.rng.IntN(20) == 0 {
		id = pickOne(w.rng, w.order)
	}
	if id != 0 {
		w.reportOn(p, id, pickOne(w.rng, []Notice{Data, Warning, Progress, Exception, Done, Done, Done, Failed, Fatal}))
	}
}

func (w *world) reportOn(p Peer, id ID, notice Notice) {
	over := notice == Done || notice == Failed || notice == Fatal
	counts := w.facts[id].on == p
	if over {
		delete(w.busy[p], id)
		if counts {
			w.facts[id].on = 0
		}
	}
	if counts && (notice == Done || notice == Fatal) && !w.facts[id].again {
		w.facts[id].ended = true
	}
	unknown := false
	for _, c := range w.step(&Report{Peer: p, Task: id, Notice: notice, N: 1, M: 2}) {
		unknown = unknown || c.Op == Unknown
	}
	if counts && unknown {
		w.t.Fatalf("%d says %d of task %d, which it runs: unknown", p, notice, id)
	}
}

func (w *world) gone(p Peer) {
	if p == 0 {
		return
	}
	w.clients, w.workers = remove(w.clients, p), remove(w.workers, p)
	for _, f := range w.facts {
		delete(f.waits, p)
		if f.on == p {
			f.on = 0
		}
	}
	delete(w.busy, p)
	delete(w.pushed, p)
	w.step(&PeerGone{p, w.rng.IntN(4) == 0})
}

// restart loses everything but the Records. Some workers come back and claim their runs.
func (w *world) restart() {
	w.q = New(Config{MaxDead: 5, KeepDead: 2 * time.Hour, KeepIdle: 8 * time.Hour})
	for _, key := range slices.Sorted(maps.Keys(w.records)) {
		if err := w.q.Restore([]byte(key), w.records[key]); err != nil {
			w.t.Fatalf("%v: %x; task %x", err, w.records[key], w.records["t"+key[1:]])
		}
	}
	w.gathers, w.acquire, w.shares = nil, nil, map[string]*simShare{}
	for id, f := range w.facts {
		again := w.q.reruns[w.q.find(id)]
		if f.again && f.durable && !f.ended && !again {
			w.t.Fatalf("the restart lost the fresh submit that joined task %d", id)
		}
		f.again = again // also one that was served by the start of an attempt, which is not recorded
		f.waits, f.on = map[Peer]int{}, 0
		_, known := w.q.Status(id)
		_, written := w.records[string(keyOf('t', id))]
		if known != written || f.durable && !f.ended && !known {
			w.t.Fatalf("task %d, durable %v, ended %v: recorded %v, known %v after a restart", id, f.durable, f.ended, written, known)
		}
		if !known {
			f.dropped, f.ended, f.input, f.result = true, true, false, false
		}
	}
	w.groups = slices.DeleteFunc(w.groups, func(id ID) bool { return w.records["g"+string(keyOf('t', id)[1:])] == nil })
	w.step(Restarted{})
	workers, busy := w.workers, w.busy
	w.workers, w.clients, w.busy, w.pushed = nil, nil, map[Peer]map[ID]bool{}, map[Peer]int{}
	for _, old := range workers {
		w.last++
		w.workers = append(w.workers, w.last)
		w.busy[w.last] = map[ID]bool{}
		for _, id := range slices.Sorted(maps.Keys(busy[old])) {
			w.busy[w.last][id] = true
			w.facts[id].on = w.last
			for _, c := range w.step(&Claim{Peer: w.last, Task: id}) {
				if c.Op == Stop && c.Task == id {
					delete(w.busy[w.last], id)
				}
			}
		}
		w.step(&CanDo{Peer: w.last, Function: pickOne(w.rng, functions)})
		if w.rng.IntN(3) == 0 {
			w.pushed[w.last] = len(w.busy[w.last]) + w.rng.IntN(3)
			w.step(&SetSlots{Peer: w.last, N: w.pushed[w.last], Share: "n"})
		}
	}
}

// heal provides all that tasks need to end, and checks that all have ended.
func (w *world) heal() {
	for _, g := range slices.Clone(w.groups) {
		w.step(&CloseGroup{g})
	}
	for _, ref := range w.acquire {
		w.step(&Release{ref})
	}
	for _, p := range slices.Clone(w.workers) {
		w.gone(p)
	}
	w.step(&SetBudget{"pg", 5})
	w.step(&SetBudget{"es", 5})
	w.last++
	p := w.last
	w.workers = []Peer{p}
	w.busy[p] = map[ID]bool{}
	w.pushed[p] = 3
	for _, f := range functions {
		w.step(&SetFunction{Function: f})
		w.step(&CanDo{Peer: p, Function: f})
	}
	s := &SetSlots{Peer: p, N: 3}
	if w.rng.IntN(2) == 0 {
		s.Share = "m"
	}
	w.step(s)
	for range 2000 {
		for range 20 {
			w.grant()
		}
		c := w.q.Totals()
		if c.In[Waiting]+c.In[Delayed]+c.In[Running] == 0 {
			break
		}
		for _, id := range slices.Sorted(maps.Keys(w.busy[p])) {
			w.reportOn(p, id, Done)
		}
		for len(w.gathers) > 0 {
			w.gather()
		}
		w.advance(time.Minute)
	}
	if c := w.q.Totals(); c.In[Waiting]+c.In[Delayed]+c.In[Running] != 0 {
		w.t.Fatalf("not all ended: %+v", c)
	}
	w.advance(time.Hour)
	for id, f := range w.facts {
		for p, n := range f.waits {
			if n != 0 {
				w.t.Errorf("peer %d waits for task %d, %d times", p, id, n)
			}
		}
		x, known := w.q.Status(id)
		if !known && (f.input || f.result) || known && !x.DeadLetter {
			w.t.Errorf("task %d: known %v (%+v), input kept %v, result kept %v", id, known, x, f.input, f.result)
		}
	}
	for key := range w.records {
		if id := ID(0); key[0] == 't' || key[0] == 'u' {
			for _, b := range []byte(key[1:]) {
				id = id<<8 | ID(b)
			}
			if x, ok := w.q.Status(id); !ok || !x.DeadLetter {
				w.t.Errorf("record %x of a task that is no more", key)
			}
		}
	}
}

func (w *world) step(ev Event) []Command {
	cmds := slices.Clone(w.q.Step(w.now, ev))
	for _, c := range cmds {
		w.do(ev, c)
	}
	w.checkShares()
	for _, bad := range w.q.Audit() {
		w.t.Fatalf("after %T %+v: %s", ev, ev, bad)
	}
	return cmds
}

func (w *world) fact(id ID) *fact {
	f := w.facts[id]
	if f == nil {
		f = &fact{waits: map[Peer]int{}}
		w.facts[id] = f
		w.order = append(w.order, id)
	}
	return f
}

func (w *world) do(ev Event, c Command) {
	t := w.t
	ofLast := false // an operation on a task with followers affects the last follower
	switch ev.(type) {
	case *Cancel, *Attach, *RunNow:
		ofLast = c.Op == Accepted || c.Notice == Followed
	}
	if c.Op != Write && !ofLast && c.Op != Unknown && c.Op != GroupEnded && w.facts[c.Task] != nil && w.facts[c.Task].dropped && c.Op != Stop {
		t.Fatalf("after %T: %+v of a dropped task", ev, c)
	}
	switch c.Op {
	case Write:
		if c.Value == nil {
			delete(w.records, string(c.Key))
		} else {
			w.records[string(c.Key)] = slices.Clone(c.Value)
		}
		if c.Payload == FromEvent {
			w.fact(c.Task).input = true
		}
		if c.Key[0] == 't' {
			w.fact(c.Task).durable = true
		}
		if c.Payload == FromInput && !w.facts[c.Task].input {
			t.Fatalf("the input of task %d is not there", c.Task)
		}
	case Keep:
		w.fact(c.Task).input = true
	case Accepted:
		if _, ok := ev.(*OpenGroup); ok {
			w.groups = append(w.groups, c.Task)
		}
		if s, ok := ev.(*Submit); ok {
			f := w.fact(c.Task)
			f.again = f.again || s.Fresh && c.N == 1
			if s.Peer != 0 {
				f.waits[s.Peer]++
			}
		}
		if a, ok := ev.(*Attach); ok && !slices.Contains(w.groups, c.Task) {
			w.fact(c.Task).waits[a.Peer]++
		}
		if _, ok := ev.(*Cancel); ok && w.facts[c.Task] != nil {
			// otherwise its follower was cancelled
			if x, ok := w.q.Status(c.Task); !ok || x.State != WasDone {
				w.facts[c.Task].cancelled, w.facts[c.Task].ended, w.facts[c.Task].on = true, true, 0
			}
		}
	case KeepResult:
		w.facts[c.Task].result = true
	case KeepError:
		if c.Notice != Failed && c.Notice != TimedOut && c.Notice != Lost && c.Notice != TooLarge && c.Notice != Circular || (c.Notice == Failed) != (c.Payload == FromEvent) {
			t.Fatalf("after %T: %+v", ev, c)
		}
	case Drop:
		f := w.fact(c.Task)
		switch ev.(type) { // others may leave a foreground task without a waiting peer
		case *Report, Tick:
		default:
			f.again = false
		}
		if f.again && !f.cancelled {
			t.Fatalf("after %T: task %d dropped, a fresh submit was not served", ev, c.Task)
		}
		for p, n := range f.waits {
			if n != 0 {
				t.Fatalf("after %T: task %d dropped, peer %d waits", ev, c.Task, p)
			}
		}
		f.dropped, f.ended, f.input, f.result = true, true, false, false
		if c.N == 1 {
			delete(w.records, string(keyOf('t', c.Task)))
			if c.M == 1 {
				delete(w.records, string(keyOf('u', c.Task)))
			}
		} else if w.records[string(keyOf('t', c.Task))] != nil {
			t.Fatalf("task %d dropped, its record not", c.Task)
		}
	case Assign:
		f := w.facts[c.Task]
		if f == nil || f.on != 0 || f.cancelled || f.ended || !f.input {
			t.Fatalf("after %T: assign %+v: %+v", ev, c, f)
		}
		f.on, f.again = c.Peer, false
		w.busy[c.Peer][c.Task] = true
		if p := w.q.findPeer(c.Peer); p.isolated && len(p.runs)-w.lent(p) > 1 {
			t.Fatalf("after %T: peer %d runs a suspect and %d other tasks", ev, c.Peer, len(p.runs)-1)
		}
		// one twice: an attempt being stopped and a new one
		if n := w.pushed[c.Peer]; n > 0 && len(w.busy[c.Peer])-w.lent(w.q.findPeer(c.Peer)) > n+1 {
			t.Fatalf("peer %d has %d tasks in %d slots", c.Peer, len(w.busy[c.Peer]), n)
		}
	case Notify:
		f := w.facts[c.Task]
		switch c.Notice {
		case Done, Failed, Cancelled:
			if f.waits[c.Peer]--; f.waits[c.Peer] < 0 {
				t.Fatalf("peer %d is told twice of task %d", c.Peer, c.Task)
			}
			if f.ended = true; f.again && c.Notice != Cancelled {
				t.Fatalf("after %T: %+v, and a fresh submit was not served", ev, c)
			}
			if c.Payload == FromResult && c.Notice == Done && !f.result || f.cancelled && c.Notice != Cancelled {
				t.Fatalf("told %+v: %+v", c, f)
			}
		case Followed:
			f.waits[c.Peer]--
			w.fact(ID(c.N)).waits[c.Peer]++
		}
	case Stop:
		f := w.facts[c.Task]
		if f == nil {
			return
		}
		if c.Notice != Soft && f.on == c.Peer {
			f.on = 0
		}
		if c.Notice != Soft && w.pushed[c.Peer] == 0 {
			delete(w.busy[c.Peer], c.Task)
		}
	case Gather:
		w.fact(c.Task)
		w.gathers = append(w.gathers, c.Task)
		for _, id := range c.Tasks {
			if x, ok := w.q.Status(id); ok && x.State == WasDone && !w.facts[id].result {
				t.Fatalf("task %d gathers the result of %d, which was not kept", c.Task, id)
			}
		}
	case GroupEnded:
		w.groups = remove(w.groups, c.Task)
	case Want:
		w.share(c.Function).want[c.M] = int(c.N)
	case Occupied:
		w.share(c.Function).held[c.M]++
	case Vacated:
		if w.share(c.Function).held[c.M]--; w.share(c.Function).held[c.M] < 0 {
			t.Fatalf("after %T: share %s gives back a slot that it has not", ev, c.Function)
		}
	case NoTask, Wake, Unknown, Rejected, Granted, Short:
	default:
		t.Fatalf("unknown command %+v", c)
	}
}
