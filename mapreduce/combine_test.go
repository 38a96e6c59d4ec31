package mapreduce

import (
	"io"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// TestCombineLarge checks that accumulators which are too large together stay apart, in the order of their key, as in a run inside one process they are
// merged by the last stage alone, where nothing has to fit into a block; and that those which are not are merged.
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
		e := &env{run: &job.Run{Memory: 1 << 20, Output: out, Progress: &job.Progress{}, Part: func(int) ([]job.RunReader, error) { return runs, nil }}}
		if err := combine(e, &port{e: e, parts: 1}, codec, c.merge); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, bytes := map[string]int{}, 0
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
				bytes += len(v)
			}
		}
		if got["large"] != c.want || got["small"] != 1 {
			t.Errorf("%s: accumulators %v, %d bytes, want %d of the large key and one of the small one", name, got, bytes, c.want)
		}
		if c.want > 1 && bytes < n*size {
			t.Errorf("%s: %d bytes, want %d", name, bytes, n*size)
		}
	}
}
