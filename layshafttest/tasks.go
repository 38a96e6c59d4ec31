package layshafttest

import (
	"context"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/datadir"
	"github.com/layshaft/layshaft/coordinator/taskserver"
	"github.com/layshaft/layshaft/tasks"
)

// QueuedTasks lets the coordinators accept queued tasks; see [Cluster.Tasks].
func QueuedTasks() Option { return func(o *options) { o.tasks = true } }

// Tasks returns the cluster for package tasks, with [QueuedTasks]. Pass it to tasks.Dial and
// tasks.NewWorker:
//
//	w := tasks.NewWorker(c.Tasks())
//	tasks.Handle(w, "double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
//
// These workers run in the test, at the place of the client.
func (c *Cluster) Tasks() tasks.Cluster {
	c.t.Helper()
	if !c.opt.tasks {
		c.t.Fatalf("start the cluster with layshafttest.QueuedTasks() to use queued tasks")
	}
	return tasks.Cluster{Address: c.address, Dial: c.dial, Log: c.log}
}

// openTasks opens the queued tasks of a coordinator, or returns nil without QueuedTasks. replica is
// nil for a single coordinator.
func (c *Cluster) openTasks(core *coordinator.Coordinator, data *datadir.Data, replica taskserver.Replica) (*taskserver.Server, error) {
	if !c.opt.tasks {
		return nil, nil
	}
	return taskserver.Open(taskserver.Config{Coordinator: core, Dir: data.TasksDir(), Replica: replica, Cluster: data.Cluster, NoSync: true, Reserve: -1,
		Identity: func(context.Context) string { return "test" }, Log: c.log})
}
