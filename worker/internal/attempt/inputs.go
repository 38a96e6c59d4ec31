package attempt

import (
	"fmt"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

// openInputs returns the runs of each input, in order of edge, producing task and run.
func openInputs(cfg Config) ([][]job.RunReader, error) {
	edges := cfg.Stage.Inputs
	if len(cfg.Launch.Producers) != len(edges) {
		return nil, &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("launch names producers for %d inputs, stage %q has %d", len(cfg.Launch.Producers), cfg.Stage.Name, len(edges))}
	}
	task := cfg.Launch.Attempt.Task.Index
	n, ranged := 0, false
	for _, e := range edges {
		if e.Mode != job.Group && e.Mode != job.Sinks {
			n = max(n, e.Input+1)
		}
		ranged = ranged || e.Mode == job.Range
	}
	inputs := make([][]job.RunReader, n)
	var lo, hi []byte
	for i, e := range edges {
		switch ps := cfg.Launch.Producers[i]; {
		case len(ps) < 2:
		case e.Mode == job.Shuffle:
			cfg.Fetch.Prefetch(ps, e.Port, task)
		case e.Mode != job.Group:
			cfg.Fetch.Prefetch(ps, -1, -1)
		}
	}
	if ranged {
		bounds, err := boundaries(cfg)
		if err != nil {
			return inputs, err
		}
		lo, hi = bounds[task], bounds[task+1]
	}
	total := 0
	for i, e := range edges {
		if e.Mode == job.Group || e.Mode == job.Sinks {
			continue
		}
		for _, p := range cfg.Launch.Producers[i] {
			var runs []job.RunReader
			var err error
			switch e.Mode {
			case job.Shuffle:
				runs, err = cfg.Fetch.Runs(p, e.Port, task)
			case job.Broadcast:
				runs, err = cfg.Fetch.All(p, e.Port)
			case job.Range:
				runs, err = cfg.Fetch.Range(p, e.Port, lo, hi)
				for i, r := range runs {
					runs[i] = segment.Trim(r, lo, hi)
				}
			default:
				err = &job.Failure{Kind: job.Fatal, Message: fmt.Sprintf("edge mode %d is unknown: coordinator and worker differ in version", e.Mode)}
			}
			inputs[e.Input] = append(inputs[e.Input], runs...)
			if err != nil {
				return inputs, err
			}
			total += len(runs)
		}
	}
	limitReadAhead(inputs, total, cfg.Memory)
	return inputs, nil
}

// groupInputs opens the inputs of Group edges, one partition after the other.
type groupInputs struct {
	cfg  Config
	open []job.RunReader
}

// openPartition closes the runs of the last partition and opens the runs of the next. It is the
// attempt's job.Run.Part.
func (g *groupInputs) openPartition(part int) ([]job.RunReader, error) {
	g.close()
	for i, e := range g.cfg.Stage.Inputs {
		if e.Mode != job.Group {
			continue
		}
		g.cfg.Fetch.Prefetch(g.cfg.Launch.Producers[i], e.Port, part)
		for _, p := range g.cfg.Launch.Producers[i] {
			runs, err := g.cfg.Fetch.Runs(p, e.Port, part)
			g.open = append(g.open, runs...)
			if err != nil {
				return nil, err
			}
		}
	}
	limitReadAhead([][]job.RunReader{g.open}, len(g.open), g.cfg.Memory)
	return slices.Clone(g.open), nil
}

func (g *groupInputs) close() {
	closeRuns([][]job.RunReader{g.open})
	g.open = nil
}

// sinkParts returns the sink parts of the producers of Sinks edges.
func sinkParts(cfg Config) ([][][]byte, error) {
	var parts [][][]byte
	for i, e := range cfg.Stage.Inputs {
		if e.Mode != job.Sinks {
			continue
		}
		for _, p := range cfg.Launch.Producers[i] {
			m, err := cfg.Fetch.Manifest(p)
			if err != nil {
				return nil, err
			}
			parts = append(parts, m.Sink)
		}
	}
	return parts, nil
}

// limitReadAhead keeps the read-ahead of all runs together below a quarter of the attempt's memory.
func limitReadAhead(inputs [][]job.RunReader, total int, memory int64) {
	if memory <= 0 || int64(total)*record.ReadAhead <= memory/4 {
		return
	}
	ahead := max(16<<10, int(memory/4)/total)
	for _, runs := range inputs {
		for _, r := range runs {
			if r, ok := r.(interface{ ReadAhead(bytes int) }); ok {
				r.ReadAhead(ahead)
			}
		}
	}
}
