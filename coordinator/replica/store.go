package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/hashicorp/raft"

	"github.com/layshaft/layshaft/internal/state"
)

var (
	errMalformed = errors.New("malformed")
	// errStale is the answer to a batch of an earlier tenure.
	errStale = errors.New("the proposer led no longer")
)

// databases are the replicated databases of a member, and the state machine of raft.
//
// Badger is not synced: the log of raft is. A snapshot of raft syncs Badger and stores nothing
// else, so every change after the last snapshot is in the log, and the next start repeats it.
type databases struct {
	db  [stores]*state.DB
	log *slog.Logger
	// awaitLog blocks until this member has all entries up to an index durably.
	awaitLog func(index uint64) error
	// grown is called with the size of each applied entry.
	grown func(bytes int)
	// failed is called with the error of a database that cannot be written.
	failed func(error)
	// ended ends waits for disk space.
	ended <-chan struct{}
	// replaced means that the last Restore succeeded.
	replaced bool

	// applying is held during changes of Badger. Readers that need all databases as of one moment
	// hold it. It is acquired before mu.
	applying lock
	// oracle is held while Restore makes Badger replace its oracle, which numbers transactions, and
	// during short reads of a member that does not lead. It is acquired after applying.
	oracle lock
	// restores counts the replaced oracles. The lock oracle guards it.
	restores int
	// later and now wake runApply; both have capacity 1.
	later, now chan struct{}

	// mu guards the fields below.
	mu sync.Mutex
	// waiting are decided changes that Badger does not have yet, waitingBytes their size.
	waiting      []decided
	waitingBytes int
	err          error // of Badger
}

var formats = [stores]state.Format{Jobs: {Kind: "replicated jobs", Version: 1}, Tasks: {Kind: "replicated tasks", Version: 1}}

var names = [stores]string{Jobs: "jobs", Tasks: "tasks"}

// openDatabases opens the databases on a disk.
func openDatabases(disk Disk, opt state.Options) (d *databases, err error) {
	d = &databases{log: opt.Log, applying: newLock(), oracle: newLock(), later: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	opt.NoSync = true
	for s := Jobs; s < stores; s++ {
		if d.db[s], err = disk.OpenStore(names[s], formats[s], opt); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", names[s], err), d.close())
		}
	}
	return d, nil
}

func (d *databases) close() (err error) {
	for _, db := range d.db {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// A transaction stays below the limits that Badger derives from the memtable size set in package
// state.
const (
	maxTxnBytes = 1 << 20
	maxTxnOps   = 10_000
)

// diskFullWait is the pause before an entry is applied again on a full disk.
const diskFullWait = time.Second

// awaitRoom waits until n bytes fit on the disk. What a majority has decided cannot be refused.
func (d *databases) awaitRoom(n int64) {
	for logged := false; ; {
		err := d.db[Jobs].CheckDecided(n)
		if !errors.Is(err, state.ErrDiskFull) {
			return
		}
		if !logged {
			logged = true
			d.log.Error("this coordinator falls behind: free some disk space", "err", err)
		}
		select {
		case <-time.After(diskFullWait):
		case <-d.ended:
			return
		}
	}
}

// writer fills transactions of one database.
type writer struct {
	db         *state.DB
	txn        *badger.Txn
	bytes, ops int
}

func (w *writer) flush() error {
	err := w.txn.Commit()
	w.txn, w.bytes, w.ops = w.db.NewTransaction(true), 0, 0
	return err
}

func (w *writer) change(c change) error {
	switch {
	case c.to != nil:
		return w.deleteRange(c.key, c.to)
	case c.value == nil:
		return w.do(len(c.key), func() error { return w.txn.Delete(c.key) })
	}
	return w.do(len(c.key)+len(c.value), func() error { return w.txn.Set(c.key, c.value) })
}

func (w *writer) do(size int, op func() error) error {
	if w.bytes+size > maxTxnBytes && w.ops > 0 || w.ops >= maxTxnOps {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.bytes, w.ops = w.bytes+size, w.ops+1
	err := op()
	if errors.Is(err, badger.ErrTxnTooBig) {
		if err = w.flush(); err == nil {
			err = op()
		}
	}
	return err
}

// deleteRange removes the keys from from, up to but without to.
func (w *writer) deleteRange(from, to []byte) error {
	for {
		if err := w.flush(); err != nil {
			return err
		}
		var keys [][]byte
		err := w.db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{})
			defer it.Close()
			for it.Seek(from); it.Valid() && bytes.Compare(it.Item().Key(), to) < 0 && len(keys) < maxTxnOps; it.Next() {
				keys = append(keys, it.Item().KeyCopy(nil))
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, k := range keys {
			if err := w.do(len(k), func() error { return w.txn.Delete(k) }); err != nil {
				return err
			}
		}
	}
}

// sync makes all changes durable.
func (d *databases) sync() (err error) {
	d.applying.Lock()
	defer d.applying.Unlock()
	err = d.applyWaiting()
	for s := Jobs; s < stores; s++ {
		err = errors.Join(err, d.db[s].SyncAll())
	}
	return err
}

// Snapshot implements raft.FSM.
func (d *databases) Snapshot() (raft.FSMSnapshot, error) { return synced{d}, nil }

// synced is a snapshot in the databases themselves.
type synced struct{ d *databases }

// Persist implements raft.FSMSnapshot.
func (s synced) Persist(sink raft.SnapshotSink) error {
	if err := s.d.sync(); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (synced) Release() {}

// A dump is the content of all databases, for a member that is far behind:
//
//	"LSDUMP1\n" | pairs | 0 | CRC32C of everything before 4
//
// and a pair is
//
//	store 1 | length of the key | length of the value | key | value
const dumpMagic = "LSDUMP1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// dump is an open dump of one moment.
type dump struct {
	d    *databases
	txn  [stores]*badger.Txn
	size int64
	// restores is databases.restores at the start.
	restores int
}

// openDump begins a dump and computes its size. Close it after use.
func (d *databases) openDump() (*dump, error) {
	x := &dump{d: d, size: int64(len(dumpMagic)) + 1 + 4}
	d.applying.Lock()
	err := d.applyWaiting()
	d.oracle.Lock()
	x.restores = d.restores
	for s := Jobs; s < stores; s++ {
		x.txn[s] = d.db[s].NewTransaction(false)
	}
	d.oracle.Unlock()
	d.applying.Unlock()
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	x.measure()
	return x, nil
}

// measure computes the size of the dump. Badger has the sizes of values in its tables, and all
// values are small enough for them.
func (x *dump) measure() {
	var scratch []byte
	for s := Jobs; s < stores; s++ {
		it := x.txn[s].NewIterator(badger.IteratorOptions{})
		for it.Rewind(); it.Valid(); it.Next() {
			k, n := it.Item().Key(), int(it.Item().ValueSize())
			scratch = appendPair(scratch[:0], s, len(k), n)
			x.size += int64(len(scratch) + len(k) + n)
		}
		it.Close()
	}
}

// appendPair appends the start of a pair.
func appendPair(b []byte, s Store, key, value int) []byte {
	b = binary.AppendUvarint(append(b, byte(s)), uint64(key))
	return binary.AppendUvarint(b, uint64(value))
}

// each calls fn with every key and value, which it must not keep.
func (x *dump) each(fn func(s Store, k, v []byte) error) error {
	for s := Jobs; s < stores; s++ {
		it := x.txn[s].NewIterator(badger.DefaultIteratorOptions)
		for it.Rewind(); it.Valid(); it.Next() {
			err := it.Item().Value(func(v []byte) error { return fn(s, it.Item().Key(), v) })
			if err != nil {
				it.Close()
				return fmt.Errorf("dump of %s: %w", names[s], err)
			}
		}
		it.Close()
	}
	return nil
}

// writeTo writes the dump.
func (x *dump) writeTo(w io.Writer) error {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(w, 256<<10)
	both := io.MultiWriter(out, sum)
	_, err := io.WriteString(both, dumpMagic)
	var head []byte
	if err == nil {
		err = x.each(func(s Store, k, v []byte) error {
			head = append(appendPair(head[:0], s, len(k), len(v)), k...)
			_, err := both.Write(head)
			if err == nil {
				_, err = both.Write(v)
			}
			return err
		})
	}
	if err == nil {
		_, err = both.Write([]byte{0})
	}
	if err == nil {
		err = binary.Write(out, binary.BigEndian, sum.Sum32())
	}
	if err == nil {
		err = out.Flush()
	}
	return err
}

// Close ends the dump.
func (x *dump) Close() error {
	x.d.oracle.Lock()
	defer x.d.oracle.Unlock()
	if x.restores != x.d.restores {
		return nil // the new oracle would end the process: it did not number these transactions
	}
	for _, txn := range x.txn {
		if txn != nil {
			txn.Discard()
		}
	}
	return nil
}

// readDump calls fn with every pair of a dump, and verifies its checksum at the end.
func readDump(r io.Reader, fn func(s Store, k, v []byte) error) error {
	sum := crc32.New(castagnoli)
	in := &summedReader{bufio.NewReaderSize(r, 256<<10), sum}
	magic := make([]byte, len(dumpMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != dumpMagic {
		return fmt.Errorf("dump of another coordinator: its start is missing: %w", errors.Join(errMalformed, err))
	}
	for {
		s, err := in.ReadByte()
		if err != nil {
			return fmt.Errorf("dump of another coordinator: %w", err)
		}
		if s == 0 {
			break
		}
		klen, err := binary.ReadUvarint(in)
		if err != nil {
			return fmt.Errorf("dump of another coordinator: %w", err)
		}
		vlen, err := binary.ReadUvarint(in)
		if err != nil || s >= stores || klen > 1<<16 || vlen > 1<<30 {
			return fmt.Errorf("dump of another coordinator: %w", errors.Join(errMalformed, err))
		}
		pair := make([]byte, klen+vlen)
		if _, err := io.ReadFull(in, pair); err != nil {
			return fmt.Errorf("dump of another coordinator: %w", err)
		}
		if err := fn(Store(s), pair[:klen:klen], pair[klen:]); err != nil {
			return err
		}
	}
	want := sum.Sum32()
	var got uint32
	if err := binary.Read(in.r, binary.BigEndian, &got); err != nil || got != want {
		return fmt.Errorf("dump of another coordinator: its checksum does not match: %w", errors.Join(errMalformed, err))
	}
	return nil
}

// summedReader adds what is read to a checksum.
type summedReader struct {
	r   *bufio.Reader
	sum hash.Hash32
}

func (r *summedReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	_, _ = r.sum.Write(b[:n])
	return n, err
}

func (r *summedReader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		_, _ = r.sum.Write([]byte{b})
	}
	return b, err
}

// Restore implements raft.FSM: the content of a dump replaces all databases.
func (d *databases) Restore(in io.ReadCloser) error {
	err := d.replace(in)
	if d.replaced = err == nil; d.replaced && d.grown != nil {
		d.grown(0)
	}
	return errors.Join(err, in.Close())
}

func (d *databases) replace(in io.Reader) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.takeWaiting()
	var w [stores]*streamWriter
	var err error
	for s := Jobs; s < stores && err == nil; s++ {
		w[s] = newStreamWriter(d.db[s])
		defer w[s].close()
		err = w[s].Prepare()
	}
	if err == nil {
		err = readDump(in, func(s Store, k, v []byte) error { return w[s].set(k, v) })
	}
	for s := Jobs; s < stores && err == nil; s++ {
		d.oracle.Lock()
		d.restores++
		err = w[s].flush()
		d.oracle.Unlock()
		d.db[s].NoteWrite()
		err = errors.Join(err, d.db[s].SyncAll())
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// streamWriter replaces the content of a database. It writes pairs, sorted by key, to tables of
// Badger's last level at once.
type streamWriter struct {
	*badger.StreamWriter
	db   *state.DB
	buf  *z.Buffer
	done bool
}

// streamBytes is the size of the buffer of a streamWriter.
const streamBytes = 4 << 20

func newStreamWriter(db *state.DB) *streamWriter {
	return &streamWriter{StreamWriter: db.NewStreamWriter(), db: db, buf: z.NewBuffer(streamBytes, "replica")}
}

func (w *streamWriter) set(k, v []byte) error {
	badger.KVToBuffer(&pb.KV{Key: k, Value: v, Version: 1, StreamId: 1}, w.buf)
	if w.buf.LenNoPadding() < streamBytes*3/4 {
		return nil
	}
	err := w.Write(w.buf)
	w.buf.Reset()
	return err
}

// flush completes the database. The caller holds databases.oracle.
func (w *streamWriter) flush() error {
	w.done = true
	// Flush stops the goroutine that counts the ended transactions, and then waits for what it has
	// counted. It would wait forever if the end of the last one is still on its way. A read waits
	// until that one is counted.
	w.db.NewTransaction(false).Discard()
	return errors.Join(w.Write(w.buf), w.Flush())
}

// close releases the memory. Without flush before, the database has a part of the pairs.
func (w *streamWriter) close() {
	if !w.done {
		w.Cancel()
	}
	_ = w.buf.Release()
}
