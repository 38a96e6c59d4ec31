package tasks

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// CatchUp decides about the times of a [Schedule] that were missed: no coordinator was there for a
// minute or longer.
type CatchUp uint8

const (
	// CatchUpLast submits one task for all missed times, or none if a later time is due by now. It
	// is the default.
	CatchUpLast CatchUp = iota
	// CatchUpSkip submits none.
	CatchUpSkip
	// CatchUpAll submits one for each, one after another. It needs [OverlapQueue].
	CatchUpAll
)

// String returns last, skip or all.
func (c CatchUp) String() string { return nameOf(taskwire.CatchUps, c) }

// UnmarshalText parses the output of String. The error wraps [ErrInvalid].
func (c *CatchUp) UnmarshalText(text []byte) error {
	return parseName(taskwire.CatchUps, "catch-up policy", text, c)
}

// Overlap decides about a time of a [Schedule] at which its last task has not ended.
type Overlap uint8

const (
	// OverlapSkip lets the last task run on, and skips the time. It is the default.
	OverlapSkip Overlap = iota
	// OverlapQueue submits the task when the last one has ended. Up to 1,000 times wait.
	OverlapQueue
	// OverlapReplace cancels the last task.
	OverlapReplace
)

// String returns skip, queue or replace.
func (o Overlap) String() string { return nameOf(taskwire.Overlaps, o) }

// UnmarshalText parses the output of String. The error wraps [ErrInvalid].
func (o *Overlap) UnmarshalText(text []byte) error {
	return parseName(taskwire.Overlaps, "overlap policy", text, o)
}

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) >= len(names) {
		return fmt.Sprintf("policy %d", v)
	}
	return names[v]
}

func parseName[T ~uint8](names []string, what string, text []byte, v *T) error {
	for i, name := range names {
		if name == string(text) {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("%w: %s %q is none of %v", ErrInvalid, what, text, names)
}

// Schedule submits a task at certain times. The coordinator keeps it: it survives restarts, and
// each time fires once, whichever coordinator leads.
//
// The unique key of the task for the time 02:00 UTC of the schedule nightly is
// "schedule nightly 2026-12-01T02:00:00Z".
type Schedule struct {
	// Name identifies the schedule: 1 to 128 letters, digits and characters of "._-/".
	Name string
	// Cron has five fields: minute, hour, day of the month, month, day of the week. Or it is
	// @hourly, @daily, @weekly, @monthly or @yearly.
	Cron string
	// Zone is the time zone of Cron, such as "Europe/Berlin". Empty means UTC.
	Zone string
	// Jitter delays each time by up to this duration, at most 24 hours. The delay depends on the
	// name and the time only. Zero means no delay.
	Jitter time.Duration
	// CatchUp decides about missed times. Zero means CatchUpLast.
	CatchUp CatchUp
	// Overlap decides about a time at which the last task has not ended. Zero means OverlapSkip.
	Overlap Overlap
	// Function is the function of the tasks.
	Function string
	// Input is the input of each task, as for [Enqueue].
	Input any
	// Program, if set, takes the place of Function and Input: the name of a program of `layshaft
	// schedule work`, and its arguments.
	Program []string
	// Options of the tasks: a [Priority], [Attempts], [Backoff], [SoftLimit], [HardLimit], [Keep].
	// Without Keep, results are kept for a day.
	Options []Option
}

// ScheduleStatus describes a schedule, its counts and its last times. Its fields:
//
//	Name, Cron, Zone, Jitter, Function, Program  as in Schedule
//	CatchUp    string     last, skip or all
//	Overlap    string     skip, queue or replace
//	Priority   string     normal, high or low
//	Paused     bool       it does not fire by itself
//	Created    time.Time  when it was first defined
//	Next       time.Time  the next time, without jitter; zero while it is paused
//	Due        time.Time  Next with jitter
//	Task       string     ID of the task that has not ended; empty means none
//	Waiting    int        times that wait for the end of the task
//	Problem    string     why it does not fire, in words, or empty
//	Success    time.Time  when a task last ended well; zero means never
//	Counts                Due, Fired, Skipped, Missed and Failed times since it was defined
//	History               the last times, the latest first: Time, Started, Ended, Task, Outcome, Count, Manual
type ScheduleStatus = report.Schedule

func (s *Schedule) proto() (*tasksv1.ScheduleSpec, error) {
	x, err := specOf(0, s.Options)
	if err == nil && (x.unique != "" || x.once != "" || !x.due.IsZero() || x.after != 0 || x.group != 0 || x.then != nil || x.lossy || x.partial || x.deadline != 0 ||
		x.update != nil || x.joined != nil || x.parent != 0) {
		err = fmt.Errorf("%w: the tasks of a schedule take only a priority, Attempts, Backoff, SoftLimit, HardLimit and Keep", ErrInvalid)
	}
	if err == nil && len(s.Program) > 0 && s.Function != "" {
		err = fmt.Errorf("%w: Function and Program are both set; one is enough", ErrInvalid)
	}
	input, encoding := encode(s.Input)
	if err == nil {
		err = encoding
	}
	if err != nil {
		return nil, fmt.Errorf("schedule %s: %w", plain.Text(s.Name), err)
	}
	return &tasksv1.ScheduleSpec{Name: s.Name, Cron: s.Cron, Zone: s.Zone, JitterNanos: int64(s.Jitter), CatchUp: tasksv1.CatchUp(s.CatchUp), Overlap: tasksv1.Overlap(s.Overlap),
		Function: s.Function, Input: input, Program: s.Program, Priority: tasksv1.TaskPriority(x.priority), Policy: x.policy.proto(0)}, nil
}

// SetSchedule defines a schedule, or changes its definition. So a program may call it whenever it
// starts. A change of Cron, Zone or Jitter counts from now. The schedule is on disk when
// SetSchedule returns. The error wraps [ErrInvalid] if the definition is wrong.
func (c *Client) SetSchedule(ctx context.Context, s Schedule) (ScheduleStatus, error) {
	return c.setSchedule(ctx, s, false)
}

// AddSchedule is SetSchedule for a new schedule. If another definition has the name, the error
// wraps [ErrExists].
func (c *Client) AddSchedule(ctx context.Context, s Schedule) (ScheduleStatus, error) {
	return c.setSchedule(ctx, s, true)
}

func (c *Client) setSchedule(ctx context.Context, s Schedule, onlyNew bool) (ScheduleStatus, error) {
	p, err := s.proto()
	if err != nil {
		return ScheduleStatus{}, err
	}
	out, err := ask(ctx, c, c.rpc.SetSchedule, &tasksv1.SetScheduleRequest{Spec: p, OnlyNew: onlyNew})
	return scheduleStatus(out.GetSchedule(), s.Name, err)
}

// scheduleStatus returns the status of a schedule, or the error with its name.
func scheduleStatus(p *tasksv1.Schedule, name string, err error) (ScheduleStatus, error) {
	switch {
	case err == nil:
		return taskwire.ScheduleFromProto(p), nil
	case status.Code(err) == codes.NotFound:
		err = fmt.Errorf("schedule %s: %w", plain.Text(name), ErrUnknownSchedule)
	case status.Code(err) == codes.AlreadyExists:
		err = fmt.Errorf("schedule %s: %w", plain.Text(name), ErrExists)
	}
	return ScheduleStatus{}, err
}

// Schedules returns all schedules by name.
func (c *Client) Schedules(ctx context.Context) ([]ScheduleStatus, error) {
	out, err := ask(ctx, c, c.rpc.ListSchedules, &tasksv1.ListSchedulesRequest{})
	var all []ScheduleStatus
	for _, p := range out.GetSchedules() {
		all = append(all, taskwire.ScheduleFromProto(p))
	}
	return all, err
}

// Schedule returns one schedule. The error wraps [ErrUnknownSchedule] if it does not exist.
func (c *Client) Schedule(ctx context.Context, name string) (ScheduleStatus, error) {
	out, err := ask(ctx, c, c.rpc.ListSchedules, &tasksv1.ListSchedulesRequest{Name: name})
	var p *tasksv1.Schedule
	if all := out.GetSchedules(); len(all) == 1 {
		p = all[0]
	}
	return scheduleStatus(p, name, err)
}

// RemoveSchedule removes a schedule. Its task, if one runs, is not affected. The error wraps
// [ErrUnknownSchedule] if it does not exist.
func (c *Client) RemoveSchedule(ctx context.Context, name string) error {
	_, err := ask(ctx, c, c.rpc.RemoveSchedule, &tasksv1.RemoveScheduleRequest{Name: name})
	_, err = scheduleStatus(nil, name, err)
	return err
}

// PauseSchedule pauses a schedule until ResumeSchedule. Times in a pause are not missed: nothing
// makes up for them.
func (c *Client) PauseSchedule(ctx context.Context, name string) (ScheduleStatus, error) {
	return c.pauseSchedule(ctx, name, true)
}

// ResumeSchedule ends the pause of a schedule.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (ScheduleStatus, error) {
	return c.pauseSchedule(ctx, name, false)
}

func (c *Client) pauseSchedule(ctx context.Context, name string, paused bool) (ScheduleStatus, error) {
	out, err := ask(ctx, c, c.rpc.PauseSchedule, &tasksv1.PauseScheduleRequest{Name: name, Paused: paused})
	return scheduleStatus(out.GetSchedule(), name, err)
}

// RunSchedule submits the task of a schedule now, also in a pause. Overlap decides what happens if
// the last task has not ended; with OverlapSkip, this is an error.
func (c *Client) RunSchedule(ctx context.Context, name string) (ScheduleStatus, error) {
	out, err := ask(ctx, c, c.rpc.RunSchedule, &tasksv1.RunScheduleRequest{Name: name})
	return scheduleStatus(out.GetSchedule(), name, err)
}
