// Package compare measures programs side by side. It runs them in turn, A B C, A B C, and so on, since on a machine that others use
// too only the ratios within one round mean much, and it refuses figures of programs whose outputs differ.
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

// Command is one program to measure. In its arguments {out} stands for a path where nothing is yet, for the output, and {tmp} for an
// empty directory; each run gets fresh ones. TMPDIR is {tmp} as well.
type Command struct {
	Name string
	Args []string // program first
}

// Config says how to measure.
type Config struct {
	Rounds int          // rounds that count; at least 1
	Warmup int          // rounds before them that do not, which bring the input into the page cache
	Output Output       // how outputs are compared; zero means as lines in any order
	Sync   bool         // write the page cache to disk before each run, so that one program's writes do not slow down the next
	Dir    string       // where outputs and temporary files go, on the disk to be measured; the system's directory when empty
	Log    func(string) // told about every round; may be nil
}

// Result is what was seen of one command.
type Result struct {
	Name string
	Runs []Run // one for each round that counts
}

// Measure runs the commands in turn. It stops at the first command that fails and at the first output that differs from the first command's
// first one; then the two outputs are kept, and the error says where. It blocks until all is done or ctx ends.
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
			return nil, fmt.Errorf("compare: %s: the command does not say where its {out} goes, so it cannot be checked", command.Name)
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

// run runs one command, checks its output, and removes what it left.
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
	run, err := once(ctx, args, tmp)
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
	Wall  time.Duration // from before the start to after the end
	CPU   time.Duration // of all processors, children included
	RSS   int64         // peak resident memory of the largest process, in bytes, mapped files included; 0 when the system does not tell
	First time.Duration // from before the start to the first record; 0 when the program does not tell
}
