// Package tasks runs named functions on remote workers: a single task, many tasks in parallel, or
// tasks queued to run later.
//
// A task is one queued call of a named function. A worker offers functions, and a client submits
// tasks. Both need only the address of the coordinator, and may start and stop at any time:
//
//	w := tasks.NewWorker(tasks.Cluster{})
//	tasks.Handle(w, "multiply", func(ctx context.Context, in [2]int) (int, error) {
//		return in[0] * in[1], nil
//	})
//	err := w.Run(ctx)
//
//	c, err := tasks.Dial(tasks.Cluster{})
//	n, err := tasks.Do[int](ctx, c, "multiply", [2]int{6, 7})
//
// [Do] waits for the result. [Scatter] runs one task for each of many inputs and yields the results
// as they arrive. [Enqueue] stores a task on the coordinator's disk and returns; the task runs even
// if nobody waits for it. [Then] makes one task follow another. A [Group] passes the results of
// many tasks to one. [Attach] waits for a task submitted earlier. The methods of [Client] list,
// cancel and retry tasks.
//
// # Guarantees
//
// A task runs at least once and has one result. If an attempt fails or its worker dies, another
// attempt follows, up to [Attempts]. A [Fatal] error ends the task at once. A cancelled task is
// never attempted again. Handlers should pass the [IdempotencyKey] to outside systems: it is the
// same for all attempts at a task.
//
// A task of Enqueue survives the end of any process. A task of Do or Scatter ends with its caller.
//
// # Payloads
//
// The input and the result of a function travel as bytes. A []byte, string or json.RawMessage is
// sent unchanged; nil and struct{}{} are empty; every other type is sent as JSON. An empty payload
// is the zero value of every type. Programs in other languages can therefore use the same
// functions: the coordinator also serves clients and workers with the Gearman protocol.
//
// A payload has at most 64 MiB. A larger input is refused with [ErrInvalid], a larger result fails
// its task for good, and [Send] returns an error.
//
// # Inside a handler
//
// The context of a handler identifies its attempt. [Send], [Warn] and [Progress] send updates to
// waiting clients. [Hurry] signals that the soft limit has passed. When the context ends, the
// attempt is no longer needed.
package tasks
