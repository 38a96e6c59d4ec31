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

// Segments are synced behind the back of the attempts that wrote them. An attempt that waited for the disk would hold its slot for longer
// than it computes, and most outputs are read and dropped before the kernel would have written them at all. Nothing rests on it: a
// segment that a power cut took is a lost output, and what is missing is found by reading. A segment that is known to be on the disk
// is a read-only file, so that Open need not read it.

// SyncAfter is how long after its commit a segment is synced.
const SyncAfter = 10 * time.Second

// unsynced is a sealed output whose segment may not be on the disk.
type unsynced struct {
	attempt job.Attempt
	since   time.Time
}

// queueSync notes that the segment of an output is to be synced. The caller holds mu, or is alone.
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

// syncLoop syncs segments when their time has come, until the store is closed.
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

// takeDue takes the outputs out of unsynced whose time has come.
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

// syncSegments makes segments durable and then read-only. Those that were dropped meanwhile are passed over.
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
			s.log.Warn("segment not synced: a crash of the machine would cost it", "job", u.attempt.Job, "attempt", u.attempt, "err", err)
		}
	}
	if len(synced) > 0 {
		dirs[filepath.Join(s.dir, "jobs")] = true
	}
	for dir := range dirs {
		if err := state.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("directory of segments not synced: a crash of the machine would cost them", "dir", dir, "err", err)
			return
		}
	}
	for _, path := range synced {
		_ = os.Chmod(path, 0o444) // dropped, or else the next Open reads it once more
	}
}

// isSynced reports whether a segment is known to be on the disk.
func isSynced(fi fs.FileInfo) bool { return fi.Mode().Perm()&0o200 == 0 }

// verifySegment reads the first size bytes of a segment and returns an error when they are not what was written.
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
