// Package mapreduce runs pipelines written as typed Go functions, split into tasks over all cores, within a memory budget,
// on state that survives a crash.
//
// [Define] names a pipeline and describes it with operators on a [Dataset]: [Map], [Filter], [AggregateBy], [Join], [SortBy] and
// so on. Nothing runs until [Definition.Run], [Definition.Collect], [Definition.WriteTo] or [Definition.Start] is called with a [Target] and
// parameters. Sources and sinks are in the packages textio, csvio, jsonio, parquetio, binio and memio.
//
// # Values
//
// Records, keys and accumulators are ordinary Go values; they are encoded where they leave a task, by codecs compiled from their types.
// A type with channels, functions or interfaces is refused when the plan is built. Strings and byte slices that reach a function
// point into buffers that are never written again, so they may be kept; [strings.Clone] one to let go of the rest of its buffer.
// A function must not change a record's slices and maps in place: another operator may read the same record.
//
// # Functions
//
// The pure form of an operator takes a plain function. The form whose name begins with Try takes a context and returns an error:
// [Skip] sets the record aside, [Fatal] ends the job, any other error fails the attempt, which is tried again up to [Retry] times.
// An attempt may run more than once, so a function with effects outside must be idempotent. Each slot calls its own copy of the
// functions, made by its own call of the function given to Define, from one goroutine.
//
// # Order
//
// The rows of a run come in the order of partitions, and within one in the order of the last shuffling operator: by key after
// AggregateBy, GroupBy and the joins, in total order after SortBy. The same input gives the same rows in the same order,
// whatever failed on the way and however many slots there are.
//
// # Memory
//
// [Local.Memory] is divided among the slots. What an operator must hold beyond its share goes to disk as sorted runs, which the next
// stage merges. Only a few things must fit: one accumulator, one record, what user functions keep, and the small side of a
// [BroadcastJoin], which counts, and ends the job when it takes more than half.
package mapreduce
