package attempt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// A combine stage opens the inputs of its group one partition after the other.
func TestGroupInputs(t *testing.T) {
	s := testStore(t)
	var group []job.Producer
	for i := range 2 {
		group = append(group, produce(t, s, 3+4*i, func(w *shuffle.Writer) error {
			return errors.Join(
				w.Append(0, 0, 0, fmt.Appendf(nil, "t%d/0", i), 1, nil),
				w.Append(0, 1, 0, fmt.Appendf(nil, "t%d/0 run 1", i), 1, nil),
				w.Append(0, 0, 2, fmt.Appendf(nil, "t%d/2", i), 1, nil),
				w.Append(1, 0, 0, []byte("another port"), 1, nil))
		}))
	}
	var got [][]string
	var first []job.RunReader
	cfg, _ := config(t, func(_ context.Context, r *job.Run) error {
		if len(r.Inputs) > 0 {
			return fmt.Errorf("%d inputs are open", len(r.Inputs))
		}
		for part := range 3 {
			runs, err := r.OpenPartition(part)
			if err != nil {
				return err
			}
			if part == 0 {
				first = slices.Clone(runs)
				continue // the next call closes them
			}
			blocks, err := drain(runs)
			if err != nil {
				return err
			}
			got = append(got, blocks)
		}
		blocks, err := drain(first)
		if len(blocks) > 0 || err != nil {
			return fmt.Errorf("runs of the call before gave %q, %v", blocks, err)
		}
		runs, err := r.OpenPartition(0)
		if err == nil {
			blocks, err = drain(runs)
		}
		got = append(got, blocks)
		return err
	})
	cfg.Fetch, cfg.Memory = storeFetcher{s}, 1
	cfg.Stage = job.Stage{Tasks: 5, Combine: true, Inputs: []job.Edge{{Mode: job.Group}}}
	cfg.Launch = job.Launch{Attempt: job.Attempt{Job: "j", N: 1}, Producers: [][]job.Producer{group}}
	if _, _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want := [][]string{nil, {"t0/2", "t1/2"}, {"t0/0", "t0/0 run 1", "t1/0", "t1/0 run 1"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// A task over Sinks edges gets the sink parts of the producers, or an error with the lost output.
func TestSinksInputs(t *testing.T) {
	s := testStore(t)
	var ps []job.Producer
	for i := range 3 {
		a := job.Attempt{Job: "j", Task: job.Task{Index: i}, N: 1}
		w, err := s.Create(a)
		if err == nil {
			_, err = w.Seal(t.Context(), nil, [][]byte{fmt.Appendf(nil, "sink 0 of %d", i), fmt.Appendf(nil, "sink 1 of %d", i)})
		}
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, job.Producer{Attempt: a})
	}
	var got [][][]byte
	cfg, _ := config(t, func(_ context.Context, r *job.Run) error {
		got = r.Sinks
		if len(r.Inputs) > 0 || r.OpenPartition != nil {
			return errors.New("there are other inputs")
		}
		return nil
	})
	cfg.Fetch = storeFetcher{s}
	cfg.Stage = job.Stage{Tasks: 1, Inputs: []job.Edge{{Mode: job.Sinks}}}
	cfg.Launch = job.Launch{Attempt: job.Attempt{Job: "j", N: 1}, Producers: [][]job.Producer{ps}}
	if _, _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(got[2]) != 2 || string(got[2][1]) != "sink 1 of 2" {
		t.Errorf("sinks %q", got)
	}
	if err := s.Drop(ps[1].Attempt); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Run(t.Context(), cfg); err == nil {
		t.Error("ran without the manifest of a producer")
	}
}
