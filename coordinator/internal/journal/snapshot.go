package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/state"
)

// The snapshot is a file of its own, because it is large and Badger would not free its space. The
// file contains, with sizes in bytes:
//
//	"LSSNAP1\n" 8 | last event 8 | length of the state 8 | hash 16 | state
//
// The hash covers the two numbers and the state.
const (
	snapshotMagic  = "LSSNAP1\n"
	snapshotHeader = 8 + 8 + 8 + 16
)

// Snapshot stores state as the result of all events up to seq, and drops those events to free their
// space. It blocks until the state is durable. Append works in the meantime, but waits some ten
// milliseconds while the events are dropped. After a failure to write the state, the previous
// snapshot stays in effect. The error wraps ErrDiskFull if the state does not fit on the disk.
func (j *Journal) Snapshot(seq uint64, state []byte) error {
	j.snapshots.Lock()
	defer j.snapshots.Unlock()
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if last := j.Last(); seq < j.snapshot || seq > last {
		return fmt.Errorf("journal: snapshot of event %d: must be between %d, the last snapshot, and %d, the last event", seq, j.snapshot, last)
	}
	err := j.db.CheckDecided(int64(len(state))) // it makes room
	if err == nil {
		err = j.head.Sync() // the head on disk must never be older than the snapshot
	}
	if err == nil {
		err = writeSnapshot(j.dir, seq, state)
	}
	if err != nil {
		return fmt.Errorf("journal %s: snapshot of event %d: %w", j.dir, seq, err)
	}
	j.snapshot = seq
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.drop(seq)
}

// LoadSnapshot returns the newest snapshot and the number of its last event, or zero and nil if
// there is none. It returns a *DamageError if the snapshot is damaged.
func (j *Journal) LoadSnapshot() (seq uint64, state []byte, err error) { return readSnapshot(j.dir) }

// drop removes the generations that end at or before event seq, and starts a new one. The caller
// must hold j.writing.
func (j *Journal) drop(seq uint64) error {
	var prefixes [][]byte
	var keep []generation
	for _, g := range j.gens {
		switch {
		case g.last == 0:
		case g.last <= seq:
			prefixes = append(prefixes, binary.BigEndian.AppendUint32([]byte{'f'}, g.n))
		default:
			keep = append(keep, g)
		}
	}
	j.gens = append(keep, generation{n: j.generation().n + 1})
	j.db.NoteWrite()
	if err := j.db.DropPrefix(prefixes...); err != nil {
		return j.fail(err)
	}
	return nil
}

func snapshotHash(header, state []byte) []byte {
	h := xxh3.New()
	_, _ = h.Write(header[8:24])
	_, _ = h.Write(state)
	sum := h.Sum128().Bytes()
	return sum[:]
}

// writeSnapshot replaces the snapshot in dir atomically. If it fails, the previous snapshot stays.
func writeSnapshot(dir string, seq uint64, content []byte) error {
	header := append(make([]byte, 0, snapshotHeader), snapshotMagic...)
	header = binary.LittleEndian.AppendUint64(header, seq)
	header = binary.LittleEndian.AppendUint64(header, uint64(len(content)))
	header = append(header, snapshotHash(header, content)...)
	path := filepath.Join(dir, "snapshot")
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.MultiReader(bytes.NewReader(header), bytes.NewReader(content)))
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		_ = os.Remove(path + ".tmp")
		return err
	}
	return state.SyncDir(dir)
}

// readSnapshot reads and verifies the snapshot in dir.
func readSnapshot(dir string) (seq uint64, state []byte, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "snapshot"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("journal: %w", err)
	}
	if len(b) < snapshotHeader || string(b[:8]) != snapshotMagic ||
		binary.LittleEndian.Uint64(b[16:]) != uint64(len(b)-snapshotHeader) ||
		!bytes.Equal(b[24:snapshotHeader], snapshotHash(b, b[snapshotHeader:])) {
		return 0, nil, &DamageError{Dir: dir, Damage: "the file snapshot is damaged"}
	}
	return binary.LittleEndian.Uint64(b[8:]), b[snapshotHeader:], nil
}
