package taskserver

import (
	"context"

	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Change changes tasks. It is one of the RPC methods, for callers in this process, with the same
// entry in the audit log. It returns the tasks that have changed.
type Change func(t *Server, ctx context.Context, tasks []uint64) ([]uint64, error)

// The changes of tasks.
var (
	Cancel Change = func(t *Server, ctx context.Context, tasks []uint64) ([]uint64, error) {
		a, err := t.CancelTasks(ctx, &tasksv1.CancelTasksRequest{Tasks: tasks})
		return a.GetTasks(), err
	}
	RunNow Change = func(t *Server, ctx context.Context, tasks []uint64) ([]uint64, error) {
		a, err := t.RunTasks(ctx, &tasksv1.RunTasksRequest{Tasks: tasks})
		return a.GetTasks(), err
	}
	Retry Change = func(t *Server, ctx context.Context, tasks []uint64) ([]uint64, error) {
		a, err := t.RetryTasks(ctx, &tasksv1.RetryTasksRequest{Tasks: tasks})
		return a.GetTasks(), err
	}
	Drop Change = func(t *Server, ctx context.Context, tasks []uint64) ([]uint64, error) {
		a, err := t.DropTasks(ctx, &tasksv1.DropTasksRequest{Tasks: tasks})
		return a.GetTasks(), err
	}
)

// FunctionChange is a Change of a function.
type FunctionChange func(t *Server, ctx context.Context, function string) error

// The changes of functions.
var (
	Pause FunctionChange = func(t *Server, ctx context.Context, function string) error {
		_, err := t.PauseFunction(ctx, &tasksv1.PauseFunctionRequest{Function: function, Paused: true})
		return err
	}
	Resume FunctionChange = func(t *Server, ctx context.Context, function string) error {
		_, err := t.PauseFunction(ctx, &tasksv1.PauseFunctionRequest{Function: function})
		return err
	}
	RetryDead FunctionChange = func(t *Server, ctx context.Context, function string) error {
		_, err := t.RetryTasks(ctx, &tasksv1.RetryTasksRequest{Function: function})
		return err
	}
	DropDead FunctionChange = func(t *Server, ctx context.Context, function string) error {
		_, err := t.DropTasks(ctx, &tasksv1.DropTasksRequest{Function: function})
		return err
	}
)

// ScheduleChange is a Change of a schedule.
type ScheduleChange func(t *Server, ctx context.Context, name string) error

// The changes of schedules.
var (
	RunSchedule ScheduleChange = func(t *Server, ctx context.Context, name string) error {
		_, err := t.RunSchedule(ctx, &tasksv1.RunScheduleRequest{Name: name})
		return err
	}
	PauseSchedule ScheduleChange = func(t *Server, ctx context.Context, name string) error {
		_, err := t.PauseSchedule(ctx, &tasksv1.PauseScheduleRequest{Name: name, Paused: true})
		return err
	}
	ResumeSchedule ScheduleChange = func(t *Server, ctx context.Context, name string) error {
		_, err := t.PauseSchedule(ctx, &tasksv1.PauseScheduleRequest{Name: name})
		return err
	}
	RemoveSchedule ScheduleChange = func(t *Server, ctx context.Context, name string) error {
		_, err := t.RemoveSchedule(ctx, &tasksv1.RemoveScheduleRequest{Name: name})
		return err
	}
)
