package shuffle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/state"
)

// Segments are synced some seconds after their attempts ended. An attempt that waited for the disk
// would hold its slot for longer than it computes, and most outputs are read and dropped before the
// kernel would write them at all.
//
// No promise depends on the sync: a segment destroyed by a power cut is a lost output, found on
// reading. A segment on the disk for sure is made a read-only file, so that Open need not read it.

// SyncAfter is the delay between the commit of a segment and its sync.
const SyncAfter = 10 * time.Second

// unsynced is a sealed output with a segment that may not be on the disk.
type unsynced struct {
	attempt job.Attempt
	since   time.Time
}

// queueSync queues the segment of an output for a sync. The caller holds mu, or runs alone.
func (s *Store) queueSync(a job.Attempt) {
	if !s.sync {
		return
	}
	s.unsynced = append(s.unsynced, unsynced{a, time.Now()})
	select {
	case s.wakeSync <- struct{}{}:
	default:
	}
}

// syncLoop syncs segments when they are due, until the store is closed.
func (s *Store) syncLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.wakeSync:
		case <-timer.C:
		case <-s.stop:
			return
		}
		s.syncSegments(s.takeDue())
		s.mu.Lock()
		if len(s.unsynced) > 0 {
			timer.Reset(time.Until(s.unsynced[0].since.Add(SyncAfter)))
		}
		s.mu.Unlock()
	}
}

// takeDue removes the due outputs from unsynced and returns them.
func (s *Store) takeDue() (due []unsynced) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.unsynced) && time.Since(s.unsynced[n].since) >= SyncAfter {
		n++
	}
	due, s.unsynced = s.unsynced[:n:n], s.unsynced[n:]
	if len(s.unsynced) == 0 {
		s.unsynced = nil
	}
	return due
}

// syncSegments makes segments durable and then read-only. It skips segments dropped in between.
func (s *Store) syncSegments(due []unsynced) {
	dirs := make(map[string]bool)
	var synced []string
	for _, u := range due {
		select {
		case <-s.stop:
			return // the next Open reads them
		default:
		}
		path := s.segmentPath(u.attempt)
		if err := syncFile(path); err == nil {
			synced = append(synced, path)
			dirs[filepath.Dir(path)] = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("segment not synced: a crash of the machine would lose it", "job", u.attempt.Job, "attempt", u.attempt, "err", err)
		}
	}
	if len(synced) > 0 {
		dirs[filepath.Join(s.dir, "jobs")] = true
	}
	for dir := range dirs {
		if err := state.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("directory of segments not synced: a crash of the machine would lose them", "dir", dir, "err", err)
			return
		}
	}
	for _, path := range synced {
		// an error means it was dropped, or that the next Open reads it once more
		_ = os.Chmod(path, 0o444)
	}
}

// isSynced reports whether a segment is on the disk for sure.
func isSynced(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o200 == 0 }

// verifySegment reads the first size bytes of a segment and returns an error if they are damaged.
func (s *Store) verifySegment(a job.Attempt, size int64) error {
	f, err := os.Open(s.segmentPath(a))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for r := record.NewFrameReader(f, 0, size, 1<<20); ; {
		if _, err := r.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return syncData(f)
}
