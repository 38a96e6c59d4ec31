package spill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/record"
)

// store keeps the blocks of every run and partition.
type store struct{ runs map[[2]int][][]byte }

func (s *store) append(run, part int, block []byte, _ int, _ []byte) error {
	if s.runs == nil {
		s.runs = map[[2]int][][]byte{}
	}
	s.runs[[2]int{run, part}] = append(s.runs[[2]int{run, part}], bytes.Clone(block))
	return nil
}

type memRun struct{ blocks [][]byte }

func (r *memRun) Next() ([]byte, error) {
	if len(r.blocks) == 0 {
		return nil, io.EOF
	}
	b := r.blocks[0]
	r.blocks = r.blocks[1:]
	return b, nil
}

// merge returns all records of a partition.
func (s *store) merge(t testing.TB, runs, part int) (out [][2]string) {
	var in []Run
	for r := range runs {
		in = append(in, &memRun{s.runs[[2]int{r, part}]})
	}
	m := NewMerge(in)
	for {
		k, v, _, err := m.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, [2]string{string(k), string(v)})
	}
}

// randomKey returns keys that collide, share beginnings, contain zeros and end early.
func randomKey(r *rand.Rand) string {
	switch r.IntN(5) {
	case 0:
		return strings.Repeat("\x00", r.IntN(20))
	case 1:
		return fmt.Sprintf("a long shared beginning, longer than sixteen bytes %d", r.IntN(500))
	case 2:
		return string([]byte{byte(r.IntN(256)), byte(r.IntN(3))})[:r.IntN(3)]
	case 3:
		return strings.Repeat("ab", r.IntN(12)) + "\x00"
	}
	return fmt.Sprint(r.IntN(2000))
}

func TestSorterAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			parts := 1 + r.IntN(5)
			var st store
			s := NewSorter(SorterConfig{Parts: parts, Limit: 1 << (14 + r.IntN(10)), Output: st.append})
			want := make([][][2]string, parts)
			for i := range 20_000 {
				k := randomKey(r)
				v := fmt.Sprint(i)
				if r.IntN(5000) == 0 {
					v = strings.Repeat("x", r.IntN(300_000))
				}
				p := Partition(Hash([]byte(k)), parts)
				want[p] = append(want[p], [2]string{k, v})
				b := append(s.Begin(), k...)
				if err := s.End(p, append(b, v...), len(k)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			for p := range parts {
				slices.SortStableFunc(want[p], func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
				if got := st.merge(t, s.runs, p); !slices.Equal(got, want[p]) {
					t.Fatalf("partition %d: %d records, want %d, or their order differs", p, len(got), len(want[p]))
				}
			}
		})
	}
}

type sums struct{ n, sum int64 }

type list struct{ all []int64 }

func TestCombinerAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			parts := 1 + r.IntN(5)
			limit := int64(1) << (14 + r.IntN(12))
			var flat, deep store
			partition := func(_ []byte, h uint64) int { return Partition(h, parts) }
			a := NewCombiner(CombinerConfig[int64, sums]{
				Add: func(a *sums, v int64) { a.n++; a.sum += v },
				Encode: func(dst []byte, a *sums) []byte {
					return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(a.n)), uint64(a.sum))
				},
				Partition: partition, Parts: parts, Limit: limit, Output: flat.append})
			b := NewCombiner(CombinerConfig[int64, list]{
				Add:  func(a *list, v int64) { a.all = append(a.all, v) },
				Size: func(a *list) int { return 8 * cap(a.all) },
				Encode: func(dst []byte, a *list) []byte {
					for _, v := range a.all {
						dst = binary.BigEndian.AppendUint64(dst, uint64(v))
					}
					return dst
				},
				Partition: partition, Parts: parts, Limit: limit, Output: deep.append})
			want := map[string][]int64{}
			for i := range int64(20_000) {
				k := randomKey(r)
				want[k] = append(want[k], i)
				var err error
				if i%2 == 0 {
					err = a.AddString(k, &i)
				} else {
					err = a.AddBytes([]byte(k), &i)
				}
				if err != nil {
					t.Fatal(err)
				}
				scratch := []byte(k)
				if err := b.AddBytes(scratch, &i); err != nil {
					t.Fatal(err)
				}
				clear(scratch) // the table must have copied it
			}
			for _, f := range []func() error{a.Flush, b.Flush} {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			}
			seen := 0
			for p := range parts {
				got := map[string]sums{}
				for _, kv := range flat.merge(t, a.runs, p) {
					s := got[kv[0]]
					s.n += int64(binary.BigEndian.Uint64([]byte(kv[1])))
					s.sum += int64(binary.BigEndian.Uint64([]byte(kv[1][8:])))
					got[kv[0]] = s
				}
				order := map[string][]int64{}
				for _, kv := range deep.merge(t, b.runs, p) {
					for v := []byte(kv[1]); len(v) > 0; v = v[8:] {
						order[kv[0]] = append(order[kv[0]], int64(binary.BigEndian.Uint64(v)))
					}
				}
				for k, s := range got {
					seen++
					var sum int64
					for _, v := range want[k] {
						sum += v
					}
					if s.n != int64(len(want[k])) || s.sum != sum {
						t.Fatalf("key %q: %+v, want %d values of sum %d", k, s, len(want[k]), sum)
					}
					if !slices.Equal(order[k], want[k]) {
						t.Fatalf("key %q: values in another order than they came", k)
					}
				}
			}
			if seen != len(want) {
				t.Fatalf("%d keys, want %d", seen, len(want))
			}
		})
	}
}

// Most keys are new in some phases, and few in others. The table is bypassed and used again, and the
// sums are right.
func TestBypassAgainstModel(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			parts := 1 + r.IntN(5)
			var st store
			c := NewCombiner(CombinerConfig[int64, sums]{
				Add: func(a *sums, v int64) { a.n++; a.sum += v },
				Encode: func(dst []byte, a *sums) []byte {
					return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(a.n)), uint64(a.sum))
				},
				Partition: func(_ []byte, h uint64) int { return Partition(h, parts) },
				Parts:     parts, Limit: 1 << (18 + r.IntN(5)), Output: st.append, sampleKeys: 3000})
			want := map[string]sums{}
			bypassed, returned := false, false
			const values = 100_000
			phase := values / (1 + r.IntN(4))
			for i := range int64(values) {
				k := fmt.Sprintf("%0*d", 1+r.IntN(2)*20, i)
				if int(i)/phase%2 == 1 {
					k = fmt.Sprint(r.IntN(200))
				}
				s := want[k]
				want[k] = sums{s.n + 1, s.sum + i}
				if err := c.AddBytes([]byte(k), &i); err != nil {
					t.Fatal(err)
				}
				returned = returned || bypassed && c.sorter == nil
				bypassed = bypassed || c.sorter != nil
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if !bypassed && c.cfg.Limit >= 1<<20 || !returned && c.cfg.Limit == 1<<20 {
				t.Errorf("with a limit of %d: bypassed: %v, and used again: %v", c.cfg.Limit, bypassed, returned)
			}
			got := map[string]sums{}
			for p := range parts {
				last := ""
				for _, kv := range st.merge(t, c.runs, p) {
					if kv[0] < last {
						t.Fatalf("key %q after %q", kv[0], last)
					}
					last = kv[0]
					s := got[kv[0]]
					s.n += int64(binary.BigEndian.Uint64([]byte(kv[1])))
					s.sum += int64(binary.BigEndian.Uint64([]byte(kv[1][8:])))
					got[kv[0]] = s
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%d keys, want %d, or their sums differ", len(got), len(want))
			}
		})
	}
}

func TestMergeKeepsTheOrderOfRuns(t *testing.T) {
	run := func(keys ...string) Run {
		var b []byte
		for _, k := range keys {
			b = record.AppendRecord(b, []byte(k), nil)
		}
		return &memRun{[][]byte{b}}
	}
	m := NewMerge([]Run{run("a", "c", "c"), run(), run("a", "b"), run("c")})
	var got []string
	for {
		k, _, i, err := m.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(string(k), i))
	}
	if want := []string{"a0", "a2", "b2", "c0", "c0", "c3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func zipfWords(n int) []string {
	r := rand.New(rand.NewPCG(1, 1))
	z := rand.NewZipf(r, 1.05, 2.7, 500_000)
	words := make([]string, n)
	var all strings.Builder
	for range n {
		fmt.Fprintf(&all, "w%x ", z.Uint64()*2654435761%(1<<30))
	}
	i := 0
	for w := range strings.FieldsSeq(all.String()) {
		words[i] = w
		i++
	}
	return words
}

func BenchmarkCombineWords(b *testing.B) {
	words := zipfWords(4 << 20)
	b.Run("table", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c := NewCombiner(CombinerConfig[string, int64]{Add: func(a *int64, _ string) { *a++ }, Limit: 1 << 30, Parts: 1})
			for i := range words {
				_ = c.AddString(words[i], &words[i])
			}
			c.Close()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(words)), "ns/word")
	})
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			m := map[string]int64{}
			for _, w := range words {
				m[w]++
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(words)), "ns/word")
	})
}

func BenchmarkSort(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 100<<20)
	for i := range data {
		data[i] = byte(' ' + r.IntN(95))
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s := NewSorter(SorterConfig{Parts: 1, Limit: 1 << 30, Output: func(int, int, []byte, int, []byte) error { return nil }})
		for d := data; len(d) >= 100; d = d[100:] {
			_ = s.End(0, append(s.Begin(), d[:100]...), 100)
		}
		_ = s.Flush()
	}
}

// BenchmarkSortNumbers sorts short records by a number, half of them by the same.
func BenchmarkSortNumbers(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const records = 1 << 20
	keys := make([]uint64, records)
	for i := range keys {
		if keys[i] = 1<<63 | 42; i%2 == 0 {
			keys[i] = 1<<63 | uint64(r.IntN(500_000))
		}
	}
	for b.Loop() {
		s := NewSorter(SorterConfig{Parts: 1, Limit: 1 << 30, Output: func(int, int, []byte, int, []byte) error { return nil }})
		for _, k := range keys {
			_ = s.End(0, append(binary.BigEndian.AppendUint64(s.Begin(), k), "a value"...), 8)
		}
		_ = s.Flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

func BenchmarkMerge(b *testing.B) {
	var st store
	var runs int
	s := NewSorter(SorterConfig{Parts: 1, Limit: 8 << 20, Output: st.append})
	r := rand.New(rand.NewPCG(1, 1))
	for range 1 << 20 {
		_ = s.End(0, append(binary.BigEndian.AppendUint64(s.Begin(), r.Uint64()), "some value of a record"...), 8)
	}
	_ = s.Flush()
	runs = s.runs
	for b.Loop() {
		if got := len(stMerge(&st, runs)); got != 1<<20 {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N<<20), "ns/record")
	b.ReportMetric(float64(runs), "runs")
}

func stMerge(st *store, runs int) []struct{} {
	var in []Run
	for r := range runs {
		in = append(in, &memRun{st.runs[[2]int{r, 0}]})
	}
	m := NewMerge(in)
	var n []struct{}
	for {
		if _, _, _, err := m.Next(); err != nil {
			return n
		}
		n = append(n, struct{}{})
	}
}

// TestRunsAreLong: a table emptied for lack of memory must not be full again at once.
func TestRunsAreLong(t *testing.T) {
	var st store
	c := NewCombiner(CombinerConfig[int, int64]{Add: func(a *int64, _ int) { *a++ }, Parts: 1, Limit: 1 << 20,
		Encode: func(dst []byte, a *int64) []byte { return binary.AppendVarint(dst, *a) }, Output: st.append})
	r := rand.New(rand.NewPCG(1, 1))
	var key []byte
	const values = 200_000
	for range values {
		key = binary.BigEndian.AppendUint64(key[:0], r.Uint64N(100_000))
		if err := c.AddBytes(key, new(int)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	// A megabyte of 32-byte slots, half full, holds 16,000 keys.
	if runs := c.runs; runs < 3 || runs > 30 {
		t.Errorf("%d values of 100,000 keys made %d runs, want 3 to 30", values, runs)
	}
}
