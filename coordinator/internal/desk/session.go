package desk

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Session is one connection: a client that waits, a worker, or both. What it is told waits in its Outbox for whoever owns it. All methods but
// those of the Outbox, and Taken, want the lock of the desk.
type Session struct {
	Outbox
	d    *Desk
	id   queue.Peer
	name string

	ended  bool
	groups []queue.ID // that it waits for

	attempts  map[queue.ID]int64 // the last one of each task that it was given and that it has not said to have ended
	staleEnds map[queue.ID]int   // tries that ended after the task was given to it again

	hasPaused atomic.Bool             // holding is not empty
	paused    map[queue.ID]queue.Peer // tasks that send this session too much, and their workers
}

var errLeft = errors.New("the session has ended")

// Join begins a session. name is for people. It wants the lock.
func (d *Desk) Join(name string) *Session {
	d.lastPeer++
	s := &Session{d: d, id: d.lastPeer, name: name}
	s.Outbox.init(&d.durability)
	d.peers[s.id] = s
	if d.broken != nil {
		s.close(d.broken)
	}
	return s
}

// Leave ends the session: the tasks that it runs go to others, those that only it waits for are dropped unless they run. It may be called again.
func (s *Session) Leave() {
	if s.ended {
		return
	}
	s.ended = true
	s.resumeSenders()
	for _, id := range s.groups {
		if g := s.d.groups[id]; g != nil {
			g.waiting = slices.DeleteFunc(g.waiting, func(x *Session) bool { return x == s })
		}
	}
	s.d.step(&queue.Gone{Peer: s.id}, nil)
	delete(s.d.peers, s.id)
	s.close(errLeft)
}

// Replace makes Take return err from now on.
func (s *Session) Disconnect(err error) { s.close(err) }

func (s *Session) receive(n *Note) {
	switch n.Op {
	case queue.Stop:
		n.N = uint64(s.attempts[n.Task])
	case queue.Assign:
		s.setAttempt(n.Task, int64(n.N))
		info, _ := s.d.core.Status(n.Task)
		n.Limits = &AttemptLimits{Soft: info.Policy.Soft, Hard: info.Policy.Hard, Last: info.Attempts >= info.Policy.Attempts}
	}
	n.Body = s.d.stableCopy(n.Body)
	waiting := s.put(n)
	if waiting <= s.d.cfg.MaxPending/4 || len(n.Body) == 0 {
		return
	}
	if n.Op == queue.Notify && (n.Notice == queue.Data || n.Notice == queue.Warning) {
		s.pauseSender(n.Task)
		s.resumeIfDrained() // the sender may have taken everything before it could see the hold
	}
	if waiting > s.d.cfg.MaxPending {
		s.d.addFull(&s.Outbox)
	}
}

// filled notes that those who fill o are to be held up after this batch.
func (d *Desk) addFull(o *Outbox) {
	for _, x := range d.full {
		if x == o {
			return
		}
	}
	d.full = append(d.full, o)
}

// hold asks the worker of a task to send no more data: others of its tasks need not suffer from a slow reader.
func (s *Session) pauseSender(id queue.ID) {
	if _, known := s.paused[id]; known {
		return
	}
	info, _ := s.d.core.Status(id)
	w, ok := s.d.peers[info.Worker].(*Session)
	if !ok {
		return
	}
	if s.paused == nil {
		s.paused = map[queue.ID]queue.Peer{}
	}
	s.paused[id] = info.Worker
	s.hasPaused.Store(true)
	w.put(&Note{Signal: Pause, Task: id})
}

// goOn takes all holds back. Another session that is slow for the same task asks again when more comes.
func (s *Session) resumeSenders() {
	for id, worker := range s.paused {
		if w, ok := s.d.peers[worker].(*Session); ok {
			w.put(&Note{Signal: Resume, Task: id})
		}
	}
	s.paused = nil
	s.hasPaused.Store(false)
}

// Taken is called, without the lock, when what Take returned has gone out.
func (s *Session) ConfirmTaken() {
	if !s.hasPaused.Load() {
		return
	}
	s.d.Lock()
	s.resumeIfDrained()
	s.d.Unlock()
}

// relax takes all holds back when little waits.
func (s *Session) resumeIfDrained() {
	s.mu.Lock()
	low := s.bytes <= s.d.cfg.MaxPending/8
	s.mu.Unlock()
	if low {
		s.resumeSenders()
	}
}

// WaitForRoom blocks while too much waits for the session. It is called without the lock.
func (s *Session) WaitForRoom() { s.waitForRoom(s.d.cfg.MaxPending, s.d.cfg.Stall) }

// Submission is a task that somebody wants to be run.
type Submission struct {
	Ref      uint64
	Function string
	Unique   string
	Input    []byte
	Priority queue.Priority
	Due      time.Time
	Policy   queue.Policy
	Durable  bool
	Group    queue.ID
	Place    int // see queue.Submit
	Then     []queue.Next
	// Background lets it run although nobody waits; only the answer is told to the session.
	Background bool
}

// Submit hands over a task on behalf of a session that waits for it, or of nobody when s is nil. The answer is also put into the session's
// Outbox, with its Ref, before anything else about the task. The error wraps ErrFull or ErrInvalid; nothing has changed then. It wants the lock.
// The task is accepted once Note.Commit of the answer is durable.
func (d *Desk) Submit(s *Session, x *Submission) (Note, error) {
	if err := d.checkRoom(x.Function, len(x.Input)); err != nil {
		return Note{}, err
	}
	if s != nil && s.ended {
		return Note{}, errLeft
	}
	key := queue.Key{}
	if x.Unique != "" {
		key = queue.KeyOf(x.Unique)
	}
	d.submit = queue.Submit{Ref: x.Ref, Function: x.Function, Unique: key, Priority: x.Priority, Due: x.Due, Size: len(x.Input), Policy: x.Policy,
		Durable: x.Durable && d.cfg.Dir != "", Group: x.Group, Place: x.Place, Then: x.Then}
	if s != nil && !x.Background {
		d.submit.Peer = s.id
	}
	d.body = appendInput(d.body[:0], 0, x.Unique, "", x.Input)
	n := d.step(&d.submit, d.body)
	d.releaseScratch()
	if s != nil && x.Background && n.Op == queue.Accepted {
		s.put(&n)
	}
	return n, refusalError(&n, x.Function)
}

// shrink lets go of the scratch space of a large body.
func (d *Desk) releaseScratch() {
	if cap(d.body) > 1<<20 {
		d.body = nil
	}
}

// admit refuses what there is no room for.
func (d *Desk) checkRoom(function string, size int) error {
	if d.broken != nil {
		return d.broken
	}
	if size > d.cfg.MaxBody {
		return fmt.Errorf("function %q: %w: an input of %d bytes; the limit is %d", function, ErrInvalid, size, d.cfg.MaxBody)
	}
	if err := d.store.Room(int64(size)); err != nil {
		return fmt.Errorf("function %q: %w: %w", function, ErrFull, err)
	}
	return nil
}

func refusalError(n *Note, function string) error {
	switch {
	case n.Op == queue.Accepted:
		return nil
	case n.Notice == queue.QueueFull:
		return fmt.Errorf("function %q: %w: its queue limit is reached", function, ErrFull)
	}
	return fmt.Errorf("function %q: %w: its name must have 1 to 512 bytes, durations and limits must not be negative, and its group must be open, and have a task before it", function, ErrInvalid)
}

// Behind tells whether err is a refusal that passes with the next commit, because more comes in than the disk takes.
func (d *Desk) IsBacklog(err error) bool {
	return d.cfg.Dir != "" && errors.Is(err, bodies.ErrFull)
}

// Committed returns a channel that is closed by the next commit. It needs no lock.
func (d *Desk) NextDurable() <-chan struct{} { return d.durability.nextBatch() }

// Attach makes the session wait for a task, which may have ended, or for a group. ref comes back in the answer, see Submit. The error wraps ErrUnknown.
func (s *Session) Attach(ref uint64, id queue.ID, function, unique string) (Note, error) {
	if s.ended {
		return Note{}, errLeft
	}
	if s.attachGroup(id) {
		return Note{Op: queue.Accepted, Task: id, Ref: ref}, nil
	}
	e := &queue.Attach{Ref: ref, Peer: s.id, Task: id, Function: function}
	if id == 0 {
		e.Unique = queue.KeyOf(unique)
	}
	n := s.d.step(e, nil)
	if n.Op != queue.Accepted {
		if id == 0 {
			return n, fmt.Errorf("function %q, unique %q: %w", function, unique, ErrUnknown)
		}
		return n, fmt.Errorf("task %d: %w", id, ErrUnknown)
	}
	return n, nil
}

// Detach stops waiting for a task, once. With stop it ends a foreground task that nobody else waits for, though it runs.
func (s *Session) Detach(id queue.ID, stop bool) {
	s.d.step(&queue.Detach{Peer: s.id, Task: id, Stop: stop}, nil)
}

// CanDo makes the session a worker of a function.
func (s *Session) CanDo(function string, timeout time.Duration) {
	if s.ended { // which the core would take for a new peer
		return
	}
	s.d.step(&queue.CanDo{Peer: s.id, Function: function, Timeout: timeout}, nil)
}

// CantDo takes CanDo back.
func (s *Session) CantDo(function string) {
	s.d.step(&queue.CantDo{Peer: s.id, Function: function}, nil)
}

// Slots makes tasks be pushed to the session, so many at once; with a share, when they are granted slots of it. It has the share that was named first.
func (s *Session) SetSlots(n, reserved int, share string) {
	if s.ended {
		return
	}
	s.d.step(&queue.SetSlots{Peer: s.id, N: n, Reserved: reserved, Share: share}, nil)
}

// Grant gives a slot of a share to a task of a priority. It wants the lock.
func (d *Desk) Grant(share string, p queue.Priority) {
	d.step(&queue.Grant{Share: share, Priority: p}, nil)
}

// Shares tells whether sessions may share slots.
func (d *Desk) SharesSlots() bool { return d.cfg.Slots != nil }

// Claim says that the session runs try n of a task, from before a cut. It is told to stop what it should not run.
func (s *Session) Claim(id queue.ID, n int64) {
	if s.ended {
		return
	}
	s.setAttempt(id, n)
	s.d.step(&queue.Claim{Peer: s.id, Task: id}, nil)
}

func (s *Session) setAttempt(id queue.ID, n int64) {
	if s.attempts == nil {
		s.attempts, s.staleEnds = map[queue.ID]int64{}, map[queue.ID]int{}
	}
	s.attempts[id] = n
}

// Report is what the worker says of a try: Data, Warning, Progress (n of m), Done, Failed or Fatal, with a body that must never change, and is
// the error of Failed and Fatal. Ends are acknowledged, whether they count or not.
func (s *Session) Report(id queue.ID, try int64, what queue.Notice, n, m uint64, body []byte) {
	end := what == queue.Done || what == queue.Failed || what == queue.Fatal
	if last, known := s.attempts[id]; known && last != try { // the core finds runs by task, so it hears of this one after the last
		if end {
			s.staleEnds[id]++
			s.Acknowledge(Note{Task: id, N: uint64(try)})
		}
		return
	}
	s.d.reported(s.id, id, what, n, m, body)
	if !end {
		return
	}
	s.Acknowledge(Note{Task: id, N: uint64(try), Batch: s.d.lastBatch})
	delete(s.attempts, id)
	for range s.staleEnds[id] { // now their slots can be freed
		s.d.reported(s.id, id, queue.Failed, 0, 0, nil)
	}
	delete(s.staleEnds, id)
}

// reported gives the core a report.
func (d *Desk) reported(from queue.Peer, id queue.ID, what queue.Notice, n, m uint64, body []byte) Note {
	if what == queue.Failed && d.isFinal(id) {
		what = queue.Fatal
	}
	d.report = queue.Report{Peer: from, Task: id, Notice: what, N: n, M: m}
	return d.step(&d.report, body)
}

// final tells whether a failure of a task is for good.
func (d *Desk) isFinal(id queue.ID) bool {
	in, err := d.Input(id)
	return err == nil && in.final
}
