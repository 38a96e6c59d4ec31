package coordinator

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
)

// A backup is a tar archive:
//
//	layshaft-backup  the version of this format
//	cluster          the name of the cluster
//	state            what a snapshot of the journal holds
//	code/HASH        programs that clients sent
//	sum              SHA-256 over the names and contents of all files before it, in hex: a backup without it is not whole
const backupVersion = "1\n"

// restoredEpochs is how many epochs a restored coordinator skips. The one that the backup was taken from may have gone on, and been
// restarted; workers must obey the restored one, and attempts must get numbers that were never used.
const restoredEpochs = 1000

// Backup writes all that the coordinator remembers into w, as of one moment, while it goes on working. It blocks while w does.
func (c *Coordinator) Backup(ctx context.Context, d *Data, w io.Writer) error {
	state, err := c.state(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	b := &archive{tar: tar.NewWriter(w), sum: sha256.New()}
	b.add("layshaft-backup", []byte(backupVersion))
	b.add("cluster", []byte(d.Cluster))
	b.add("state", state)
	hashes, err := d.Code.List()
	b.fail(err)
	for _, hash := range hashes {
		info, err := os.Stat(filepath.Join(d.Code.dir, hash))
		if err != nil {
			continue // removed meanwhile
		}
		b.begin("code/"+hash, info.Size())
		if b.err == nil {
			b.fail(d.Code.Get(hash, b))
		}
	}
	b.add("sum", []byte(hex.EncodeToString(b.sum.Sum(nil))))
	b.fail(b.tar.Close())
	if b.err != nil {
		return fmt.Errorf("backup: %w", b.err)
	}
	return nil
}

// state returns what a snapshot would hold now.
func (c *Coordinator) state(ctx context.Context) ([]byte, error) {
	done := make(chan struct{})
	var encoded []byte
	var failed error
	post := c.post(message{ev: sched.Tick{}, done: func() {
		encoded, failed = c.encodeState()
		close(done)
	}})
	if post != nil {
		return nil, post
	}
	select {
	case <-done:
		return encoded, failed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.stopped:
		return nil, ErrStopped
	}
}

// archive writes a backup. After the first error it writes nothing.
type archive struct {
	tar *tar.Writer
	sum hash.Hash
	err error
}

func (b *archive) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *archive) add(name string, data []byte) {
	b.begin(name, int64(len(data)))
	if b.err == nil {
		_, err := b.Write(data)
		b.fail(err)
	}
}

// begin begins a file of size bytes, which are written next.
func (b *archive) begin(name string, size int64) {
	if b.err == nil {
		sumName(b.sum, name, size)
		b.fail(b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}))
	}
}

func (b *archive) Write(data []byte) (int, error) { return io.MultiWriter(b.tar, b.sum).Write(data) }

func sumName(h hash.Hash, name string, size int64) { fmt.Fprintf(h, "%d %d %s", len(name), size, name) }

// Restore makes the data directory dir from a backup that it reads from r. dir must not exist, or be empty. The coordinator that starts
// with it takes the place of the one that the backup was taken from: its workers obey it, and what they made after the backup
// is dropped.
func Restore(dir string, r io.Reader, opt DataOptions) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty; choose another directory, or move what is in it away", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := restore(dir, r, opt); err != nil {
		left, _ := os.ReadDir(dir)
		for _, e := range left {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

var errBackup = errors.New("this is not a whole backup; take another copy of it")

// restore fills an empty directory. The name of the cluster comes last.
func restore(dir string, r io.Reader, opt DataOptions) error {
	code, err := OpenCodeStore(filepath.Join(dir, "code"))
	if err != nil {
		return err
	}
	files := map[string][]byte{} // but programs
	sum := sha256.New()
	for in := tar.NewReader(r); files["sum"] == nil; {
		h, err := in.Next()
		if err != nil {
			return fmt.Errorf("%w: %w", errBackup, err)
		}
		before := hex.EncodeToString(sum.Sum(nil))
		sumName(sum, h.Name, h.Size)
		content := io.TeeReader(in, sum)
		if hash, ok := strings.CutPrefix(h.Name, "code/"); ok {
			if err := code.Put(Code{SHA256: hash, Size: h.Size}, content); err != nil {
				return err
			}
			continue
		}
		data, err := io.ReadAll(content)
		if err != nil {
			return fmt.Errorf("%w: %w", errBackup, err)
		}
		if h.Name == "sum" && string(data) != before {
			return fmt.Errorf("%w: its sum is wrong", errBackup)
		}
		files[h.Name] = data
	}
	if v := string(files["layshaft-backup"]); v != backupVersion {
		return fmt.Errorf("%w: its version is %q, this program reads %q", errBackup, v, backupVersion)
	}
	events, err := restored(files["state"])
	if err != nil {
		return err
	}
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		return err
	}
	_, err = j.Append(context.Background(), events...)
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "cluster"), append(files["cluster"], '\n'))
}

// restored returns the events of a restored journal.
func restored(state []byte) (events [][]byte, err error) {
	epoch := sched.Epoch{N: restoredEpochs}
	err = splitState(state, func(ev []byte) error {
		rec, err := decode(ev)
		if e, ok := rec.(sched.Epoch); ok {
			epoch.N = e.N + restoredEpochs
		}
		events = append(events, ev)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackup, err)
	}
	last, err := encode(epoch)
	return append(events, last), err
}
