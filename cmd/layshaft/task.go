package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/bytesize"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/tasks"
)

// taskCmd are the commands for tasks.
type taskCmd struct {
	Do     taskDoCmd     `cmd:"" help:"Run one task, print its output, and exit with 0, 3 or 4."`
	Submit taskSubmitCmd `cmd:"" help:"Submit background tasks, and print their IDs."`
	Wait   taskWaitCmd   `cmd:"" help:"Wait for a submitted task, like \"do\"."`
	Status taskStatusCmd `cmd:"" help:"Show functions and budgets, or one task with its input and result."`
	List   taskListCmd   `cmd:"" help:"List tasks."`
	Dead   taskDeadCmd   `cmd:"" help:"List dead letters, the latest first: background tasks that have failed finally."`
	Cancel taskCancelCmd `cmd:"" help:"Cancel tasks, including running ones."`
	RunNow taskRunNowCmd `cmd:"" name:"run-now" help:"Start delayed tasks now, before their time or during the delay after a failure."`
	Retry  taskRetryCmd  `cmd:"" help:"Queue dead letters again."`
	Drop   taskDropCmd   `cmd:"" help:"Delete finished tasks, dead letters, or a function and its limits."`
	Pause  taskPauseCmd  `cmd:"" help:"Stop starting tasks of a function."`
	Resume taskResumeCmd `cmd:"" help:"Start tasks of a paused function again."`
	Limit  taskLimitCmd  `cmd:"" help:"Set the limits of a function, all at once."`
	Budget taskBudgetCmd `cmd:"" help:"Set the size of a budget: an external resource of functions, such as connections."`
	Replay taskReplayCmd `cmd:"" help:"Run an attempt of a job, or a queued task, once more with its exact input in a program in the foreground."`
	Work   taskWorkCmd   `cmd:"" help:"Run a task worker that runs a command per task."`
}

type (
	// taskFlags set the options of a task.
	taskFlags struct {
		Priority   string        `enum:"high,normal,low" default:"normal" help:"Priority over tasks of all functions: high, normal or low."`
		Coalesce   string        `placeholder:"KEY" help:"As -unique; a task that runs already runs once more afterwards, so that a run begins after this submit."`
		Unique     string        `placeholder:"KEY" help:"Join an unfinished task with the same function and key, if there is one. Its input counts; the earlier start and the higher priority win."`
		After      time.Duration `default:"0s" help:"Earliest start, from now."`
		Attempts   int           `default:"5" help:"Number of failed attempts after which the task fails. Attempts lost with their worker are counted apart, unless it is 1."`
		Backoff    time.Duration `default:"1s" help:"Wait before the second attempt; doubles with each further one."`
		SoftLimit  time.Duration `default:"0s" help:"Time after which a Go handler is asked to end; has no effect on commands. 0s means no limit."`
		HardLimit  time.Duration `default:"0s" help:"Time after which an attempt is ended; 0s means no limit."`
		Then       []string      `sep:"," placeholder:"FUNCTION" help:"Functions to run afterwards, each with the result of the previous one."`
		WholeInput *string       `name:"input" placeholder:"TEXT" help:"The input. Default: read from standard input."`
	}
	taskDoCmd struct {
		clientFlags
		taskFlags
		Deadline time.Duration `default:"0s" help:"Stop waiting after this time; 0s means no limit."`
		Function string        `type:"name" arg:"" help:"Name of the function."`
		Text     *string       `arg:"" name:"text" optional:"" help:"The input, as with -input."`
	}
	taskSubmitCmd struct {
		clientFlags
		taskFlags
		Keep     time.Duration `default:"10m" help:"How long the outcome and result are kept after the end."`
		Lossy    bool          `help:"Do not store the tasks on the coordinator's disk: a restart then loses them."`
		Lines    bool          `help:"Submit a task for each line of standard input."`
		Function string        `type:"name" arg:"" help:"Name of the function."`
		Text     *string       `arg:"" name:"text" optional:"" help:"The input, as with -input."`
	}
	// nameFlags name a submitted task.
	nameFlags struct {
		Function string `type:"name" placeholder:"NAME" help:"Function of the task, with -unique."`
		Unique   string `placeholder:"KEY" help:"Unique key: names the latest task of the function with this key."`
	}
	taskWaitCmd struct {
		clientFlags
		nameFlags
		Deadline time.Duration `default:"0s" help:"Stop waiting after this time; 0s means no limit."`
		ID       tasks.ID      `arg:"" optional:"" help:"The task, or a group to wait for."`
	}
	taskStatusCmd struct {
		clientFlags
		nameFlags
		ID string `arg:"" optional:"" help:"The task, or a function. Default: show functions and budgets."`
	}
	// deadFlags select dead letters.
	deadFlags struct {
		Error string        `placeholder:"TEXT" help:"Dead letters with this text in their error, in any case of letters."`
		Older time.Duration `default:"0s" help:"Dead letters that failed at least this time ago."`
	}
	taskDropCmd struct {
		clientFlags
		deadFlags
		Dead     bool       `help:"Delete dead letters: all of them, or the ones that -function, -error and -older select."`
		Function string     `type:"name" placeholder:"NAME" help:"Delete this function and its limits; it must have no workers and no unfinished tasks. With -dead: only its dead letters."`
		ID       []tasks.ID `arg:"" optional:"" help:"Finished tasks, including dead letters."`
	}
	taskListCmd struct {
		clientFlags
		Function string        `type:"name" placeholder:"NAME" help:"Only tasks of this function."`
		State    []tasks.State `sep:"," placeholder:"STATE" help:"Only tasks that are waiting, delayed, running, done, failed or cancelled. May be repeated."`
		Limit    int           `default:"100" help:"Largest number of tasks to list."`
	}
	taskDeadCmd struct {
		clientFlags
		deadFlags
		Function string `type:"name" arg:"" optional:"" help:"Only dead letters of this function."`
		Limit    int    `default:"100" help:"Largest number per function, up to 1000."`
	}
	taskCancelCmd struct {
		clientFlags
		ID []tasks.ID `arg:"" help:"The tasks."`
	}
	taskRunNowCmd struct {
		clientFlags
		ID []tasks.ID `arg:"" help:"The tasks."`
	}
	taskRetryCmd struct {
		clientFlags
		deadFlags
		Dead     bool       `help:"All dead letters."`
		Function string     `type:"name" placeholder:"NAME" help:"All dead letters of this function."`
		ID       []tasks.ID `arg:"" optional:"" help:"The tasks."`
	}
	taskPauseCmd struct {
		clientFlags
		Function string `type:"name" arg:"" help:"Name of the function."`
	}
	taskResumeCmd struct {
		clientFlags
		Function string `type:"name" arg:"" help:"Name of the function."`
	}
	taskLimitCmd struct {
		clientFlags
		QueueHigh   int            `placeholder:"NUMBER" help:"Refuse tasks of high priority once the function has this many unfinished tasks; 0 means no limit, here and below."`
		QueueNormal int            `placeholder:"NUMBER" help:"The same for normal priority."`
		QueueLow    int            `placeholder:"NUMBER" help:"The same for low priority."`
		Concurrency int            `placeholder:"NUMBER" help:"Tasks running at the same time, on all workers."`
		Rate        float64        `placeholder:"NUMBER" help:"Starts per second."`
		Burst       int            `placeholder:"NUMBER" help:"Starts at once after a pause."`
		Weight      int            `placeholder:"NUMBER" help:"Share of starts beside other functions with waiting tasks of the same priority, 1 to 1000: 3 gets three starts for each one of a function without a weight."`
		Needs       map[string]int `placeholder:"BUDGET=NUMBER" help:"Amount of a budget used by each running task. May be repeated."`
		Function    string         `type:"name" arg:"" help:"Name of the function."`
	}
	taskBudgetCmd struct {
		clientFlags
		Budget string `arg:"" help:"Name of the budget."`
		Size   int    `arg:"" help:"Size of the budget."`
	}
)

// cluster returns the cluster named by the flags.
func (f *clientFlags) cluster() tasks.Cluster {
	return tasks.Cluster{Address: f.Cluster, TLS: tasks.TLSFiles(f.files()), Connect: f.Timeout, Patience: f.Timeout, OnWait: f.waiting, Log: warnings()}
}

// client calls use with a client.
func (f *clientFlags) client(use func(*tasks.Client) error) error {
	if f.Timeout <= 0 {
		return usageError{fmt.Errorf("-timeout %v must be more than 0s", f.Timeout)}
	}
	c, err := tasks.Dial(f.cluster())
	if err != nil {
		return usageError{err}
	}
	return errors.Join(use(c), c.Close())
}

// atLeast returns a usage error if value is less than least, or not a number.
func atLeast[T int | float64 | time.Duration](name string, value, least T) error {
	if value >= least {
		return nil
	}
	return usageError{fmt.Errorf("%s %v must be at least %v", name, value, least)}
}

// check validates flags beyond the grammar.
func (f *taskFlags) check() error {
	if f.Unique != "" && f.Coalesce != "" {
		return usageError{errors.New("-unique and -coalesce exclude each other")}
	}
	return cmp.Or(atLeast("-attempts", f.Attempts, 1), atLeast("-after", f.After, 0), atLeast("-backoff", f.Backoff, 0),
		atLeast("-soft-limit", f.SoftLimit, 0), atLeast("-hard-limit", f.HardLimit, 0))
}

// options returns the options of every task.
func (f *taskFlags) options() []tasks.Option {
	var priority tasks.Priority
	_ = priority.UnmarshalText([]byte(f.Priority)) // the grammar has checked it
	unique := tasks.Unique(f.Unique)
	if f.Coalesce != "" {
		unique = tasks.Coalesce(f.Coalesce)
	}
	opts := []tasks.Option{priority, unique, tasks.After(f.After), tasks.Attempts(f.Attempts), tasks.Backoff(f.Backoff, 0),
		tasks.SoftLimit(f.SoftLimit), tasks.HardLimit(f.HardLimit)}
	for _, function := range f.Then {
		opts = append(opts, tasks.Then(function))
	}
	return opts
}

// maxInput is the largest input or result of a task, in bytes.
const maxInput = 64 << 20

// input returns the input of a task: text, if it is set, -input, or standard input.
func (f *taskFlags) input(text *string) ([]byte, error) {
	switch {
	case text != nil && f.WholeInput != nil:
		return nil, usageError{fmt.Errorf("the input %q and -input are both given; one is enough", *text)}
	case text != nil:
		return []byte(*text), nil
	}
	if f.WholeInput != nil {
		return []byte(*f.WholeInput), nil
	}
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Name() != os.DevNull {
		fmt.Fprintln(os.Stderr, "the input is read from the terminal: end it with ^D, or give -input TEXT")
	}
	in, err := io.ReadAll(io.LimitReader(os.Stdin, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("standard input: %w", err)
	case len(in) > maxInput:
		return nil, fmt.Errorf("standard input exceeds %s, the limit of a task's input", bytesize.Size(maxInput))
	}
	return in, nil
}

// printUpdate prints updates while a client waits: partial results to standard output, the rest to
// standard error.
func printUpdate(u tasks.Update) {
	switch u.Kind {
	case tasks.KindData:
		_, _ = os.Stdout.Write(u.Payload)
	case tasks.KindWarning:
		fmt.Fprintln(os.Stderr, "warning:", plain.Lines(string(u.Payload)))
	case tasks.KindProgress:
		fmt.Fprintf(os.Stderr, "%d/%d\n", u.N, u.M)
	case tasks.KindRetry:
		fmt.Fprintf(os.Stderr, "attempt %d follows: %v: %s\n", u.N, u.Reason, plain.Text(firstLine(u.Payload)))
	case tasks.KindWaiting:
		printWaiting(string(u.Payload))
	case tasks.KindFollowed:
		fmt.Fprintf(os.Stderr, "task %s follows\n", u.Next)
	}
}

// waiting tells what the command waits for.
func (f *clientFlags) waiting(why string) {
	if f.onWait != nil {
		f.onWait(why)
		return
	}
	printWaiting(why)
}

// printWaiting prints what a command waits for.
func printWaiting(why string) { fmt.Fprintln(os.Stderr, "waiting:", plain.Text(why)) }

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func (f *taskDoCmd) Run(ctx context.Context) error {
	if err := cmp.Or(f.check(), atLeast("-deadline", f.Deadline, 0)); err != nil {
		return err
	}
	in, err := f.input(f.Text)
	if err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		var joined, reported bool
		update := func(u tasks.Update) {
			if joined && !reported {
				reported = true
				reportJoin(u.Task)
			}
			printUpdate(u)
		}
		out, err := tasks.Do[[]byte](ctx, c, f.Function, in, append(f.options(), tasks.Deadline(f.Deadline), tasks.OnUpdate(update), tasks.Joined(&joined), calledBy())...)
		_, _ = os.Stdout.Write(out)
		return err
	})
}

// calledBy declares that the task whose command runs this process waits.
func calledBy() tasks.Option {
	var id tasks.ID
	if text := os.Getenv("LAYSHAFT_TASK_ID"); text != "" {
		_ = id.UnmarshalText([]byte(text)) // anything else means none
	}
	return tasks.CalledBy(id)
}

// reportJoin prints that a submit joined a task.
func reportJoin(id tasks.ID) {
	fmt.Fprintf(os.Stderr, "joined task %s, which has this key and has not ended; its own input counts\n", id)
}

// unique reports whether a task is named by its unique key.
func (f *nameFlags) unique(id tasks.ID) (bool, error) {
	switch {
	case (f.Function == "") != (f.Unique == ""):
		return false, usageError{errors.New("-function and -unique must be given together")}
	case f.Unique != "" && id != 0:
		return false, usageError{fmt.Errorf("task %s and -unique are both given; one is enough", id)}
	}
	return f.Unique != "", nil
}

func (f *taskWaitCmd) Run(ctx context.Context) error {
	unique, err := f.unique(f.ID)
	if err == nil && !unique && f.ID == 0 {
		err = missing("name a task, or its function and key with -function and -unique")
	}
	if err = cmp.Or(err, atLeast("-deadline", f.Deadline, 0)); err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		var out []byte
		var err error
		if opts := []tasks.Option{tasks.Deadline(f.Deadline), tasks.OnUpdate(printUpdate), calledBy()}; unique {
			out, err = tasks.AttachUnique[[]byte](ctx, c, f.Function, f.Unique, opts...)
		} else {
			out, err = tasks.Attach[[]byte](ctx, c, f.ID, opts...)
		}
		_, _ = os.Stdout.Write(out)
		return err
	})
}

func (f *taskSubmitCmd) Run(ctx context.Context) error {
	if err := cmp.Or(f.check(), atLeast("-keep", f.Keep, 0)); err != nil {
		return err
	}
	if f.Lines && (f.WholeInput != nil || f.Text != nil || f.Unique+f.Coalesce != "") {
		return usageError{errors.New("-lines makes one task per line of standard input: omit -input, -unique and -coalesce")}
	}
	opts := append(f.options(), tasks.Keep(f.Keep))
	if f.Lossy {
		opts = append(opts, tasks.Lossy())
	}
	if f.Lines {
		return f.client(func(c *tasks.Client) error {
			ids, err := submitLines(ctx, c, f.Function, os.Stdin, opts)
			return errors.Join(err, f.ids(ids))
		})
	}
	in, err := f.input(f.Text)
	if err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		joined := false
		id, err := tasks.Enqueue(ctx, c, f.Function, in, append(opts, tasks.Joined(&joined))...)
		if joined {
			reportJoin(id)
		}
		return errors.Join(err, f.ids([]tasks.ID{id}))
	})
}

// submitLines submits a task for each line, and returns the IDs of the submitted ones.
func submitLines(ctx context.Context, c *tasks.Client, function string, in io.Reader, opts []tasks.Option) (ids []tasks.ID, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxInput)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) { // unchanged: a carriage return stays
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, data[:i:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	const most, mostBytes = 10_000, 4 << 20
	for more := true; more && err == nil; {
		var part [][]byte
		for size := 0; len(part) < most && size < mostBytes; size += len(lines.Bytes()) {
			if more = lines.Scan(); !more {
				break
			}
			part = append(part, bytes.Clone(lines.Bytes()))
		}
		var some []tasks.ID
		some, err = tasks.EnqueueAll(ctx, c, function, part, opts...)
		ids = append(ids, some...)
	}
	if read := lines.Err(); read != nil {
		err = errors.Join(err, fmt.Errorf("standard input: line %d: %w; the limit of a task's input is %s", len(ids)+1, read, bytesize.Size(maxInput)))
	}
	return ids, err
}

// ids prints IDs, one per line.
func (f outputFlag) ids(ids []tasks.ID) error {
	if ids == nil {
		ids = []tasks.ID{}
	}
	return f.print(ids, func(w io.Writer) {
		for _, id := range ids {
			if id != 0 {
				row(w, id)
			}
		}
	})
}

func (f *taskStatusCmd) Run(ctx context.Context) error {
	id, notID := tasks.ID(0), error(nil)
	if f.ID != "" {
		id, notID = tasks.ParseID(f.ID)
	}
	unique, err := f.unique(id)
	if err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		if unique || id != 0 {
			if unique {
				s, err := c.StatusUnique(ctx, f.Function, f.Unique)
				if err != nil {
					return err
				}
				id = s.ID
			}
			s, err := c.Inspect(ctx, id)
			if err != nil {
				return err
			}
			return f.print(s, func(w io.Writer) { taskDetails(w, &s) })
		}
		o, err := c.Overview(ctx)
		if err != nil {
			return err
		}
		if notID != nil {
			if text := unknownFunction(f.ID, o.Functions); text != "" {
				return usageError{fmt.Errorf("%w; %s", notID, text)}
			}
			o.Functions = slices.DeleteFunc(o.Functions, func(x tasks.Function) bool { return x.Name != f.ID })
			o.Budgets = nil
		}
		at := struct {
			Server string `json:"server"`
			tasks.Overview
		}{f.Cluster, o}
		return f.print(at, func(w io.Writer) { overviewTable(w, &o) })
	})
}

func taskDetails(w io.Writer, s *tasks.Status) {
	row(w, "task", s.ID)
	row(w, "function", s.Function)
	row(w, "state", s.State)
	row(w, "priority", s.Priority)
	attempts := fmt.Sprintf("%d of %d", s.Attempts-s.Lost, s.MaxAttempts)
	if s.Lost > 0 {
		attempts += fmt.Sprintf("; %d more were lost with their worker", s.Lost)
	}
	row(w, "attempts", attempts)
	if s.M > 0 {
		row(w, "progress", fmt.Sprintf("%d/%d", s.N, s.M))
	}
	if s.Reason != "" {
		row(w, "why", s.Reason)
	}
	if !s.Due.IsZero() {
		name := "due"
		if s.State != tasks.StateDelayed {
			name = "kept until"
		}
		row(w, name, s.Due.Local().Format(time.DateTime))
	}
	for _, x := range []struct{ name, value string }{{"worker", s.Worker}, {"unique", s.Unique}, {"error", s.Error}, {"input", string(s.Input)}, {"result", string(s.Result)}} {
		if x.value != "" {
			row(w, x.name, fmt.Sprintf("%q", x.value))
		}
	}
}

func overviewTable(w io.Writer, o *tasks.Overview) {
	row(w, "FUNCTION", "HIGH", "NORMAL", "LOW", "DELAYED", "RUNNING", "DONE", "FAILED", "CANCELLED", "DEAD", "WORKERS", "")
	for _, f := range o.Functions {
		paused := ""
		if f.Paused {
			paused = "paused"
		}
		row(w, f.Name, f.WaitingHigh, f.WaitingNormal, f.WaitingLow, f.Counts.Delayed, f.Counts.Running, f.Counts.Done, f.Counts.Failed, f.Counts.Cancelled, f.Dead, f.Workers, paused)
	}
	if len(o.Budgets) > 0 {
		row(w)
		row(w, "BUDGET", "SIZE", "USED", "WAITING")
		for _, b := range o.Budgets {
			row(w, b.Name, b.Size, b.Used, b.Waiting)
		}
	}
}

func taskTable(w io.Writer, all []tasks.Status) {
	row(w, "TASK", "FUNCTION", "STATE", "PRIORITY", "ATTEMPTS", "INPUT", "WORKER", "ERROR")
	for _, s := range all {
		row(w, s.ID, s.Function, s.State, s.Priority, fmt.Sprintf("%d/%d", s.Attempts-s.Lost, s.MaxAttempts), bytesize.Format(int64(s.Size)), s.Worker, firstLine([]byte(s.Error)))
	}
}

func (f *taskListCmd) Run(ctx context.Context) error {
	if f.Limit < 1 {
		return usageError{fmt.Errorf("-limit %d must be at least 1", f.Limit)}
	}
	return f.client(func(c *tasks.Client) error {
		all := []tasks.Status{}
		for s, err := range c.Tasks(ctx, f.Function, f.State...) {
			if err != nil {
				return err
			}
			if all = append(all, s); len(all) == f.Limit {
				break
			}
		}
		return f.print(all, func(w io.Writer) { taskTable(w, all) })
	})
}

// of returns the selection of the flags, with a function.
func (f *deadFlags) of(function string) tasks.DeadLetters {
	return tasks.DeadLetters{Function: function, Error: f.Error, Older: f.Older}
}

// isSet reports whether a flag restricts the selection.
func (f *deadFlags) isSet() bool { return f.Error != "" || f.Older != 0 }

func (f *taskDeadCmd) Run(ctx context.Context) error {
	if f.Limit < 1 || f.Limit > 1000 {
		return usageError{fmt.Errorf("-limit %d must be 1 to 1000", f.Limit)}
	}
	return f.client(func(c *tasks.Client) error {
		dead, err := c.FindDead(ctx, f.of(f.Function), f.Limit)
		if err != nil {
			return err
		}
		if err := noteNone(ctx, c, f.Function, len(dead)); err != nil {
			return err
		}
		return f.print(append([]tasks.Status{}, dead...), func(w io.Writer) { taskTable(w, dead) })
	})
}

func (f *taskCancelCmd) Run(ctx context.Context) error {
	return f.client(func(c *tasks.Client) error {
		ids, err := c.Cancel(ctx, f.ID...)
		return errors.Join(err, f.ids(ids), missingTasks(err, always("had ended, or is not known"), f.ID, ids))
	})
}

func (f *taskRetryCmd) Run(ctx context.Context) error {
	selects := f.Function != "" || f.Dead || f.isSet()
	if selects == (len(f.ID) > 0) {
		return missing("name dead letters, or a function with -function; -error, -older and -dead select them too")
	}
	if err := atLeast("-older", f.Older, 0); err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		if selects {
			ids, err := c.RetryDead(ctx, f.of(f.Function))
			if err == nil {
				err = noteNone(ctx, c, f.Function, len(ids))
			}
			return errors.Join(err, f.ids(ids))
		}
		ids, err := c.Retry(ctx, f.ID...)
		return errors.Join(err, f.ids(ids), missingTasks(err, func(id tasks.ID) string { return whyNoRetry(ctx, c, id) }, f.ID, ids))
	})
}

func (f *taskRunNowCmd) Run(ctx context.Context) error {
	return f.client(func(c *tasks.Client) error {
		ids, err := c.RunNow(ctx, f.ID...)
		return errors.Join(err, f.ids(ids), missingTasks(err, always("is not delayed"), f.ID, ids))
	})
}

func (f *taskDropCmd) Run(ctx context.Context) error {
	switch {
	case f.isSet() && !f.Dead:
		return usageError{errors.New("-error and -older select dead letters: add -dead")}
	case (f.Function == "" && !f.Dead) == (len(f.ID) == 0):
		return missing("name tasks, or a function with -function, or dead letters with -dead")
	}
	if err := atLeast("-older", f.Older, 0); err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		if f.Dead {
			ids, err := c.DropDead(ctx, f.of(f.Function))
			if err == nil {
				err = noteNone(ctx, c, f.Function, len(ids))
			}
			return errors.Join(err, f.ids(ids))
		}
		if f.Function != "" {
			return knownName(ctx, c, f.Function, c.DropFunction(ctx, f.Function))
		}
		ids, err := c.Drop(ctx, f.ID...)
		return errors.Join(err, f.ids(ids), missingTasks(err, always("has not ended, or is not known"), f.ID, ids))
	})
}

// always returns a function with one text.
func always(text string) func(tasks.ID) string { return func(tasks.ID) string { return text } }

// missingTasks returns an error if a successful request did not affect all tasks. why says for one
// of the others what prevented it.
func missingTasks(err error, why func(tasks.ID) string, asked, did []tasks.ID) error {
	if err != nil || len(did) >= len(asked) {
		return nil
	}
	known := map[tasks.ID]bool{}
	for _, id := range did {
		known[id] = true
	}
	for _, id := range asked {
		if !known[id] {
			return fmt.Errorf("task %s: %w: it %s", id, tasks.ErrUnknown, why(id))
		}
	}
	return nil
}

func (f *taskPauseCmd) Run(ctx context.Context) error {
	return f.change(ctx, f.Function, "paused; running tasks continue", func(c *tasks.Client) error { return c.Pause(ctx, f.Function) })
}

func (f *taskResumeCmd) Run(ctx context.Context) error {
	return f.change(ctx, f.Function, "its tasks may start", func(c *tasks.Client) error { return c.Resume(ctx, f.Function) })
}

func (f *taskLimitCmd) Run(ctx context.Context) error {
	err := cmp.Or(atLeast("-queue-high", f.QueueHigh, 0), atLeast("-queue-normal", f.QueueNormal, 0), atLeast("-queue-low", f.QueueLow, 0),
		atLeast("-concurrency", f.Concurrency, 0), atLeast("-rate", f.Rate, 0), atLeast("-burst", f.Burst, 0), atLeast("-weight", f.Weight, 0))
	for budget, n := range f.Needs {
		err = cmp.Or(err, atLeast("-needs "+budget, n, 0))
	}
	if err != nil {
		return err
	}
	return f.change(ctx, f.Function, "limits are set", func(c *tasks.Client) error {
		return asUsageError(c.SetLimits(ctx, f.Function, tasks.Limits{QueueHigh: f.QueueHigh, QueueNormal: f.QueueNormal, QueueLow: f.QueueLow,
			Concurrency: f.Concurrency, Rate: f.Rate, Burst: f.Burst, Weight: f.Weight, Needs: f.Needs}))
	})
}

// asUsageError turns "invalid" from the coordinator into a usage error.
func asUsageError(err error) error {
	if errors.Is(err, tasks.ErrInvalid) {
		return usageError{err}
	}
	return err
}

func (f *taskBudgetCmd) Run(ctx context.Context) error {
	if err := atLeast("the size of budget "+f.Budget+":", f.Size, 0); err != nil {
		return err
	}
	return f.client(func(c *tasks.Client) error {
		if err := c.SetBudget(ctx, f.Budget, f.Size); err != nil {
			return asUsageError(err)
		}
		fmt.Fprintf(os.Stderr, "budget %s: size %d\n", plain.Word(f.Budget), f.Size)
		return nil
	})
}
