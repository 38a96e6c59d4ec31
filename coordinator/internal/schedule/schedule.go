// Package schedule decides when the schedules of a cluster fire.
//
// A schedule has a name, a cron expression in a time zone, and a task to submit. The package is a
// pure core inside a shell, package desk: Step takes an event and the time, and returns commands.
// It reads no clock and no file and starts nothing.
//
//	Set{nightly, "0 2 * * *"}       Write (the definition and the state)
//	Tick, at 02:00                  Fire{nightly, 02:00}
//	Started{nightly, 02:00, task 7} Write (the state)
//	Ended{task 7, Done}             Write (the state)
//
// # Once per time
//
// The state of a schedule holds the last time that was decided. The shell submits the task of a
// Fire and writes the state that Started returns in one batch of its store. So after a crash, or on
// the next leader, either both exist or neither, and no time fires twice or never.
//
// # Late times
//
// A time that is due for Late or longer was missed: no coordinator was there, or its machine slept.
// CatchUp decides about missed times. Overlap decides about a time at which the task of an earlier
// time has not ended.
//
// # What always holds
//
//   - A schedule has one unended task at most, except that a replaced one may still be ending.
//   - Each time of a schedule since its definition is fired, skipped, missed or waits. The counts
//     of its Info add up to the times that were due, plus the runs of RunNow.
package schedule

import (
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/internal/cron"
)

const (
	// Late is how late a time may fire without being missed.
	Late = time.Minute
	// MaxWaiting limits the times of one schedule that wait. Beyond it, times are skipped.
	MaxWaiting = 1000
	// MaxSchedules limits the schedules of a cluster.
	MaxSchedules = 2000
	// MaxProgram limits the name and the arguments of a program together, in bytes. So a list of
	// all schedules stays well below the limit of a message.
	MaxProgram = 4 << 10
	// MaxInput limits the input of a task, in bytes.
	MaxInput = 1 << 20
	// MaxJitter limits Spec.Jitter.
	MaxJitter = 24 * time.Hour
	// maxHistory is the number of fires in a history.
	maxHistory = 20
	// maxTimes limits the times of a schedule that one Step decides about, since the shell holds
	// its lock. The next Step continues.
	maxTimes = 10_000
	// retryAfter is the pause after the queue has refused a task.
	retryAfter = 10 * time.Second
)

// CatchUp is what happens to times that were missed.
type CatchUp uint8

const (
	// CatchUpLast fires once for all missed times, or not at all if a later time is due by now.
	CatchUpLast CatchUp = iota
	// CatchUpSkip fires none of them.
	CatchUpSkip
	// CatchUpAll fires each of them, one after another. It needs OverlapQueue.
	CatchUpAll
)

// Overlap is what happens at a time at which an earlier task of the schedule has not ended.
type Overlap uint8

const (
	// OverlapSkip lets the earlier task run on, and skips the time.
	OverlapSkip Overlap = iota
	// OverlapQueue fires when the earlier task has ended.
	OverlapQueue
	// OverlapReplace cancels the earlier task.
	OverlapReplace
)

// Spec defines a schedule.
type Spec struct {
	Name string // 1 to 128 letters, digits and characters of "._-/"
	Cron string // see package cron
	Zone string // time zone, such as "Europe/Berlin"; empty means UTC
	// Jitter delays each time by an amount from 0 up to Jitter, which depends on the name and the
	// time only.
	Jitter  time.Duration
	CatchUp CatchUp // for missed times
	Overlap Overlap // for times at which the last task has not ended

	Function string // function of the tasks
	// Program is the name of a program and its arguments; the shell makes the input of them. Empty
	// for a task with Input.
	Program  []string
	Input    []byte         // input of the tasks
	Priority queue.Priority // priority of the tasks
	Policy   queue.Policy   // attempts and limits of the tasks
}

// Event is a fact reported by the shell.
type Event interface{ event() }

// Set defines a schedule, or changes the definition of one. The answer is Answer.
type Set struct {
	Spec Spec // the definition
	// New refuses a change of another definition with the same name.
	New bool
}

// Remove removes a schedule. Its task runs on. The answer is Answer.
type Remove struct {
	Name string // the schedule
}

// Pause pauses a schedule, or ends the pause. Times in a pause are not missed. The answer is
// Answer.
type Pause struct {
	Name string // the schedule
	On   bool   // false ends the pause
}

// RunNow fires a schedule outside of its times, also in a pause. The answer is Answer.
type RunNow struct {
	Name string // the schedule
}

// Started reports the task of a Fire.
type Started struct {
	Name string // the schedule
	Task uint64 // its task
}

// Refused reports that the queue does not take the task of a Fire now.
type Refused struct {
	Name   string // the schedule
	Reason string // in words
}

// Ended reports the end of the task of a schedule.
type Ended struct {
	Task    uint64  // its task
	Outcome Outcome // OutcomeDone, OutcomeFailed, OutcomeCancelled or OutcomeUnknown
}

// Tick reports the passing of time. It must come no later than Next.
type Tick struct{}

func (Set) event()     {}
func (Remove) event()  {}
func (Pause) event()   {}
func (RunNow) event()  {}
func (Started) event() {}
func (Refused) event() {}
func (Ended) event()   {}
func (Tick) event()    {}

// Command is an action for the shell.
type Command interface{ command() }

// Write makes a record durable. A nil Value removes it.
type Write struct {
	Key   []byte // see Restore
	Value []byte // nil removes the record
}

// Fire asks for a task of a schedule. The shell submits the task, and sends Started or Refused.
// After Started it cancels the task Replaces, if it is not zero and another one. All of that comes
// before the next event. What Started returns becomes durable together with the task.
type Fire struct {
	Spec     *Spec     // the schedule, as it was defined when it fired
	Time     time.Time // time of the schedule, without jitter
	Replaces uint64    // task to cancel; zero means none
}

// Answer answers an event of a client. Err is nil, or wraps one of the errors of this package.
type Answer struct {
	Err error // why nothing was changed
}

func (Write) command()  {}
func (Fire) command()   {}
func (Answer) command() {}

var (
	// ErrUnknown means that there is no schedule with the name.
	ErrUnknown = errors.New("unknown schedule")
	// ErrExists means that another schedule has the name.
	ErrExists = errors.New("a schedule of this name exists")
	// ErrRunning means that RunNow was refused, as the last task has not ended.
	ErrRunning = errors.New("the schedule's last task has not ended")
	// ErrInvalid means that a definition is wrong.
	ErrInvalid = errors.New("invalid schedule")
)

// Outcome is what became of a time of a schedule.
type Outcome uint8

const (
	Running Outcome = iota // the task has not ended
	OutcomeDone
	OutcomeFailed
	OutcomeCancelled
	OutcomeReplaced // cancelled for the next time
	OutcomeSkipped  // the earlier task had not ended
	OutcomeMissed   // no coordinator was there, and CatchUp skips
	OutcomeUnknown  // the task ended while no coordinator was there, and was forgotten
	outcomes
)

// String returns the word for an outcome.
func (o Outcome) String() string {
	return [...]string{"running", "done", "failed", "cancelled", "replaced", "skipped", "missed", "unknown", ""}[min(o, outcomes)]
}

// Past is an entry of the history of a schedule.
type Past struct {
	Time    time.Time // the time of the schedule; of several, the last one
	Started time.Time // zero for skipped and missed times
	Ended   time.Time // zero while the task has not ended
	Task    uint64    // zero for skipped and missed times
	Outcome Outcome   // Running until the end
	Count   int       // number of times: more than 1 only for skipped and missed ones
	Manual  bool      // by RunNow
}

// Counts counts the times of a schedule. They add up: Due = Fired + Skipped + Missed + waiting.
type Counts struct {
	Due     int // times that were due, and RunNow
	Fired   int // tasks submitted
	Skipped int // times skipped, as the earlier task had not ended
	Missed  int // times at which no coordinator was there
	Failed  int // tasks that failed
}

// waiting is a time that waits for the end of a task.
type waiting struct {
	at     int64 // Unix seconds
	manual bool
}

// entry is one schedule.
type entry struct {
	spec    Spec
	expr    cron.Expression
	broken  string // why the definition does not work here, such as an unknown time zone
	paused  bool
	decided int64 // the last time that was decided, or the start, in Unix seconds
	waiting []waiting
	task    uint64 // the task that has not ended; 0: none
	firing  bool   // a Fire without its answer
	problem string // why the queue refused the last Fire
	retry   time.Time
	history []Past // the oldest first
	success time.Time
	created time.Time
	counts  Counts

	next time.Time // next time; zero while paused
	due  time.Time // next, with jitter
}

// Schedules is the core. It is not safe for concurrent use.
type Schedules struct {
	zone    func(name string) (*time.Location, error)
	now     time.Time
	out     []Command
	entries map[string]*entry
	byTask  map[uint64]*entry
	wake    time.Time // earliest due or retry; zero: none
}

// New returns a core without schedules. zone returns a time zone by its name.
func New(zone func(name string) (*time.Location, error)) *Schedules {
	return &Schedules{zone: zone, entries: map[string]*entry{}, byTask: map[uint64]*entry{}}
}

// Next returns the latest time for the next Step; without another event, the shell sends Tick then.
// The zero time means that nothing is due.
func (s *Schedules) Next() time.Time { return s.wake }

// Step applies one event at time now and returns the resulting commands. The slice is valid until
// the next Step.
func (s *Schedules) Step(now time.Time, ev Event) []Command {
	s.now = now
	clear(s.out)
	s.out = s.out[:0]
	switch ev := ev.(type) {
	case Set:
		s.answer(s.set(ev))
	case Remove:
		s.answer(s.remove(ev.Name))
	case Pause:
		s.answer(s.pause(ev))
	case RunNow:
		s.answer(s.runNow(ev.Name))
	case Started:
		s.started(ev)
	case Refused:
		s.refused(ev)
	case Ended:
		s.ended(ev)
	case Tick:
		for _, e := range s.sorted() {
			s.check(e)
		}
	}
	s.setWake()
	return s.out
}

func (s *Schedules) emit(c Command)   { s.out = append(s.out, c) }
func (s *Schedules) answer(err error) { s.emit(Answer{err}) }

// sorted returns all schedules by name.
func (s *Schedules) sorted() []*entry {
	all := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return all
}

func (s *Schedules) setWake() {
	s.wake = time.Time{}
	for _, e := range s.entries {
		at := e.due
		if e.mayFire() {
			if retry := latest(e.retry, s.now); at.IsZero() || retry.Before(at) {
				at = retry
			}
		}
		if !at.IsZero() && (s.wake.IsZero() || at.Before(s.wake)) {
			s.wake = at
		}
	}
}

// mayFire reports whether a waiting time of e could fire.
func (e *entry) mayFire() bool {
	return len(e.waiting) > 0 && !e.firing && e.broken == "" && (e.task == 0 || e.spec.Overlap == OverlapReplace)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// plan computes the next time of e, after the last decided one.
func (s *Schedules) plan(e *entry) {
	e.next, e.due = time.Time{}, time.Time{}
	if e.paused || e.broken != "" {
		return
	}
	if e.next = e.expr.Next(time.Unix(e.decided, 0)); !e.next.IsZero() {
		e.due = e.next.Add(jitter(&e.spec, e.next))
	}
}

// jitter returns the delay of a time.
func jitter(spec *Spec, at time.Time) time.Duration {
	if spec.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(spec.Name))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(at.UTC().AppendFormat(nil, time.RFC3339))
	x := h.Sum64() // FNV leaves the high bits of similar texts alike: mix them
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x ^= x >> 33
	return time.Duration(x % uint64(spec.Jitter)).Truncate(time.Millisecond)
}

// check decides about all times of e that are due, and fires if possible.
func (s *Schedules) check(e *entry) {
	changed := false
	if e.decided == 0 { // its state was lost: it begins anew
		e.decided, e.created = s.now.Unix(), s.now
		s.plan(e)
		changed = true
	}
	missed, last := 0, time.Time{} // of the missed times
	// With a jitter above the interval, a time may be due before the time ahead of it has fired. So
	// its lateness counts from the latest due up to it.
	due := time.Time{}
	for n := 0; n < maxTimes && !e.due.IsZero() && !e.due.After(s.now); n++ {
		due = latest(due, e.due)
		at, late := e.next, s.now.Sub(due) >= Late
		e.decided = at.Unix()
		s.plan(e)
		e.counts.Due++
		changed = true
		more := !e.due.IsZero() && !e.due.After(s.now)
		switch {
		case !late, e.spec.CatchUp == CatchUpAll, e.spec.CatchUp == CatchUpLast && !more:
			s.offer(e, at)
		default:
			missed++
			last = at
		}
	}
	if missed > 0 {
		e.counts.Missed += missed
		e.rememberSeveral(Past{Time: last, Outcome: OutcomeMissed, Count: missed})
	}
	if s.fire(e) {
		return // Started or Refused writes the state
	}
	if changed {
		s.write(e)
	}
}

// offer handles a time that fires now, unless the earlier task has not ended.
func (s *Schedules) offer(e *entry, at time.Time) {
	busy := e.task != 0 || len(e.waiting) > 0
	switch {
	case busy && e.spec.Overlap == OverlapSkip, len(e.waiting) >= MaxWaiting:
		s.skip(e, at)
		return
	case e.spec.Overlap == OverlapReplace:
		for _, w := range e.waiting {
			s.skip(e, time.Unix(w.at, 0).In(at.Location()))
		}
		e.waiting = e.waiting[:0]
	}
	e.waiting = append(e.waiting, waiting{at: at.Unix()})
}

// skip counts a time as skipped. Skipped times in a row are one entry of the history.
func (s *Schedules) skip(e *entry, at time.Time) {
	e.counts.Skipped++
	e.rememberSeveral(Past{Time: at, Outcome: OutcomeSkipped, Count: 1})
}

// rememberSeveral adds p to the last entry of the history if that has the same outcome.
func (e *entry) rememberSeveral(p Past) {
	if n := len(e.history); n > 0 && e.history[n-1].Outcome == p.Outcome {
		e.history[n-1].Time = p.Time
		e.history[n-1].Count += p.Count
		return
	}
	e.remember(p)
}

// fire fires the first waiting time of e, and reports whether it could.
func (s *Schedules) fire(e *entry) bool {
	if !e.mayFire() || s.now.Before(e.retry) {
		return false
	}
	e.firing = true
	spec := e.spec // a Set replaces e.spec before the shell fires
	s.emit(Fire{Spec: &spec, Time: s.local(e, e.waiting[0].at), Replaces: e.task})
	return true
}

// local returns a moment in the time zone of e.
func (s *Schedules) local(e *entry, at int64) time.Time {
	t := time.Unix(at, 0).UTC()
	if loc, err := s.zone(e.spec.Zone); err == nil {
		t = t.In(loc)
	}
	return t
}

// remember adds an entry to the history of e.
func (e *entry) remember(p Past) {
	if len(e.history) >= maxHistory {
		oldest := 0
		if e.history[0].Outcome == Running { // it is still needed
			oldest = 1
		}
		e.history = slices.Delete(e.history, oldest, oldest+1)
	}
	e.history = append(e.history, p)
}

// past returns the latest entry of a task in the history of e, or nil.
func (e *entry) past(task uint64) *Past {
	for i := len(e.history) - 1; i >= 0; i-- {
		if e.history[i].Task == task {
			return &e.history[i]
		}
	}
	return nil
}

func (s *Schedules) started(ev Started) {
	e := s.entries[ev.Name]
	if e == nil || !e.firing || len(e.waiting) == 0 {
		return
	}
	if e.task != 0 {
		delete(s.byTask, e.task)
		if p := e.past(e.task); p != nil {
			p.Outcome, p.Ended = OutcomeReplaced, s.now
		}
	}
	w := e.waiting[0]
	e.waiting = slices.Delete(e.waiting, 0, 1)
	e.firing, e.task, e.problem, e.retry = false, ev.Task, "", time.Time{}
	e.counts.Fired++
	e.remember(Past{Time: s.local(e, w.at), Started: s.now, Task: ev.Task, Count: 1, Manual: w.manual})
	s.byTask[ev.Task] = e
	s.write(e)
}

func (s *Schedules) refused(ev Refused) {
	e := s.entries[ev.Name]
	if e == nil || !e.firing {
		return
	}
	e.firing, e.problem, e.retry = false, ev.Reason, s.now.Add(retryAfter)
	s.write(e)
}

func (s *Schedules) ended(ev Ended) {
	e := s.byTask[ev.Task]
	if e == nil {
		return
	}
	delete(s.byTask, ev.Task)
	e.task = 0
	if p := e.past(ev.Task); p != nil {
		p.Outcome, p.Ended = ev.Outcome, s.now
	}
	switch ev.Outcome {
	case OutcomeDone:
		e.success = s.now
	case OutcomeFailed:
		e.counts.Failed++
	}
	if !s.fire(e) {
		s.write(e)
	}
}

func (s *Schedules) remove(name string) error {
	e := s.entries[name]
	if e == nil {
		return ErrUnknown
	}
	delete(s.entries, name)
	delete(s.byTask, e.task)
	s.emit(Write{Key: key(definitionKey, name)})
	s.emit(Write{Key: key(stateKey, name)})
	return nil
}

func (s *Schedules) pause(ev Pause) error {
	e := s.entries[ev.Name]
	if e == nil {
		return ErrUnknown
	}
	if e.paused == ev.On {
		return nil
	}
	s.check(e)                                // what is due by now
	e.paused, e.decided = ev.On, s.now.Unix() // may be earlier: a clock ahead has decided about times to come
	s.plan(e)
	if !e.firing {
		s.write(e)
	}
	return nil
}

func (s *Schedules) runNow(name string) error {
	e := s.entries[name]
	switch {
	case e == nil:
		return ErrUnknown
	case e.broken != "":
		return errors.New(e.broken)
	}
	s.check(e)
	if busy := e.task != 0 || len(e.waiting) > 0; busy && e.spec.Overlap == OverlapSkip || len(e.waiting) >= MaxWaiting {
		return ErrRunning
	}
	e.counts.Due++
	e.waiting = append(e.waiting, waiting{s.now.Unix(), true})
	if e.retry = (time.Time{}); !e.firing && !s.fire(e) {
		s.write(e)
	}
	return nil
}
