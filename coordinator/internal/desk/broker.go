package desk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/gearman"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// BrokerConfig configures the jobs of Gearman clients. The zero value is usable.
type BrokerConfig struct {
	// Memory keeps background jobs in memory only, like gearmand without a queue plug-in.
	Memory bool
	// Policy applies to every job. Zero fields have the core's defaults. Keep applies to
	// background jobs only.
	Policy queue.Policy
	// RetryFailed retries jobs after WORK_FAIL and WORK_EXCEPTION, as Policy allows. Without it,
	// as in gearmand, a job is retried only if its worker was lost or too slow.
	RetryFailed bool
	// Attempts limits the attempts at the jobs of single functions, instead of Policy.Attempts.
	Attempts map[string]int
	// MaxBody is the largest input in bytes. Zero means Config.MaxBody.
	MaxBody int
	// Gathered converts encoded GatheredResults for Gearman workers; nil passes them on
	// unchanged.
	Gathered func(encoded []byte) ([]byte, error)
}

// Broker is the queue behind Gearman connections: it implements gearman.Broker on a desk.
type Broker struct {
	*Desk
	cfg BrokerConfig

	// The desk's lock guards the fields below.
	// names interns function names, to save allocations.
	names map[string]string
	grab  queue.Grab
	// slab holds inputs on their way to workers.
	slab []byte
	// slowOutboxes had too much waiting at the end of a turn.
	slowOutboxes []*Outbox
	// batchSeen is Desk.lastBatch at the end of the previous turn.
	batchSeen uint64
}

// NewBroker returns a Broker for d.
func NewBroker(d *Desk, cfg BrokerConfig) *Broker {
	cfg.MaxBody = cmp.Or(cfg.MaxBody, d.cfg.MaxBody)
	return &Broker{Desk: d, cfg: cfg, names: map[string]string{}}
}

var _ interface {
	gearman.Broker
	gearman.Backlogged
} = (*Broker)(nil)

// maxNames limits the memory for invented function names.
const maxNames = 100_000

func (b *Broker) name(function []byte) string {
	name, ok := b.names[string(function)]
	if !ok {
		if len(b.names) >= maxNames {
			clear(b.names)
		}
		name = string(function)
		b.names[name] = name
	}
	return name
}

// gearmanSession is one Gearman connection.
type gearmanSession struct {
	b         *Broker
	peer      gearman.Peer
	id        queue.Peer
	functions []string
	// assigned is the note that answers Grab.
	assigned Note
	// inSleep means that Sleep runs: a Wake is its answer, jobFound.
	inSleep  bool
	jobFound bool
	// delayed holds notes until their batch is durable, and all later notes.
	delayed []Note
	// batch is the latest batch that a submit waits for, or 0.
	batch uint64
	// callbackSet means that afterBatch will be called.
	callbackSet bool
}

// Attach starts the session of a connection.
func (b *Broker) Attach(p gearman.Peer) gearman.Session {
	b.lastPeer++
	s := &gearmanSession{b: b, peer: p, id: b.lastPeer}
	b.peers[s.id] = s
	return s
}

// name returns a name for people.
func (s *gearmanSession) name() string {
	if c, ok := s.peer.(interface{ Name() string }); ok {
		return c.Name()
	}
	return "gearman-" + strconv.FormatUint(uint64(s.id), 10)
}

// Close ends the session.
func (s *gearmanSession) Close() {
	s.b.removePeer(s.id, false)
	s.delayed, s.peer = nil, nil
}

// uniqueKey returns the core's key. For unique "-" the payload is the key (SUBMIT_JOB, gearmand
// protocol document). A NUL in front separates it from keys of clients, which cannot contain NUL.
func uniqueKey(unique, data []byte) queue.Key {
	if string(unique) != "-" {
		return queue.KeyOf(unique)
	}
	if len(data) == 0 {
		return queue.Key{}
	}
	return queue.KeyOf(append([]byte{0}, data...))
}

// Joins reports whether a submit would join a job by its unique key.
func (b *Broker) Joins(sub gearman.Submission) bool {
	key := uniqueKey(sub.Unique, sub.Data)
	if key == (queue.Key{}) {
		return false
	}
	info, ok := b.core.StatusUnique(b.name(sub.Function), key)
	return ok && info.State <= queue.Running
}

var priorityOf = [...]queue.Priority{gearman.High: queue.High, gearman.Normal: queue.Normal, gearman.Low: queue.Low}

// Submit queues a job (SUBMIT_JOB and its variants).
func (s *gearmanSession) Submit(sub gearman.Submission) (id, batch uint64, err error) {
	b := s.b
	function := b.name(sub.Function)
	if err := b.checkRoom(function, len(sub.Data), b.cfg.MaxBody); errors.Is(err, ErrStopped) {
		return 0, 0, fmt.Errorf("%w: %w", gearman.ErrEnding, err)
	} else if err != nil {
		return 0, 0, err
	}
	b.submit = queue.Submit{Function: function, Unique: uniqueKey(sub.Unique, sub.Data), Priority: priorityOf[sub.Priority],
		Size: len(sub.Data), Policy: b.cfg.Policy, Durable: sub.Background && !b.cfg.Memory && b.Desk.isDurable()}
	if n, ok := b.cfg.Attempts[function]; ok {
		b.submit.Policy.Attempts = n
	}
	if !sub.Background {
		b.submit.Peer = s.id
		b.submit.Policy.Keep = 0 // the waiting clients receive the result
	}
	if sub.After > 0 {
		b.submit.Due = time.Unix(sub.After, 0)
	}
	bits := byte(finalBit)
	if b.cfg.RetryFailed {
		bits = 0
	}
	b.body = appendInput(b.body[:0], bits, sub.Unique, sub.Reducer, sub.Data)
	n := b.step(&b.submit, b.body)
	b.releaseScratch()
	switch {
	case n.Op == queue.Accepted:
		if n.Batch > 0 {
			s.batch = n.Batch
			s.deliverDurable()
		}
		return uint64(n.Task), n.Batch, nil
	case n.Notice == queue.QueueFull:
		return 0, 0, gearman.ErrQueueFull
	}
	return 0, 0, refusalError(&n, b.submit.Function)
}

// deliverDurable passes on everything durable, and registers for the next batch if more waits.
func (s *gearmanSession) deliverDurable() {
	b := s.b
	for !s.callbackSet {
		durable := b.durability.durable.Load()
		if s.batch > 0 {
			s.peer.Durable(durable)
		}
		if s.batch <= durable {
			s.batch = 0
		}
		n := 0
		for ; n < len(s.delayed) && s.delayed[n].Batch <= durable; n++ {
			s.send(&s.delayed[n])
		}
		s.delayed = slices.Delete(s.delayed, 0, n)
		next := s.batch
		if len(s.delayed) > 0 {
			next = max(next, s.delayed[0].Batch)
		}
		if next == 0 {
			return
		}
		s.callbackSet = b.durability.callAfterBatch(next, func() { b.afterBatch(s) })
	}
}

// afterBatch is called when a later batch is durable.
func (b *Broker) afterBatch(s *gearmanSession) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.callbackSet = false; s.peer != nil {
		s.deliverDurable()
	}
}

// receive handles a note of the desk.
func (s *gearmanSession) receive(n *Note) {
	switch {
	case n.Op == queue.Assign:
		s.assigned = *n
	case n.Op == queue.Wake && s.inSleep:
		s.jobFound = true
	case n.Op != queue.Wake && n.Op != queue.Notify: // no packet exists for it
	case len(s.delayed) > 0 || n.Batch > s.b.durability.durable.Load():
		n.Body = s.b.stableCopy(n.Body)
		s.delayed = append(s.delayed, *n)
		s.deliverDurable()
	default:
		s.send(n)
	}
}

// send passes a note to the connection.
func (s *gearmanSession) send(n *Note) {
	if n.Op == queue.Wake {
		s.peer.Wake()
		return
	}
	u := gearman.Update{ID: uint64(n.Task), Data: n.Body, Immutable: !s.b.payloadReused}
	switch n.Notice {
	case queue.Data:
		u.Kind = gearman.WorkData
	case queue.Warning:
		u.Kind = gearman.WorkWarning
	case queue.Progress:
		u.Kind, u.Data, u.Denominator = gearman.WorkStatus, strconv.AppendUint(nil, n.N, 10), strconv.AppendUint(nil, n.M, 10)
	case queue.Done:
		u.Kind = gearman.WorkComplete
	case queue.Retrying:
		if !s.b.cfg.RetryFailed { // gearmand does not report retries
			return
		}
		u.Kind, u.Data = gearman.WorkWarning, []byte("The job has failed and will be tried again")
	case queue.Failed, queue.Cancelled:
		u.Kind = gearman.WorkFail
		if len(n.Body) > 0 {
			u.Kind = gearman.WorkException
		}
	default:
		return
	}
	s.peer.Update(u)
	if r, ok := s.peer.(roomWaiter); ok && !s.b.inGearmanTurn && len(n.Body) > 0 {
		s.b.roomWaiters = append(s.b.roomWaiters, r)
	}
}

// roomWaiter is a connection with a bounded queue of output.
type roomWaiter interface {
	// WaitForRoom blocks while the queue is full.
	WaitForRoom()
}

// Lock begins a turn of package gearman.
func (b *Broker) Lock() {
	b.Desk.Lock()
	b.inGearmanTurn = true
}

// Unlock ends a turn. It also blocks while the disk is too far behind.
func (b *Broker) Unlock() {
	if b.UnlockNow() {
		b.WaitForBacklog()
	}
}

// UnlockNow is Unlock without the wait. It reports whether a wait is due.
func (b *Broker) UnlockNow() (backlogged bool) {
	b.inGearmanTurn = false
	backlogged = b.lastBatch != b.batchSeen && b.IsBacklog(b.store.CheckRoom(0))
	b.batchSeen = b.lastBatch
	for _, o := range b.full {
		if !slices.Contains(b.slowOutboxes, o) {
			b.slowOutboxes = append(b.slowOutboxes, o)
		}
	}
	b.full = nil
	b.slowOutboxes = slices.DeleteFunc(b.slowOutboxes, func(o *Outbox) bool { return o.hasRoom(b.Desk.cfg.MaxPending) })
	backlogged = backlogged || len(b.slowOutboxes) > 0
	b.Desk.Unlock()
	return backlogged
}

// WaitForBacklog blocks until the disk and the slow sessions have caught up. Call it without the
// lock.
func (b *Broker) WaitForBacklog() {
	b.mu.Lock()
	slow := slices.Clone(b.slowOutboxes)
	b.mu.Unlock()
	for _, o := range slow {
		o.waitForRoom(b.Desk.cfg.MaxPending, b.Desk.cfg.Stall)
	}
	for b.IsBacklog(b.store.CheckRoom(0)) && b.durability.failure() == nil {
		next := b.durability.nextBatch()
		if !b.IsBacklog(b.store.CheckRoom(0)) {
			return
		}
		<-next
	}
}

// CanDo makes the session a worker of function (CAN_DO, CAN_DO_TIMEOUT).
func (s *gearmanSession) CanDo(function []byte, timeout time.Duration) {
	name := s.b.name(function)
	s.b.step(&queue.CanDo{Peer: s.id, Function: name, Timeout: timeout}, nil)
	if !slices.Contains(s.functions, name) {
		s.functions = append(s.functions, name)
	}
}

// CantDo reverses CanDo (CANT_DO).
func (s *gearmanSession) CantDo(function []byte) {
	if len(function) == 0 { // the core would remove all functions
		return
	}
	s.b.step(&queue.CantDo{Peer: s.id, Function: string(function)}, nil)
	s.functions = slices.DeleteFunc(s.functions, func(f string) bool { return f == string(function) })
}

// ResetAbilities reverses all CanDo (RESET_ABILITIES).
func (s *gearmanSession) ResetAbilities() {
	s.b.step(&queue.CantDo{Peer: s.id}, nil)
	s.functions = nil
}

// Functions yields the functions of the session.
func (s *gearmanSession) Functions(yield func(string)) {
	for _, f := range s.functions {
		yield(f)
	}
}

// Grab returns the next job (GRAB_JOB).
func (s *gearmanSession) Grab() (gearman.Job, bool) {
	b := s.b
	b.grab = queue.Grab{Peer: s.id}
	for {
		if b.step(&b.grab, nil).Op == queue.NoTask || b.broken != nil {
			return gearman.Job{}, false
		}
		id := s.assigned.Task
		in, err := b.input(id)
		if err == nil && in.Gathered && b.cfg.Gathered != nil {
			in.Data, err = b.cfg.Gathered(in.Data)
		}
		if err == nil {
			return gearman.Job{ID: uint64(id), Function: s.assigned.Function, Unique: in.Unique, Reducer: in.Reducer, Data: in.Data}, true
		}
		b.Desk.cfg.Log.Error("task failed: its input cannot be read", "task", id, "err", err)
		b.reported(s.id, id, queue.Fatal, 0, 0, []byte(err.Error()))
	}
}

// slabSize is the allocation unit for inputs on their way to workers.
const slabSize = 32 << 10

// input is Desk.Input with fewer allocations.
func (b *Broker) input(id queue.ID) (Input, error) {
	if cap(b.slab)-len(b.slab) < 1<<10 {
		b.slab = make([]byte, 0, slabSize)
	}
	start := len(b.slab)
	all, err := b.store.Get(b.slab[start:start], 0, uint64(id))
	if err != nil {
		return Input{}, err
	}
	if len(all) <= cap(b.slab)-start {
		b.slab = b.slab[:start+len(all)]
	}
	return decodeInput(all[:len(all):len(all)])
}

// Sleep reports whether a job waits for the session (PRE_SLEEP).
func (s *gearmanSession) Sleep() bool {
	s.inSleep, s.jobFound = true, false
	s.b.step(&queue.Sleep{Peer: s.id}, nil)
	s.inSleep = false
	return s.jobFound
}

// Work passes on a worker's update (WORK_DATA to WORK_EXCEPTION).
func (s *gearmanSession) Work(u gearman.Update) error {
	b := s.b
	notice, data, n, m := queue.Data, u.Data, uint64(0), uint64(0)
	switch u.Kind {
	case gearman.WorkWarning:
		notice = queue.Warning
	case gearman.WorkStatus:
		notice, data = queue.Progress, nil
		n, m = number(u.Data), number(u.Denominator)
	case gearman.WorkComplete:
		notice = queue.Done
	case gearman.WorkFail, gearman.WorkException: // in this protocol an exception is the end
		notice = queue.Failed
	}
	b.payloadReused = !u.Immutable
	answer := b.reported(s.id, queue.ID(u.ID), notice, n, m, data)
	b.payloadReused = false
	if answer.Op == queue.Unknown {
		return gearman.ErrNoJob
	}
	return nil
}

// Refuse fails a job because of its worker's update.
func (s *gearmanSession) Refuse(id uint64, why string) error {
	if s.b.reported(s.id, queue.ID(id), queue.Fatal, 0, 0, []byte(why)).Op == queue.Unknown {
		return gearman.ErrNoJob
	}
	return nil
}

// number parses the digits of WORK_STATUS; anything else counts as 0.
func number(text []byte) uint64 {
	n, _ := strconv.ParseUint(string(text), 10, 32)
	return n
}

// Status reports a finished task as unknown, as the Gearman protocol requires (STATUS_RES).
func (b *Broker) Status(id uint64) gearman.JobStatus { return jobStatus(b.core.Status(queue.ID(id))) }

// StatusUnique finds a job by its unique key (GET_STATUS_UNIQUE).
func (b *Broker) StatusUnique(unique []byte) gearman.JobStatus {
	return jobStatus(b.core.StatusUnique("", queue.KeyOf(unique)))
}

func jobStatus(t queue.Info, ok bool) gearman.JobStatus {
	if !ok || t.State > queue.Running {
		return gearman.JobStatus{}
	}
	return gearman.JobStatus{Known: true, Running: t.State == queue.Running, Numerator: uint32(t.N), Denominator: uint32(t.M), Waiting: t.Waiters}
}

// Cancel ends a job, or drops a dead letter (text command cancel job).
func (b *Broker) Cancel(id uint64) error {
	info, _ := b.core.Status(queue.ID(id))
	if info.DeadLetter && b.Forget(queue.ID(id)) {
		return nil
	}
	if b.step(&queue.Cancel{Task: queue.ID(id)}, nil).Op != queue.Accepted {
		return gearman.ErrNoJob
	}
	return nil
}

// Functions yields the counts of every function. Delayed jobs count as queued with normal
// priority.
func (b *Broker) Functions(yield func(gearman.FunctionStatus)) {
	for _, f := range b.core.Functions() {
		yield(gearman.FunctionStatus{Name: f.Name, Running: f.Counts.In[queue.Running], Workers: f.Workers, Queued: [3]int{
			gearman.High: f.Queued[queue.High], gearman.Normal: f.Queued[queue.Normal] + f.Counts.In[queue.Delayed], gearman.Low: f.Queued[queue.Low]}})
	}
}

// OtherWorkers yields the workers of the native protocol.
func (b *Broker) OtherWorkers(yield func(name string, functions []string)) {
	for _, w := range b.Workers() {
		if !w.Gearman {
			yield(w.Name, w.Functions)
		}
	}
}

// Jobs lists up to n jobs.
func (b *Broker) Jobs(from uint64, n int, yield func(gearman.JobInfo)) (next uint64) {
	return uint64(b.core.Tasks(int(from), n, func(t queue.Info) {
		if t.State <= queue.Running || t.DeadLetter {
			in, _ := b.input(t.ID)
			yield(gearman.JobInfo{ID: uint64(t.ID), Unique: in.Unique, Retries: max(0, t.Attempts-1), Ignored: t.DeadLetter, Stored: t.Background && !t.DeadLetter})
		}
	}))
}

// DeadJobs lists dead letters.
func (b *Broker) DeadJobs(n int, yield func(gearman.DeadJob)) {
	for _, f := range b.core.Functions() {
		if f.Dead == 0 {
			continue
		}
		b.core.DeadLetters(f.Name, n, func(t queue.Info) {
			in, _ := b.input(t.ID)
			text, _ := b.Result(t.ID)
			reason, _, _ := strings.Cut(string(text), "\n")
			yield(gearman.DeadJob{ID: uint64(t.ID), Function: t.Function, Unique: in.Unique, Attempts: t.Attempts, Reason: reason})
			n--
		})
	}
}

// CreateFunction registers a function without workers or jobs.
func (b *Broker) CreateFunction(name string) error {
	if _, ok := b.core.Function(name); ok {
		return nil
	}
	return b.setLimits(strings.Clone(name), queue.Limits{})
}

func (b *Broker) setLimits(name string, l queue.Limits) error {
	b.step(&queue.SetFunction{Function: name, Limits: l}, nil)
	if _, ok := b.core.Function(name); !ok {
		return fmt.Errorf("function %.60q was not created: its name must have 1 to 512 bytes, and there may be too many functions", name)
	}
	return nil
}

// DropFunction removes a function.
func (b *Broker) DropFunction(name string) error {
	if _, ok := b.core.Function(name); !ok {
		return gearman.ErrNoFunction
	}
	if b.step(&queue.DropFunction{Function: name}, nil).Op == queue.Rejected {
		return gearman.ErrBusy
	}
	delete(b.names, name)
	return nil
}

// SetLimits bounds the queue of a function.
func (b *Broker) SetLimits(name string, jobs [3]int) error {
	f, _ := b.core.Function(name)
	for p, n := range jobs {
		f.Limits.Queue[priorityOf[p]] = n
	}
	return b.setLimits(strings.Clone(name), f.Limits)
}
