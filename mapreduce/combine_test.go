package mapreduce

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// TestCombineLarge checks that combine merges small accumulators, and keeps apart, in the order of
// their key, accumulators that together are too large for a block. The last stage merges these, and
// there nothing must fit into a block.
func TestCombineLarge(t *testing.T) {
	const size, n = record.MaxFrame / 5, 5
	for name, c := range map[string]struct {
		merge func(a, b *[]byte)
		want  int // accumulators of the large key
	}{
		"all kept":  {func(a, b *[]byte) { *a = append(*a, *b...) }, 3},
		"all alike": {func(a, b *[]byte) {}, 1},
	} {
		codec, err := record.For[[]byte]()
		if err != nil {
			t.Fatal(err)
		}
		large := record.Uninitialized(size)
		var runs []job.RunReader
		for range n {
			b := codec.Append(nil, &large)
			runs = append(runs, &blocks{all: [][]byte{record.AppendRecord(nil, []byte("large"), b), record.AppendRecord(nil, []byte("small"), codec.Append(nil, &[]byte{1}))}})
		}
		out := &blocks{}
		e := &env{run: &job.Run{Memory: 1 << 20, Output: out, Progress: &job.Progress{}, OpenPartition: func(int) ([]job.RunReader, error) { return runs, nil }}}
		if err := combine(e, &port{e: e, parts: 1}, 1, codec, c.merge); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, held := map[string]int{}, 0
		last := ""
		for {
			b, err := out.Next()
			if err == io.EOF {
				break
			}
			for len(b) > 0 {
				var k, v []byte
				if k, v, b, err = record.Cut(b); err != nil {
					t.Fatal(err)
				}
				if string(k) < last {
					t.Errorf("%s: key %q behind %q", name, k, last)
				}
				last = string(k)
				got[last]++
				held += len(v)
			}
		}
		if got["large"] != c.want || got["small"] != 1 {
			t.Errorf("%s: accumulators %v, %d bytes, want %d of the large key and one of the small one", name, got, held, c.want)
		}
		if c.want > 1 && held < n*size {
			t.Errorf("%s: %d bytes, want %d", name, held, n*size)
		}
	}
}

// TestMergeLarge is TestCombineLarge for mergeParts.
func TestMergeLarge(t *testing.T) {
	const size, n = record.MaxFrame / 5, 5
	for name, c := range map[string]struct {
		fold func(dst []byte, values [][]byte) ([]byte, error)
		want int // values of the large key
	}{
		"all kept":  {func(dst []byte, values [][]byte) ([]byte, error) { return append(dst, bytes.Join(values, nil)...), nil }, 3},
		"all alike": {func(dst []byte, values [][]byte) ([]byte, error) { return append(dst, values[0][0]), nil }, 1},
	} {
		var runs []job.RunReader
		for range n {
			runs = append(runs, &blocks{all: [][]byte{record.AppendRecord(nil, []byte("large"), record.Uninitialized(size)), record.AppendRecord(nil, []byte("small"), []byte{1})}})
		}
		out := &blocks{}
		e := &env{run: &job.Run{Memory: 1 << 20, Output: out, Progress: &job.Progress{}, OpenPartition: func(int) ([]job.RunReader, error) { return runs, nil }}}
		if err := mergeParts(e, &port{e: e, parts: 1}, 1, c.fold); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := map[string]int{}
		for b, err := out.Next(); err == nil; b, err = out.Next() {
			for len(b) > 0 {
				var k []byte
				if k, _, b, err = record.Cut(b); err != nil {
					t.Fatal(err)
				}
				got[string(k)]++
			}
		}
		if got["large"] != c.want || got["small"] != 1 {
			t.Errorf("%s: values %v, want %d of the large key and one of the small one", name, got, c.want)
		}
	}
}

// TestCombineSlices checks that the tasks of a group merge each partition once.
func TestCombineSlices(t *testing.T) {
	codec, err := record.For[int64]()
	if err != nil {
		t.Fatal(err)
	}
	one := int64(1)
	for task, want := range [][]int{{0, 2, 4}, {1, 3}, {0, 2, 4}, {1, 3}} { // of two groups
		var read, wrote []int
		out := &written{parts: &wrote}
		e := &env{run: &job.Run{Attempt: job.Attempt{Task: job.Task{Index: task}}, Memory: 1 << 20, Output: out, Progress: &job.Progress{}, OpenPartition: func(part int) ([]job.RunReader, error) {
			read = append(read, part)
			return []job.RunReader{&blocks{all: [][]byte{record.AppendRecord(nil, []byte("key"), codec.Append(nil, &one))}}}, nil
		}}}
		if err := combine(e, &port{e: e, parts: 5}, 2, codec, func(a, b *int64) { *a += *b }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(read, want) || !slices.Equal(wrote, want) {
			t.Errorf("task %d read partitions %v and wrote %v, want %v", task, read, wrote, want)
		}
	}
}

// written records the partitions of an output.
type written struct{ parts *[]int }

func (w *written) Append(_, _, part int, _ []byte, _ int, _ []byte) error {
	*w.parts = append(*w.parts, part)
	return nil
}

// TestSlices checks that a large input of a worker or zone is merged by as many tasks as there are
// slots.
func TestSlices(t *testing.T) {
	d := Define("test-slices", func(p *Plan, _ None) Dataset[KV[int, int64]] {
		return CountBy(Read(p, upTo(0)), func(i int) int { return i })
	})
	for _, x := range []struct{ input, worker, zone int64 }{{1 << 20, 1, 1}, {2 << 30, 2, 4}, {64 << 30, 4, 8}} {
		c, err := d.untyped.plan(t.Context(), []byte("{}"), d.untyped.gather)
		if err != nil {
			t.Fatal(err)
		}
		c.addTiers(func(int, *stage, *stage) int { return 2 }, false)
		spec := c.spec("test-slices", strings.Repeat("0", 64), nil, map[*stage][]job.Split{c.stages[0]: {{Bytes: x.input}}}, settings{Local: Local{Memory: 1 << 30, Workers: 4, Slots: 16}, zones: 2})
		worker, zone := &spec.Stages[1], &spec.Stages[2]
		if int64(worker.Slices) != x.worker || int64(zone.Slices) != x.zone || worker.Tasks != 4*worker.Slices || zone.Tasks != 2*zone.Slices {
			t.Errorf("of %d bytes workers merge in %d tasks of %d slices, zones in %d of %d, want %d and %d slices", x.input, worker.Tasks, worker.Slices, zone.Tasks, zone.Slices, x.worker, x.zone)
		}
	}
}
