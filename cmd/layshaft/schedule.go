package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
)

// scheduleCmd are the commands for schedules.
type scheduleCmd struct {
	Add    scheduleAddCmd    `cmd:"" help:"Submit a task, or run a program, at certain times."`
	List   scheduleListCmd   `cmd:"" help:"List schedules."`
	Show   scheduleShowCmd   `cmd:"" help:"Show a schedule and its last times."`
	Remove scheduleRemoveCmd `cmd:"" help:"Remove schedules. A task that runs is not affected."`
	Pause  schedulePauseCmd  `cmd:"" help:"Pause schedules. Nothing makes up for the times in a pause."`
	Resume scheduleResumeCmd `cmd:"" help:"End the pause of schedules."`
	Run    scheduleRunCmd    `cmd:"" help:"Submit the task of a schedule now, also in a pause."`
	Work   scheduleWorkCmd   `cmd:"" help:"Run the programs of schedules, until SIGTERM."`
}

type (
	scheduleAddCmd struct {
		clientFlags
		TZ       string        `name:"tz" default:"UTC" placeholder:"ZONE" help:"Time zone of CRON, such as Europe/Berlin. A time that daylight saving skips fires when the clock is changed. A time that comes twice fires once, unless CRON has all hours."`
		Task     string        `type:"name" placeholder:"FUNCTION" help:"Submit a task of this function, instead of running a program."`
		Input    string        `placeholder:"TEXT" help:"With -task: the input of each task. Default: empty."`
		CatchUp  string        `enum:"last,skip,all" default:"last" help:"What happens to times that were missed by a minute or more, because no coordinator was there: last fires once for all of them, skip not at all, all once for each. all needs -overlap queue."`
		Overlap  string        `enum:"skip,queue,replace" default:"skip" help:"What happens at a time at which the last task has not ended: skip leaves the time out, queue fires when the last task has ended, replace cancels the last task."`
		Jitter   time.Duration `default:"0s" help:"Delay each time by up to this duration, so that many schedules do not start together. The delay depends on NAME and the time only."`
		Priority string        `enum:"high,normal,low" default:"normal" help:"Priority of the tasks: high, normal or low."`
		Attempts int           `default:"5" help:"Number of failed attempts after which the task fails."`
		Backoff  time.Duration `default:"1s" help:"Wait before the second attempt; doubles with each further one."`
		Limit    time.Duration `name:"hard-limit" default:"0s" help:"Time after which an attempt is ended; 0s means no limit."`
		Keep     time.Duration `default:"24h" help:"How long the outcome and result of each task are kept after its end."`
		Replace  bool          `help:"Change the schedule if there is one of this name."`
		Name     string        `arg:"" help:"Name of the schedule: letters, digits and characters of ._-/"`
		Cron     string        `arg:"" help:"Five fields: minute, hour, day of the month, month, day of the week, such as '30 2 * * mon-fri'. Or @hourly, @daily, @weekly, @monthly, @yearly."`
		Program  []string      `arg:"" optional:"" help:"Program and its arguments, after --. A process of \"layshaft schedule work\" that was given a program of this name runs it."`
	}
	scheduleListCmd struct{ clientFlags }
	scheduleShowCmd struct {
		clientFlags
		Name string `arg:"" help:"Name of the schedule."`
	}
	// scheduleNames name schedules.
	scheduleNames struct {
		clientFlags
		Name []string `arg:"" help:"Names of schedules."`
	}
	scheduleRemoveCmd struct{ scheduleNames }
	schedulePauseCmd  struct{ scheduleNames }
	scheduleResumeCmd struct{ scheduleNames }
	scheduleRunCmd    struct{ scheduleNames }
)

func (f *scheduleAddCmd) Run(ctx context.Context) error {
	switch {
	case f.Task != "" && len(f.Program) > 0:
		return usageError{errors.New("-task and a program are both given; one is enough")}
	case f.Task == "" && len(f.Program) == 0:
		return missing("give a program after --, or a function with -task")
	case f.Task == "" && f.Input != "":
		return usageError{errors.New("-input is for -task; give the program arguments instead")}
	}
	if err := cmp.Or(atLeast("-attempts", f.Attempts, 1), atLeast("-backoff", f.Backoff, 0), atLeast("-hard-limit", f.Limit, 0), atLeast("-jitter", f.Jitter, 0), atLeast("-keep", f.Keep, time.Second)); err != nil {
		return err
	}
	var priority tasks.Priority
	s := tasks.Schedule{Name: f.Name, Cron: f.Cron, Zone: f.TZ, Jitter: f.Jitter, Function: f.Task, Program: f.Program}
	err := errors.Join(priority.UnmarshalText([]byte(f.Priority)), s.CatchUp.UnmarshalText([]byte(f.CatchUp)), s.Overlap.UnmarshalText([]byte(f.Overlap)))
	if err != nil {
		return usageError{err}
	}
	if f.Input != "" {
		s.Input = f.Input
	}
	s.Options = []tasks.Option{priority, tasks.Attempts(f.Attempts), tasks.Backoff(f.Backoff, 0), tasks.HardLimit(f.Limit), tasks.Keep(f.Keep)}
	return f.client(func(c *tasks.Client) error {
		set := c.AddSchedule
		if f.Replace {
			set = c.SetSchedule
		}
		status, err := set(ctx, s)
		if errors.Is(err, tasks.ErrExists) {
			err = fmt.Errorf("%w: add -replace to change it", err)
		}
		if err != nil {
			return err
		}
		return f.print(status, func(w io.Writer) {
			if status.Paused {
				fmt.Fprintln(w, "paused")
				return
			}
			row(w, "first at "+timeText(status.Due))
		})
	})
}

// timeText returns a time with its zone, to the second, or "-".
func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(report.ScheduleTime)
}

func (f *scheduleListCmd) Run(ctx context.Context) error {
	return f.client(func(c *tasks.Client) error {
		all, err := c.Schedules(ctx)
		if err != nil {
			return err
		}
		return f.print(append([]tasks.ScheduleStatus{}, all...), func(w io.Writer) { scheduleTable(w, all) })
	})
}

func scheduleTable(w io.Writer, all []tasks.ScheduleStatus) {
	row(w, "SCHEDULE", "CRON", "ZONE", "STATE", "NEXT", "LAST", "SUCCESS", "RUNS")
	for i := range all {
		s := &all[i]
		row(w, s.Name, s.Cron, s.Zone, s.State(), timeText(s.Due), cmp.Or(s.Last(), "-"), timeText(s.Success), s.Runs())
	}
}

func (f *scheduleShowCmd) Run(ctx context.Context) error {
	return f.client(func(c *tasks.Client) error {
		s, err := c.Schedule(ctx, f.Name)
		if err != nil {
			return err
		}
		return f.print(s, func(w io.Writer) { scheduleDetail(w, &s) })
	})
}

func scheduleDetail(w io.Writer, s *tasks.ScheduleStatus) {
	row(w, "schedule", s.Name)
	row(w, "cron", s.Cron+" in "+s.Zone)
	row(w, "runs", s.Runs())
	row(w, "state", s.State())
	if s.Problem != "" {
		row(w, "problem", s.Problem)
	}
	row(w, "policies", "catch up "+s.CatchUp+", overlap "+s.Overlap+", jitter "+s.Jitter.String()+", priority "+s.Priority)
	row(w, "next", timeText(s.Due))
	row(w, "success", timeText(s.Success))
	row(w, "times", fmt.Sprintf("%d due, %d fired, %d failed, %d skipped, %d missed, %d waiting", s.Counts.Due, s.Counts.Fired, s.Counts.Failed, s.Counts.Skipped, s.Counts.Missed, s.Waiting))
	if len(s.History) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "TIME", "OUTCOME", "STARTED", "TOOK", "TASK")
	for _, h := range s.History {
		outcome, took := h.Outcome, "-"
		if h.Count > 1 {
			outcome = fmt.Sprintf("%s %d", outcome, h.Count)
		}
		if h.Manual {
			outcome += " (on request)"
		}
		if !h.Ended.IsZero() {
			took = h.Ended.Sub(h.Started).Round(time.Millisecond).String()
		}
		row(w, timeText(h.Time), outcome, timeText(h.Started), took, cmp.Or(h.Task, "-"))
	}
}

// each calls change for each name, and prints the schedules after it.
func (f *scheduleNames) each(change func(c *tasks.Client, name string) (tasks.ScheduleStatus, error)) error {
	return f.client(func(c *tasks.Client) error {
		var all []tasks.ScheduleStatus
		var failed error
		for _, name := range f.Name {
			s, err := change(c, name)
			if failed = errors.Join(failed, err); err == nil {
				all = append(all, s)
			}
		}
		if len(all) > 0 {
			failed = errors.Join(failed, f.print(all, func(w io.Writer) { scheduleTable(w, all) }))
		}
		return failed
	})
}

func (f *scheduleRemoveCmd) Run(ctx context.Context) error {
	return f.client(func(c *tasks.Client) error {
		var failed error
		for _, name := range f.Name {
			failed = errors.Join(failed, c.RemoveSchedule(ctx, name))
		}
		return failed
	})
}

func (f *schedulePauseCmd) Run(ctx context.Context) error {
	return f.each(func(c *tasks.Client, name string) (tasks.ScheduleStatus, error) { return c.PauseSchedule(ctx, name) })
}

func (f *scheduleResumeCmd) Run(ctx context.Context) error {
	return f.each(func(c *tasks.Client, name string) (tasks.ScheduleStatus, error) { return c.ResumeSchedule(ctx, name) })
}

func (f *scheduleRunCmd) Run(ctx context.Context) error {
	return f.each(func(c *tasks.Client, name string) (tasks.ScheduleStatus, error) { return c.RunSchedule(ctx, name) })
}

// scheduledProgram is the input of a task that runs a program, as the coordinator writes it.
type scheduledProgram struct {
	Args     []string  `json:"args"` // the first is the name of the program
	Schedule string    `json:"schedule"`
	Time     time.Time `json:"time"`
}

// runScheduled returns the handler of a program in a file.
func (p program) runScheduled(file string) func(ctx context.Context, in []byte) ([]byte, error) {
	return func(ctx context.Context, in []byte) ([]byte, error) {
		var x scheduledProgram
		if err := json.Unmarshal(in, &x); err != nil || len(x.Args) == 0 {
			return nil, tasks.Fatal(fmt.Errorf("input of %s: no list of arguments: %w", p.function, cmp.Or(err, os.ErrInvalid)))
		}
		q := p // runs of one program may be parallel, with different arguments
		q.command = append([]string{file}, x.Args[1:]...)
		q.env = append(slices.Clip(p.env), "LAYSHAFT_SCHEDULE="+x.Schedule, "LAYSHAFT_SCHEDULE_TIME="+x.Time.Format(time.RFC3339))
		return q.run(ctx, nil)
	}
}
