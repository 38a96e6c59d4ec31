package attempt

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/worker/internal/shuffle"
)

// storeFetcher reads everything from one store.
type storeFetcher struct{ *shuffle.Store }

func (f storeFetcher) Manifest(p job.Producer) (*job.Manifest, error) {
	return f.Store.Manifest(p.Attempt)
}

func (f storeFetcher) Prefetch([]job.Producer, int, int) {}

func (f storeFetcher) Runs(p job.Producer, port, part int) ([]job.RunReader, error) {
	m, err := f.Manifest(p)
	if err != nil {
		return nil, err
	}
	return f.Store.Runs(m, port, part), nil
}

func (f storeFetcher) All(p job.Producer, port int) ([]job.RunReader, error) {
	m, err := f.Manifest(p)
	if err != nil {
		return nil, err
	}
	return f.Store.All(m, port), nil
}

func (f storeFetcher) Range(p job.Producer, port int, lo, hi []byte) ([]job.RunReader, error) {
	m, err := f.Manifest(p)
	if err != nil {
		return nil, err
	}
	return f.Store.Range(m, port, lo, hi), nil
}

func testStore(t *testing.T) *shuffle.Store {
	s, err := shuffle.Open(t.TempDir(), shuffle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func produce(t *testing.T, s *shuffle.Store, index int, write func(w *shuffle.Writer) error) job.Producer {
	t.Helper()
	a := job.Attempt{Job: "j", Task: job.Task{Index: index}, N: 1}
	w, err := s.Create(a)
	if err == nil {
		err = write(w)
	}
	if err == nil {
		_, err = w.Seal(t.Context(), nil, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return job.Producer{Attempt: a}
}

func drain(runs []job.RunReader) (blocks []string, err error) {
	for _, r := range runs {
		for {
			b, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, string(b))
		}
	}
	return blocks, nil
}

// Inputs come in order of edge, producing task and run, and each edge reads according to its mode.
func TestInputs(t *testing.T) {
	s := testStore(t)
	var producers [2][]job.Producer
	for stage := range 2 {
		for i := range 3 {
			producers[stage] = append(producers[stage], produce(t, s, 10*stage+i, func(w *shuffle.Writer) error {
				for port := range 2 {
					for run := range 2 {
						for part := range 2 {
							if err := w.Append(port, run, part, fmt.Appendf(nil, "s%dt%d p%dr%d/%d", stage, i, port, run, part), 1, nil); err != nil {
								return err
							}
						}
					}
				}
				return nil
			}))
		}
	}
	var got [][]string
	cfg, _ := config(t, nil)
	cfg.Program.Stages = append(cfg.Program.Stages, func(_ context.Context, r *job.Run) error {
		for _, runs := range r.Inputs {
			blocks, err := drain(runs)
			if err != nil {
				return err
			}
			got = append(got, blocks)
		}
		return nil
	})
	cfg.Fetch = storeFetcher{s}
	cfg.Memory = 1 // the least read-ahead
	cfg.Launch.Attempt.Task = job.Task{Stage: 1, Index: 1}
	cfg.Stage = job.Stage{Tasks: 2, Inputs: []job.Edge{
		{From: 0, Port: 1, Input: 1, Mode: job.Shuffle},
		{From: 1, Port: 0, Input: 0, Mode: job.Broadcast},
		{From: 1, Port: 0, Input: 1, Mode: job.Shuffle},
	}}
	cfg.Launch.Producers = [][]job.Producer{producers[0], producers[1][1:2], producers[1][:1]}
	if _, _, err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		strings.Split("s1t1 p0r0/0,s1t1 p0r0/1,s1t1 p0r1/0,s1t1 p0r1/1", ","),
		strings.Split("s0t0 p1r0/1,s0t0 p1r1/1,s0t1 p1r0/1,s0t1 p1r1/1,s0t2 p1r0/1,s0t2 p1r1/1,s1t0 p0r0/1,s1t0 p0r1/1", ","),
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("inputs\n%q\nwant\n%q", got, want)
	}
}

// The ranges of all tasks together hold every record once, in key order, with equal keys in one
// range and about equally many records each.
func TestRangeInputs(t *testing.T) {
	defer func(n int) { maxPoints = n }(maxPoints)
	maxPoints = 256 // of some 500 in the largest input
	s := testStore(t)
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 0))
		distinct := []int{1, 3, 100, 1_000_000}[seed%4]
		perProducer := []int{0, 1, 50, 2000}[seed/4%4]
		prefix := "" // manifests hold the beginnings of first keys, and some are all the same
		if seed >= 16 {
			perProducer, prefix = 200, strings.Repeat("p", []int{1018, 5000}[seed/4%2])
		}
		var producers [][]job.Producer
		want := make(map[string]int)
		edges := []job.Edge{{Mode: job.Range, Port: 0, Input: 0}, {Mode: job.Range, Port: 1, Input: 1}}
		producers = make([][]job.Producer, len(edges))
		for i := range 4 {
			p := produce(t, s, int(seed)*10+i, func(w *shuffle.Writer) error {
				for port := range edges {
					for run := range 2 {
						var keys []string
						for range perProducer {
							keys = append(keys, fmt.Sprintf("%s%07d", prefix, rng.IntN(distinct)))
						}
						slices.Sort(keys)
						for i := 0; i < len(keys); {
							end := min(len(keys), i+1+rng.IntN(40))
							var b []byte
							for j, k := range keys[i:end] {
								v := fmt.Sprintf("%d-%d-%d", port, run, i+j)
								b = record.AppendRecord(b, []byte(k), []byte(v))
								want[fmt.Sprint(port, k)]++
							}
							if err := w.Append(port, run, 0, b, end-i, []byte(keys[i])); err != nil {
								return err
							}
							i = end
						}
					}
				}
				return nil
			})
			producers[0], producers[1] = append(producers[0], p), append(producers[1], p)
		}
		const tasks = 5
		top := ""
		for task := range tasks {
			count := 0
			newTop := top
			cfg, _ := config(t, nil)
			cfg.Program.Stages[0] = func(_ context.Context, r *job.Run) error {
				for port, runs := range r.Inputs {
					for _, run := range runs {
						blocks, err := drain([]job.RunReader{run})
						if err != nil {
							return err
						}
						last := ""
						for rest := []byte(strings.Join(blocks, "")); len(rest) > 0; {
							var key []byte
							if key, _, rest, err = record.Cut(rest); err != nil {
								return err
							}
							k := string(key)
							if k < last || task > 0 && k <= top && top != "" {
								t.Fatalf("seed %d: key %s in task %d after %s, and %s in the task before", seed, k, task, last, top)
							}
							last, newTop = k, max(newTop, k)
							want[fmt.Sprint(port, k)]--
							count++
						}
					}
				}
				return nil
			}
			cfg.Launch.Attempt.Task.Index = task
			cfg.Launch.Producers = producers
			cfg.Stage = job.Stage{Tasks: tasks, Inputs: edges}
			cfg.Fetch = storeFetcher{s}
			if _, _, err := Run(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			top = newTop
			if total := 16 * perProducer; len(prefix) == 0 && perProducer == 2000 && distinct > 100 && (count < total/tasks*8/10 || count > total/tasks*12/10) {
				t.Errorf("seed %d: task %d has %d of %d records, want about a fifth", seed, task, count, total)
			}
		}
		for k, n := range want {
			if n != 0 {
				t.Fatalf("seed %d: record %s was read %d times too few", seed, k, n)
			}
		}
	}
}

func TestRangeNeedsFirstKeys(t *testing.T) {
	s := testStore(t)
	p := produce(t, s, 0, func(w *shuffle.Writer) error { return w.Append(0, 0, 0, []byte("\x01\x00k"), 1, nil) })
	cfg, _ := config(t, func(context.Context, *job.Run) error { return nil })
	cfg.Launch.Producers = [][]job.Producer{{p}}
	cfg.Stage = job.Stage{Tasks: 1, Inputs: []job.Edge{{Mode: job.Range}}}
	cfg.Fetch = storeFetcher{s}
	if _, _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "first keys") {
		t.Errorf("%v, want an error about first keys", err)
	}
}
