package gearman

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Queued is a Broker over the core of the queue, and a shell of it: it gives the core its events, carries out its commands and keeps the
// inputs of tasks in memory. Make it with NewQueued; Run makes its timers go off.
type Queued struct {
	QueuedConfig

	sync.Mutex // guards the fields below, with Lock and Unlock of Queued
	core       *queue.Queue
	sessions   map[queue.Peer]*queuedSession
	lastPeer   queue.Peer
	inputs     inputs
	names      map[string]string // of functions, so that a submit makes no new string
	armed      time.Time         // when Run wakes up
	sooner     chan struct{}     // it must wake up sooner

	// The events that every packet needs, used again and again.
	submit queue.Submit
	grab   queue.Grab
	report queue.Report
	keep   bool // the payload of report never changes
}

// QueuedConfig says how jobs of this protocol are tried. The zero value is good.
type QueuedConfig struct {
	// Policy of every job. Zero fields have the core's defaults.
	Policy queue.Policy
	// RetryFailed tries jobs again that a worker reports as failed, as often as Policy says. Without it, as in gearmand, only jobs
	// whose worker was lost or took too long are tried again.
	RetryFailed bool
	// Write is called for the commands Write, and for Drop, KeepResult and Gather of durable tasks, and returns the number of the commit
	// that makes it durable; see Queued.Committed. payload is the input, which the core asks to keep with Write. Nil means that nothing
	// is durable. The arguments are valid during the call.
	Write func(c queue.Command, payload Input) (commit uint64)
}

// Input is what a worker gets with a task.
type Input struct {
	Unique, Reducer string
	Data            []byte
}

var errRefused = errors.New("function name or limits out of bounds")

// NewQueued returns a Broker over core, which must be used through it alone.
func NewQueued(core *queue.Queue, cfg QueuedConfig) *Queued {
	return &Queued{QueuedConfig: cfg, core: core, sessions: map[queue.Peer]*queuedSession{}, names: map[string]string{}, sooner: make(chan struct{}, 1)}
}

// Run gives the core the time when it asks for it, until ctx ends.
func (q *Queued) Run(ctx context.Context) error {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.sooner:
		case <-t.C:
		}
		q.Lock()
		q.step(queue.Tick{}, Input{})
		q.armed = q.core.Next()
		wait := time.Hour
		if !q.armed.IsZero() {
			wait = time.Until(q.armed)
		}
		q.Mutex.Unlock()
		t.Reset(wait)
	}
}

// Unlock ends a batch of calls.
func (q *Queued) Unlock() {
	if next := q.core.Next(); !next.IsZero() && (q.armed.IsZero() || next.Before(q.armed)) {
		q.armed = next
		select {
		case q.sooner <- struct{}{}:
		default:
		}
	}
	q.Mutex.Unlock()
}

// Committed says that all writes up to a commit are durable.
func (q *Queued) Committed(commit uint64) {
	q.Lock()
	defer q.Unlock()
	for _, s := range q.sessions {
		if s.submitted > 0 {
			s.peer.Committed(commit)
			if s.submitted <= commit {
				s.submitted = 0
			}
		}
	}
}

// answer is what the core answers an event with.
type answer struct {
	queue.Command
	commit uint64
}

// step gives the core an event, with its payload, carries out its commands, and returns the one that answers the event.
func (q *Queued) step(ev queue.Event, in Input) (a answer) {
	for _, c := range q.core.Step(time.Now(), ev) {
		switch c.Op {
		case queue.Write:
			if q.Write != nil {
				payload := in
				if c.Payload == queue.FromInput {
					payload = q.inputs.get(c.Task)
				}
				a.commit = q.Write(c, payload)
			}
			if c.Payload == queue.FromEvent {
				q.inputs.put(c.Task, in)
			}
		case queue.Keep:
			q.inputs.put(c.Task, in)
		case queue.Drop:
			q.inputs.drop(c.Task)
			if c.N == 1 && q.Write != nil {
				q.Write(c, Input{})
			}
		case queue.KeepResult, queue.Gather:
			if q.Write != nil {
				q.Write(c, in)
			}
		case queue.Wake:
			if s := q.sessions[c.Peer]; s != nil {
				s.wake()
			}
		case queue.Notify:
			if s := q.sessions[c.Peer]; s != nil {
				s.tell(c, in.Data)
			}
		case queue.Accepted, queue.Rejected, queue.Unknown, queue.Assign, queue.NoTask:
			a.Command = c
		}
	}
	return a
}

// Attach registers a connection.
func (q *Queued) Attach(p Peer) Session {
	q.lastPeer++
	s := &queuedSession{q: q, peer: p, id: q.lastPeer}
	q.sessions[s.id] = s
	return s
}

func (q *Queued) name(b []byte) string {
	name, ok := q.names[string(b)]
	if !ok {
		name = string(b)
		if len(q.names) < maxNames {
			q.names[name] = name
		}
	}
	return name
}

// maxNames bounds what is kept of the names that peers make up.
const maxNames = 100_000

type queuedSession struct {
	q         *Queued
	peer      Peer
	id        queue.Peer
	functions []string
	submitted uint64            // the last commit that a submit waits for
	asking    bool              // Sleep runs: a Wake is its answer
	awake     bool              // that answer
	raised    map[uint64][]byte // exceptions of tries that have not ended
}

// uniqueKey returns the core's key. A payload that is the key differs from all that clients can send: those have no NUL.
func uniqueKey(unique, data []byte) queue.Key {
	if string(unique) != "-" {
		return queue.KeyOf(unique)
	}
	if len(data) == 0 {
		return queue.Key{}
	}
	return queue.KeyOf(append([]byte{0}, data...))
}

var corePriority = [...]queue.Priority{High: queue.High, Normal: queue.Normal, Low: queue.Low}

func (s *queuedSession) Submit(sub Submission) (id, commit uint64, err error) {
	q := s.q
	q.submit = queue.Submit{
		Function: q.name(sub.Function), Unique: uniqueKey(sub.Unique, sub.Data), Priority: corePriority[sub.Priority], Size: len(sub.Data),
		Policy: q.Policy, Durable: sub.Background && q.Write != nil,
	}
	if !sub.Background {
		q.submit.Peer = s.id
	}
	if sub.After > 0 {
		q.submit.Due = time.Unix(sub.After, 0)
	}
	in := Input{Unique: string(sub.Unique), Reducer: string(sub.Reducer), Data: sub.Data}
	if !sub.Keep {
		in.Data = append([]byte(nil), sub.Data...)
	}
	a := q.step(&q.submit, in)
	switch {
	case a.Op == queue.Accepted:
		s.submitted = max(s.submitted, a.commit)
		return uint64(a.Task), a.commit, nil
	case a.Notice == queue.QueueFull:
		return 0, 0, ErrQueueFull
	}
	return 0, 0, errRefused
}

func (s *queuedSession) CanDo(function []byte, timeout time.Duration) {
	name := s.q.name(function)
	s.q.step(&queue.CanDo{Peer: s.id, Function: name, Timeout: timeout}, Input{})
	for _, f := range s.functions {
		if f == name {
			return
		}
	}
	s.functions = append(s.functions, name)
}

func (s *queuedSession) CantDo(function []byte) {
	if len(function) == 0 { // which the core takes for all
		return
	}
	s.q.step(&queue.CantDo{Peer: s.id, Function: string(function)}, Input{})
	for i, f := range s.functions {
		if f == string(function) {
			s.functions = append(s.functions[:i], s.functions[i+1:]...)
			return
		}
	}
}

func (s *queuedSession) ResetAbilities() {
	s.q.step(&queue.CantDo{Peer: s.id}, Input{})
	s.functions = nil
}

func (s *queuedSession) Functions(yield func(string)) {
	for _, f := range s.functions {
		yield(f)
	}
}

func (s *queuedSession) Grab() (Job, bool) {
	q := s.q
	q.grab = queue.Grab{Peer: s.id}
	a := q.step(&q.grab, Input{})
	if a.Op != queue.Assign {
		return Job{}, false
	}
	in := q.inputs.get(a.Task)
	return Job{ID: uint64(a.Task), Function: a.Function, Unique: in.Unique, Reducer: in.Reducer, Data: in.Data}, true
}

func (s *queuedSession) Sleep() bool {
	s.asking, s.awake = true, false
	s.q.step(&queue.Sleep{Peer: s.id}, Input{})
	s.asking = false
	return s.awake
}

func (s *queuedSession) wake() {
	if s.asking {
		s.awake = true
		return
	}
	s.peer.Wake()
}

func (s *queuedSession) Work(u Update) error {
	q := s.q
	q.report = queue.Report{Peer: s.id, Task: queue.ID(u.ID)}
	failed := queue.Fatal
	if q.RetryFailed {
		failed = queue.Failed
	}
	what := queue.Data
	switch u.Kind {
	case WorkWarning:
		what = queue.Warning
	case WorkStatus:
		what = queue.Progress
		q.report.N, q.report.M = uint64(number(u.Data)), uint64(number(u.Denominator))
	case WorkComplete:
		what = queue.Done
	case WorkFail:
		what = failed
	case WorkException:
		what = queue.Exception
	}
	q.report.Notice = what
	q.keep = u.Keep
	if a := q.step(&q.report, Input{Data: u.Data}); a.Op == queue.Unknown {
		return ErrNoJob
	}
	if what == queue.Exception { // which ends the job in this protocol
		q.report = queue.Report{Peer: s.id, Task: queue.ID(u.ID), Notice: failed}
		q.step(&q.report, Input{})
	}
	return nil
}

// tell passes on what has become of a task that the connection waits for.
func (s *queuedSession) tell(c queue.Command, data []byte) {
	u := Update{ID: uint64(c.Task)}
	if c.Payload == queue.FromEvent {
		u.Data, u.Keep = data, s.q.keep
	}
	switch c.Notice {
	case queue.Data:
		u.Kind = WorkData
	case queue.Warning:
		u.Kind = WorkWarning
	case queue.Progress:
		u.Kind, u.Data, u.Denominator = WorkStatus, decimal(c.N), decimal(c.M)
	case queue.Exception: // what follows says whether it is the last
		if s.raised == nil {
			s.raised = map[uint64][]byte{}
		}
		s.raised[u.ID] = append([]byte(nil), data...)
		return
	case queue.Done:
		u.Kind = WorkComplete
	case queue.Retrying:
		delete(s.raised, u.ID)
		if !s.q.RetryFailed { // gearmand says nothing of it
			return
		}
		u.Kind, u.Data = WorkWarning, []byte("The job has failed and will be tried again")
	case queue.Failed, queue.Fatal, queue.Cancelled, queue.TimedOut, queue.Lost:
		u.Kind = WorkFail
		if text, raised := s.raised[u.ID]; raised {
			u.Kind, u.Data = WorkException, text
		}
	default: // what this protocol has no word for
		return
	}
	if u.Ends() {
		delete(s.raised, u.ID)
	}
	s.peer.Update(u)
}

func (s *queuedSession) Close() {
	s.q.step(&queue.Gone{Peer: s.id}, Input{})
	delete(s.q.sessions, s.id)
}

// Status of a task that has ended is that of one that is not known, as this protocol has it.
func (q *Queued) Status(id uint64) JobStatus { return jobStatus(q.core.Status(queue.ID(id))) }

func (q *Queued) StatusUnique(unique []byte) JobStatus {
	key := queue.KeyOf(unique)
	for _, f := range q.core.Functions() {
		if st := jobStatus(q.core.StatusUnique(f.Name, key)); st.Known {
			return st
		}
	}
	return JobStatus{}
}

func jobStatus(t queue.Info, ok bool) JobStatus {
	if !ok || t.State > queue.Running {
		return JobStatus{}
	}
	return JobStatus{Known: true, Running: t.State == queue.Running, Numerator: uint32(t.N), Denominator: uint32(t.M), Waiting: t.Waiters}
}

func (q *Queued) Cancel(id uint64) error {
	if st := q.Status(id); !st.Known {
		return ErrNoJob
	}
	q.step(&queue.Cancel{Task: queue.ID(id)}, Input{})
	return nil
}

func (q *Queued) Functions(yield func(FunctionStatus)) {
	for _, f := range q.core.Functions() {
		st := FunctionStatus{Name: f.Name, Running: f.Counts.In[queue.Running], Workers: f.Workers}
		st.Queued = [3]int{High: f.Queued[queue.High], Normal: f.Queued[queue.Normal] + f.Counts.In[queue.Delayed], Low: f.Queued[queue.Low]}
		yield(st)
	}
}

func (q *Queued) Jobs(from uint64, n int, yield func(JobInfo)) (next uint64) {
	return uint64(q.core.Tasks(int(from), n, func(t queue.Info) {
		if t.State <= queue.Running {
			yield(JobInfo{ID: uint64(t.ID), Unique: q.inputs.get(t.ID).Unique, Retries: max(0, t.Attempts-1), Stored: t.Background})
		}
	}))
}

func (q *Queued) CreateFunction(name string) {
	if _, ok := q.core.Function(name); !ok {
		q.step(&queue.SetFunction{Function: name}, Input{})
	}
}

func (q *Queued) DropFunction(name string) error {
	if _, ok := q.core.Function(name); !ok {
		return ErrNoFunction
	}
	if q.step(&queue.DropFunction{Function: name}, Input{}).Op == queue.Rejected {
		return ErrBusy
	}
	delete(q.names, name)
	return nil
}

func (q *Queued) Limit(name string, jobs [3]int) {
	f, ok := q.core.Function(name)
	if !ok {
		return
	}
	for p, n := range jobs {
		f.Limits.Queue[corePriority[p]] = n
	}
	q.step(&queue.SetFunction{Function: strings.Clone(name), Limits: f.Limits}, Input{})
}
