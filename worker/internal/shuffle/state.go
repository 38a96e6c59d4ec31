package shuffle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/state"
)

// stored is the header of a manifest in Badger.
type stored struct {
	segment int64 // required size of the segment file
	chunks  int   // number of values with inline bytes
	// offset and bytes are the place of the manifest in the segment; bytes is 0 when it follows
	// this header.
	offset, bytes int64
}

func (h stored) append(dst []byte) []byte {
	for _, n := range [...]int64{h.segment, int64(h.chunks), h.offset, h.bytes} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// parseStored verifies the value of a manifest key and returns its header and the manifest behind
// it.
func parseStored(key, value []byte) (h stored, manifest []byte, err error) {
	b, err := openValue(key, value)
	if err != nil {
		return h, nil, err
	}
	d := decoder{cursor.Over(b)}
	h = stored{segment: d.int(), chunks: int(d.int()), offset: d.int(), bytes: d.int()}
	if d.Failed() || h.bytes > h.segment || h.offset > h.segment-h.bytes {
		return h, nil, fmt.Errorf("value of key %q: %w", key, record.ErrCorrupt)
	}
	return h, d.Rest(), nil
}

// recover brings state and files into agreement: it finds the complete outputs and removes
// everything else.
func (s *Store) recover(db *state.DB) error {
	type found struct {
		head        stored
		bytes       int64
		hasManifest bool
		chunks      [][]byte // keys
	}
	outputs := make(map[job.Attempt]*found)
	var bad [][]byte
	at := func(a job.Attempt) *found {
		f := outputs[a]
		if f == nil {
			f = new(found)
			outputs[a] = f
		}
		return f
	}
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			a, chunk, ok := parseKey(key)
			switch {
			case !ok:
				bad = append(bad, key)
			case chunk >= 0:
				f := at(a)
				f.chunks = append(f.chunks, key)
				f.bytes += int64(len(key)) + it.Item().ValueSize()
			default:
				f := at(a)
				err := it.Item().Value(func(v []byte) (err error) {
					f.head, _, err = parseStored(key, v)
					return err
				})
				f.hasManifest = err == nil
				f.bytes += f.head.segment + int64(len(key)) + it.Item().ValueSize()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for a, f := range outputs {
		why := ""
		if !f.hasManifest {
			why = "no manifest"
		} else if len(f.chunks) != f.head.chunks {
			why = fmt.Sprintf("%d of %d inline values", len(f.chunks), f.head.chunks)
		} else if f.head.segment > 0 {
			if fi, err := os.Stat(s.segmentPath(a)); err != nil {
				why = err.Error()
			} else if fi.Size() < f.head.segment {
				why = fmt.Sprintf("segment has %d of %d bytes", fi.Size(), f.head.segment)
			} else if s.sync && !isSynced(fi) {
				if err := s.verifySegment(a, f.head.segment); err != nil {
					why = fmt.Sprintf("not all of its segment reached the disk: %v", err)
				} else {
					s.queueSync(a)
				}
			}
		}
		if why != "" {
			s.log.Warn("output lost", "job", a.Job, "attempt", a, "err", why)
			bad = append(append(bad, manifestKey(a)), f.chunks...)
			continue
		}
		st := s.jobs[a.Job]
		if st == nil {
			st = &jobState{outputs: make(map[job.Attempt]int64)}
			s.jobs[a.Job] = st
		}
		st.outputs[a] = f.bytes
		s.used += f.bytes
	}
	batch := db.NewWriteBatch()
	defer batch.Cancel()
	for _, key := range bad {
		if err := batch.Delete(key); err != nil {
			return err
		}
	}
	if err := batch.Flush(); err != nil {
		return err
	}
	return s.removeStrays()
}

// removeStrays removes every file below jobs that is not the segment of a sealed output.
func (s *Store) removeStrays() error {
	segments := make(map[string]bool)
	for _, st := range s.jobs {
		for a := range st.outputs {
			segments[s.segmentPath(a)] = true
		}
	}
	root := filepath.Join(s.dir, "jobs")
	dirs, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		dir := filepath.Join(root, d.Name())
		if strings.HasPrefix(d.Name(), trashPrefix) || s.jobs[job.ID(d.Name())] == nil {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if path := filepath.Join(dir, f.Name()); !segments[path] {
				s.log.Info("segment without manifest removed", "path", path)
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// maxCached limits the extents and blocks of cached manifests: about 20 MB.
const maxCached = 200_000

// Manifest returns the manifest of a sealed output; it is shared and must not be changed. If the
// output is not held, or its manifest is damaged, the error wraps ErrGone.
func (s *Store) Manifest(a job.Attempt) (*job.Manifest, error) {
	s.mu.Lock()
	m := s.cache[a]
	s.mu.Unlock()
	if m != nil {
		return m, nil
	}
	if !s.Holds(a) {
		return nil, fmt.Errorf("output of %s: %w", a, ErrGone)
	}
	m, err := s.loadManifest(a)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", a, errors.Join(ErrGone, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.jobs[a.Job]; st != nil && st.isSealed(a) && s.cache[a] == nil {
		for other := range s.cache { // in no particular order
			if s.cached+Weight(m) <= maxCached {
				break
			}
			s.forgetManifest(other)
		}
		s.cache[a] = m
		s.cached += Weight(m)
	}
	return m, nil
}

func (s *Store) loadManifest(a job.Attempt) (*job.Manifest, error) {
	body, err := s.readManifest(a)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(body)
	if err == nil && m.Attempt != a {
		err = wrongAttempt(a, m.Attempt)
	}
	return m, err
}

// readManifest reads an encoded manifest.
func (s *Store) readManifest(a job.Attempt) ([]byte, error) {
	v, err := s.table.get(manifestKey(a))
	if err != nil {
		return nil, err
	}
	h, body, err := parseStored(manifestKey(a), v)
	if err != nil {
		return nil, err
	}
	if h.bytes > 0 {
		f, err := os.Open(s.segmentPath(a))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		body = nil
		for r := record.NewFrameReader(f, h.offset, h.offset+h.bytes, 1<<20); ; {
			piece, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			body = append(body, piece...)
		}
	}
	return body, nil
}

// Weight returns the size of a manifest in a cache: the number of its extents and blocks.
func Weight(m *job.Manifest) int {
	n := 1 + len(m.Extents)
	for i := range m.Extents {
		n += len(m.Extents[i].Blocks)
	}
	return n
}

// forgetCached removes a manifest and its outline from the caches. The caller holds mu.
func (s *Store) forgetCached(a job.Attempt) {
	s.forgetManifest(a)
	s.forgetOutline(a)
}

// forgetManifest removes a decoded manifest from the cache. The caller holds mu.
func (s *Store) forgetManifest(a job.Attempt) {
	if m := s.cache[a]; m != nil {
		delete(s.cache, a)
		s.cached -= Weight(m)
	}
}
