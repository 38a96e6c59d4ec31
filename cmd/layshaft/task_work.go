package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/keeper"
	"github.com/layshaft/layshaft/tasks"
)

// taskWorkCmd is a task worker that runs a command per task.
type taskWorkCmd struct {
	clusterFlags
	Function    string        `type:"name" required:"" placeholder:"NAME" help:"The function whose tasks the command runs."`
	Concurrency int           `default:"1" help:"Number of parallel commands."`
	SlotsOf     string        `placeholder:"ID" help:"Run commands in slots of the layshaft worker with this ID (worker list -o json). The coordinator divides them between commands and attempts of pipelines. High tasks go before jobs of a priority below 10 and may use reserved slots. Normal tasks are like a job of priority 0, low ones of -10."`
	HardLimit   time.Duration `default:"0s" help:"Time after which a command is ended and its attempt fails. The command and its children get SIGTERM; ten seconds later, or when the command itself has exited, SIGKILL. 0s means no limit."`
	Fatal       []int         `sep:"," default:"65" placeholder:"CODE" help:"Exit codes after which the task is not retried. May be repeated."`
	Stream      bool          `help:"Send output of the command at once, as partial results. Without it, all output is the result."`
	MaxTasks    int           `default:"0" help:"End after this many tasks; 0 means no limit."`
	IdleExit    time.Duration `default:"0s" help:"End after this time without a task, with exit code 0; 0s means no limit."`
	Drain       time.Duration `default:"30s" help:"Time for running commands to finish after SIGTERM. Then they and their children get SIGTERM, and half a second later SIGKILL."`
	Join        []string      `group:"Gossip" sep:"," placeholder:"HOST:PORT" help:"Gossip addresses of members of the cluster; one reachable address is enough. The worker then becomes a member and finds the coordinator by itself, without -cluster; when it ends, it announces that it leaves."`
	Gossip      string        `group:"Gossip" default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Address for gossip; port 0 chooses a free port."`
	gossipFlags
	Insecure bool     `group:"Gossip" help:"Gossip with other machines without a key."`
	LogLevel string   `enum:"debug,info,warn,error" default:"info" help:"Lowest level to log to standard error: debug, info, warn or error."`
	Command  []string `arg:"" help:"Program and its arguments, after --. The input of the task is its standard input, its standard output is the result, and each line on standard error is a warning. Exit code 0 means done; background processes of the command continue. Exit codes of -fatal mean that the task has failed; other codes, and signals, cause a retry. Its environment has LAYSHAFT_TASK_ID, LAYSHAFT_TASK_FUNCTION, LAYSHAFT_TASK_ATTEMPT and LAYSHAFT_TASK_KEY, which is the same for all attempts at a task. A soft limit has no effect; a hard limit of the task acts like -hard-limit."`
}

// newTaskWorker returns a worker of tasks that logs to standard error. The processes that it starts
// end with this one.
func newTaskWorker(cluster tasks.Cluster, logLevel string) (*tasks.Worker, error) {
	if err := keeper.Start(); err != nil {
		return nil, err
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(logLevel)) // the grammar has checked it
	cluster.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return tasks.NewWorker(cluster), nil
}

func (f *taskWorkCmd) Run(ctx context.Context) error {
	if _, err := exec.LookPath(f.Command[0]); err != nil {
		return usageError{err}
	}
	if err := cmp.Or(atLeast("-concurrency", f.Concurrency, 1), atLeast("-max-tasks", f.MaxTasks, 0), atLeast("-idle-exit", f.IdleExit, 0),
		atLeast("-hard-limit", f.HardLimit, 0), atLeast("-drain", f.Drain, 0)); err != nil {
		return err
	}
	w, err := newTaskWorker(tasks.Cluster{Address: f.Cluster, TLS: tasks.TLSFiles(f.files())}, f.LogLevel)
	if err != nil {
		return err
	}
	w.SlotsOf = f.SlotsOf
	for _, address := range f.Join {
		if err := checkAddress(address); err != nil {
			return usageError{fmt.Errorf("-join: %w", err)}
		}
	}
	if len(f.Join) > 0 {
		key, err := f.key()
		if err != nil {
			return err
		}
		w.Gossip = tasks.Gossip{Join: f.Join, Listen: f.Gossip, Key: key, Label: f.Label, Insecure: f.Insecure}
	}
	w.Concurrency, w.MaxTasks, w.IdleExit, w.Drain = f.Concurrency, f.MaxTasks, f.IdleExit, max(f.Drain, time.Millisecond)
	p := program{function: f.Function, command: f.Command, fatal: f.Fatal, stream: f.Stream, ending: endingAfter(ctx, w.Drain), env: ownEnvironment()}
	tasks.Handle(w, f.Function, p.run, tasks.HardLimit(f.HardLimit))
	return w.Run(ctx)
}

// program is the command for the tasks of a function.
type program struct {
	function string
	command  []string
	fatal    []int           // exit codes after which no attempt follows
	stream   bool            // send output as partial results, at once
	env      []string        // environment of the command
	ending   <-chan struct{} // closed when the worker stops waiting
}

// ownEnvironment returns the environment of this process without its settings. Variables with the
// credentials of sources and sinks stay, because the command may be a pipeline.
func ownEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LAYSHAFT_") && !strings.HasPrefix(v, "LAYSHAFT_S3_") && !strings.HasPrefix(v, "LAYSHAFT_SEARCH_") && !strings.HasPrefix(v, "LAYSHAFT_PG_")
	})
}

// defaultFatal is EX_DATAERR of sysexits.h.
var defaultFatal = []int{65}

// run runs the command for one task.
func (p *program) run(ctx context.Context, in []byte) ([]byte, error) {
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Env = append(slices.Clip(p.env), "LAYSHAFT_TASK_ID="+tasks.TaskID(ctx).String(), "LAYSHAFT_TASK_FUNCTION="+p.function,
		"LAYSHAFT_TASK_ATTEMPT="+strconv.Itoa(tasks.Attempt(ctx)), "LAYSHAFT_TASK_KEY="+tasks.IdempotencyKey(ctx))
	cmd.Env = append(cmd.Env, keeper.Env()...)
	cmd.Stdin = bytes.NewReader(in)
	var result bounded
	var stdout io.Writer = &result
	if p.stream {
		stdout = sender{ctx}
	}
	warnings := &lines{ctx: ctx}
	err := execute(ctx, cmd, stdout, warnings, p.ending)
	warnings.flush()
	var exit *exec.ExitError
	switch {
	case err == nil && result.size > maxInput:
		return nil, tasks.Fatal(fmt.Errorf("%s: a result of %d bytes is over the limit of %d; -stream sends it in parts", p.command[0], result.size, maxInput))
	case err == nil:
		return result.Bytes(), nil
	case ctx.Err() != nil, !errors.As(err, &exit):
		return nil, fmt.Errorf("%s: %w", p.command[0], err)
	}
	err = fmt.Errorf("%s: %w", p.command[0], err)
	if warnings.last != "" {
		err = fmt.Errorf("%w: %s", err, warnings.last)
	}
	if slices.Contains(p.fatal, exit.ExitCode()) {
		err = tasks.Fatal(err)
	}
	return nil, err
}

// bounded keeps written bytes up to the limit of a result; beyond the limit it only counts.
type bounded struct {
	bytes.Buffer
	size int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.size += len(p); b.size > maxInput {
		b.Buffer = bytes.Buffer{}
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// sender sends written bytes as partial results.
type sender struct{ ctx context.Context }

func (s sender) Write(b []byte) (int, error) {
	if err := tasks.Send(s.ctx, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// lines sends each written line as a warning.
type lines struct {
	ctx  context.Context
	rest []byte
	last string
}

// maxLine is the length in bytes at which a line is split.
const maxLine = 64 << 10

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		advance, line, _ := bufio.ScanLines(l.rest, false)
		if advance == 0 && len(l.rest) > maxLine {
			advance, line = maxLine, l.rest[:maxLine]
		}
		if advance == 0 {
			return len(b), nil
		}
		l.warn(line)
		l.rest = l.rest[advance:]
	}
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.warn(l.rest)
	}
}

func (l *lines) warn(line []byte) {
	l.last = string(line)
	_ = tasks.Warn(l.ctx, "%s", line) // the attempt has ended: nobody listens
}
