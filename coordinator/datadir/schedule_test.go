package datadir

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writeBackup writes a backup without tasks.
func writeBackup(_ context.Context, w io.Writer) error {
	b := &archive{tar: tar.NewWriter(w), sum: sha256.New()}
	b.add("layshaft-backup", []byte(backupFormat.String()+"\n"))
	b.add("cluster", []byte("c1"))
	b.add("state", nil)
	b.add("sum", []byte(hex.EncodeToString(b.sum.Sum(nil))))
	b.fail(b.tar.Close())
	return b.err
}

// Backups are written at intervals over restarts, the newest are kept, other files are left alone,
// and a backup that cannot be read again does not count.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backups")
		write := writeBackup
		s := &Schedule{To: dir, Every: time.Hour, Keep: 3, Cluster: "c1", Log: slog.New(slog.DiscardHandler),
			Write: func(ctx context.Context, w io.Writer) error { return write(ctx, w) }}
		files := func() (names []string) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		}
		run := func(d time.Duration) {
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			time.Sleep(d)
			synctest.Wait()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		run(90 * time.Minute) // at 0:00 and 1:00 of the year 2000
		for _, name := range []string{"c2-20000101T000000Z.backup", "c1-notes.txt", "c1-20000101T013000Z.backup.tmp"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run(2 * time.Hour) // again, from 1:30 to 3:30
		want := []string{"c1-20000101T010000Z.backup", "c1-20000101T020000Z.backup", "c1-20000101T030000Z.backup", "c1-notes.txt", "c2-20000101T000000Z.backup"}
		if got := files(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if b := s.State(); b.Kept != 3 || b.Error != "" || b.Last.Hour() != 3 || b.Bytes == 0 {
			t.Errorf("state %+v", b)
		}

		write = func(_ context.Context, w io.Writer) error { // the end is lost
			var whole strings.Builder
			if err := writeBackup(t.Context(), &whole); err != nil {
				return err
			}
			_, err := io.WriteString(w, whole.String()[:1024])
			return err
		}
		run(31 * time.Minute) // 4:00 and, after a failure, 4:01
		if b := s.State(); !strings.Contains(b.Error, ErrBackup.Error()) || b.Last.Hour() != 3 || b.Trouble(time.Now()) == "" {
			t.Errorf("state after a backup without its end %+v", b)
		}
		write = func(context.Context, io.Writer) error { return errors.New("no state") }
		run(time.Minute)
		if b := s.State(); b.Error != "no state" {
			t.Errorf("state after a failure %+v", b)
		}
		if got := files(); !slices.Equal(got, want) {
			t.Errorf("after failures %q, want %q", got, want)
		}
		write = writeBackup
		run(time.Minute)
		if b := s.State(); b.Error != "" || b.Last.Hour() != 4 || b.Trouble(time.Now()) != "" {
			t.Errorf("state afterwards %+v", b)
		}
		newest := files()[2]
		f, err := os.Open(filepath.Join(dir, newest))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := Restore(filepath.Join(t.TempDir(), "restored"), f, Options{NoSync: true, Reserve: -1}); err != nil {
			t.Errorf("restore of %s: %v", newest, err)
		}
	})
}
