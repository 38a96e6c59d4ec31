// Command bench measures Layshaft beside hand-written Go and DuckDB, in turn and in one run, and
// writes Markdown for bench/RESULTS.md. It makes the data and builds the programs first.
//
//	go run ./bench/cmd/bench [FLAGS] w1|w2|w3|w5|startup...
//	go run ./bench/cmd/bench [FLAGS] w2-sql|w2-sql-csv|w2-sql-parquet|w5-sql|groups|distinct|sort|dev|first-row...
//	go run ./bench/cmd/bench [FLAGS] chain|skewjoin|longkeys|manykeys|countdistinct|tiny...
//	go run ./bench/cmd/bench [FLAGS] w2-csv|w2-parquet|chain-dev|w1-dev|w2-dev|w3-dev|w5-dev...
//	go run ./bench/cmd/bench [FLAGS] reports
//	go run ./bench/cmd/bench [FLAGS] works
//	go run ./bench/cmd/bench [FLAGS] all
//
// With -base COMMIT it measures the programs of that commit beside the present ones instead, and
// ends with status 1 if one has become slower by more than -limit.
//
// The data, 7 GB for all workloads, stays in $LAYSHAFT_BENCH_DATA, by default in layshaft-bench in
// the user's cache directory. As much again must be free for outputs and state.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/layshaft/layshaft/bench/internal/compare"
	"github.com/layshaft/layshaft/internal/bytesize"
)

// The names of the programs in the tables.
const (
	handWritten = "hand-written"
	duckDB      = "DuckDB"
	persisted   = "Layshaft -state"
	embedded    = "Layshaft"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	var c config
	flag.IntVar(&c.rounds, "rounds", 5, "`N` rounds that count, after one that does not")
	flag.BoolVar(&c.skipDuck, "skip-duck", false, "leave DuckDB out")
	flag.StringVar(&c.base, "base", "", "measure the programs of this `COMMIT` beside the present ones")
	flag.Float64Var(&c.limit, "limit", 0.05, "with -base, fail beyond this `SHARE` of more time")
	flag.IntVar(&c.scale, "scale", 1, "divide the sizes of all data by `N`, to compare outputs quickly")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "bench: usage: bench [FLAGS] all|works|reports|"+strings.Join(names(), "|")+"...")
		flag.PrintDefaults()
	}
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		log.Fatal(err)
	}
	if c.rounds < 1 || c.scale < 1 || c.limit < 0 {
		log.Fatalf("-rounds %d, -scale %d, -limit %g: rounds and scale are at least 1, the limit at least 0", c.rounds, c.scale, c.limit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, chosen, c); err != nil {
		stop()
		log.Fatal(err)
	}
}

// config has the flags.
type config struct {
	rounds, scale int
	skipDuck      bool
	base          string  // commit to compare with, or ""
	limit         float64 // for base
}

// errSlower means that a workload takes longer than at the base.
var errSlower = errors.New("slower than before")

func run(ctx context.Context, w io.Writer, chosen []workload, c config) error {
	data, err := dataDir()
	if err != nil {
		return err
	}
	p, err := build(ctx, filepath.Join(data, "programs"), c.skipDuck || c.base != "")
	if err != nil {
		return err
	}
	if c.base != "" {
		if err := p.buildFormer(ctx, filepath.Join(data, "programs", "former"), c.base); err != nil {
			return err
		}
	}
	if c.scale > 1 {
		data = filepath.Join(data, fmt.Sprintf("scale-%d", c.scale))
	}
	for _, set := range []string{"text", "catalog", "sort", "works"} {
		if slices.ContainsFunc(chosen, func(work workload) bool { return work.set == set }) {
			if err := p.generate(ctx, data, set, c.scale); err != nil {
				return err
			}
		}
	}
	if err := writeMachine(ctx, w, p); err != nil {
		return err
	}
	var slow error
	for _, work := range chosen {
		if c.base != "" && (work.dev || work.query.dev) {
			continue // its time is mostly the processes' work, measured without them
		}
		err := measure(ctx, w, work, data, p, c)
		if errors.Is(err, errSlower) {
			slow = errors.Join(slow, fmt.Errorf("%s: %w", work.name, err))
		} else if err != nil {
			return fmt.Errorf("%s: %w", work.name, err)
		}
	}
	return slow
}

// dataDir returns the absolute path of the data.
func dataDir() (string, error) {
	if dir := os.Getenv("LAYSHAFT_BENCH_DATA"); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the data: %w; set LAYSHAFT_BENCH_DATA", err)
	}
	return filepath.Join(cache, "layshaft-bench"), nil
}

// measure measures one workload and writes its section.
func measure(ctx context.Context, w io.Writer, work workload, data string, p *programs, c config) error {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(data, "run-")
	if err != nil {
		return err
	}
	rounds, warmup := max(c.rounds, work.rounds), 1
	if c.scale > 1 { // nobody wants the times
		rounds, warmup = c.rounds, 0
	}
	set := filepath.Join(data, work.set)
	if work.set == "" {
		set = dir
	}
	if slices.Contains(work.files, parquetFile) {
		err = p.writeParquet(ctx, set)
	}
	input, e := work.input(set, dir)
	if err = errors.Join(err, e); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	commands, stop, err := p.commands(ctx, work, set, input)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	results, err := compare.Measure(ctx, compare.Config{
		Rounds: rounds,
		Warmup: warmup,
		Output: work.output,
		Sync:   true,
		Dir:    dir,
		Log:    func(s string) { log.Printf("%s: %s", work.name, s) },
	}, commands)
	err = errors.Join(err, stop())
	if errors.Is(err, compare.ErrDiffers) {
		return err // what differs is kept
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	fmt.Fprintf(w, "### %s: %s\n\nInput: %s; files: %d; rounds: %d.\n\n", work.name, work.title, bytesize.Format(input.bytes), len(input.paths), rounds)
	bases := []string{handWritten, duckDB, before}
	if work.dev || work.query.dev {
		bases = []string{embedded}
	}
	if err := compare.Markdown(w, results, bases...); err != nil {
		return err
	}
	if _, err = fmt.Fprintln(w); err != nil {
		return err
	}
	if c.base != "" {
		if what := slower(results, c.limit); what != "" {
			return fmt.Errorf("%w: %s", errSlower, what)
		}
	}
	return nil
}

// commands returns the programs that do a workload, and a function that ends what they need.
func (p *programs) commands(ctx context.Context, work workload, set string, input input) ([]compare.Command, func() error, error) {
	if p.former != nil {
		return p.regressCommands(work, set, input), func() error { return nil }, nil
	}
	if work.query.text != "" {
		return p.reportCommands(ctx, work.query, set, input)
	}
	args := func(program string, flags ...string) []string {
		return slices.Concat([]string{program}, flags, []string{work.program, "{out}"}, input.args)
	}
	if work.dev {
		address, stop, err := p.startDev(ctx, set)
		remote := []string{p.pipelines, "-progress", "none", "-cluster", address, work.program, "{out}"}
		for _, pattern := range work.files {
			remote = append(remote, "dataset://catalog/"+pattern)
		}
		return []compare.Command{
			{Name: embedded, Args: args(p.pipelines, "-progress", "none", "-state", "{tmp}/state")},
			{Name: "on dev -workers 2", Args: remote},
		}, stop, err
	}
	flags, env := []string{"-progress", "none"}, []string(nil)
	if work.memory != "" {
		flags, env = append(flags, "-memory", work.memory), []string{"DUCK_MEMORY=" + work.memory}
	}
	var commands []compare.Command
	if !work.noLimit {
		commands = append(commands, compare.Command{Name: handWritten, Args: slices.Concat([]string{p.limit, work.program, "{out}"}, input.paths)})
	}
	commands = append(commands,
		compare.Command{Name: persisted, Args: args(p.pipelines, append(flags, "-state", "{tmp}/state")...)},
		compare.Command{Name: embedded, Args: args(p.pipelines, flags...)})
	if p.duck != "" {
		commands = append(commands, compare.Command{Name: duckDB, Args: args(p.duck), Env: env})
	}
	return commands, func() error { return nil }, nil
}
