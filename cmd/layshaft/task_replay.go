package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/client"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/tasks"
	"github.com/layshaft/layshaft/worker"
)

// taskReplayCmd runs an attempt, or a queued task, once more.
type taskReplayCmd struct {
	clientFlags
	Skip    bool     `help:"Skip the records that the attempt had to skip because attempts before it died there. Default: run them too."`
	Attempt string   `arg:"" help:"The attempt of a job, JOB/STAGE/TASK#N, such as 3fa9/0/17#2; without #N the latest one that failed. Or the ID of a queued task."`
	Command []string `arg:"" optional:"" help:"The program with the code of the job or with the handler of the task, and its arguments, after --. It may be a debugger that starts the program. Default for a report: this program."`
}

// Run runs the attempt or the task.
func (c *taskReplayCmd) Run(ctx context.Context) error {
	id, attempt, ok := strings.Cut(c.Attempt, "/")
	if !ok {
		return c.replayTask(ctx)
	}
	a, err := parseAttempt(attempt)
	if err != nil {
		return usageError{fmt.Errorf("attempt %s: %w", c.Attempt, err)}
	}
	return c.withJob(ctx, id, func(client *client.Client, st report.Job) error {
		a.Job = st.ID
		return c.replayAttempt(ctx, client, a)
	})
}

// parseAttempt parses STAGE/TASK or STAGE/TASK#N.
func parseAttempt(text string) (a job.Attempt, err error) {
	_, err = fmt.Sscanf(text, "%d/%d#%d", &a.Task.Stage, &a.Task.Index, &a.N)
	if err != nil {
		a.N = 0
		_, err = fmt.Sscanf(text, "%d/%d", &a.Task.Stage, &a.Task.Index)
	}
	if err != nil || text != a.String() && text != a.Task.String() || min(a.Task.Stage, a.Task.Index) < 0 {
		return a, fmt.Errorf("%q names no attempt; an attempt is STAGE/TASK#N, such as 0/17#2", text)
	}
	return a, nil
}

// program returns the command, and checks that it can be started.
func (c *taskReplayCmd) program(builtin bool) ([]string, error) {
	command := c.Command
	if len(command) == 0 && builtin {
		own, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{own}
	}
	if len(command) == 0 {
		return nil, missing("name the program, after --")
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, usageError{fmt.Errorf("%w; name the program by its path, such as ./report", err)}
	}
	return command, nil
}

// replayAttempt runs an attempt of a job.
func (c *taskReplayCmd) replayAttempt(ctx context.Context, client *client.Client, a job.Attempt) error {
	spec, opt, err := client.Spec(ctx, a.Job, false)
	if err != nil {
		return err
	}
	command, err := c.program(spec.Name == job.ReportPipeline)
	if err != nil {
		return err
	}
	launch, err := client.Launch(ctx, a)
	if err != nil {
		return err
	}
	peers, err := c.peers(client)
	if err != nil {
		return err
	}
	defer peers.close()
	files, err := peers.files(opt.Client)
	if err != nil {
		return err
	}
	say := func(format string, a ...any) { fmt.Fprintln(os.Stderr, plain.Text(fmt.Sprintf(format, a...))) }
	say("replaying attempt %s of job %s (%s), alone and without a time limit; sinks write nothing", launch.Attempt, a.Job, spec.Stages[a.Task.Stage].Name)
	if n := len(launch.Skips); n > 0 && !c.Skip {
		say("the attempt skipped %s that had ended other attempts; the replay does not (-skip does)", report.Plural(n, "record"))
		launch.Skips = nil
	}
	r := &worker.Replay{Spec: spec, Launch: launch, Command: command, Peer: peers.outputs, Files: files, Client: opt.Client,
		SetAside: func(line []byte) { say("set aside: %s", line) }}
	out, err := r.Run()
	before := beforeReplay(ctx, client, launch.Attempt)
	var f *job.Failure
	if !errors.As(err, &f) {
		if err == nil {
			say("the attempt succeeded: it read %s, %s, and passed on %s, %s", report.Plural(out.Read, "record"), bytesize.Format(out.ReadBytes), report.Plural(out.Wrote, "record"), bytesize.Format(out.WroteBytes))
		}
		if err == nil && before != nil {
			say("on the cluster it had failed with: %s", failureLine(before.Record, before.Message))
		}
		return err
	}
	at := ""
	if f.Number > 0 {
		at = fmt.Sprintf(", number %d of its split", f.Number)
	}
	same := before != nil && f.Record != "" && (before.Record == f.Record || strings.HasPrefix(before.Message, f.Record+": "))
	switch {
	case same && before.Message == f.Message:
		say("the attempt failed at the same record as on the cluster, %s%s, with the same error", f.Record, at)
	case same:
		say("the attempt failed at the same record as on the cluster, %s%s", f.Record, at)
	case before != nil && before.Message == f.Message:
		say("the attempt failed with the same error as on the cluster%s", at)
	case before != nil:
		say("the attempt failed%s; on the cluster it had failed with: %s", at, failureLine(before.Record, before.Message))
	default:
		say("the attempt failed%s", at)
	}
	if f.Detail != "" {
		fmt.Fprintln(os.Stderr, plain.Lines(strings.TrimRight(f.Detail, "\n")))
	}
	return &report.JobError{ID: a.Job, Outcome: report.JobFailed, Failure: job.Failure{Kind: f.Kind, Message: fmt.Sprintf("attempt %s, replayed: %s", launch.Attempt, failureLine(f.Record, f.Message))}}
}

func failureLine(record, message string) string {
	return strings.TrimPrefix(record+": "+message, ": ")
}

// beforeReplay returns how the attempt ended on the cluster; nil if that is not known.
func beforeReplay(ctx context.Context, client *client.Client, a job.Attempt) *report.AttemptView {
	run, err := runOf(ctx, client, a.Job)
	if err != nil {
		return nil
	}
	views, err := attemptsOf(run, a.String())
	if err != nil || views[0].Message == "" {
		return nil
	}
	return views[0]
}

// replayTask runs the handler of a queued task.
func (c *taskReplayCmd) replayTask(ctx context.Context) error {
	id, err := tasks.ParseID(c.Attempt)
	if err != nil {
		return usageError{fmt.Errorf("%q names no attempt and no task; an attempt is JOB/STAGE/TASK#N, such as 3fa9/0/17#2, a task has an ID such as 2f", c.Attempt)}
	}
	command, err := c.program(false)
	if err != nil {
		return err
	}
	var task report.Replay
	err = c.client(func(client *tasks.Client) error {
		s, err := client.Inspect(ctx, id)
		if err != nil {
			return err
		}
		if s.Input == nil && s.Size > 0 {
			return fmt.Errorf("the input of task %s is gone: a task keeps it until it is done, and a dead letter as long as it is kept", id)
		}
		task = report.Replay{Task: uint64(s.ID), Function: s.Function, Attempt: max(s.Attempts, 1), Input: s.Input}
		return nil
	})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "layshaft-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text, err := json.Marshal(task)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "task.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "replaying task %s of %s with an input of %s; nothing is reported to the cluster\n", id, plain.Text(task.Function), report.Plural(len(task.Input), "byte"))
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), report.ReplayEnv+"="+file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if _, e := os.Stat(file + report.ReplayTaken); e != nil {
		ended := "successfully"
		if exit != nil {
			ended = "with " + exit.String()
		}
		name := plain.Text(task.Function)
		return fmt.Errorf("%w: the program ended %s and did not take the task: it must run a worker of package tasks with a handler of %s; for a command, add before it: layshaft task work -function %s --", tasks.ErrFailed, ended, name, name)
	}
	if exit != nil {
		return fmt.Errorf("%w: the program ended with %s", tasks.ErrFailed, exit)
	}
	return nil
}

// namesOf returns the workers that offer a dataset, by ID, and all offered datasets.
func namesOf(ws []report.Worker, dataset string) (here, away, offered []string) {
	for i := range ws {
		w := &ws[i]
		offered = append(offered, w.Datasets...)
		switch {
		case !slices.Contains(w.Datasets, dataset):
		case w.State == report.Away:
			away = append(away, w.ID)
		default:
			here = append(here, cmp.Or(w.ID, w.Name))
		}
	}
	slices.Sort(offered)
	return here, away, slices.Compact(offered)
}
