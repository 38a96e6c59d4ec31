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
	output    compare.Output
	rounds    int   // the least number of rounds
	query     query // if the workload is a report
}

var workloads = append(pipelines, reports...)

var pipelines = []workload{
	{name: "w1", program: "w1", title: "count words", set: "text", files: []string{"*.txt"}},
	{name: "w2", program: "w2", title: "catalogue report by category", set: "catalog", files: []string{"jsonl/*.jsonl"}},
	{name: "w3", program: "w3", title: "sort 100-byte records", set: "sort", files: []string{"*.rec"}, output: compare.InOrder},
	{name: "w5", program: "w5", title: "join with price overrides, then report by brand", set: "catalog", files: []string{"overrides.csv", "jsonl/*.jsonl"}},
	{name: "startup", program: "w1", title: "count three words, so that starting and ending is all there is", made: "one two three\n", rounds: 20},
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
		return nil, fmt.Errorf("no workload: all, reports, or some of %v", names())
	}
	for _, arg := range args {
		if arg != "all" && arg != "reports" && !slices.Contains(names(), arg) {
			return nil, fmt.Errorf("unknown workload %q: all, reports, or some of %v", arg, names())
		}
	}
	return slices.DeleteFunc(slices.Clone(workloads), func(work workload) bool {
		report := work.query.text != "" && slices.Contains(args, "reports")
		return !report && !slices.Contains(args, work.name) && !slices.Contains(args, "all")
	}), nil
}

// tinyFile is the name of the input that a workload makes.
const tinyFile = "tiny.csv"

type input struct {
	paths []string
	bytes int64
}

// input finds the files of a workload in the folder of its data set, or makes one in dir.
func (work workload) input(set, dir string) (input, error) {
	var in input
	if work.set == "" {
		in.paths = []string{filepath.Join(dir, tinyFile)}
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
