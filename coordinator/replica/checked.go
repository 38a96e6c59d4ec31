package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"

	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

// ErrDamaged means that files of this member are damaged or incomplete. The member must not take
// part with them: it may have forgotten what it has confirmed.
var ErrDamaged = state.ErrDamaged

// checkedLog is the log on the disk, with what raft's own log leaves unnoticed: flipped bytes of
// entries, a lost end, and flipped bytes of the term and the vote. It is also the only user of the
// log that deletes the end of it.
//
//   - The extension of each entry is a checksum. Other members verify it before they store the
//     entry.
//   - The file head holds the index of the last entry. It is written after each append, without a
//     sync: if the machine stops, the head may be older than the log, never newer. Until the next
//     start, damage of entries beyond the head looks like an append that was never completed.
//   - Each setting is stored twice, the first time with a checksum.
type checkedLog struct {
	Log
	head Head
	// damaged is called with the first finding after Open.
	damaged func(error)
}

// openChecked verifies the log of a disk. snapshot is the newest snapshot, or nil.
func openChecked(disk Disk, l Log, snapshot *meta) (_ *checkedLog, err error) {
	c := &checkedLog{Log: l, damaged: func(error) {}}
	if c.head, err = disk.OpenHead(); err != nil {
		return nil, fmt.Errorf("log: %w: %w", ErrDamaged, err)
	}
	if err := c.verify(snapshot); err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), c.head.Close())
	}
	last, err := l.LastIndex()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log: %w", err), c.head.Close())
	}
	if confirmed, ok := c.head.Last(); !ok {
		err = c.head.Create(last)
	} else if confirmed < last { // the machine stopped before the head was on the disk
		err = errors.Join(c.head.Write(last), c.head.Sync())
	}
	if err == nil && snapshot != nil { // the process may have been killed before it did that
		err = dropBefore(c, &snapshot.SnapshotMeta)
	}
	return c, err
}

// bounds returns the first and the last index of the log; both are zero if it is empty.
func (c *checkedLog) bounds() (first, last uint64, err error) {
	if first, err = c.Log.FirstIndex(); err == nil {
		last, err = c.Log.LastIndex()
	}
	return first, last, err
}

// verify reads the whole log.
func (c *checkedLog) verify(snapshot *meta) (err error) {
	defer recoverDamage(&err)()
	first, last, err := c.bounds()
	if err != nil {
		return err
	}
	confirmed, _ := c.head.Last()
	begin := uint64(0)
	if snapshot != nil {
		begin = snapshot.Index
	}
	switch {
	case last < confirmed:
		return fmt.Errorf("%w: it ends with entry %d, and this coordinator has confirmed entry %d", ErrDamaged, last, confirmed)
	case last > 0 && first > last: // raft-wal drops what follows a damaged entry
		return fmt.Errorf("%w: it begins with entry %d and ends with entry %d", ErrDamaged, first, last)
	case last > begin && first > begin+1:
		return fmt.Errorf("%w: it begins with entry %d, and the snapshot ends with entry %d", ErrDamaged, first, begin)
	}
	term, err := c.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return err
	}
	_, err = c.Get([]byte("LastVoteCand"))
	for i := first; err == nil && i <= last && last > 0; i++ {
		var e raft.Log
		if err = c.read(i, &e); err == nil && e.Term > term {
			err = fmt.Errorf("%w: entry %d is of term %d, and the last known term is %d", ErrDamaged, i, e.Term, term)
		}
	}
	return err
}

// recoverDamage turns a panic or a fault in the maps of a damaged file into an error.
func recoverDamage(err *error) func() {
	was := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(was)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}
}

// entryCheck returns the checksum of an entry.
func entryCheck(e *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	head[16] = byte(e.Type)
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, e.Data))
}

// seal gives an entry its checksum, or verifies the one that it has. Then it changes nothing:
// others may read the entry.
func seal(e *raft.Log) error {
	check := entryCheck(e)
	switch {
	case len(e.Extensions) == 0:
		e.Extensions = check
	case !bytes.Equal(e.Extensions, check):
		return fmt.Errorf("entry %d of the leader: its checksum does not match", e.Index)
	}
	return nil
}

// read reads and verifies an entry. Entries of older releases have no checksum.
func (c *checkedLog) read(index uint64, e *raft.Log) error {
	err := c.Log.GetLog(index, e)
	switch {
	case err != nil:
		return fmt.Errorf("entry %d: %w: %w", index, ErrDamaged, err)
	case e.Index != index, len(e.Extensions) > 0 && !bytes.Equal(e.Extensions, entryCheck(e)):
		return fmt.Errorf("entry %d: %w: its checksum does not match", index, ErrDamaged)
	}
	return nil
}

// GetLog implements raft.LogStore. Raft panics after most errors. So a damaged entry is reported,
// which ends the member, and replaced by one that no member accepts.
func (c *checkedLog) GetLog(index uint64, e *raft.Log) error {
	first, last, err := c.bounds()
	if err != nil {
		return err
	}
	if index < first || index > last || last == 0 {
		return raft.ErrLogNotFound
	}
	if err := c.read(index, e); err != nil {
		c.damaged(err)
		*e = raft.Log{Index: index, Term: e.Term, Type: raft.LogCommand, Extensions: []byte("damaged")}
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (c *checkedLog) StoreLog(e *raft.Log) error { return c.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore.
func (c *checkedLog) StoreLogs(logs []*raft.Log) error {
	for _, e := range logs {
		if err := seal(e); err != nil {
			return err
		}
	}
	if err := c.Log.StoreLogs(logs); err != nil || len(logs) == 0 {
		return err
	}
	return c.head.Write(logs[len(logs)-1].Index)
}

// DeleteRange implements raft.LogStore.
func (c *checkedLog) DeleteRange(from, to uint64) error {
	first, last, err := c.bounds()
	if err != nil {
		return err
	}
	if to >= last && from <= last {
		left := uint64(0)
		if from > first {
			left = from - 1
		}
		if err := errors.Join(c.head.Write(left), c.head.Sync()); err != nil {
			return err
		}
	}
	return c.Log.DeleteRange(from, to)
}

// checkKey is the key of the first copy of a setting.
func checkKey(key []byte) []byte { return append([]byte("check/"), key...) }

// Set implements raft.StableStore.
func (c *checkedLog) Set(key, value []byte) error {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	if err := c.Log.Set(checkKey(key), binary.BigEndian.AppendUint32(bytes.Clone(value), sum)); err != nil {
		return err
	}
	return c.Log.Set(key, value)
}

// pair returns the two copies of a setting. The first is nil if an older release has written it.
func (c *checkedLog) pair(key []byte) (checked, plain []byte, err error) {
	if plain, err = c.Log.Get(key); err != nil {
		return nil, nil, err
	}
	if checked, err = c.Log.Get(checkKey(key)); err != nil || checked == nil {
		return nil, plain, err
	}
	value := checked[:max(0, len(checked)-4)]
	if len(checked) < 4 || binary.BigEndian.Uint32(checked[len(value):]) != crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value) {
		return nil, nil, fmt.Errorf("setting %s: %w: its checksum does not match", key, ErrDamaged)
	}
	return value, plain, nil
}

// nobody is a vote for no member. It replaces a vote that may have been another one.
var nobody = []byte("nobody")

// Get implements raft.StableStore. The only such setting is the vote.
func (c *checkedLog) Get(key []byte) ([]byte, error) {
	checked, plain, err := c.pair(key)
	if err != nil || checked == nil || bytes.Equal(checked, plain) {
		return plain, err
	}
	return nobody, nil
}

// SetUint64 implements raft.StableStore.
func (c *checkedLog) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.LittleEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore. The settings are terms, and a greater one is never wrong.
func (c *checkedLog) GetUint64(key []byte) (uint64, error) {
	checked, plain, err := c.pair(key)
	if err != nil {
		return 0, err
	}
	value := uint64(0)
	for _, b := range [][]byte{checked, plain} {
		if len(b) == 8 {
			value = max(value, binary.LittleEndian.Uint64(b))
		} else if len(b) > 0 {
			return 0, fmt.Errorf("setting %s: %w: it has %d bytes", key, ErrDamaged, len(b))
		}
	}
	return value, nil
}

// Close closes the log.
func (c *checkedLog) Close() error { return errors.Join(c.Log.Close(), c.head.Close()) }
