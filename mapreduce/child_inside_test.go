package mapreduce

import (
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/mapreduce/memio"
)

// A program that runs an attempt of a profiled job again for a person writes no profile: the run
// and perhaps its directory are gone.
func TestReplayWritesNoProfile(t *testing.T) {
	replays.Store(true)
	defer replays.Store(false)
	plan := func(p *Plan) Dataset[int] { return Read(p, memio.Of(1, 2)) }
	Define("replayed-profile", func(p *Plan, _ struct{}) Dataset[int] { return plan(p) })
	d, err := find("replayed-profile")
	if err != nil {
		t.Fatal(err)
	}
	params, err := encodeParams("replayed-profile", &struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.plan(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := c.prepare("replayed-profile", params, settings{Local: Local{Slots: 1}}, "", false)
	if err != nil {
		t.Fatal(err)
	}
	spec.Profile = t.TempDir() + "/gone"
	program, err := newRebuilder().build(t.Context(), spec, 0)
	if err != nil {
		t.Fatal(err)
	}
	run := &job.Run{Attempt: job.Attempt{Job: spec.ID, N: 1}, Tasks: 1, Split: &spec.Stages[0].Splits[0], Output: noOutput{}, Memory: 1 << 20, Slots: 1,
		Counters: map[string]int64{}, Progress: new(job.Progress)}
	if err := program.Stages[0](t.Context(), run); err != nil {
		t.Error(err)
	}
}

// noOutput drops blocks.
type noOutput struct{}

func (noOutput) Append(_, _, _ int, _ []byte, _ int, _ []byte) error { return nil }
