// Package shuffle keeps the output of a worker's attempts until the job is dropped: the block store.
//
// Bulk blocks go to append-only segment files, one per attempt, in one directory per job. What makes an output exist is
// its manifest: one atomic write to Badger, synced when the store is. An output of at most 64 KiB lies in Badger beside
// its manifest and costs one sync and no file. No manifest, no output: what a killed process leaves behind
// is removed by the next Open.
//
// Every byte is checksummed and verified on read; damage is a lost output (a *job.Failure of kind job.InputLost), never a
// wrong answer. Badger alone neither survives a full disk nor reports damage, so every write is checked against the free space first
// and every value carries a checksum of its own over key and content.
package shuffle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/state"
)

// ErrGone means that the store does not hold the output asked for, or holds it no longer.
var ErrGone = errors.New("output is gone")

// ErrDiskFull means that the disk has too little space left. What is committed stays readable.
var ErrDiskFull = state.ErrDiskFull

var errClosed = errors.New("block store is closed")

// Options says how a store works. The zero value is ready.
type Options struct {
	// Sync makes sealed outputs survive a crash of the machine, not only of the process: at once those that lie in Badger and all
	// manifests, within SyncAfter what lies in segments. The next Open reads the segments that may not have reached the disk, and drops
	// those that did not: a crash of the machine costs the bulk outputs of the last seconds, which are made again.
	Sync bool
	// Compress stores blocks compressed where that pays. It costs about 2 ns a byte to save disk and network; a local disk behind a page
	// cache is faster without.
	Compress bool
	// Reserve is how many bytes of the disk to keep free. Zero means 256 MiB, less than zero means none.
	Reserve int64
	// Quota is how many bytes the outputs may take in all. Zero means no limit but the disk. Scratch files do not count.
	Quota int64
	// Log hears of damage and of what Open removed. Nil means silence.
	Log *slog.Logger

	free func(dir string) (int64, error) // see state.Options.Free
}

// Store is a block store in one directory, used by one process. Its methods may be called concurrently.
type Store struct {
	dir      string
	sync     bool
	compress bool
	reserve  int64
	quota    int64
	free     func(dir string) (int64, error)
	log      *slog.Logger
	db       *state.DB
	bufs     sync.Pool // *[]byte: segment buffers

	commits  chan *commit
	wakeSync chan struct{} // there is something in unsynced
	stop     chan struct{}
	loops    sync.WaitGroup

	// mu guards the fields below.
	mu           sync.Mutex
	closed       bool
	jobs         map[job.ID]*jobState
	cache        map[job.Attempt]*job.Manifest
	cached       int // extents and blocks in cache
	outlines     map[job.Attempt]*outline
	outlinesSize int        // bytes of outlines
	used         int64      // bytes of outputs, of those being written too
	unsynced     []unsynced // the oldest first; empty when the store is not synced
}

// jobState is what the store knows of a job. A job that was dropped and came back has a new one.
type jobState struct {
	outputs map[job.Attempt]int64 // stored bytes when sealed; unsealed while a Writer is at it
	dropped bool
}

// unsealed stands for the size of an output that is being written.
const unsealed = -1

// Open opens the store in dir, which it makes when needed. It removes segments without a manifest and manifests
// whose segment is missing or too short. When the state in dir is damaged beyond that, the store starts empty: all of
// its content can be made again. It starts goroutines, which Close ends.
func Open(dir string, opts Options) (_ *Store, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.Reserve = cmp.Or(opts.Reserve, 256<<20)
	if opts.free == nil {
		opts.free = freeBytes
	}
	if err := os.MkdirAll(filepath.Join(dir, "jobs"), 0o755); err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	s := &Store{
		dir: dir, sync: opts.Sync, compress: opts.Compress, reserve: opts.Reserve, quota: opts.Quota, free: opts.free, log: opts.Log,
		commits: make(chan *commit), wakeSync: make(chan struct{}, 1), stop: make(chan struct{}),
		jobs: make(map[job.ID]*jobState), cache: make(map[job.Attempt]*job.Manifest), outlines: make(map[job.Attempt]*outline),
		bufs: sync.Pool{New: func() any { return new([]byte) }},
	}
	s.db, err = state.Open(dir, "state", state.Options{NoSync: !opts.Sync, Reserve: opts.Reserve, Free: opts.free, Cache: 16 << 20,
		Disposable: true, Log: opts.Log})
	if err != nil {
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	if err := s.recover(); err != nil {
		_ = s.db.Close()
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.syncLoop)
	return s, nil
}

// Close ends the store. Outputs that are not sealed are lost; runs that are open must not be read any more.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.stop)
	s.loops.Wait()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("block store %s: %w", s.dir, err)
	}
	return nil
}

// Jobs returns the IDs of the jobs that have outputs, sealed or being written, in order.
func (s *Store) Jobs() []job.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []job.ID
	for id, st := range s.jobs {
		if len(st.outputs) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// SealedAttempts returns the attempts of a job whose output is sealed, in task order.
func (s *Store) SealedAttempts(id job.ID) []job.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	var as []job.Attempt
	if st := s.jobs[id]; st != nil {
		for a, bytes := range st.outputs {
			if bytes != unsealed {
				as = append(as, a)
			}
		}
	}
	slices.SortFunc(as, func(a, b job.Attempt) int {
		return cmp.Or(a.Task.Stage-b.Task.Stage, a.Task.Index-b.Task.Index, a.N-b.N)
	})
	return as
}

// Holds reports whether the output of a is sealed. It does not touch the disk.
func (s *Store) Holds(a job.Attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.jobs[a.Job]
	return st != nil && st.isSealed(a)
}

func (st *jobState) isSealed(a job.Attempt) bool {
	bytes, ok := st.outputs[a]
	return ok && bytes != unsealed
}

// Drop removes the output of an attempt, if there is any. It does not disturb other attempts.
func (s *Store) Drop(a job.Attempt) error {
	if !s.Holds(a) {
		return nil
	}
	if err := s.send(context.Background(), &commit{kind: dropAttempt, attempt: a}); err != nil {
		return fmt.Errorf("drop %s of %s: %w", a, a.Job, err)
	}
	if err := os.Remove(s.segmentPath(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop %s of %s: %w", a, a.Job, err)
	}
	return nil
}

// DropJob removes everything of a job and returns its space. Writers of the job that are still at work get ErrGone.
func (s *Store) DropJob(id job.ID) error {
	if err := checkID(id); err != nil {
		return err
	}
	c := &commit{kind: dropJob, attempt: job.Attempt{Job: id}}
	err := s.send(context.Background(), c)
	if c.trash != "" {
		err = errors.Join(err, os.RemoveAll(c.trash))
	}
	if err != nil {
		return fmt.Errorf("drop job %s: %w", id, err)
	}
	return nil
}

func (s *Store) jobDir(id job.ID) string { return filepath.Join(s.dir, "jobs", string(id)) }

func (s *Store) segmentPath(a job.Attempt) string {
	return filepath.Join(s.jobDir(a.Job), segmentName(a))
}

func segmentName(a job.Attempt) string {
	return fmt.Sprintf("%d-%d-%d.seg", a.Task.Stage, a.Task.Index, a.N)
}

// checkID refuses a job ID that is not safe as a file name and as a prefix of keys.
func checkID(id job.ID) error {
	ok := id != "" && len(id) <= 128 && id[0] != '.'
	for _, c := range id {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}
	if !ok {
		return fmt.Errorf("job ID %q: want 1 to 128 of the characters a-z A-Z 0-9 . _ - and no dot in front", string(id))
	}
	return nil
}
