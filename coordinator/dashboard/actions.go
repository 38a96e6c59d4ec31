package dashboard

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/wire"
)

const (
	jobMethods  = "/layshaft.v1.CoordinatorService/"
	taskMethods = "/layshaft.v1.TasksService/"
)

// action is a change that a person can make. It calls one RPC method of the coordinator.
type action struct {
	method string // its full name
	// describe returns the question about a thing, or an error if the action does not fit.
	describe func(d *Dashboard, id string) (deed, error)
	do       func(ctx context.Context, d *Dashboard, id string) error
}

// deed is an action on one thing, in words. {} stands for the name of the thing, {shell} for the
// name as a word of a shell, and {dead} for the number of dead letters.
type deed struct {
	Title   string // the question
	Text    string // the consequences
	Button  string
	Danger  bool   // it cannot be undone
	Command string // does the same from a shell
	Done    string // what to say afterwards
	Back    string // URL of the thing
}

func (x deed) fill(name string, dead int) deed {
	r := strings.NewReplacer("{}", name, "{shell}", page.ShellQuote(name), "{dead}", page.Num(dead))
	x.Title, x.Text, x.Command, x.Done = r.Replace(x.Title), r.Replace(x.Text), r.Replace(x.Command), r.Replace(x.Done)
	return x
}

// missingThing is an error about a thing that does not exist.
type missingThing string

func (m missingThing) Error() string { return string(m) }

// actions has all actions, by the last part of their URL.
var actions = map[string]action{
	"cancel-job": {jobMethods + "Cancel", describeCancel, func(ctx context.Context, d *Dashboard, id string) error {
		return d.cfg.Server.CancelJob(ctx, job.ID(id), "cancelled from the status page")
	}},
	"drain": {jobMethods + "DrainWorker", describeDrain, func(ctx context.Context, d *Dashboard, id string) error {
		return d.cfg.Server.Drain(ctx, id)
	}},

	"cancel-task": taskAction("CancelTasks", func(t *taskRow) bool { return t.Live() }, "has ended", deed{Title: "Cancel task {}?", Text: "It ends as cancelled. If it runs, its worker is asked to stop it.",
		Button: "Cancel the task", Danger: true, Command: "layshaft task cancel {}", Done: "Task {} is cancelled."}, taskserver.Cancel),
	"run-task": taskAction("RunTasks", func(t *taskRow) bool { return t.State.String() == "delayed" }, "is not delayed", deed{Title: "Run task {} now?", Text: "It becomes ready at once instead of at its time.",
		Button: "Run it now", Command: "layshaft task run-now {}", Done: "Task {} is ready."}, taskserver.RunNow),
	"retry-task": taskAction("RetryTasks", isDead, "is no dead letter", deed{Title: "Retry task {}?", Text: "It is queued again, with all its attempts.",
		Button: "Retry the task", Command: "layshaft task retry {}", Done: "Task {} is queued again."}, taskserver.Retry),
	"drop-task": taskAction("DropTasks", isDead, "is no dead letter", deed{Title: "Drop task {}?", Text: "The dead letter is deleted, with its input and its error.",
		Button: "Drop the task", Danger: true, Command: "layshaft task drop {}", Done: "Task {} is deleted."}, taskserver.Drop),

	"run-schedule": scheduleAction("RunSchedule", anySchedule, "", deed{Title: "Run schedule {} now?", Text: "Its task is submitted outside of its times. Its overlap policy counts.",
		Button: "Run it now", Command: "layshaft schedule run {shell}", Done: "The task of schedule {} is submitted, or waits for the last one."}, taskserver.RunSchedule),
	"pause-schedule": scheduleAction("PauseSchedule", func(s *report.Schedule) bool { return !s.Paused }, "is paused already", deed{Title: "Pause schedule {}?",
		Text: "It does not fire until somebody resumes it. Nothing makes up for the times in a pause.", Button: "Pause the schedule", Command: "layshaft schedule pause {shell}", Done: "Schedule {} is paused."}, taskserver.PauseSchedule),
	"resume-schedule": scheduleAction("PauseSchedule", func(s *report.Schedule) bool { return s.Paused }, "is not paused", deed{Title: "Resume schedule {}?",
		Text: "It fires again at its next time.", Button: "Resume the schedule", Command: "layshaft schedule resume {shell}", Done: "Schedule {} fires again."}, taskserver.ResumeSchedule),
	"remove-schedule": scheduleAction("RemoveSchedule", anySchedule, "", deed{Title: "Remove schedule {}?", Text: "Its definition and its history are deleted. A task that runs is not affected.",
		Button: "Remove the schedule", Danger: true, Command: "layshaft schedule remove {shell}", Done: "Schedule {} is removed."}, taskserver.RemoveSchedule),

	"retry-dead": functionAction("RetryTasks", hasDead, "has no dead letters", deed{Title: "Retry all dead letters of {}?", Text: "{dead} in number. They are queued again, with all their attempts.",
		Button: "Retry them", Command: "layshaft task retry -function {shell}", Done: "The dead letters of {} are queued again."}, taskserver.RetryDead),
	"drop-dead": functionAction("DropTasks", hasDead, "has no dead letters", deed{Title: "Drop all dead letters of {}?", Text: "{dead} in number. They are deleted, with their inputs and errors.",
		Button: "Drop them", Danger: true, Command: "layshaft task drop -dead -function {shell}", Done: "The dead letters of {} are deleted."}, taskserver.DropDead),
	"pause": functionAction("PauseFunction", func(f *report.Function) bool { return !f.Paused }, "is paused already", deed{Title: "Pause function {}?",
		Text: "Its tasks do not start until somebody resumes it. Those that run finish, and new ones are queued.", Button: "Pause the function", Command: "layshaft task pause {shell}", Done: "Function {} is paused."}, taskserver.Pause),
	"resume": functionAction("PauseFunction", func(f *report.Function) bool { return f.Paused }, "is not paused", deed{Title: "Resume function {}?",
		Text: "Its tasks start again.", Button: "Resume the function", Command: "layshaft task resume {shell}", Done: "Function {} starts tasks again."}, taskserver.Resume),
}

func isDead(t *taskRow) bool          { return t.DeadLetter }
func hasDead(f *report.Function) bool { return f.Dead > 0 }

func describeCancel(d *Dashboard, id string) (deed, error) {
	st, ok := d.cfg.Server.Report(job.ID(id))
	switch {
	case !ok:
		return deed{}, missingThing(noJob(id))
	case st.Outcome.IsEnd():
		return deed{}, fmt.Errorf("job %s is %s already", id, st.Outcome)
	}
	x := deed{Title: "Cancel job {}?", Text: "Its running attempts stop, its outputs are deleted, and it ends as cancelled.", Button: "Cancel the job", Danger: true,
		Command: "layshaft job cancel {shell}", Done: "Job {} is cancelled.", Back: jobPath(id)}
	return x.fill(id, 0), nil
}

func describeDrain(d *Dashboard, id string) (deed, error) {
	all := d.cfg.Server.Workers()
	i := slices.IndexFunc(all, func(w report.Worker) bool { return w.Name == id })
	switch {
	case i < 0:
		return deed{}, missingThing(noWorker(id))
	case all[i].State == report.Draining:
		return deed{}, fmt.Errorf("worker %s drains already", id)
	}
	x := deed{Title: "Drain worker {}?", Text: "It gets no new attempts, finishes those it has, hands over its outputs, and ends.", Button: "Drain the worker", Danger: true, Done: "Worker {} drains."}
	if all[i].State == report.Away {
		x = deed{Title: "Give up worker {}?", Text: "It is away. Jobs stop waiting for its files.", Button: "Give it up", Danger: true, Done: "Jobs do not wait for worker {}."}
	}
	x.Command, x.Back = "layshaft worker drain {shell}", "/workers"
	return x.fill(id, 0), nil
}

// taskAction is an action on a task for which fit returns true.
func taskAction(rpc string, fit func(t *taskRow) bool, unfit string, words deed, do taskserver.Change) action {
	return action{taskMethods + rpc, func(d *Dashboard, id string) (deed, error) {
		n, _ := wire.ParseTaskID(id)
		t, ok := d.cfg.Tasks.Task(taskserver.TaskID(n))
		switch {
		case !ok:
			return deed{}, missingThing(noTask(id))
		case !fit(taskOf(t)):
			return deed{}, fmt.Errorf("task %s %s", t.ID, unfit)
		}
		x := words.fill(t.ID.String(), 0)
		x.Text, x.Back = "A task of function "+plain.Text(t.Function)+". "+x.Text, "/tasks/"+t.ID.String()
		return x, nil
	}, func(ctx context.Context, d *Dashboard, id string) error {
		n, _ := wire.ParseTaskID(id)
		done, err := do(d.cfg.Tasks, ctx, []uint64{n})
		if err == nil && len(done) == 0 {
			err = fmt.Errorf("task %s %s", id, unfit)
		}
		return err
	}}
}

// functionAction is an action on a function for which fit returns true.
func functionAction(rpc string, fit func(f *report.Function) bool, unfit string, words deed, do taskserver.FunctionChange) action {
	return action{taskMethods + rpc, func(d *Dashboard, id string) (deed, error) {
		all, name := d.cfg.Tasks.Overview().Functions, plain.Bytes(id)
		i := slices.IndexFunc(all, func(f report.Function) bool { return f.Name == name })
		switch {
		case i < 0:
			return deed{}, missingThing(noFunction(name))
		case !fit(&all[i]):
			return deed{}, fmt.Errorf("function %s %s", name, unfit)
		}
		x := words.fill(plain.Text(name), all[i].Dead)
		x.Back = functionURL(name)
		return x, nil
	}, func(ctx context.Context, d *Dashboard, id string) error {
		return do(d.cfg.Tasks, ctx, plain.Bytes(id))
	}}
}
