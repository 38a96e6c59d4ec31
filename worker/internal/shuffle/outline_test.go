package shuffle

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

// manyParts returns a manifest of parts partitions of two ports; some have no extent and some have
// several.
func manyParts(a job.Attempt, rng *rand.Rand, parts int) *job.Manifest {
	m := &job.Manifest{Attempt: a, Segment: segmentName(a), Counters: map[string]int64{"n": 1}}
	offset := int64(0)
	for port := range 2 {
		for part := range parts {
			runs := rng.IntN(3)
			if rng.IntN(50) == 0 {
				runs = 3 * markEvery // more than between two marks
			}
			for run := range runs {
				e := job.Extent{Port: port, Partition: part, Run: run, Offset: offset, Bytes: rng.Int64N(1 << 20), Records: 1, Raw: 7}
				if rng.IntN(4) == 0 {
					e.Blocks = []job.Block{{Records: 3, First: []byte("key")}}
				}
				offset += e.Bytes
				m.Extents = append(m.Extents, e)
			}
		}
	}
	return m
}

// TestOutlineFindsEveryPart compares the extents of each partition with the decoded manifest.
func TestOutlineFindsEveryPart(t *testing.T) {
	a := attempt("j", 3, 2)
	for _, parts := range []int{0, 1, 40, 700} {
		m := manyParts(a, rand.New(rand.NewPCG(uint64(parts), 0)), parts)
		o, err := parseOutline(AppendManifest(nil, m), a)
		if err != nil {
			t.Fatal(err)
		}
		for port := range 4 {
			for part := -1; part <= parts+1; part++ {
				got, err := o.findExtents(port-1, part)
				if err != nil {
					t.Fatal(err)
				}
				if want := extentsOf(m, port-1, part); len(want)+len(got) > 0 && !reflect.DeepEqual(got, want) {
					t.Fatalf("%d partitions: port %d partition %d: %v, want %v", parts, port-1, part, got, want)
				}
			}
		}
	}
}

// TestOutlineOfDamage checks that any damage of an encoded manifest gives an error, and nothing
// worse.
func TestOutlineOfDamage(t *testing.T) {
	a := attempt("j", 3, 2)
	b := AppendManifest(nil, manyParts(a, rand.New(rand.NewPCG(1, 0)), 10))
	for i := range b {
		b[i] ^= 0x41
		if _, err := parseOutline(b, a); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
		b[i] ^= 0x41
	}
	for n := range b {
		if _, err := parseOutline(b[:n], a); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := parseOutline(b, attempt("j", 3, 3)); !errors.Is(err, record.ErrCorrupt) {
		t.Fatalf("manifest of another attempt: %v", err)
	}
}

// TestPartsOfManyOutputs checks that the cache of outlines keeps its limit and forgets dropped
// outputs.
func TestPartsOfManyOutputs(t *testing.T) {
	s := open(t, t.TempDir(), Options{Reserve: -1})
	for i := range 3 {
		w := create(t, s, attempt("j", i, 1))
		for part := range 100 {
			if err := w.Append(0, 0, part, []byte{1, 1, byte(part), byte(i)}, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		seal(t, w)
	}
	for i := range 3 {
		m, err := s.PartitionManifest(attempt("j", i, 1), 0, 42)
		if err != nil {
			t.Fatal(err)
		}
		runs := s.Runs(m, 0, 42)
		if len(runs) != 1 {
			t.Fatalf("output %d has %d runs in partition 42", i, len(runs))
		}
		blocks, err := read(runs[0])
		if err != nil || len(blocks) != 1 || blocks[0][3] != byte(i) {
			t.Fatalf("output %d: %v, %v", i, blocks, err)
		}
	}
	if err := s.Drop(attempt("j", 1, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PartitionManifest(attempt("j", 1, 1), 0, 42); !errors.Is(err, ErrGone) {
		t.Errorf("after Drop: %v", err)
	}
	if err := s.DropJob("j"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.outlines) != 0 || s.outlinesSize != 0 {
		t.Errorf("%d outlines of %d bytes are kept of a job that was dropped", len(s.outlines), s.outlinesSize)
	}
}
