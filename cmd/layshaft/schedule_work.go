package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/tasks"
)

// scheduleWorkCmd is a task worker that runs the programs of schedules.
type scheduleWorkCmd struct {
	clusterFlags
	Program     map[string]string `required:"" placeholder:"NAME=FILE" help:"Run FILE for schedules with the program NAME. Only programs named here run. May be repeated."`
	Env         map[string]string `placeholder:"NAME=VALUE" help:"Variable for the programs. They also get the variables of this process that do not begin with LAYSHAFT_. May be repeated."`
	Concurrency int               `default:"4" help:"Number of parallel programs. They take no slots of workers."`
	Drain       time.Duration     `default:"5m" help:"Time for running programs to finish after SIGTERM. Then they and their children get SIGTERM, and half a second later SIGKILL. Their tasks run again."`
	LogLevel    string            `enum:"debug,info,warn,error" default:"info" help:"Lowest level to log to standard error: debug, info, warn or error."`
}

// Help returns what a program gets and what its outcome is.
func (*scheduleWorkCmd) Help() string {
	return "A program gets the arguments of its schedule. Its environment has LAYSHAFT_CLUSTER, the -cluster of this process, so a pipeline runs on the workers. " +
		"LAYSHAFT_SCHEDULE is the name of the schedule and LAYSHAFT_SCHEDULE_TIME the time that fired, as RFC 3339 in its time zone. " +
		"The other variables and the exit codes are the same as in \"layshaft task work -h\": standard output is the result of the task, and each line on standard error is a warning. " +
		"With certificates, this process needs one of the role worker and a pipeline one of the role client: give it with -env LAYSHAFT_TLS_CERT=FILE and so on."
}

func (f *scheduleWorkCmd) Run(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(f.Program)) {
		if name == "" || strings.Contains(name, "/") {
			return usageError{fmt.Errorf("-program %s=%s: a name is not empty and has no /", name, f.Program[name])}
		}
		path, err := exec.LookPath(f.Program[name])
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if errors.Is(err, exec.ErrNotFound) && !strings.Contains(f.Program[name], "/") {
			err = fmt.Errorf("%w; for a file of this directory, write ./%s", err, f.Program[name])
		}
		if err != nil {
			return usageError{fmt.Errorf("-program %s: %w", name, err)}
		}
		f.Program[name] = path
	}
	if err := cmp.Or(atLeast("-concurrency", f.Concurrency, 1), atLeast("-drain", f.Drain, 0)); err != nil {
		return err
	}
	w, err := newTaskWorker(tasks.Cluster{Address: f.Cluster, TLS: tasks.TLSFiles(f.files())}, f.LogLevel)
	if err != nil {
		return err
	}
	w.Concurrency, w.Drain = f.Concurrency, max(f.Drain, time.Millisecond)
	env := append(ownEnvironment(), "LAYSHAFT_CLUSTER="+f.Cluster)
	for _, name := range slices.Sorted(maps.Keys(f.Env)) {
		env = append(env, name+"="+f.Env[name])
	}
	ending := endingAfter(ctx, w.Drain)
	for name, file := range f.Program {
		p := program{function: "program/" + name, fatal: defaultFatal, ending: ending, env: env}
		tasks.Handle(w, p.function, p.runScheduled(file))
	}
	return w.Run(ctx)
}
