package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/layshaft/layshaft/bench/duck/differ"
	"github.com/layshaft/layshaft/bench/duck/standard"
)

// checks are the commands that compare package report with DuckDB.
var checks = map[string]func(args []string) error{
	"diff": func(args []string) error {
		f := flag.NewFlagSet("diff", flag.ExitOnError)
		var o differ.Options
		f.IntVar(&o.N, "n", 20_000, "number of statements")
		f.Uint64Var(&o.Seed, "seed", 1, "seed of files and statements")
		f.IntVar(&o.Show, "show", 20, "number of differences to show")
		f.IntVar(&o.World, "world", -1, "run only this set of files, and keep it")
		_ = f.Parse(args) // the set exits on an error
		return differ.Run(o)
	},
	"tpch":       suite(0.1, "scale factor", standard.TPCH),
	"clickbench": suite(1, "million rows", standard.ClickBench),
}

// suite returns the command of a suite of queries.
func suite(scale float64, usage string, run func(standard.Options) error) func(args []string) error {
	return func(args []string) error {
		f := flag.NewFlagSet("suite", flag.ExitOnError)
		var o standard.Options
		f.Float64Var(&o.Scale, "scale", scale, usage)
		f.IntVar(&o.Rounds, "rounds", 3, "runs of each query; the median counts")
		f.StringVar(&o.Only, "only", "", "name of the only query to run")
		f.StringVar(&o.Dir, "dir", "", "directory that keeps the tables for the next run")
		_ = f.Parse(args) // the set exits on an error
		return run(o)
	}
}

// check runs a command of checks, if it is one, and ends the process.
func check(args []string) {
	if len(args) == 0 || checks[args[0]] == nil {
		return
	}
	if err := checks[args[0]](args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "duck: %s: %v\n", args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}
