package datadir

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
)

// Schedule writes backups at intervals, verifies them, and removes old ones. Fields must be set
// before Run.
type Schedule struct {
	// To is the directory for the backups, on this machine or, as s3://BUCKET/PATH, in an object
	// store.
	To string
	// Every is the interval between two backups.
	Every time.Duration
	// Keep is how many backups are kept.
	Keep int
	// Cluster is part of the names of the backups. Other files in To are left alone.
	Cluster string
	// Write writes a backup.
	Write func(ctx context.Context, w io.Writer) error
	// Log receives messages for the operator.
	Log *slog.Logger

	// mu guards the field below.
	mu    sync.Mutex
	state report.Backups
}

const (
	backupSuffix = ".backup"
	// backupTime is the time in the name of a backup, in UTC.
	backupTime = "20060102T150405Z"
	// retryBackup is the pause after a failed backup, or Every if that is shorter.
	retryBackup = time.Minute
)

// State returns the outcome of the last backups.
func (s *Schedule) State() report.Backups {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Run writes backups until ctx ends; then it returns nil. The first one is due when the newest
// backup in To is older than Every, or at once without one. A failure is logged and shown, and
// repeated.
func (s *Schedule) Run(ctx context.Context) error {
	s.mu.Lock()
	s.state.To, s.state.Every = filesys.DisplayText(s.To), s.Every
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(s.step(ctx, time.Now()))
	}
}

// step writes a backup if one is due at now, and returns the time until the next step.
func (s *Schedule) step(ctx context.Context, now time.Time) (wait time.Duration) {
	found, err := s.list(ctx)
	if n := len(found); err == nil && n > 0 {
		newest := found[n-1]
		s.note(func(b *report.Backups) { b.Last, b.Bytes, b.Kept = newest.at, newest.size, n })
		if due := newest.at.Add(s.Every); due.After(now) {
			return due.Sub(now)
		}
	}
	if err == nil {
		err = s.backUp(ctx, now)
	}
	if err == nil {
		err = s.removeOld(ctx, append(found, kept{}))
	}
	if ctx.Err() != nil {
		return s.Every
	}
	if err != nil {
		s.Log.Error("backup failed", "to", filesys.DisplayText(s.To), "err", err)
		s.note(func(b *report.Backups) { b.Error = err.Error() })
		return min(retryBackup, s.Every)
	}
	s.note(func(b *report.Backups) { b.Error = "" })
	return time.Until(now.Add(s.Every))
}

func (s *Schedule) note(change func(*report.Backups)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

// kept is a backup in To.
type kept struct {
	path string
	at   time.Time
	size int64
}

// list returns the backups of this cluster, oldest first. It removes the remains of interrupted
// ones.
func (s *Schedule) list(ctx context.Context) (found []kept, err error) {
	f, err := filesys.Of(ctx, s.To)
	if err != nil {
		return nil, err
	}
	infos, err := f.ReadDir(ctx, s.To)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, x := range infos {
		name, mine := strings.CutPrefix(path.Base(x.Path), s.Cluster+"-")
		if !mine {
			continue
		}
		if strings.HasSuffix(name, backupSuffix+".tmp") {
			err = errors.Join(err, f.Remove(ctx, x.Path))
		}
		name, whole := strings.CutSuffix(name, backupSuffix)
		if at, err := time.Parse(backupTime, name); whole && err == nil {
			found = append(found, kept{x.Path, at, x.Size})
		}
	}
	slices.SortFunc(found, func(a, b kept) int { return a.at.Compare(b.at) })
	return found, err
}

// backUp writes a backup under another name, reads it again, and then gives it its name.
func (s *Schedule) backUp(ctx context.Context, now time.Time) error {
	f, err := filesys.Of(ctx, s.To)
	if err == nil {
		err = f.MkdirAll(ctx, s.To)
	}
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(s.To, "/") + "/" + s.Cluster + "-" + now.UTC().Format(backupTime) + backupSuffix
	w, err := f.Create(ctx, name+".tmp")
	if err != nil {
		return err
	}
	if err = s.Write(ctx, w); err == nil {
		err = w.Sync()
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		w.Abort()
		return err
	}
	size, err := verify(ctx, f, name+".tmp")
	if err == nil {
		err = f.Rename(ctx, name+".tmp", name)
	}
	if err != nil {
		return errors.Join(err, f.Remove(context.WithoutCancel(ctx), name+".tmp"))
	}
	s.note(func(b *report.Backups) { b.Last, b.Bytes = now.UTC().Truncate(time.Second), size })
	s.Log.Info("backup written", "file", filesys.DisplayText(name), "bytes", size, "took", time.Since(now))
	return f.Sync(ctx, s.To)
}

// verify reads a backup and compares its sum.
func verify(ctx context.Context, f filesys.FS, name string) (size int64, err error) {
	file, err := f.Open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if err := checkSum(file.Stream(0, info.Size)); err != nil {
		return 0, fmt.Errorf("%s: read again: %w", filesys.DisplayText(name), err)
	}
	return info.Size, nil
}

// checkSum reads a backup to its end. The error wraps ErrBackup unless it is whole.
func checkSum(r io.Reader) error {
	sum, first := sha256.New(), true
	for in := tar.NewReader(r); ; first = false {
		h, err := in.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if first != (h.Name == "layshaft-backup") {
			return fmt.Errorf("%w: the file layshaft-backup must be the first", ErrBackup)
		}
		before := hex.EncodeToString(sum.Sum(nil))
		sumName(sum, h.Name, h.Size)
		if h.Name != "sum" {
			if _, err := io.Copy(sum, in); err != nil {
				return fmt.Errorf("%w: %w", ErrBackup, err)
			}
			continue
		}
		if b, err := io.ReadAll(in); err != nil || string(b) != before {
			return fmt.Errorf("%w: its sum is wrong", ErrBackup)
		}
		return nil
	}
}

// removeOld removes all but the newest backups. The last of found is the new one.
func (s *Schedule) removeOld(ctx context.Context, found []kept) error {
	f, err := filesys.Of(ctx, s.To)
	for i := 0; i < len(found)-s.Keep && err == nil; i++ {
		err = f.Remove(ctx, found[i].path)
	}
	s.note(func(b *report.Backups) { b.Kept = min(len(found), s.Keep) })
	return err
}
