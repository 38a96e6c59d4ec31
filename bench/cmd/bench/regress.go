package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/layshaft/layshaft/bench/internal/compare"
)

// The names of the two commits' programs in the tables.
const (
	before = "before"
	after  = "after"
)

// buildFormer builds the programs of a commit, from a work tree of its own.
func (p *programs) buildFormer(ctx context.Context, dir, commit string) (err error) {
	tree, err := os.MkdirTemp("", "layshaft-former-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	work := filepath.Join(tree, "tree")
	if _, err := command(ctx, p.module, "git", "worktree", "add", "--quiet", "--detach", work, commit); err != nil {
		return fmt.Errorf("-base %s: %w", commit, err)
	}
	defer func() {
		_, e := command(context.WithoutCancel(ctx), p.module, "git", "worktree", "remove", "--force", work)
		err = errors.Join(err, e)
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log.Printf("building the programs of %s", commit)
	const module = "github.com/layshaft/layshaft/"
	if err := goBuild(ctx, work, "CGO_ENABLED=0", dir+string(filepath.Separator), module+"bench/cmd/pipelines", module+"cmd/layshaft"); err != nil {
		return err
	}
	suffix := filepath.Ext(p.pipelines)
	p.former = &programs{pipelines: filepath.Join(dir, "pipelines"+suffix), layshaft: filepath.Join(dir, "layshaft"+suffix)}
	return nil
}

// regressCommands returns the programs of a workload, the former commit first.
func (p *programs) regressCommands(work workload, set string, input input) []compare.Command {
	commands := func(name string, p *programs) compare.Command {
		if q := work.query; q.text != "" {
			return compare.Command{Name: name, Args: p.report(q, set)}
		}
		args := []string{p.pipelines, "-progress", "none", "-state", "{tmp}/state"}
		if work.memory != "" {
			args = append(args, "-memory", work.memory)
		}
		return compare.Command{Name: name, Args: slices.Concat(args, []string{work.program, "{out}"}, input.args)}
	}
	return []compare.Command{commands(before, p.former), commands(after, p)}
}

// slower returns in words what became slower by more than limit, or "". Machines are noisy, so
// three quarters of the rounds must be slower too.
func slower(results []compare.Result, limit float64) string {
	var found []string
	for _, figure := range []struct {
		name string
		of   func(compare.Run) float64
	}{
		{"wall time", func(r compare.Run) float64 { return r.Wall.Seconds() }},
		{"CPU time", func(r compare.Run) float64 { return r.CPU.Seconds() }},
	} {
		var ratios []float64
		more := 0
		for i, run := range results[1].Runs {
			ratio := figure.of(run) / figure.of(results[0].Runs[i])
			ratios = append(ratios, ratio)
			if ratio > 1 {
				more++
			}
		}
		if s := compare.SpreadOf(ratios); s.Median > 1+limit && 4*more >= 3*len(ratios) {
			found = append(found, fmt.Sprintf("%s %.2f (%.2f–%.2f) of the former", figure.name, s.Median, s.Min, s.Max))
		}
	}
	return strings.Join(found, ", ")
}
