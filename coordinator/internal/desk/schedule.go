package desk

import (
	"encoding/json"
	"time"

	"github.com/layshaft/layshaft/coordinator/internal/queue"
	"github.com/layshaft/layshaft/coordinator/internal/schedule"
)

// schedules is the peer that waits for the tasks of schedules. It collects their ends, since the
// queue takes no event while it delivers the notes of another one.
type schedules struct {
	core *schedule.Schedules
	peer queue.Peer
	ends []schedule.Ended
}

func (x *schedules) receive(n *Note) {
	outcome := schedule.OutcomeUnknown
	switch {
	case n.Op != queue.Notify:
		return
	case n.Notice == queue.Done:
		outcome = schedule.OutcomeDone
	case n.Notice == queue.Failed:
		outcome = schedule.OutcomeFailed
	case n.Notice == queue.Cancelled:
		outcome = schedule.OutcomeCancelled
	default:
		return
	}
	x.ends = append(x.ends, schedule.Ended{Task: uint64(n.Task), Outcome: outcome})
}

// newSchedules returns the schedules of a desk.
func newSchedules() *schedules { return &schedules{core: schedule.New(time.LoadLocation)} }

// beginSchedules follows the tasks of an earlier process. It comes after the queue was restored.
func (d *Desk) beginSchedules() {
	d.lastPeer++
	d.schedules.peer = d.lastPeer
	d.peers[d.lastPeer] = d.schedules
	for _, task := range d.schedules.core.Unended() {
		if d.step(&queue.Attach{Peer: d.schedules.peer, Task: queue.ID(task), Ref: NoRef}, nil).Op != queue.Accepted {
			d.schedules.ends = append(d.schedules.ends, schedule.Ended{Task: task, Outcome: schedule.OutcomeUnknown})
		}
	}
	_ = d.stepSchedules(schedule.Tick{})
}

// runSchedules passes the ends of tasks and the time to the schedules. It comes at the end of each
// turn.
func (d *Desk) runSchedules() {
	x := d.schedules
	if wake := x.core.Next(); len(x.ends) == 0 && (wake.IsZero() || wake.After(d.now)) || d.broken != nil || d.stopping {
		return
	}
	for len(x.ends) > 0 {
		end := x.ends[0]
		x.ends = x.ends[1:]
		_ = d.stepSchedules(end)
	}
	if wake := x.core.Next(); !wake.IsZero() && !wake.After(d.now) {
		_ = d.stepSchedules(schedule.Tick{})
	}
}

// stepSchedules passes one event to the core of the schedules and carries out its commands.
func (d *Desk) stepSchedules(ev schedule.Event) error {
	var fires []schedule.Fire
	err := d.writeSchedules(d.schedules.core.Step(d.now, ev), &fires)
	d.commit()
	for i := range fires {
		d.fire(&fires[i])
	}
	return err
}

// commit ends a batch that is no part of a step.
func (d *Desk) commit() {
	if n := d.store.Commit(); n != 0 {
		d.lastBatch = n
	}
}

// writeSchedules adds the records to the batch, and the rest to fires.
func (d *Desk) writeSchedules(cmds []schedule.Command, fires *[]schedule.Fire) (err error) {
	for _, c := range cmds {
		switch c := c.(type) {
		case schedule.Write:
			d.store.Write(c.Key, c.Value)
		case schedule.Answer:
			err = c.Err
		case schedule.Fire:
			*fires = append(*fires, c)
		}
	}
	return err
}

// fire submits the task of a schedule. The task and the state of the schedule are one batch.
func (d *Desk) fire(f *schedule.Fire) {
	name, task := f.Spec.Name, queue.ID(0)
	input, err := scheduledInput(f)
	if err == nil {
		unique := "schedule " + name + " " + f.Time.UTC().Format(time.RFC3339)
		d.beforeCommit = func(cmds []queue.Command) {
			var more []schedule.Fire
			for i := range cmds {
				if c := &cmds[i]; c.Op == queue.Accepted {
					task = c.Task
					_ = d.writeSchedules(d.schedules.core.Step(d.now, schedule.Started{Name: name, Task: uint64(task)}), &more)
				}
			}
		}
		_, err = d.Submit(nil, &Submission{Function: f.Spec.Function, Unique: unique, Input: input, Priority: f.Spec.Priority, Policy: f.Spec.Policy, Durable: true, Background: true})
		d.beforeCommit = nil
	}
	if err != nil {
		d.cfg.Log.Warn("schedule cannot submit its task", "schedule", name, "time", f.Time, "err", err)
		_ = d.stepSchedules(schedule.Refused{Name: name, Reason: err.Error()})
		return
	}
	d.cfg.Log.Info("schedule fired", "schedule", name, "time", f.Time, "task", task)
	d.step(&queue.Attach{Peer: d.schedules.peer, Task: task, Ref: NoRef}, nil)
	// Only now: a queue or disk that is full must not end the earlier task without another one. Two
	// requests in one second have the same task.
	if old := queue.ID(f.Replaces); old != 0 && old != task {
		d.step(&queue.Cancel{Task: old}, nil)
	}
}

// ScheduledProgram is the input of a task that runs a program.
type ScheduledProgram struct {
	Args     []string  `json:"args"`     // the first is the name of the program
	Schedule string    `json:"schedule"` // its name
	Time     time.Time `json:"time"`     // the time of the schedule, in its zone
}

// scheduledInput returns the input of a task.
func scheduledInput(f *schedule.Fire) ([]byte, error) {
	if len(f.Spec.Program) == 0 {
		return f.Spec.Input, nil
	}
	return json.Marshal(ScheduledProgram{Args: f.Spec.Program, Schedule: f.Spec.Name, Time: f.Time})
}

// SetSchedule defines a schedule; see schedule.Set. The error wraps schedule.ErrInvalid,
// schedule.ErrExists, ErrFull or ErrStopped.
func (d *Desk) SetSchedule(x schedule.Spec, onlyNew bool) error {
	if err := d.checkRoom(x.Function, len(x.Input), schedule.MaxInput); err != nil {
		return err
	}
	return d.changeSchedule(schedule.Set{Spec: x, New: onlyNew})
}

// RemoveSchedule removes a schedule. The error wraps schedule.ErrUnknown or ErrStopped.
func (d *Desk) RemoveSchedule(name string) error {
	return d.changeSchedule(schedule.Remove{Name: name})
}

// PauseSchedule pauses a schedule, or ends its pause.
func (d *Desk) PauseSchedule(name string, on bool) error {
	return d.changeSchedule(schedule.Pause{Name: name, On: on})
}

// RunSchedule fires a schedule now. The error wraps schedule.ErrUnknown, schedule.ErrRunning or
// ErrStopped.
func (d *Desk) RunSchedule(name string) error {
	return d.changeSchedule(schedule.RunNow{Name: name})
}

func (d *Desk) changeSchedule(ev schedule.Event) error {
	if d.broken != nil {
		return d.broken
	}
	return d.stepSchedules(ev)
}

// Schedules returns the state of all schedules by name.
func (d *Desk) Schedules() []schedule.Info { return d.schedules.core.All() }

// Schedule returns the state of one schedule.
func (d *Desk) Schedule(name string) (schedule.Info, bool) { return d.schedules.core.Get(name) }
