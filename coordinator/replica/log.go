package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// raftLog is the log of raft. It stores entries in memory at once, and on the disk a little later.
// So the disks of leader and followers work at the same time, and entries that arrive during a sync
// share the next one. Raft counts an entry of the leader when StoreLogs has returned, thus before
// it is durable. These rules keep the promise of a synced majority:
//
//   - A member applies an entry when its own log has it durably: databases.ApplyBatch waits.
//   - A leader announces a commit index only as far as its own log is durable: transport.
//   - A member confirms entries to the leader when they are durable: transport.
//   - Changes of members, and the first entry of a term, are durable when StoreLogs returns.
//
// So an entry takes effect when the leader and enough followers have it durably. Until then it is
// like an entry on its way: a crash may lose it, and nobody has relied on it. See section 10.2.1 of
// Ongaro's thesis, "Consensus: Bridging Theory and Practice" (2014).
type raftLog struct {
	disk Log
	// failed is called with the first write error.
	failed func(error)
	// snapshot returns the newest snapshot whose content the databases have, or nil.
	snapshot func() *raft.SnapshotMeta
	// raft is the user of the log, once it runs.
	raft atomic.Pointer[raft.Raft]

	// writing is held during changes of disk. It is acquired before mu.
	writing lock
	// mu guards the fields below.
	mu      sync.Mutex
	changed sync.Cond // signalled when one of them changes; its lock is mu
	// recent are the last entries, without gaps. The last unsynced ones are not yet durable.
	recent   []*raft.Log
	unsynced int
	bytes    int // size of recent
	stopped  bool
	err      error
}

var errLogStopped = errors.New("the log is closed")

const (
	// recentBytes is the size of the entries in memory, for members that are a little behind.
	recentBytes = 4 << 20
	// maxSynced is the approximate limit of the bytes for one sync.
	maxSynced = 4 << 20
	// segmentBytes is the size of the files on the disk. Only whole files are removed.
	segmentBytes = 16 << 20
	// entryBytes is the approximate size of an entry without its data.
	entryBytes = 128
)

func newLog(disk Log) *raftLog {
	l := &raftLog{disk: disk, writing: newLock(), failed: func(error) {}, snapshot: func() *raft.SnapshotMeta { return nil }}
	l.changed.L = &l.mu
	return l
}

// run writes entries to the disk until stop, and then the rest. Only one run may be active.
func (l *raftLog) run() {
	var batch []*raft.Log
	for {
		l.mu.Lock()
		for l.unsynced == 0 && !l.stopped && l.err == nil {
			l.changed.Wait()
		}
		done := l.unsynced == 0 || l.err != nil
		l.mu.Unlock()
		if done {
			return
		}
		l.writing.Lock()
		l.mu.Lock()
		batch = batch[:0]
		size := 0
		for _, e := range l.recent[len(l.recent)-l.unsynced:] {
			if size += len(e.Data); size > maxSynced && len(batch) > 0 {
				break
			}
			batch = append(batch, e)
		}
		l.mu.Unlock()
		err := l.disk.StoreLogs(batch)
		l.mu.Lock()
		if err == nil {
			l.unsynced -= len(batch)
			l.trim()
		} else {
			l.err = fmt.Errorf("log: %w", err)
			err = l.err
		}
		l.changed.Broadcast()
		l.mu.Unlock()
		l.writing.Unlock()
		if err != nil {
			l.failed(err)
		}
		clear(batch)
	}
}

// stop ends run.
func (l *raftLog) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.changed.Broadcast()
}

// trim drops durable entries beyond recentBytes. l.mu is held.
func (l *raftLog) trim() {
	n := 0
	for n < len(l.recent)-l.unsynced && l.bytes > recentBytes {
		l.bytes -= len(l.recent[n].Data) + entryBytes
		n++
	}
	l.drop(n)
}

// drop drops the first n entries from memory. l.mu is held.
func (l *raftLog) drop(n int) {
	clear(l.recent[:n])
	l.recent = l.recent[n:]
}

// await blocks until all entries up to index are durable.
func (l *raftLog) await(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.unsynced == 0 || l.recent[len(l.recent)-l.unsynced].Index > index:
			return nil
		case l.err != nil:
			return l.err
		case l.stopped:
			return errLogStopped
		}
		l.changed.Wait()
	}
}

// durable returns the smaller one of index and the index of the last durable entry.
func (l *raftLog) durable(index uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsynced == 0 {
		return index
	}
	return min(index, l.recent[len(l.recent)-l.unsynced].Index-1)
}

// StoreLog implements raft.LogStore.
func (l *raftLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore. Commands are durable later, see await, and other entries when
// it returns.
func (l *raftLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if err := seal(e); err != nil {
			return err
		}
	}
	first, last := entries[0].Index, entries[len(entries)-1].Index
	l.mu.Lock()
	if l.err != nil || l.stopped {
		defer l.mu.Unlock()
		return errors.Join(l.err, errLogStopped)
	}
	if n := len(l.recent); n > 0 && l.recent[n-1].Index+1 != first {
		defer l.mu.Unlock()
		return fmt.Errorf("log: entry %d follows %d", first, l.recent[n-1].Index)
	}
	wait := false
	for _, e := range entries {
		c := *e // raft's entry is part of more
		l.recent = append(l.recent, &c)
		l.bytes += len(c.Data) + entryBytes
		wait = wait || c.Type != raft.LogCommand
	}
	l.unsynced += len(entries)
	l.changed.Broadcast()
	l.mu.Unlock()
	if wait {
		return l.await(last)
	}
	return nil
}

// GetLog implements raft.LogStore.
func (l *raftLog) GetLog(index uint64, e *raft.Log) error {
	l.mu.Lock()
	if len(l.recent) > 0 && index >= l.recent[0].Index {
		defer l.mu.Unlock()
		if at := index - l.recent[0].Index; at < uint64(len(l.recent)) {
			*e = *l.recent[at]
			return nil
		}
		return raft.ErrLogNotFound
	}
	l.mu.Unlock()
	err := l.disk.GetLog(index, e)
	if m := l.snapshot(); m != nil && index == m.Index && errors.Is(err, raft.ErrLogNotFound) && !l.leads() {
		// A follower compares the term of this entry with the leader's. No member stores the entry.
		*e = raft.Log{Index: index, Term: m.Term, Type: raft.LogNoop, Extensions: []byte("snapshot")}
		return nil
	}
	return err
}

// leads reports whether this member leads.
func (l *raftLog) leads() bool {
	run := l.raft.Load()
	return run == nil || run.State() == raft.Leader
}

// FirstIndex implements raft.LogStore.
func (l *raftLog) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, err := l.disk.FirstIndex()
	if first == 0 && err == nil && len(l.recent) > 0 {
		first = l.recent[0].Index
	}
	return first, err
}

// LastIndex implements raft.LogStore.
func (l *raftLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.recent); n > 0 {
		return l.recent[n-1].Index, nil
	}
	return l.disk.LastIndex()
}

// dropBefore prepares the log for a snapshot of another member; see the function dropBefore.
func (l *raftLog) dropBefore(m *raft.SnapshotMeta) error { return dropBefore(l, m) }

// dropBefore drops the entries up to a snapshot, unless the log has the last entry of the snapshot.
// Later entries stay. The next entries of the leader replace them where they differ. The library
// expects that: it does not notice when the end of the log is gone.
func dropBefore(l raft.LogStore, m *raft.SnapshotMeta) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil || last == 0 || first > m.Index {
		return err
	}
	var e raft.Log
	if m.Index <= last {
		if err := l.GetLog(m.Index, &e); err != nil || e.Term == m.Term {
			return err
		}
	}
	return l.DeleteRange(first, min(last, m.Index))
}

// DeleteRange implements raft.LogStore. The range is at the start or at the end of the log.
func (l *raftLog) DeleteRange(first, last uint64) error {
	if end, err := l.LastIndex(); err != nil || end == 0 {
		return err
	}
	if err := l.await(last); err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.disk.DeleteRange(first, last); err != nil {
		return err
	}
	if len(l.recent) == 0 || last < l.recent[0].Index || first > l.recent[len(l.recent)-1].Index {
		return nil
	}
	// The rest of the range may still be of use, but raft hardly reads what it has deleted before.
	begin, end := l.recent[0].Index, l.recent[len(l.recent)-1].Index
	if first > begin { // the end of the log
		for _, e := range l.recent[first-begin:] {
			l.bytes -= len(e.Data) + entryBytes
		}
		clear(l.recent[first-begin:])
		l.recent = l.recent[:first-begin]
		return nil
	}
	n := int(min(last, end) - begin + 1)
	for _, e := range l.recent[:n] {
		l.bytes -= len(e.Data) + entryBytes
	}
	l.drop(n)
	return nil
}

// Close closes the log on the disk. Call it after run has returned.
func (l *raftLog) Close() error { return l.disk.Close() }
