// Package shuffle is the block store of a worker: it keeps the outputs of attempts until their job
// is dropped.
//
// Large outputs go to append-only segment files, one per attempt, in one directory per job. An
// output exists as soon as its manifest exists: one atomic write to Badger, synced if the store is.
// An output of at most 64 KiB lies in Badger beside its manifest, and costs one sync and no file.
// Without a manifest there is no output: Open removes the remains of a killed process.
//
//	DIR/jobs/JOB/0-7-1.seg    segment of attempt 0/7#1
//	DIR/state                 Badger: manifests and small outputs
//
// Every byte has a checksum, verified on each read. Damage makes a lost output (a *job.Failure of
// kind job.InputLost), never a wrong result. Badger alone neither survives a full disk nor reports
// damage. Therefore every write first checks the free space, and every value carries its own
// checksum over key and content.
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

// ErrGone means the store does not hold the output, or no longer.
var ErrGone = errors.New("output is gone")

// ErrDiskFull means the disk has too little space. Committed outputs stay readable.
var ErrDiskFull = state.ErrDiskFull

var errClosed = errors.New("block store is closed")

// Options configure a store. The zero value is ready.
type Options struct {
	// Sync makes sealed outputs survive a crash of the machine, not only of the process. Manifests
	// and outputs in Badger are durable at once, segments within SyncAfter. The next Open reads the
	// segments that may not have reached the disk, and drops damaged ones. So a crash of the
	// machine costs the large outputs of its last seconds; they are made again.
	Sync bool
	// Compress compresses blocks if that makes them smaller. It costs about 2 ns a byte to save
	// disk and network. With a local disk behind a page cache, a store is faster without it.
	Compress bool
	// Reserve is the space to keep free on the disk, in bytes. Zero means 256 MiB, a negative value
	// none.
	Reserve int64
	// Quota limits the size of all outputs, in bytes. Zero means no limit but the disk. Scratch
	// files do not count.
	Quota int64
	// Temporary is for outputs that are not needed after Close, in an empty directory that nobody
	// else uses. Manifests and small outputs then lie in memory, as long as they are few.
	Temporary bool
	// Log receives reports of damage and of files removed by Open. Nil means silence.
	Log *slog.Logger

	free func(dir string) (int64, error) // see state.Options.Free
}

// Store is a block store in one directory, used by one process. Its methods may be called
// concurrently.
type Store struct {
	dir      string
	sync     bool
	compress bool
	reserve  int64
	quota    int64
	free     func(dir string) (int64, error)
	log      *slog.Logger
	table    table
	bufs     sync.Pool // *[]byte: segment buffers

	commits  chan *commit
	wakeSync chan struct{} // wakes syncLoop after an addition to unsynced
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
	used         int64      // bytes of sealed and unsealed outputs
	unsynced     []unsynced // oldest first; empty when the store is not synced
}

// jobState is the state of a job in the store. A job that was dropped and came back has a new one.
type jobState struct {
	outputs map[job.Attempt]int64 // stored bytes, or unsealed while a Writer writes it
	dropped bool
}

// unsealed stands for the size of an output that is being written.
const unsealed = -1

// format is the format of a store's directory.
var format = state.Format{Kind: "blocks", Version: 1}

// Open opens the store in dir and makes dir if needed. It removes segments without a manifest, and
// manifests with a missing or short segment. If the state in dir is damaged beyond repair, the
// store starts empty: all of its content can be made again. Open starts goroutines; Close ends
// them.
func Open(dir string, opts Options) (_ *Store, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.Reserve = cmp.Or(opts.Reserve, 256<<20)
	if opts.free == nil {
		opts.free = freeBytes
	}
	s := &Store{
		dir: dir, sync: opts.Sync, compress: opts.Compress, reserve: opts.Reserve, quota: opts.Quota, free: opts.free, log: opts.Log,
		commits: make(chan *commit), wakeSync: make(chan struct{}, 1), stop: make(chan struct{}),
		jobs: make(map[job.ID]*jobState), cache: make(map[job.Attempt]*job.Manifest), outlines: make(map[job.Attempt]*outline),
		bufs: sync.Pool{New: func() any { return new([]byte) }},
	}
	s.table.open = func() (*state.DB, error) {
		return state.Open(dir, "state", format, state.Options{NoSync: !opts.Sync, Reserve: opts.Reserve, Free: opts.free, Cache: 16 << 20,
			Disposable: true, Log: opts.Log})
	}
	if opts.Temporary {
		s.table.memory = map[string][]byte{}
		s.table.check = func(n int64) error { return state.CheckRoom(dir, opts.free, n, opts.Reserve) }
		err = os.MkdirAll(filepath.Join(dir, "jobs"), 0o700)
	} else {
		err = s.openWhole()
	}
	if err != nil {
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.syncLoop)
	return s, nil
}

// openWhole opens the state at once, with the outputs that were sealed before.
func (s *Store) openWhole() error {
	if err := state.MakeDir(filepath.Join(s.dir, "jobs"), 0o700); err != nil {
		return err
	}
	if err := s.table.openBadger(); err != nil {
		return err
	}
	if err := s.recover(s.table.db); err != nil {
		_ = s.table.Close()
		return err
	}
	return nil
}

// Close closes the store. Outputs not yet sealed are lost, and open runs must not be read after it.
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
	if err := s.table.Close(); err != nil {
		return fmt.Errorf("block store %s: %w", s.dir, err)
	}
	return nil
}

// Jobs returns the sorted IDs of the jobs with outputs, sealed or being written.
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

// SealedAttempts returns the attempts of a job with a sealed output, in task order.
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
	slices.SortFunc(as, job.Attempt.Compare)
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

// DropJob removes all outputs of a job and frees their space. Open writers of the job get ErrGone.
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

func (s *Store) jobDir(id job.ID) string { return jobDir(s.dir, id) }

func jobDir(dir string, id job.ID) string { return filepath.Join(dir, "jobs", string(id)) }

func (s *Store) segmentPath(a job.Attempt) string { return segmentPath(s.dir, a) }

func segmentPath(dir string, a job.Attempt) string {
	return filepath.Join(jobDir(dir, a.Job), segmentName(a))
}

func segmentName(a job.Attempt) string {
	return fmt.Sprintf("%d-%d-%d.seg", a.Task.Stage, a.Task.Index, a.N)
}

// checkID returns an error for a job ID that is not safe as a file name and as a prefix of keys.
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
