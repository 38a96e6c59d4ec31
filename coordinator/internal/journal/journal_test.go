package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// checkGoroutines fails the test if goroutines started by it are left at its end. Some tests do not
// use it, because Badger leaks goroutines if it cannot open damaged files.
func checkGoroutines(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// quick is for tests without the disk guard and without a crash of the machine.
var quick = Options{NoSync: true, Reserve: -1}

// open opens the journal in dir and closes it when the test ends.
func open(t testing.TB, dir string, opt Options) *Journal {
	t.Helper()
	j, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return j
}

func appendEvents(t testing.TB, j *Journal, events ...string) uint64 {
	t.Helper()
	var b [][]byte
	for _, ev := range events {
		b = append(b, []byte(ev))
	}
	last, err := j.Append(t.Context(), b...)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// replay returns the events from number first, and checks their numbers.
func replay(t testing.TB, j *Journal, first uint64) []string {
	t.Helper()
	var got []string
	err := j.Replay(func(seq uint64, ev []byte) error {
		if want := first + uint64(len(got)); seq != want {
			return fmt.Errorf("event %d came in the place of %d", seq, want)
		}
		got = append(got, string(ev))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantEvents(t testing.TB, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("event at %d is %.40q (%d bytes), want %.40q (%d bytes)", i, got[i], len(got[i]), want[i], len(want[i]))
		}
	}
}

// copyDir copies the files of an open or closed journal, as a killed process would leave them.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestAppendAndReplay(t *testing.T) {
	checkGoroutines(t)
	dir := t.TempDir()
	j := open(t, dir, Options{})
	if got := j.Last(); got != 0 {
		t.Errorf("last event of an empty journal = %d", got)
	}
	if last := appendEvents(t, j, "a", "", "c"); last != 3 {
		t.Errorf("last = %d, want 3", last)
	}
	if last := appendEvents(t, j, "d"); last != 4 {
		t.Errorf("last = %d, want 4", last)
	}
	if last := appendEvents(t, j); last != 4 {
		t.Errorf("last of no events = %d, want 4", last)
	}
	wantEvents(t, replay(t, j, 1), "a", "", "c", "d")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	j = open(t, dir, Options{NoSync: true})
	appendEvents(t, j, "e")
	wantEvents(t, replay(t, j, 1), "a", "", "c", "d", "e")
}

// A journal returns the same events as a list in memory, after random calls of random sizes with
// snapshots and reopening in between.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	seeds := uint64(4)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			dir := t.TempDir()
			var want []string // all events
			var snapshot uint64
			sizes := []int{0, 1, 100, 3000, frameLimit - 60, frameLimit, 3*frameLimit + 17}
			for range 3 {
				j := open(t, dir, Options{NoSync: seed > 0, Reserve: -1})
				for range 10 {
					var events []string
					for range 1 + r.IntN(5) {
						size := sizes[min(r.IntN(len(sizes)+12)%(len(sizes)+6), len(sizes)-1)]
						if r.IntN(3) > 0 {
							size = r.IntN(200)
						}
						events = append(events, strings.Repeat(string(rune('a'+r.IntN(26))), size))
					}
					want = append(want, events...)
					if last := appendEvents(t, j, events...); last != uint64(len(want)) {
						t.Fatalf("last = %d, want %d", last, len(want))
					}
					if r.IntN(6) == 0 {
						snapshot += r.Uint64N(uint64(len(want)) - snapshot + 1)
						if err := j.Snapshot(snapshot, fmt.Append(nil, "state at ", snapshot)); err != nil {
							t.Fatal(err)
						}
					}
				}
				wantEvents(t, replay(t, j, snapshot+1), want[snapshot:]...)
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				j = open(t, dir, quick)
				seq, state, err := j.LoadSnapshot()
				if err != nil || seq != snapshot || snapshot > 0 && string(state) != fmt.Sprint("state at ", snapshot) {
					t.Fatalf("snapshot = %d %q %v, want %d", seq, state, err, snapshot)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestConcurrentCallersKeepTheirOrder(t *testing.T) {
	checkGoroutines(t)
	j := open(t, t.TempDir(), Options{})
	const writers, calls = 16, 30
	var wg sync.WaitGroup
	var acked [writers]int
	for w := range writers {
		wg.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				if w == 0 {
					cancel() // a cancelled call must leave no gap
				}
				last, err := j.Append(ctx, fmt.Appendf(nil, "%d %d first", w, i), fmt.Appendf(nil, "%d %d second", w, i))
				cancel()
				if w == 0 {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("append with a cancelled context: %v", err)
					}
					continue
				}
				if err != nil || last > j.Last() {
					t.Errorf("last = %d of %d, %v", last, j.Last(), err)
				}
				acked[w]++
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if err := j.Replay(func(uint64, []byte) error { return nil }); err != nil {
				t.Errorf("replay beside appends: %v", err)
			}
		}
	})
	wg.Go(func() {
		for range 5 {
			if err := j.Snapshot(0, nil); err != nil {
				t.Errorf("snapshot beside appends: %v", err)
			}
		}
	})
	wg.Wait()
	var next [writers]int
	got := replay(t, j, 1)
	for i := 0; i < len(got); i += 2 {
		var w, n int
		if _, err := fmt.Sscanf(got[i], "%d %d first", &w, &n); err != nil {
			t.Fatalf("%q: %v", got[i], err)
		}
		if want := fmt.Sprintf("%d %d second", w, n); n != next[w] || got[i+1] != want {
			t.Fatalf("%q is followed by %q", got[i], got[i+1])
		}
		next[w]++
	}
	for w := range writers {
		if next[w] < acked[w] {
			t.Errorf("writer %d: %d of %d acknowledged calls", w, next[w], acked[w])
		}
	}
}

// Snapshots, replays and appends may run at the same time.
func TestSnapshotsBesideReplays(t *testing.T) {
	j := open(t, t.TempDir(), quick)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := j.Append(t.Context(), []byte("event")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for j.Last() < 200 {
				last := uint64(0)
				if err := j.Replay(func(seq uint64, _ []byte) error { last = seq; return nil }); err != nil {
					t.Error(err)
				}
				// It fails if the other goroutine was faster or the journal is still empty.
				_ = j.Snapshot(max(last, 1), nil)
			}
		})
	}
	wg.Wait()
	seq, _, err := j.LoadSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if got := uint64(len(replay(t, j, seq+1))); got != 200-seq {
		t.Errorf("%d events after the snapshot of %d, want %d", got, seq, 200-seq)
	}
}

// TestSyncs checks that every frame counts, also frames of calls and events longer than a frame.
func TestSyncs(t *testing.T) {
	j := open(t, t.TempDir(), quick)
	half := strings.Repeat("x", frameLimit/2)
	for _, c := range []struct {
		events []string
		frames uint64
	}{{[]string{"a", "b"}, 1}, {[]string{half, half}, 2}, {[]string{strings.Repeat("x", 3*frameLimit)}, 4}} {
		before := j.Syncs()
		appendEvents(t, j, c.events...)
		if after := j.Syncs(); after.N-before.N != c.frames || after.Sum <= before.Sum {
			t.Errorf("%d events add %d syncs of %v, want %d", len(c.events), after.N-before.N, after.Sum-before.Sum, c.frames)
		}
	}
}

// If a caller's context ends during the write, its events are stored in order or not at all.
func TestCancelledWaiter(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	j.writing.Lock() // block the commit loop
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := j.Append(ctx, []byte("left"), []byte("alone"))
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	j.writing.Unlock()
	appendEvents(t, j, "next")
	got := strings.Join(replay(t, j, 1), " ")
	if got != "left alone next" && got != "next" {
		t.Errorf("journal = %q", got)
	}
}

func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	var want []string
	for i := range 4 {
		want = append(want, fmt.Sprintf("event %d", i), strings.Repeat("long ", i*50_000))
		appendEvents(t, j, want[2*i:]...)
	}
	if err := j.Snapshot(2, []byte("two")); err != nil {
		t.Fatal(err)
	}
	want = append(want, "last")
	appendEvents(t, j, "last")
	k := open(t, copyDir(t, dir), Options{})
	wantEvents(t, replay(t, k, 3), want[2:]...)
	if last := appendEvents(t, k, "after"); last != 10 {
		t.Errorf("last = %d, want 10", last)
	}
}

// Open drops a call if only some of its frames were written.
func TestHalfWrittenCallIsDropped(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, quick)
	appendEvents(t, j, "a", "b")
	var f frame
	j.writing.Lock()
	for range 3 { // three parts of an event without its last part
		f.begin(j.generation().n, j.end)
		f.add(bytes.Repeat([]byte("x"), 1000))
		if err := j.write(&f, flagMore|flagPart); err != nil {
			t.Fatal(err)
		}
	}
	j.writing.Unlock()
	dir = copyDir(t, dir)
	for range 2 {
		j := open(t, dir, quick)
		wantEvents(t, replay(t, j, 1), "a", "b")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j = open(t, dir, quick)
	appendEvents(t, j, "c")
	wantEvents(t, replay(t, j, 1), "a", "b", "c")
}

func TestSnapshotGivesSpaceBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, quick)
	chunk := make([]byte, 250_000)
	for i := range chunk {
		chunk[i] = byte(rand.Uint32())
	}
	var peak int64
	for range 4 {
		for range 80 {
			if _, err := j.Append(t.Context(), chunk); err != nil {
				t.Fatal(err)
			}
		}
		peak = max(peak, diskUse(t, dir))
		if err := j.Snapshot(j.Last(), []byte("state")); err != nil {
			t.Fatal(err)
		}
		if used := diskUse(t, dir); used > 2<<20 {
			t.Errorf("%d bytes after a snapshot of everything, %d before", used, peak)
		}
	}
	if peak < 20e6 {
		t.Errorf("peak %d: the test measured nothing", peak)
	}
	if err := j.Snapshot(3, nil); err == nil {
		t.Error("an older snapshot replaced a newer one")
	}
	if err := j.Snapshot(j.Last()+1, nil); err == nil {
		t.Error("snapshot of an event that does not exist")
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	checkGoroutines(t)
	dir := t.TempDir()
	if os.Getenv("JOURNAL_DIR") != "" {
		_, err := Open(os.Getenv("JOURNAL_DIR"), Options{})
		fmt.Println(err)
		return
	}
	j := open(t, dir, Options{})
	appendEvents(t, j, "mine")
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcessIsRefused$")
	cmd.Env = append(os.Environ(), "JOURNAL_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d", os.Getpid()), "stop it"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the error %q does not mention %q", out, want)
		}
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	appendEvents(t, j, "still")
}

func TestOpenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v", err)
	}
}

func diskUse(t testing.TB, dir string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-sk", dir).Output()
	if err != nil {
		t.Skip(err)
	}
	var kib int64
	if _, err := fmt.Sscan(string(out), &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
