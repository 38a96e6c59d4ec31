package spill

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// frames is an Append that checks its blocks against the limit of a block.
func frames(t *testing.T, blocks *int) Append {
	return func(_, _ int, block []byte, _ int, _ []byte) error {
		if *blocks++; len(block) > record.MaxFrame {
			t.Errorf("a block of %d bytes", len(block))
		}
		return nil
	}
}

// TestLargeRecords: records up to the size of a block pass, whatever comes before them; a larger
// one gives an error with key and size.
func TestLargeRecords(t *testing.T) {
	blocks := 0
	for _, size := range []int{record.MaxFrame - 100, record.MaxFrame} {
		large := record.Uninitialized(size)
		s := NewSorter(SorterConfig{Parts: 1, Limit: 1 << 20, Output: frames(t, &blocks)})
		p := NewPacker(frames(t, &blocks), 0)
		c := NewCombiner(CombinerConfig[int, []byte]{Add: func(*[]byte, int) {}, Encode: func(dst []byte, _ *[]byte) []byte {
			return append(dst, large...)
		}, Parts: 1, Limit: 1 << 20, Output: frames(t, &blocks)})
		for name, add := range map[string]func(value []byte) error{
			"sorter":   func(v []byte) error { return s.End(0, append(append(s.Begin(), "the key"...), v...), 7) },
			"packer":   func(v []byte) error { return p.Add([]byte("the key"), v) },
			"combiner": func([]byte) error { return c.AddString("the key", new(int)) },
		} {
			flush := map[string]func() error{"sorter": s.Flush, "packer": p.Flush, "combiner": c.Flush}[name]
			err := add([]byte("small"))
			if err == nil {
				err = add(large)
			}
			if err == nil {
				err = flush()
			}
			if size < record.MaxFrame {
				if err != nil {
					t.Errorf("%s: %d bytes: %v", name, size, err)
				}
				continue
			}
			var f *job.Failure
			if !errors.As(err, &f) || f.Kind != job.Fatal || !strings.Contains(f.Message, `"the key"`) || !strings.Contains(f.Message, fmt.Sprint(size+len("the key"))) {
				t.Errorf("%s: %d bytes: %v, want an error that names key and size and ends the job", name, size, err)
			}
		}
		s.Close()
		c.Close()
		Trim()
	}
	if blocks == 0 {
		t.Error("nothing was written")
	}
}

// memFile is a scratch file in memory.
type memFile struct {
	b      []byte
	closed bool
}

func (f *memFile) Write(p []byte) (int, error) { f.b = append(f.b, p...); return len(p), nil }
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(p, off)
}
func (f *memFile) Close() error { f.closed = true; return nil }

func TestSpoolOfLargeValues(t *testing.T) {
	s := NewSpool(1<<20, func() job.Scratch { return &memFile{} })
	large := record.Uninitialized(record.MaxFrame - 100)
	values := [][]byte{bytes.Repeat([]byte("a"), BlockSize-100), large, []byte("b"), large}
	for _, v := range values {
		if err := s.Add(v); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	if err := s.All(func(v []byte) bool {
		if !bytes.Equal(v, values[i]) {
			t.Errorf("value %d of %d bytes comes back as %d other ones", i, len(values[i]), len(v))
		}
		i++
		return true
	}); err != nil || i != len(values) {
		t.Errorf("%d of %d values, %v", i, len(values), err)
	}
}

// TestNarrowNeedsFewFiles: a merge of very many runs opens few files, not one for each intermediate
// run, and keeps the order.
func TestNarrowNeedsFewFiles(t *testing.T) {
	var files []*memFile
	var runs []Run
	var want []string
	for i := range 1000 {
		var b []byte
		for j := range 3 {
			k, v := fmt.Sprintf("%03d", (i*7+j*331)%500), fmt.Sprint(i)
			want = append(want, k+" "+v)
			b = record.AppendRecord(b, []byte(k), []byte(v))
		}
		runs = append(runs, &memRun{[][]byte{sorted(t, b)}})
	}
	slices.SortStableFunc(want, func(a, b string) int { return strings.Compare(a[:3], b[:3]) })
	runs, err := Narrow(runs, 4, func() job.Scratch {
		files = append(files, &memFile{})
		return files[len(files)-1]
	})
	if err != nil || len(runs) > 4 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	open := 0
	for _, f := range files {
		if !f.closed {
			open++
		}
	}
	if len(files) > 6 || open > 2 {
		t.Errorf("%d files were made and %d are open, want one for each of 5 rounds and the last open", len(files), open)
	}
	m := NewMerge(runs)
	for i := 0; ; i++ {
		k, v, _, err := m.Next()
		if err == io.EOF {
			if i != len(want) {
				t.Errorf("%d records, want %d", i, len(want))
			}
			return
		}
		if got := string(k) + " " + string(v); err != nil || got != want[i] {
			t.Fatalf("record %d is %s (%v), want %s", i, got, err, want[i])
		}
	}
}

// sorted sorts the records of a block by key.
func sorted(t *testing.T, block []byte) []byte {
	t.Helper()
	var out []byte
	s := NewSorter(SorterConfig{Parts: 1, Limit: 1 << 20, Output: func(_, _ int, b []byte, _ int, _ []byte) error {
		out = append(out, b...)
		return nil
	}})
	for len(block) > 0 {
		k, v, rest, err := record.Cut(block)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.End(0, append(append(s.Begin(), k...), v...), len(k)); err != nil {
			t.Fatal(err)
		}
		block = rest
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	return out
}
