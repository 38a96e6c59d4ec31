package taskserver

import (
	"context"
	"fmt"
	"path"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/schedule"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
	"github.com/layshaft/layshaft/internal/wire/taskwire"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// keepScheduled is how long the result of a scheduled task is kept, unless the schedule sets it.
const keepScheduled = 24 * time.Hour

// programPrefix begins the function of the tasks that run a program.
const programPrefix = "program/"

func scheduleFromProto(p *tasksv1.ScheduleSpec) (schedule.Spec, error) {
	x := schedule.Spec{Name: p.GetName(), Cron: p.GetCron(), Zone: p.GetZone(), Jitter: time.Duration(p.GetJitterNanos()), CatchUp: schedule.CatchUp(min(uint32(p.GetCatchUp()), 255)),
		Overlap: schedule.Overlap(min(uint32(p.GetOverlap()), 255)), Function: p.GetFunction(), Program: p.GetProgram(), Input: p.GetInput(),
		Priority: priorityFromProto(p.GetPriority()), Policy: taskPolicyFromProto(p.GetPolicy())}
	if x.Policy.Keep == 0 {
		x.Policy.Keep = keepScheduled
	}
	if len(x.Program) > 0 {
		if x.Function != "" || len(x.Input) > 0 {
			return x, fmt.Errorf("schedule %q: %w: a function and a program are both given; one is enough", x.Name, wire.ErrInvalid)
		}
		name := path.Base(x.Program[0])
		if x.Program[0] == "" || name == "/" || name == "." || name == ".." {
			return x, fmt.Errorf("schedule %q: %w: %q is not the name of a program", x.Name, wire.ErrInvalid, x.Program[0])
		}
		x.Function = programPrefix + name
		x.Program = append([]string{name}, x.Program[1:]...)
	}
	return x, nil
}

// scheduleToProto converts the state of a schedule, without its input, which may be large.
func scheduleToProto(i *schedule.Info) *tasksv1.Schedule {
	nanos := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixNano()
	}
	p := &tasksv1.Schedule{
		Spec: &tasksv1.ScheduleSpec{Name: i.Name, Cron: i.Cron, Zone: i.Zone, JitterNanos: int64(i.Jitter), CatchUp: tasksv1.CatchUp(i.CatchUp), Overlap: tasksv1.Overlap(i.Overlap),
			Function: i.Function, Program: i.Program, Priority: priorityToProto(i.Priority), Policy: taskPolicyToProto(i.Policy)},
		Paused: i.Paused, CreatedNanos: nanos(i.Created), NextNanos: nanos(i.Next), DueNanos: nanos(i.Due), Task: i.Task, Waiting: int64(i.Waiting), Problem: i.Problem,
		SuccessNanos: nanos(i.Success), Due: int64(i.Counts.Due), Fired: int64(i.Counts.Fired), Skipped: int64(i.Counts.Skipped), Missed: int64(i.Counts.Missed), Failed: int64(i.Counts.Failed),
	}
	for _, h := range i.History {
		p.History = append(p.History, &tasksv1.ScheduleFire{TimeNanos: nanos(h.Time), StartedNanos: nanos(h.Started), EndedNanos: nanos(h.Ended), Task: h.Task,
			Outcome: h.Outcome.String(), Count: int64(h.Count), Manual: h.Manual})
	}
	return p
}

// changeSchedule changes a schedule, and returns its state when the change is durable.
func (t *Server) changeSchedule(ctx context.Context, name string, change func(d *desk.Desk) error) (p *tasksv1.Schedule, err error) {
	return p, t.durably(ctx, func(d *desk.Desk) error {
		err := change(d)
		if err != nil {
			return err
		}
		if info, ok := d.Schedule(name); ok {
			p = scheduleToProto(&info)
		}
		return nil
	})
}

// SetSchedule defines a schedule.
func (t *Server) SetSchedule(ctx context.Context, r *tasksv1.SetScheduleRequest) (*tasksv1.SetScheduleResponse, error) {
	x, err := scheduleFromProto(r.GetSpec())
	if err != nil {
		return nil, err
	}
	t.audit(ctx, "set schedule", "schedule", x.Name, "cron", x.Cron, "function", x.Function)
	p, err := t.changeSchedule(ctx, x.Name, func(d *desk.Desk) error { return d.SetSchedule(x, r.GetOnlyNew()) })
	return &tasksv1.SetScheduleResponse{Schedule: p}, err
}

// RemoveSchedule removes a schedule.
func (t *Server) RemoveSchedule(ctx context.Context, r *tasksv1.RemoveScheduleRequest) (*tasksv1.RemoveScheduleResponse, error) {
	t.audit(ctx, "remove schedule", "schedule", r.GetName())
	_, err := t.changeSchedule(ctx, r.GetName(), func(d *desk.Desk) error { return d.RemoveSchedule(r.GetName()) })
	return &tasksv1.RemoveScheduleResponse{}, err
}

// PauseSchedule pauses a schedule, or ends the pause.
func (t *Server) PauseSchedule(ctx context.Context, r *tasksv1.PauseScheduleRequest) (*tasksv1.PauseScheduleResponse, error) {
	t.audit(ctx, "pause schedule", "schedule", r.GetName(), "paused", r.GetPaused())
	p, err := t.changeSchedule(ctx, r.GetName(), func(d *desk.Desk) error { return d.PauseSchedule(r.GetName(), r.GetPaused()) })
	return &tasksv1.PauseScheduleResponse{Schedule: p}, err
}

// RunSchedule submits the task of a schedule now.
func (t *Server) RunSchedule(ctx context.Context, r *tasksv1.RunScheduleRequest) (*tasksv1.RunScheduleResponse, error) {
	t.audit(ctx, "run schedule", "schedule", r.GetName())
	p, err := t.changeSchedule(ctx, r.GetName(), func(d *desk.Desk) error { return d.RunSchedule(r.GetName()) })
	return &tasksv1.RunScheduleResponse{Schedule: p}, err
}

// ListSchedules returns schedules.
func (t *Server) ListSchedules(ctx context.Context, r *tasksv1.ListSchedulesRequest) (*tasksv1.ListSchedulesResponse, error) {
	t.desk.Lock()
	infos, batch := t.desk.Schedules(), t.desk.LastBatch()
	if r.GetName() != "" {
		info, ok := t.desk.Schedule(r.GetName())
		if infos = []schedule.Info{info}; !ok {
			infos = nil
		}
	}
	t.desk.Unlock()
	if err := t.awaitDurable(ctx, batch); err != nil { // nobody may see a fire that a crash could undo
		return nil, err
	}
	if r.GetName() != "" && len(infos) == 0 {
		return nil, status.Errorf(codes.NotFound, "schedule %q: %v", r.GetName(), schedule.ErrUnknown)
	}
	out := &tasksv1.ListSchedulesResponse{}
	for i := range infos {
		out.Schedules = append(out.Schedules, scheduleToProto(&infos[i]))
	}
	return out, nil
}

// Schedules returns the state of all schedules by name.
func (t *Server) Schedules() []report.Schedule {
	t.desk.Lock()
	infos := t.desk.Schedules()
	t.desk.Unlock()
	all := make([]report.Schedule, len(infos))
	for i := range infos {
		all[i] = taskwire.ScheduleFromProto(scheduleToProto(&infos[i]))
	}
	return all
}

// Schedule returns the state of one schedule.
func (t *Server) Schedule(name string) (report.Schedule, bool) {
	t.desk.Lock()
	info, ok := t.desk.Schedule(name)
	t.desk.Unlock()
	if !ok {
		return report.Schedule{}, false
	}
	return taskwire.ScheduleFromProto(scheduleToProto(&info)), true
}
