package shuffle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/segment"
)

// piecesOf reads an output of s piece by piece, like a peer.
type piecesOf struct {
	s      *Store
	a      job.Attempt
	inline bool
	end    int64
}

func remoteOf(s *Store) Remote {
	return Remote{Bytes: func(a job.Attempt, inline bool, _, to int64) segment.Bytes { return piecesOf{s, a, inline, to} }}
}

func (p piecesOf) ReadAhead(int) {}
func (p piecesOf) Close() error  { return nil }

func (p piecesOf) ReadAt(b []byte, off int64) (int, error) {
	n := min(int64(len(b)), p.end-off)
	var pieces []Piece
	for at, left := off, n; left > 0; {
		k := min(left, 1+left/3) // of any size
		pieces = append(pieces, Piece{p.a, p.inline, at, k})
		at, left = at+k, left-k
	}
	if err := p.s.Read(pieces, b[:n]); err != nil {
		return 0, err
	}
	if n < int64(len(b)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// A copy has the content, order, first keys, counters and hash of the original, whatever their
// storage.
func TestCopy(t *testing.T) {
	from, to := open(t, t.TempDir(), Options{Reserve: -1, Compress: true}), open(t, t.TempDir(), Options{Reserve: -1})
	for i, size := range []int{20, 3_000, 100_000} {
		rng := rand.New(rand.NewPCG(uint64(i), 0))
		a := attempt("j", i, 1)
		w := create(t, from, a)
		for run := range 2 {
			for part := range 4 {
				for k := range 3 {
					if err := w.Append(1-run, run, part, block(rng, 1+rng.IntN(size), k == 0), k, fmt.Appendf(nil, "%d%d", part, k)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := w.Append(2, 0, 0, block(rng, size, true), 17, nil); err != nil {
			t.Fatal(err)
		}
		m := seal(t, w)
		if err := to.Copy(t.Context(), m, remoteOf(from)); err != nil {
			t.Fatal(err)
		}
		got, err := to.Manifest(a)
		if err != nil || got.Sum != m.Sum || !reflect.DeepEqual(got.Counters, m.Counters) || !bytes.Equal(got.Sink[0], m.Sink[0]) || len(got.Extents) != len(m.Extents) {
			t.Fatalf("size %d: manifest %+v, %v; want %+v", size, got, err, m)
		}
		for j, e := range got.Extents {
			want := m.Extents[j]
			if e.Port != want.Port || e.Run != want.Run || e.Partition != want.Partition || e.Records != want.Records || e.Raw != want.Raw || len(e.Blocks) != len(want.Blocks) {
				t.Errorf("size %d: extent %+v, want %+v", size, e, want)
			}
			for k, b := range e.Blocks {
				if b.Records != want.Blocks[k].Records || !bytes.Equal(b.First, want.Blocks[k].First) {
					t.Errorf("size %d: block %+v, want %+v", size, b, want.Blocks[k])
				}
			}
		}
		for port := range 3 {
			one, two := from.All(m, port), to.All(got, port)
			for j := range one {
				want, err1 := read(one[j])
				have, err2 := read(two[j])
				if err1 != nil || err2 != nil || !reflect.DeepEqual(want, have) {
					t.Errorf("size %d port %d run %d: content differs, %v, %v", size, port, j, err1, err2)
				}
			}
		}
		if err := to.Copy(t.Context(), m, remoteOf(from)); err == nil {
			t.Error("copied twice")
		}
	}
}

// A manifest of other bytes gives an error and no copy.
func TestCopyOfAnotherManifest(t *testing.T) {
	from, to := open(t, t.TempDir(), Options{Reserve: -1}), open(t, t.TempDir(), Options{Reserve: -1})
	a := attempt("j", 0, 1)
	w := create(t, from, a)
	for i := range 4 {
		if err := w.Append(0, 0, i, []byte("block"), 1, []byte("k")); err != nil {
			t.Fatal(err)
		}
	}
	m := seal(t, w)
	for name, change := range map[string]func(m *job.Manifest){
		"hash":        func(m *job.Manifest) { m.Sum++ },
		"place":       func(m *job.Manifest) { m.Extents[1].Partition = 9 },
		"more blocks": func(m *job.Manifest) { m.Extents[1].Blocks = append(m.Extents[1].Blocks, m.Extents[1].Blocks...) },
		"raw":         func(m *job.Manifest) { m.Extents[1].Raw++ },
		"length":      func(m *job.Manifest) { m.Extents[1].Bytes-- },
	} {
		other := *m
		other.Extents = nil
		for _, e := range m.Extents {
			e.Blocks = append([]job.Block(nil), e.Blocks...)
			other.Extents = append(other.Extents, e)
		}
		change(&other)
		err := to.Copy(t.Context(), &other, remoteOf(from))
		var f *job.Failure
		if !errors.As(err, &f) || f.Kind != job.InputLost || to.Holds(a) || len(to.Jobs()) > 0 {
			t.Errorf("%s: %v; held: %v", name, err, to.Holds(a))
		}
	}
}

// Outputs beyond the quota are refused, even while they are being written. Dropping makes room, and
// a restart counts again.
func TestQuota(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Reserve: -1, Quota: 3 << 20}
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	add := func(index, bytes int) error {
		w, err := s.Create(attempt("j", index, 1))
		if err != nil {
			return err
		}
		defer w.Discard()
		for range bytes / (1 << 18) {
			if err := w.Append(0, 0, 0, make([]byte, 1<<18), 1, nil); err != nil {
				return err
			}
		}
		_, err = w.Seal(t.Context(), nil, nil)
		return err
	}
	if err := add(0, 2<<20); err != nil {
		t.Fatal(err)
	}
	err = add(1, 2<<20)
	if !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "quota") {
		t.Fatalf("error %v, want that the quota is reached", err)
	}
	if free, err := s.Free(); err != nil || free > 1<<20 || free < 1<<19 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, opts)
	if err := add(2, 2<<20); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("after a restart: %v", err)
	}
	if err := s.Drop(attempt("j", 0, 1)); err != nil {
		t.Fatal(err)
	}
	for i := range 5 { // each one freed its bytes
		if err := add(3+i, 2<<20); err != nil {
			t.Fatal(err)
		}
		if err := s.DropJob("j"); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used != 0 {
		t.Errorf("%d bytes count as used", s.used)
	}
}

// Missing files are the loss of their output, and of no other.
func TestReadDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Reserve: -1})
	for i := range 2 {
		w := create(t, s, attempt("j", i, 1))
		fill(t, w, uint64(i), 200_000)
		seal(t, w)
	}
	if err := os.Truncate(filepath.Join(dir, "jobs", "j", segmentName(attempt("j", 1, 1))), 10); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 200)
	pieces := []Piece{{attempt("j", 0, 1), false, 5, 100}, {attempt("j", 1, 1), false, 5, 100}}
	wantLost(t, s.Read(pieces, p), attempt("j", 1, 1))
	if err := s.Read(pieces[:1], p[:100]); err != nil {
		t.Error(err)
	}
	wantLost(t, s.Read([]Piece{{attempt("j", 2, 1), false, 0, 1}}, p), attempt("j", 2, 1))
	wantLost(t, s.Read([]Piece{{attempt("j", 0, 1), true, 0, 1}}, p), attempt("j", 0, 1))
	if err := s.Read([]Piece{{attempt("j", 0, 1), false, 0, 201}}, p); err == nil {
		t.Error("read more than there is room for")
	}
}
