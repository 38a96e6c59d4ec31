package datadir

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/layshaft/layshaft/coordinator"
	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/desk"
	"github.com/layshaft/layshaft/coordinator/internal/journal"
	"github.com/layshaft/layshaft/coordinator/internal/records"
	"github.com/layshaft/layshaft/coordinator/internal/sched"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/state"
)

// A backup is a tar archive:
//
//	layshaft-backup  the line of backupFormat; always the first file
//	cluster          the name of the cluster
//	state            a snapshot of the journal
//	code/HASH        programs from clients
//	tasks/N          the durable queued tasks: keys and values, each after its length as a varint, in several files
//	sum              SHA-256 over the names and contents of all files before it, in hex; a backup without it is incomplete
var backupFormat = state.Format{Kind: "backup", Version: 1}

// RestoredEpochs is how many epochs a restored coordinator skips. The source of the backup may
// have continued and restarted; workers must obey the restored coordinator, and attempts must get
// unused numbers.
const RestoredEpochs = 1000

// Tasks is the server of the queued tasks in a backup.
type Tasks interface {
	// Snapshot returns the durable tasks as of one moment. The caller closes it.
	Snapshot() *bodies.Snapshot
}

// Backup writes all durable state of the coordinator c, whose directory is d, into w while it runs:
// the jobs as of one moment, and the durable queued tasks of t, unless it is nil, as of one moment
// just before. It blocks while w does.
func Backup(ctx context.Context, c *coordinator.Coordinator, d *Data, t Tasks, w io.Writer) error {
	calls := &bodies.Snapshot{}
	if t != nil {
		calls = t.Snapshot()
	}
	defer calls.Close()
	state, err := c.State(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	b := &archive{tar: tar.NewWriter(w), sum: sha256.New()}
	b.add("layshaft-backup", fmt.Appendln(nil, backupFormat))
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
	b.fail(b.addTasks(calls))
	b.add("sum", []byte(hex.EncodeToString(b.sum.Sum(nil))))
	b.fail(b.tar.Close())
	if b.err != nil {
		return fmt.Errorf("backup: %w", b.err)
	}
	return nil
}

// tasksFile is the approximate size of the files of tasks, in bytes.
const tasksFile = 1 << 20

// addTasks adds the queued tasks.
func (b *archive) addTasks(calls *bodies.Snapshot) error {
	n, file := 0, []byte(nil)
	flush := func() error {
		b.add(fmt.Sprintf("tasks/%d", n), file)
		n, file = n+1, file[:0]
		return b.err
	}
	err := calls.Each(func(key, value []byte) error {
		for _, field := range [][]byte{key, value} {
			file = append(binary.AppendUvarint(file, uint64(len(field))), field...)
		}
		if len(file) < tasksFile {
			return nil
		}
		return flush()
	})
	if err == nil && len(file) > 0 {
		err = flush()
	}
	return err
}

// splitTasks calls fn with the keys and values in a file of tasks.
func splitTasks(file []byte, fn func(key, value []byte) error) error {
	for len(file) > 0 {
		var fields [2][]byte
		for i := range fields {
			n, k := binary.Uvarint(file)
			if k <= 0 || n > uint64(len(file)-k) {
				return fmt.Errorf("%w: the lengths of tasks do not match", ErrBackup)
			}
			fields[i], file = file[k:k+int(n)], file[k+int(n):]
		}
		if err := fn(fields[0], fields[1]); err != nil {
			return err
		}
	}
	return nil
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

// begin starts a file of size bytes. The caller writes the bytes next.
func (b *archive) begin(name string, size int64) {
	if b.err == nil {
		sumName(b.sum, name, size)
		b.fail(b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size}))
	}
}

func (b *archive) Write(data []byte) (int, error) { return io.MultiWriter(b.tar, b.sum).Write(data) }

func sumName(h hash.Hash, name string, size int64) { fmt.Fprintf(h, "%d %d %s", len(name), size, name) }

// Restore makes the data directory dir from a backup in r. dir must be missing or empty. A
// coordinator with the restored directory replaces the source of the backup: its workers obey it
// and drop everything that they made after the backup.
func Restore(dir string, r io.Reader, opt Options) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty; choose another directory, or move what is in it away", dir)
	}
	if err := state.MakeDir(dir, 0o700); err != nil {
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

// ErrBackup means that a file is not a complete backup.
var ErrBackup = errors.New("this is not a whole backup; take another copy of it")

// restore fills an empty directory. It writes the name of the cluster last.
func restore(dir string, r io.Reader, opt Options) error {
	calls, err := desk.NewFiller(desk.Config{Dir: tasksDir(dir), NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		return err
	}
	cluster, err := restoreFiles(dir, r, opt, calls)
	if err = errors.Join(err, calls.Close(err == nil)); err != nil {
		return err
	}
	return writeCluster(dir, string(cluster))
}

// restoreFiles reads a backup and returns the name of the cluster.
func restoreFiles(dir string, r io.Reader, opt Options, calls *desk.Filler) (cluster []byte, err error) {
	code, err := OpenCodeStore(filepath.Join(dir, "code"))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{} // but programs and tasks
	sum := sha256.New()
	for in := tar.NewReader(r); files["sum"] == nil; {
		h, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if (len(files) == 0) != (h.Name == "layshaft-backup") {
			return nil, fmt.Errorf("%w: the file layshaft-backup must be the first", ErrBackup)
		}
		before := hex.EncodeToString(sum.Sum(nil))
		sumName(sum, h.Name, h.Size)
		content := io.TeeReader(in, sum)
		if hash, ok := strings.CutPrefix(h.Name, "code/"); ok {
			if err := code.Put(report.Code{SHA256: hash, Size: h.Size}, content); err != nil {
				return nil, err
			}
			continue
		}
		data, err := io.ReadAll(content)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if strings.HasPrefix(h.Name, "tasks/") {
			if err := splitTasks(data, calls.Add); errors.Is(err, bodies.ErrDamaged) {
				return nil, fmt.Errorf("%w: %w", ErrBackup, err)
			} else if err != nil {
				return nil, err
			}
			continue
		}
		if h.Name == "sum" && string(data) != before {
			return nil, fmt.Errorf("%w: its sum is wrong", ErrBackup)
		}
		if h.Name == "layshaft-backup" {
			if err := backupFormat.Check(string(data), "another backup"); err != nil {
				return nil, err
			}
		}
		files[h.Name] = data
	}
	events, err := restored(files["state"])
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{NoSync: opt.NoSync, Reserve: opt.Reserve, Log: opt.Log})
	if err != nil {
		return nil, err
	}
	_, err = j.Append(context.Background(), events...)
	return files["cluster"], errors.Join(err, j.Close())
}

// restored returns the events of a restored journal.
func restored(state []byte) (events [][]byte, err error) {
	epoch := sched.Epoch{N: RestoredEpochs}
	err = coordinator.SplitState(state, func(ev []byte) error {
		rec, err := records.Decode(ev)
		if e, ok := rec.(sched.Epoch); ok {
			epoch.N = e.N + RestoredEpochs
		}
		events = append(events, ev)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	last, err := records.Encode(epoch)
	return append(events, last), err
}
