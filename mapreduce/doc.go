// Package mapreduce runs pipelines written as typed Go functions. It splits them into tasks over
// all cores, keeps to a memory budget, and can continue after a crash.
//
//	type Count = mapreduce.KV[string, int64]
//
//	var words = mapreduce.Define("words", func(p *mapreduce.Plan, file string) mapreduce.Dataset[Count] {
//		words := mapreduce.FlatMap(mapreduce.Read(p, textio.Lines(file)), strings.FieldsSeq)
//		return mapreduce.CountBy(words, func(w string) string { return w })
//	})
//
//	rows, err := words.Collect(ctx, mapreduce.Local{}, "file.txt")
//
// [Define] names a pipeline and describes it with operators on a [Dataset]: [Map], [Filter],
// [AggregateBy], [Join], [SortBy] and so on. Nothing runs until you call [Definition.Run],
// [Definition.Collect], [Definition.WriteTo] or [Definition.Start] with a [Target] and parameters.
// Aggregates are in package agg, operators over ordered groups in package window. Sources and sinks
// are in the packages textio, csvio, jsonio, parquetio, avroio, stanzaio, binio, memio, pgio,
// searchio and indexio. Package source is a kit for formats of your own, package connector is for
// authors of further sources and sinks, and package loop repeats a pipeline.
//
// # Values
//
// Records, keys and accumulators are ordinary Go values. Codecs compiled from their types encode
// them where they leave a task. A type with channels, functions or interfaces is refused when the
// plan is built.
//
// Strings and byte slices in records point into buffers that are never written again, so a function
// may keep them. Call [strings.Clone] to keep a short string without its large buffer. A function
// must not change the slices and maps of a record in place: another operator may read the same
// record.
//
// A key is made of booleans, numbers, strings, times, and arrays and structs of them. Keys are
// compared by value: times by instant, -0 like 0, and all NaN alike. Operators that return keys,
// such as [AggregateBy], [Sort] and [Distinct], return times in UTC and 0 for -0. Records keep the
// offset of a time, but not the name of its zone.
//
// # Functions
//
// The plain form of an operator takes a plain function. The Try form, such as [TryMap], takes a
// function with a context and an error: [Skip] sets the record aside, [Fatal] ends the job, and any
// other error fails the attempt. A failed attempt is repeated up to [Retry] times. An attempt may
// run more than once, so a function with outside effects must be idempotent.
//
// Functions run in other processes, where main ends at [Main]. So a function may use its arguments,
// the parameters of Define, and what the function given to Define makes of them. It must not read a
// flag, os.Args, or a variable that main sets: on a cluster it would silently read the default.
//
//	Filter(func(x Product) bool { return x.Price >= params.MinPrice }) // right
//	Filter(func(x Product) bool { return x.Price >= *minPrice })       // wrong: a flag
//
// "layshaft vet ./..." finds functions that depend on more than their input; see package vet.
//
// Each slot calls Define's function once to build its own copy of all functions, and calls them
// from one goroutine.
//
// # Order
//
// Rows come in the order of partitions. Within a partition they come in the order of the last
// shuffling operator: by key after AggregateBy, GroupBy and the joins, in total order after SortBy.
// The same input gives the same rows in the same order, whatever failed during the run and however
// many slots there are.
//
// # Memory
//
// [Local.Memory] is divided among the slots. An operator writes data beyond its share to disk as
// sorted runs, and the next stage merges them. Only a few things must fit into memory: one
// accumulator, one record, data kept by user functions, and the small side of a [BroadcastJoin].
// The small side counts against the memory, and ends the job if it takes more than half.
package mapreduce
