package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/layshaft/layshaft/bench/internal/compare"
)

// workload is one section of the results.
type workload struct {
	name, title string
	// program is the argument for the programs.
	program string
	// set is the name of the data set; empty if the workload makes its own input, made.
	set, made string
	files     []string // patterns below the data set, in the order of the arguments
	dev       bool     // compare a run on a local cluster with the embedded one
	patterns  bool     // the programs get the patterns, not the files
	noLimit   bool     // there is no hand-written program
	memory    string   // limit of Layshaft and DuckDB, such as 512MiB; empty means their defaults
	output    compare.Output
	rounds    int   // the least number of rounds
	query     query // if the workload is a report
}

var workloads = slices.Concat(pipelines, works, reports)

var pipelines = []workload{
	{name: "w1", program: "w1", title: "count words", set: "text", files: []string{"*.txt"}},
	{name: "w2", program: "w2", title: "catalogue report by category", set: "catalog", files: []string{"jsonl/*.jsonl"}},
	{name: "w3", program: "w3", title: "sort 100-byte records", set: "sort", files: []string{"*.rec"}, output: compare.InOrder},
	{name: "w5", program: "w5", title: "join with price overrides, then report by brand", set: "catalog", files: []string{"overrides.csv", "jsonl/*.jsonl"}},
	{name: "startup", program: "w1", title: "count three words, so that starting and ending is all there is", made: "one two three\n", rounds: 20},
}

// works are small works with a limit of memory, which hand-written programs do without.
var works = []workload{
	{name: "chain", program: "chain", title: "8 chained shuffles of 5 million records", set: "works", files: []string{"events/*.csv"}, memory: "512MiB"},
	{name: "skewjoin", program: "skewjoin", title: "join with half of 5 million records under one key, then aggregate", set: "works", files: []string{"users.csv", "events/*.csv"}, memory: "512MiB"},
	{name: "longkeys", program: "repeats", title: "500,000 keys of 1 KB", set: "works", files: []string{"long/*.txt"}, memory: "512MiB"},
	{name: "manykeys", program: "repeats", title: "20 million keys", set: "works", files: []string{"many/*.txt"}, memory: "512MiB"},
	{name: "countdistinct", program: "countdistinct", title: "exact CountDistinct of 5 million", set: "works", files: []string{"events/*.csv"}, memory: "512MiB"},
	{name: "tiny", program: "w1", title: "count words in 20,000 files", set: "works", files: []string{"tiny/*.txt"}, patterns: true, memory: "512MiB"},
	{name: "w2-csv", program: "w2-csv", title: "catalogue report from CSV", set: "catalog", files: []string{"csv/*.csv"}, memory: "512MiB"},
	{name: "w2-parquet", program: "w2-parquet", title: "catalogue report from Parquet (zstd)", set: "catalog", files: []string{parquetFile}, memory: "512MiB", noLimit: true},
	{name: "chain-dev", program: "chain", title: "chain on a local cluster of two workers", set: "works", files: []string{"events/*.csv"}, dev: true, memory: "512MiB"},
	{name: "w1-dev", program: "w1", title: "w1 on a local cluster of two workers", set: "text", files: []string{"*.txt"}, dev: true, memory: "512MiB"},
	{name: "w2-dev", program: "w2", title: "w2 on a local cluster of two workers", set: "catalog", files: []string{"jsonl/*.jsonl"}, dev: true, memory: "512MiB"},
	{name: "w3-dev", program: "w3", title: "w3 on a local cluster of two workers", set: "sort", files: []string{"*.rec"}, dev: true, output: compare.InOrder, memory: "512MiB"},
	{name: "w5-dev", program: "w5", title: "w5 on a local cluster of two workers", set: "catalog", files: []string{"overrides.csv", "jsonl/*.jsonl"}, dev: true, memory: "512MiB"},
}

func names() []string {
	var names []string
	for _, work := range workloads {
		names = append(names, work.name)
	}
	return names
}

// choose returns the named workloads, in the order of the results.
func choose(args []string) ([]workload, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no workload: all, works, reports, or some of %v", names())
	}
	for _, arg := range args {
		if arg != "all" && arg != "works" && arg != "reports" && !slices.Contains(names(), arg) {
			return nil, fmt.Errorf("unknown workload %q: all, works, reports, or some of %v", arg, names())
		}
	}
	return slices.DeleteFunc(slices.Clone(workloads), func(work workload) bool {
		report := work.query.text != "" && slices.Contains(args, "reports")
		small := work.memory != "" && slices.Contains(args, "works")
		return !report && !small && !slices.Contains(args, work.name) && !slices.Contains(args, "all")
	}), nil
}

// tinyFile is the name of the input that a workload makes.
const tinyFile = "tiny.csv"

type input struct {
	paths []string
	args  []string // paths or patterns
	bytes int64
}

// input finds the files of a workload in the folder of its data set, or makes one in dir.
func (work workload) input(set, dir string) (input, error) {
	var in input
	if work.set == "" {
		in.paths = []string{filepath.Join(dir, tinyFile)}
		in.args = in.paths
		if err := os.WriteFile(in.paths[0], []byte(work.made), 0o644); err != nil {
			return input{}, err
		}
	}
	for _, pattern := range work.files {
		paths, err := filepath.Glob(filepath.Join(set, pattern))
		if err != nil {
			return input{}, err
		}
		if len(paths) == 0 {
			return input{}, fmt.Errorf("%s: no files %s, though the data is marked as made: remove %s to make it again", set, pattern, filepath.Join(set, doneMark))
		}
		in.paths = append(in.paths, paths...)
		in.args = append(in.args, paths...)
		if work.patterns {
			in.args = append(in.args[:len(in.args)-len(paths)], filepath.Join(set, pattern))
		}
	}
	for _, path := range in.paths {
		info, err := os.Stat(path)
		if err != nil {
			return input{}, err
		}
		in.bytes += info.Size()
	}
	return in, nil
}
