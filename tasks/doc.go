// Package tasks calls named functions on workers: one at a time, scattered over many inputs, or queued to run whenever there is room.
//
// A worker offers functions, and a client calls them by name; both know only the address of the coordinator, and may come and go:
//
//	w := tasks.NewWorker(tasks.Cluster{})
//	tasks.Handle(w, "multiply", func(ctx context.Context, in [2]int) (int, error) { return in[0] * in[1], nil })
//	err := w.Run(ctx)
//
//	c, err := tasks.Dial(tasks.Cluster{})
//	n, err := tasks.Do[int](ctx, c, "multiply", [2]int{6, 7})
//
// [Do] waits for the result, [Scatter] for those of many inputs as they come, and [Enqueue] hands over a task that runs although nobody waits: that is
// on the coordinator's disk when it returns. [Then] makes one task follow another, and a [Group] gathers the results of many for one. What has been submitted can be
// found again with [Attach], and looked after with the methods of [Client].
//
// # What is promised
//
// A task runs at least once, and has one result. An attempt whose worker dies, or that fails with an error that is not [Fatal], is made again, up
// to [Attempts] times; effects outside get the same [IdempotencyKey] each time. One that was cancelled is never tried again. Tasks of Enqueue
// survive the end of any process; those that somebody waits for end with whoever waits.
//
// # Payloads
//
// What goes to a function and comes back is the bytes of a []byte, string or json.RawMessage, as they are; nothing for nil and struct{}{}; and for all other types their form
// in JSON. An empty payload is the zero value of every type. So programs in other languages can read and write them: clients and workers that speak Gearman's
// protocol share the functions of the same coordinator. A payload has at most 64 MiB: a larger input
// is [ErrInvalid] for its call, a larger result fails its task for good, and [Send] of more is an error.
//
// # Inside a handler
//
// The context that a handler gets tells which attempt it is: [Send], [Warn] and [Progress] reach those who wait, [Hurry] says that a soft limit has passed, and the end of
// the context that the attempt is not wanted any more.
package tasks
