package shuffle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

func open(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func attempt(id job.ID, index, n int) job.Attempt {
	return job.Attempt{Job: id, Task: job.Task{Stage: 0, Index: index}, N: n}
}

func create(t testing.TB, s *Store, a job.Attempt) *Writer {
	t.Helper()
	w, err := s.Create(a)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func seal(t testing.TB, w *Writer) *job.Manifest {
	t.Helper()
	m, err := w.Seal(t.Context(), map[string]int64{"lines": 7, ".x": -1}, [][]byte{[]byte("part"), nil})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(r job.RunReader) (blocks [][]byte, err error) {
	for {
		b, err := r.Next()
		if err == io.EOF {
			return blocks, r.Close()
		}
		if err != nil {
			_ = r.Close()
			return blocks, err
		}
		blocks = append(blocks, b)
	}
}

// block returns n bytes; they compress a little, or not at all.
func block(rng *rand.Rand, n int, dense bool) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(rng.Uint32()), byte(rng.Uint32())}).Read(b)
	if !dense {
		for i := range b {
			b[i] = "abcdefgh"[b[i]&7]
		}
	}
	return b
}

type place struct{ port, run, part int }

// fill writes a seeded output and returns its blocks.
func fill(t testing.TB, w job.Output, seed uint64, sizes ...int) map[place][][]byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	want := make(map[place][][]byte)
	for run := range 2 {
		for part := range 5 {
			for port := range 2 {
				p := place{port, run, part}
				for range rng.IntN(4) {
					b := block(rng, 1+rng.IntN(sizes[rng.IntN(len(sizes))]), rng.IntN(2) == 0)
					if err := w.Append(port, run, part, b, len(b), nil); err != nil {
						t.Fatal(err)
					}
					want[p] = append(want[p], bytes.Clone(b))
					clear(b) // the writer must not keep it
				}
			}
		}
	}
	return want
}

// check reads and compares a whole output.
func check(t testing.TB, s *Store, a job.Attempt, want map[place][][]byte) *job.Manifest {
	t.Helper()
	m, err := s.Manifest(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Extents) != len(want) {
		t.Errorf("%s has %d extents, want %d", a, len(m.Extents), len(want))
	}
	for port := range 2 {
		var all [][]byte
		for run := range 2 {
			for part := range 5 {
				all = append(all, want[place{port, run, part}]...)
			}
		}
		var got [][]byte
		for _, r := range s.All(m, port) {
			bs, err := read(r)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, bs...)
		}
		if !slices.EqualFunc(got, all, bytes.Equal) {
			t.Errorf("%s port %d: All differs from what was written", a, port)
		}
		for part := range 5 {
			i := 0
			for _, r := range s.Runs(m, port, part) {
				for want[place{port, i, part}] == nil {
					i++
				}
				blocks := want[place{port, i, part}]
				raw := int64(len(bytes.Join(blocks, nil)))
				if r.Records() != raw || r.Bytes() != raw {
					t.Errorf("%s: totals %d, %d, want %d", a, r.Records(), r.Bytes(), raw)
				}
				if got, err := read(r); err != nil || !slices.EqualFunc(got, blocks, bytes.Equal) {
					t.Errorf("%s port %d part %d run %d differs from what was written (%v)", a, port, part, i, err)
				}
				i++
			}
		}
	}
	return m
}

func TestStoreKeepsSealedOutputs(t *testing.T) {
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync=%v", sync), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{Sync: sync})
			want := make(map[job.Attempt]map[place][][]byte)
			for i, sizes := range [][]int{{1}, {1000}, {60 << 10}, {300 << 10}, {1 << 20}, {100, 2 << 20}} {
				a := attempt("j-1", i, i+1)
				w := create(t, s, a)
				want[a] = fill(t, w, uint64(i), sizes...)
				m := seal(t, w)
				if sizes[0] < 1001 && len(sizes) == 1 && m.Segment != "" {
					t.Errorf("output of blocks of up to %d bytes has a segment, want it inline", sizes[0])
				}
			}
			empty := attempt("j-1", 99, 1)
			want[empty] = nil
			seal(t, create(t, s, empty))
			for range 2 {
				for a, w := range want {
					m := check(t, s, a, w)
					if m.Counters["lines"] != 7 || m.Counters[".x"] != -1 || string(m.Sink[0]) != "part" || len(m.Sink) != 2 {
						t.Errorf("%s: counters %v, sink %q", a, m.Counters, m.Sink)
					}
				}
				if got := s.SealedAttempts("j-1"); len(got) != len(want) || got[1] != attempt("j-1", 1, 2) || got[6] != empty {
					t.Errorf("SealedAttempts = %v, want %d in task order", got, len(want))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir, Options{Sync: sync})
			}
		})
	}
}

func TestSumIgnoresBlockSizes(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	data := block(rand.New(rand.NewPCG(1, 1)), 200<<10, false)
	var sums []uint64
	for i, size := range []int{1000, 64 << 10} {
		w := create(t, s, attempt("j", i, 1))
		var again segment.Sum
		for b := range slices.Chunk(data, size) {
			if err := w.Append(0, 0, 3, b, 1, nil); err != nil {
				t.Fatal(err)
			}
			_ = again.Append(0, 0, 3, b, 1, nil)
		}
		m := seal(t, w)
		if m.Sum != again.Sum64() {
			t.Errorf("manifest says %x, Sum says %x", m.Sum, again.Sum64())
		}
		sums = append(sums, m.Sum)
	}
	var other segment.Sum
	_ = other.Append(0, 0, 4, data, 1, nil)
	if sums[0] != sums[1] || other.Sum64() == sums[0] {
		t.Errorf("sums %x: want equal; other partition %x: want different", sums, other.Sum64())
	}
}

func TestOpenRemovesWhatHasNoManifest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	kept := attempt("j", 1, 1)
	w := create(t, s, kept)
	want := fill(t, w, 1, 400<<10)
	seal(t, w)
	for i := range 2 { // like a process that dies between the segment and the manifest
		fill(t, create(t, s, attempt(job.ID(fmt.Sprintf("j%d", i*9)[:1+i]), 5, 1)), 2, 1<<20)
	}
	if n := len(segments(t, dir)); n != 3 {
		t.Fatalf("%d segments before the crash, want 3", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	check(t, s, kept, want)
	if got := segments(t, dir); len(got) != 1 {
		t.Errorf("segments after reopening: %v, want the sealed one alone", got)
	}
	if _, err := s.Manifest(attempt("j", 5, 1)); !errors.Is(err, ErrGone) {
		t.Errorf("manifest of the unsealed output: %v, want ErrGone", err)
	}
}

func TestOpenDropsManifestsWithoutSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for i := range 3 {
		w := create(t, s, attempt("j", i, 1))
		fill(t, w, 1, 400<<10)
		seal(t, w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := segments(t, dir)
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	fi, _ := os.Stat(files[1])
	if err := os.Truncate(files[1], fi.Size()-1); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if got := s.SealedAttempts("j"); len(got) != 1 || got[0] != attempt("j", 2, 1) {
		t.Errorf("SealedAttempts = %v, want 0/2#1 alone", got)
	}
	if n := keys(t, s, ""); n > 17 {
		t.Errorf("%d keys are left, want those of one output", n)
	}
	create(t, s, attempt("j", 0, 1)).Discard() // free to be written again
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jobs", "*", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDiscardAndDrop(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	w := create(t, s, attempt("j", 0, 1))
	fill(t, w, 1, 1<<20)
	w.Discard()
	w.Discard()
	if err := w.Append(0, 0, 0, []byte("x"), 1, nil); err == nil {
		t.Error("Append after Discard succeeds")
	}
	if n := len(segments(t, dir)); n != 0 {
		t.Errorf("%d segments after Discard, want 0", n)
	}
	a, b := attempt("j", 0, 1), attempt("j", 1, 1)
	var want map[place][][]byte
	for _, a := range []job.Attempt{a, b} {
		w := create(t, s, a)
		want = fill(t, w, 1, 1000, 1<<20)
		seal(t, w)
	}
	m, err := s.Manifest(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(a); err == nil {
		t.Error("Create of a sealed attempt succeeds")
	}
	if err := errors.Join(s.Drop(a), s.Drop(a)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Manifest(a); !errors.Is(err, ErrGone) {
		t.Errorf("Manifest after Drop: %v, want ErrGone", err)
	}
	for _, r := range s.All(m, 0) {
		_, err := read(r)
		wantLost(t, err, a)
	}
	check(t, s, b, want)
	if n := len(segments(t, dir)); n != 1 {
		t.Errorf("%d segments after Drop, want 1", n)
	}
}

func TestDropJob(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var want map[place][][]byte
	for _, id := range []job.ID{"j", "j2"} {
		for i := range 3 {
			w := create(t, s, attempt(id, i, 1))
			want = fill(t, w, 1, 1000, 1<<20)
			seal(t, w)
		}
	}
	late := create(t, s, attempt("j", 9, 1))
	fill(t, late, 3, 1<<20)
	if err := s.DropJob("j"); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Seal(t.Context(), nil, nil); !errors.Is(err, ErrGone) {
		t.Errorf("Seal after DropJob: %v, want ErrGone", err)
	}
	if got := s.SealedAttempts("j"); got != nil {
		t.Errorf("SealedAttempts after DropJob = %v", got)
	}
	if n := keys(t, s, "j"); n != 0 {
		t.Errorf("%d keys of the job are left", n)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "jobs", "*")); len(files) != 1 {
		t.Errorf("directories after DropJob: %v, want that of j2 alone", files)
	}
	check(t, s, attempt("j2", 2, 1), want)
	w := create(t, s, attempt("j", 0, 1)) // the same plan on the same input has the same ID
	want = fill(t, w, 5, 1<<20)
	seal(t, w)
	check(t, s, attempt("j", 0, 1), want)
	if err := s.DropJob("../.."); err == nil {
		t.Error("DropJob of ../.. succeeds")
	}
}

func TestBadIDs(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, id := range []job.ID{"", ".", "..", "a/b", "a\x00b", "é", job.ID(strings.Repeat("x", 129))} {
		if _, err := s.Create(attempt(id, 0, 1)); err == nil {
			t.Errorf("Create with job ID %q succeeds", id)
		}
	}
	if _, err := s.Create(attempt("j", -1, 1)); err == nil {
		t.Error("Create of task -1 succeeds")
	}
}

func TestAppendRefuses(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w := create(t, s, attempt("j", 0, 1))
	if err := w.Append(0, 0, 0, make([]byte, record.MaxFrame+1), 1, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprint(record.MaxFrame+1)) {
		t.Errorf("too large a block: %v", err)
	}
	for _, part := range []int{1, 2, 1} {
		if err := w.Append(0, 0, part, []byte("x"), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Seal(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "partition 1") {
		t.Errorf("Seal of a partition in two pieces: %v", err)
	}
}

// Many attempts at once share transactions.
func TestConcurrentSeals(t *testing.T) {
	s := open(t, t.TempDir(), Options{Sync: true})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			a := attempt(job.ID(fmt.Sprintf("j%d", i%3)), i, 1)
			w, err := s.Create(a)
			if err != nil {
				t.Error(err)
				return
			}
			want := fill(t, w, uint64(i), 100, 20<<10)
			if _, err := w.Seal(context.Background(), nil, nil); err != nil {
				t.Error(err)
				return
			}
			check(t, s, a, want)
			if i%3 == 0 {
				if err := s.Drop(a); err != nil {
					t.Error(err)
				}
			}
			if i == 33 {
				if err := s.DropJob("j9"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.SealedAttempts("j0")); n != 0 {
		t.Errorf("%d outputs are held after Drop", n)
	}
	if n := len(s.SealedAttempts("j1")) + len(s.SealedAttempts("j2")); n != 42 {
		t.Errorf("%d outputs are held, want 42", n)
	}
}

func TestSealAfterClose(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w := create(t, s, attempt("j", 0, 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Seal(t.Context(), nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("Seal after Close: %v", err)
	}
	if _, err := s.Create(attempt("j", 1, 1)); !errors.Is(err, errClosed) {
		t.Errorf("Create after Close: %v", err)
	}
}

func wantLost(t *testing.T, err error, a job.Attempt) {
	t.Helper()
	var f *job.Failure
	if !errors.As(err, &f) || f.Kind != job.InputLost || len(f.Lost) != 1 || f.Lost[0] != a {
		t.Errorf("error %v, want a failure of kind input lost that names %s", err, a)
	}
}

// A manifest with very many extents does not fit into a transaction and goes to the segment.
func TestLargeManifest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	a := attempt("j", 0, 1)
	w := create(t, s, a)
	const parts = 60_000
	for part := range parts {
		if err := w.Append(0, 0, part, fmt.Appendf(nil, "part %d", part), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	seal(t, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	m, err := s.Manifest(a)
	if err != nil {
		t.Fatal(err)
	}
	for part := 0; part < parts; part += 997 {
		runs := s.Runs(m, 0, part)
		if len(runs) != 1 {
			t.Fatalf("partition %d has %d runs, want 1", part, len(runs))
		}
		got, err := read(runs[0])
		if want := fmt.Sprintf("part %d", part); err != nil || len(got) != 1 || string(got[0]) != want {
			t.Fatalf("partition %d: %q, %v; want %q", part, got, err, want)
		}
	}
}
