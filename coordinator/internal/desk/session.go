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

// Session is one connection of the native protocol: a client, a worker, or both. Notes to it wait
// in its Outbox. Methods of Session need the lock of the desk, except the methods of Outbox,
// ConfirmTaken and WaitForRoom.
type Session struct {
	Outbox
	d    *Desk
	id   queue.Peer
	name string

	ended bool
	// groups lists the groups that the session waits for.
	groups []queue.ID

	// attempts holds the latest attempt of each task assigned to the session and not yet reported
	// as ended.
	attempts map[queue.ID]int64
	// staleEnds counts attempts that ended after the same task was assigned to the session again.
	staleEnds map[queue.ID]int

	// hasPaused means that paused is not empty.
	hasPaused atomic.Bool
	// paused holds the tasks whose workers were asked to pause, and the workers.
	paused map[queue.ID]queue.Peer
}

var errLeft = errors.New("the session has ended")

// Join starts a session. name is for people.
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

// Leave ends the session. Its running tasks return to the queue. Foreground tasks for which only
// it waits are cancelled. left means that a worker announced its end. More calls have no
// effect.
func (s *Session) Leave(left bool) {
	if s.ended {
		return
	}
	s.ended = true
	s.resumeSenders()
	for _, id := range s.groups {
		if g := s.d.groups[id]; g != nil {
			g.waiting = slices.DeleteFunc(g.waiting, func(w groupWaiter) bool { return w.s == s })
		}
	}
	s.d.removePeer(s.id, left)
	s.close(errLeft)
}

// removePeer removes a peer. While the desk ends, its tasks keep their state: no worker was lost.
func (d *Desk) removePeer(id queue.Peer, left bool) {
	if !d.stopping {
		d.step(&queue.PeerGone{Peer: id, Left: left}, nil)
	}
	delete(d.peers, id)
}

// Stop declares that the desk ends: peers that leave from now on are no loss.
func (d *Desk) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
}

// Disconnect drops all notes and makes Take return err. Leave must follow.
func (s *Session) Disconnect(err error) { s.close(err) }

func (s *Session) receive(n *Note) {
	switch n.Op {
	case queue.Stop:
		n.N = uint64(s.attempts[n.Task])
	case queue.Assign:
		s.setAttempt(n.Task, int64(n.N))
		info, _ := s.d.core.Status(n.Task)
		n.Limits = &AttemptLimits{Origin: s.d.core.Origin(n.Task), Soft: info.Policy.Soft, Hard: info.Policy.Hard, Last: info.Attempts-info.Lost >= info.Policy.Attempts}
	}
	n.Body = s.d.stableCopy(n.Body)
	waiting := s.put(n)
	if waiting <= s.d.cfg.MaxPending/4 || len(n.Body) == 0 {
		return
	}
	if n.Op == queue.Notify && (n.Notice == queue.Data || n.Notice == queue.Warning) {
		s.pauseSender(n.Task)
		s.resumeIfDrained() // the reader may have drained the outbox before hasPaused was set
	}
	if waiting > s.d.cfg.MaxPending {
		s.d.addFull(&s.Outbox)
	}
}

// addFull marks o: Unlock blocks until it has room.
func (d *Desk) addFull(o *Outbox) {
	for _, x := range d.full {
		if x == o {
			return
		}
	}
	d.full = append(d.full, o)
}

// pauseSender asks the worker of a task to pause its data, so that its other tasks do not suffer
// from a slow reader.
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

// resumeSenders ends all pauses of the session. If another session is slow for the same task, its
// next note causes a new pause.
func (s *Session) resumeSenders() {
	for id, worker := range s.paused {
		if w, ok := s.d.peers[worker].(*Session); ok {
			w.put(&Note{Signal: Resume, Task: id})
		}
	}
	s.paused = nil
	s.hasPaused.Store(false)
}

// ConfirmTaken is called, without the lock, after the notes of Take have been sent.
func (s *Session) ConfirmTaken() {
	if !s.hasPaused.Load() {
		return
	}
	s.d.Lock()
	s.resumeIfDrained()
	s.d.Unlock()
}

// resumeIfDrained ends all pauses if few bytes wait.
func (s *Session) resumeIfDrained() {
	s.mu.Lock()
	low := s.bytes <= s.d.cfg.MaxPending/8
	s.mu.Unlock()
	if low {
		s.resumeSenders()
	}
}

// WaitForRoom blocks while too much waits for the session. Call it without the lock.
func (s *Session) WaitForRoom() { s.waitForRoom(s.d.cfg.MaxPending, s.d.cfg.Stall) }

// MaxTrace is the largest Trace of a task, in bytes.
const MaxTrace = 1024

// Submission is a new task.
type Submission struct {
	Ref      uint64         // returned in the answer
	Function string         // not empty, at most 512 bytes
	Unique   string         // key for joining equal tasks; empty means none
	Fresh    bool           // an attempt that begins later must serve it; see queue.Submit
	Input    []byte         // passed to the worker unchanged
	Trace    string         // passed to the worker unchanged, at most MaxTrace bytes
	Priority queue.Priority // zero means Normal
	Due      time.Time      // earliest start; zero means now
	Policy   queue.Policy   // zero fields mean the defaults
	Durable  bool           // the task survives a restart
	Group    queue.ID       // open group for the task; zero means none
	// Place is the task's index in its group; see queue.Submit.
	Place int
	Then  []queue.Next // tasks to run after this task, in order
	// Parent is the running task that waits for this one; zero means none.
	Parent queue.ID
	// Token and Repeated identify a repeated submit; see queue.Submit.
	Token    uint64
	Repeated bool
	// Background keeps the task although nobody waits for it; the session receives only the
	// answer.
	Background bool
}

// Submit queues a task. Session s waits for it; s may be nil. The answer is returned and also put
// into the Outbox of s, with its Ref, before all other notes about the task. The task is accepted
// once the answer's Batch is durable. The error wraps ErrFull, ErrInvalid or ErrStopped; then
// nothing has changed.
func (d *Desk) Submit(s *Session, x *Submission) (Note, error) {
	if err := d.checkRoom(x.Function, len(x.Input), d.cfg.MaxBody); err != nil {
		return Note{}, err
	}
	if s != nil && s.ended {
		return Note{}, errLeft
	}
	if x.Unique != "" && x.Group != 0 {
		return Note{}, fmt.Errorf("function %q: %w: a unique key is not for tasks of a group, of which each has a result of its own", x.Function, ErrInvalid)
	}
	if len(x.Trace) > MaxTrace {
		return Note{}, fmt.Errorf("function %q: %w: its trace has %d bytes; %d is the most", x.Function, ErrInvalid, len(x.Trace), MaxTrace)
	}
	key := queue.Key{}
	if x.Unique != "" {
		key = queue.KeyOf(x.Unique)
	}
	d.submit = queue.Submit{Ref: x.Ref, Function: x.Function, Unique: key, Fresh: x.Fresh, Priority: x.Priority, Due: x.Due, Size: len(x.Input), Policy: x.Policy,
		Durable: x.Durable && d.isDurable(), Group: x.Group, Place: x.Place, Then: x.Then, Parent: x.Parent, Token: x.Token, Repeated: x.Repeated}
	if s != nil && !x.Background {
		d.submit.Peer = s.id
	}
	d.body = appendTracedInput(d.body[:0], 0, x.Unique, "", x.Trace, x.Input)
	n := d.step(&d.submit, d.body)
	d.releaseScratch()
	if s != nil && x.Background && n.Op == queue.Accepted {
		s.put(&n)
	}
	return n, refusalError(&n, x.Function)
}

// releaseScratch frees the scratch space of a large body.
func (d *Desk) releaseScratch() {
	if cap(d.body) > 1<<20 {
		d.body = nil
	}
}

// checkRoom refuses an input that is too large or does not fit into the store.
func (d *Desk) checkRoom(function string, size, limit int) error {
	if d.broken != nil {
		return d.broken
	}
	if size > limit {
		return fmt.Errorf("function %q: %w: the input has %d bytes; the limit is %d", function, ErrInvalid, size, limit)
	}
	err := d.store.CheckRoom(int64(size))
	switch {
	case errors.Is(err, bodies.ErrEnded): // Run notices it soon
		return fmt.Errorf("%w: %w", ErrStopped, err)
	case err != nil:
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
	if n.Notice == queue.Circular {
		return fmt.Errorf("function %q: %w", function, errCircular)
	}
	return fmt.Errorf("function %q: %w: its name must have 1 to 512 bytes, durations and limits must not be negative, its group must be open, and its place in the group must follow the last one", function, ErrInvalid)
}

// errCircular refuses a wait that could never end.
var errCircular = fmt.Errorf("%w: the task of this handler would wait for itself", ErrInvalid)

// IsBacklog reports whether err passes with the next durable batch: more comes in than the disk
// can write.
func (d *Desk) IsBacklog(err error) bool {
	return d.isDurable() && errors.Is(err, bodies.ErrFull)
}

// NextDurable returns a channel that is closed when the next batch is durable. It needs no lock.
func (d *Desk) NextDurable() <-chan struct{} { return d.durability.nextBatch() }

// Attach makes the session wait for a task, which may have ended, or for a group. The answer
// carries ref; see Submit. parent is the task whose handler waits, or 0. The error wraps
// ErrUnknown, ErrInvalid or ErrStopped.
func (s *Session) Attach(ref uint64, id queue.ID, function, unique string, parent queue.ID) (Note, error) {
	switch {
	case s.d.broken != nil:
		return Note{}, s.d.broken // the next desk may know the task
	case s.ended:
		return Note{}, errLeft
	}
	if parent != 0 && s.d.groups[id] != nil && s.d.step(&queue.Attach{Ref: NoRef, Peer: s.id, Task: id, Parent: parent}, nil).Notice == queue.Circular {
		return Note{}, fmt.Errorf("group %s: %w", id, errCircular)
	}
	if s.attachGroup(id, parent) {
		return Note{Op: queue.Accepted, Task: id, Ref: ref}, nil
	}
	e := &queue.Attach{Ref: ref, Peer: s.id, Task: id, Function: function, Parent: parent}
	if id == 0 {
		e.Unique = queue.KeyOf(unique)
	}
	n := s.d.step(e, nil)
	if n.Op != queue.Accepted {
		if n.Notice == queue.Circular {
			return n, fmt.Errorf("task %s: %w", id, errCircular)
		}
		if id == 0 {
			return n, fmt.Errorf("function %q, unique %q: %w", function, unique, ErrUnknown)
		}
		return n, fmt.Errorf("task %s: %w", id, ErrUnknown)
	}
	return n, nil
}

// Detach ends one wait for a task. A foreground task without other waiters is cancelled.
func (s *Session) Detach(id queue.ID) {
	s.d.step(&queue.Detach{Peer: s.id, Task: id}, nil)
}

// CanDo makes the session a worker of a function.
func (s *Session) CanDo(function string, timeout time.Duration) {
	if s.ended { // the core would create a new peer
		return
	}
	s.d.step(&queue.CanDo{Peer: s.id, Function: function, Timeout: timeout}, nil)
}

// CantDo reverses CanDo.
func (s *Session) CantDo(function string) {
	s.d.step(&queue.CantDo{Peer: s.id, Function: function}, nil)
}

// SetSlots makes the desk push up to n tasks at a time to the session. With a share, each task
// needs a granted slot of it. The first share of a session stays.
func (s *Session) SetSlots(n, reserved int, share string) {
	if s.ended {
		return
	}
	s.d.step(&queue.SetSlots{Peer: s.id, N: n, Reserved: reserved, Share: share}, nil)
}

// Grant gives a slot of a share to tasks of a priority.
func (d *Desk) Grant(share string, p queue.Priority) {
	d.step(&queue.Grant{Share: share, Priority: p}, nil)
}

// SharesSlots reports whether sessions may share slots. It needs no lock.
func (d *Desk) SharesSlots() bool { return d.cfg.Slots != nil }

// Claim declares that the session still runs attempt n of a task after a reconnect. If it should
// not, it receives Stop. former is the worker's session before, which has not left yet; nil when
// there is none.
func (s *Session) Claim(id queue.ID, n int64, former *Session) {
	if s.ended {
		return
	}
	s.setAttempt(id, n)
	claim := queue.Claim{Peer: s.id, Task: id, N: uint64(n)}
	if former != nil {
		claim.From = former.id
	}
	s.d.step(&claim, nil)
}

func (s *Session) setAttempt(id queue.ID, n int64) {
	if s.attempts == nil {
		s.attempts, s.staleEnds = map[queue.ID]int64{}, map[queue.ID]int{}
	}
	s.attempts[id] = n
}

// Report passes on a worker's report about an attempt: Data, Warning, Progress (n of m), Done,
// Failed or Fatal. body must never change; for Failed and Fatal it is the error. The session
// receives an Ack for every end, even for one without effect.
func (s *Session) Report(id queue.ID, try int64, notice queue.Notice, n, m uint64, body []byte) {
	end := notice == queue.Done || notice == queue.Failed || notice == queue.Fatal
	// The core finds a run by its task, so this stale end is reported after the latest attempt.
	if last, known := s.attempts[id]; known && last != try {
		if end {
			s.staleEnds[id]++
			s.Acknowledge(Note{Task: id, N: uint64(try)})
		}
		return
	}
	s.d.reported(s.id, id, notice, n, m, body)
	if !end {
		return
	}
	s.Acknowledge(Note{Task: id, N: uint64(try), Batch: s.d.lastBatch})
	delete(s.attempts, id)
	for range s.staleEnds[id] { // their slots become free only now
		s.d.reported(s.id, id, queue.Failed, 0, 0, nil)
	}
	delete(s.staleEnds, id)
}

// Lead reports that one call of a handler runs two tasks of the session; see queue.Lead.
func (s *Session) Lead(id, leader queue.ID) {
	if !s.ended {
		s.d.step(&queue.Lead{Peer: s.id, Task: id, Leader: leader}, nil)
	}
}

// reported passes a report to the core.
func (d *Desk) reported(from queue.Peer, id queue.ID, notice queue.Notice, n, m uint64, body []byte) Note {
	if notice == queue.Failed && d.isFinal(id) {
		notice = queue.Fatal
	}
	if notice == queue.Failed || notice == queue.Fatal {
		d.noteFailure(from, id, body)
	}
	d.report = queue.Report{Peer: from, Task: id, Notice: notice, N: n, M: m, Size: len(body)}
	return d.step(&d.report, body)
}

// isFinal reports whether a failure of the task is not retried.
func (d *Desk) isFinal(id queue.ID) bool {
	in, err := d.Input(id)
	return err == nil && in.final
}
