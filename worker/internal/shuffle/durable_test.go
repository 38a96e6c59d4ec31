package shuffle

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layshaft/layshaft/internal/job"
)

// large writes an output that needs a segment.
func large(t *testing.T, s *Store, a job.Attempt) {
	t.Helper()
	w := create(t, s, a)
	for part := range 8 {
		if err := w.Append(0, 0, part, bytes.Repeat([]byte{byte(part + 1)}, 64<<10), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	seal(t, w)
}

func isDurable(t *testing.T, s *Store, a job.Attempt) bool {
	t.Helper()
	fi, err := os.Stat(s.segmentPath(a))
	if err != nil {
		t.Fatal(err)
	}
	return isSynced(fi)
}

// TestSegmentsAreSynced waits until a segment counts as synced, beside one that is dropped before.
func TestSegmentsAreSynced(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{Sync: true, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		a, b, c := attempt("j", 0, 1), attempt("j", 1, 1), attempt("j", 2, 1)
		large(t, s, a)
		time.Sleep(SyncAfter / 2)
		large(t, s, b)
		large(t, s, c)
		if err := s.Drop(c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(SyncAfter*3/4 - time.Second)
		synctest.Wait()
		if !isDurable(t, s, a) || isDurable(t, s, b) {
			t.Errorf("after three quarters of the time too early or too late: a %v, b %v", isDurable(t, s, a), isDurable(t, s, b))
		}
		time.Sleep(SyncAfter)
		synctest.Wait()
		if !isDurable(t, s, b) {
			t.Error("b was never synced")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // Badger leaves goroutines that end soon
	})
}

// TestPowerCut opens a store with segments of the right length but the wrong content, as after a
// power cut.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	synced, torn, whole := attempt("j", 0, 1), attempt("j", 1, 1), attempt("j", 2, 1)
	for _, a := range []job.Attempt{synced, torn, whole} {
		large(t, s, a)
	}
	s.syncSegments([]unsynced{{attempt: synced}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.segmentPath(torn), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), 200<<10); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, Options{Sync: true})
	if !s.Holds(synced) || s.Holds(torn) || !s.Holds(whole) {
		t.Errorf("held: synced %v, torn %v, whole %v; want all but the torn one", s.Holds(synced), s.Holds(torn), s.Holds(whole))
	}
	if _, err := os.Stat(s.segmentPath(torn)); !os.IsNotExist(err) {
		t.Errorf("the torn segment still takes its space: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsynced) != 1 || s.unsynced[0].attempt != whole {
		t.Errorf("to be synced: %v, want only %v", s.unsynced, whole)
	}
}
