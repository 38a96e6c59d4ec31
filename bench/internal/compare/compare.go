// Package compare measures programs side by side. It runs them in turn, A B C, A B C, and so on:
// on a shared machine only the ratios within one round mean much. It refuses figures of programs
// with different outputs.
package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Command is one program to measure. In its arguments {out} is replaced by an unused path for the
// output, and {tmp} by an empty directory; each run gets new ones. TMPDIR is {tmp} as well.
type Command struct {
	Name string   // name in the table
	Args []string // program first
	Env  []string // variables added to the variables of this process
}

// Config configures Measure.
type Config struct {
	// Rounds is the number of measured rounds, at least 1.
	Rounds int
	// Warmup is the number of unmeasured rounds before them, to bring the input into the page
	// cache.
	Warmup int
	// Output is how to compare outputs; zero compares lines in any order.
	Output Output
	// Sync writes the page cache to disk before each run, so that writes of one program do not
	// slow down the next.
	Sync bool
	// Dir is the directory for outputs and temporary files, on the disk to be measured. Empty
	// means the system's directory.
	Dir string
	// Log, if set, is called for every round.
	Log func(string)
}

// Result holds the measurements of one command.
type Result struct {
	Name string // name of the command
	Runs []Run  // one per measured round
}

// Measure runs the commands in turn. It stops at the first failure, and at the first output that
// differs from the first one; then it keeps both outputs and names them in the error. It blocks
// until all is done or ctx ends.
func Measure(ctx context.Context, c Config, commands []Command) (results []Result, err error) {
	if c.Rounds < 1 || c.Warmup < 0 {
		return nil, fmt.Errorf("compare: %d rounds after %d for warming up: at least 1 round must count", c.Rounds, c.Warmup)
	}
	if len(commands) == 0 {
		return nil, errors.New("compare: no commands")
	}
	for _, command := range commands {
		results = append(results, Result{Name: command.Name})
		if c.Output != Ignored && !strings.Contains(strings.Join(command.Args, " "), "{out}") {
			return nil, fmt.Errorf("compare: %s: the command has no {out}, so its output cannot be checked", command.Name)
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "compare-")
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer func() {
		if !errors.Is(err, ErrDiffers) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	r := runner{config: c, dir: dir}
	for round := range c.Warmup + c.Rounds {
		var walls []string
		for i, command := range commands {
			run, err := r.run(ctx, command)
			if err != nil {
				return nil, fmt.Errorf("compare: %s: %w", command.Name, err)
			}
			walls = append(walls, fmt.Sprintf("%s %.3f s", command.Name, run.Wall.Seconds()))
			if round >= c.Warmup {
				results[i].Runs = append(results[i].Runs, run)
			}
		}
		if c.Log != nil {
			c.Log(fmt.Sprintf("round %d of %d: %s", round+1, c.Warmup+c.Rounds, strings.Join(walls, ", ")))
		}
	}
	return results, nil
}

// ErrDiffers means that two programs gave different outputs.
var ErrDiffers = errors.New("outputs differ")

type runner struct {
	config    Config
	dir       string
	runs      int
	reference *output // the first output
}

type output struct {
	path, name string
	sum        Sum
}

// run runs one command, checks its output, and deletes its files.
func (r *runner) run(ctx context.Context, command Command) (Run, error) {
	r.runs++
	dir := filepath.Join(r.dir, fmt.Sprintf("run-%03d", r.runs))
	out, tmp := filepath.Join(dir, "out"), filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return Run{}, err
	}
	place := strings.NewReplacer("{out}", out, "{tmp}", tmp)
	args := make([]string, len(command.Args))
	for i, arg := range command.Args {
		args[i] = place.Replace(arg)
	}
	if r.config.Sync {
		flushDisks()
	}
	run, err := once(ctx, args, tmp, command.Env...)
	if err != nil {
		return Run{}, err
	}
	if err := os.RemoveAll(tmp); err != nil {
		return Run{}, err
	}
	if r.config.Output == Ignored {
		return run, os.RemoveAll(dir)
	}
	sum, err := r.config.Output.sum(out)
	if err != nil {
		return Run{}, fmt.Errorf("output: %w", err)
	}
	if sum.Bytes == 0 {
		return Run{}, errors.New("output: empty")
	}
	if r.reference == nil {
		r.reference = &output{out, command.Name, sum}
		return run, nil
	}
	if sum != r.reference.sum {
		return Run{}, fmt.Errorf("%w:\n%s: %s in %s\n%s: %s in %s", ErrDiffers,
			r.reference.name, r.reference.sum, r.reference.path, command.Name, sum, out)
	}
	return run, os.RemoveAll(dir)
}

// Run is one run of one program.
type Run struct {
	Wall time.Duration // from before the start to after the end
	CPU  time.Duration // of all processors, children included
	// RSS is the peak resident memory of the largest process in bytes, with mapped files; 0 if
	// the system does not report it.
	RSS int64
	// First is the time from before the start to the first record; 0 if the program does not
	// report it.
	First time.Duration
}
