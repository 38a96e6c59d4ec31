package journal

import (
	"fmt"
	"runtime"
	"time"
)

// call is one waiting caller of Append.
type call struct {
	events [][]byte
	bytes  int // upper limit of the size of the encoded events
	last   uint64
	err    error
	done   chan struct{} // closed when last and err are set
}

func (c *call) finish(last uint64, err error) {
	if c.err = err; err == nil {
		c.last = last
	}
	close(c.done)
}

// commitLoop writes pending calls until the journal is closed.
func (j *Journal) commitLoop() {
	defer close(j.sync)
	var f frame
	for range j.wake {
		// Let callers of the last commit append their next events, to share this sync.
		runtime.Gosched()
		j.mu.Lock()
		calls, closed := j.pending, j.closed
		j.pending = nil
		j.mu.Unlock()
		j.writing.Lock()
		j.commit(&f, calls)
		j.writing.Unlock()
		if closed {
			return
		}
	}
}

// commit packs the calls into as few frames as possible and writes them. The caller must hold
// j.writing.
func (j *Journal) commit(f *frame, calls []*call) {
	var packed []*call // calls with all their events in f
	flush := func() {
		if len(packed) == 0 {
			return
		}
		err := j.write(f, 0)
		seq := f.first - 1
		for _, c := range packed {
			seq += uint64(len(c.events))
			c.finish(seq, err)
		}
		packed = packed[:0]
	}
	for _, c := range calls {
		if len(packed) > 0 && c.bytes > f.room() {
			flush()
		}
		err := j.failed
		if err == nil {
			err = j.db.CheckDecided(int64(c.bytes))
		}
		if err != nil {
			c.finish(0, fmt.Errorf("journal %s: %w", j.dir, err))
			continue
		}
		if len(packed) == 0 {
			f.begin(j.generation().n, j.end)
		}
		if c.bytes > f.room() {
			c.finish(j.writeLong(f, c.events))
			continue
		}
		for _, ev := range c.events {
			f.add(ev)
		}
		packed = append(packed, c)
	}
	flush()
}

// writeLong writes a call too long for one frame as a series of frames, all but the last with
// flagMore. It divides events too long for a frame into parts.
func (j *Journal) writeLong(f *frame, events [][]byte) (last uint64, err error) {
	next := func(flags byte) {
		if err == nil {
			err = j.write(f, flags)
		}
		f.begin(j.generation().n, j.end)
	}
	for _, ev := range events {
		if lengthSize+len(ev) > f.room() && f.last >= f.first {
			next(flagMore)
		}
		for lengthSize+len(ev) > f.room() {
			n := f.room() - lengthSize
			f.add(ev[:n])
			next(flagMore | flagPart)
			ev = ev[n:]
		}
		f.add(ev)
	}
	last = f.last
	if err == nil {
		err = j.write(f, 0)
	}
	return last, err
}

// write makes f durable and moves the end after it. If f completes its call, write also moves the
// head and acknowledges the events.
func (j *Journal) write(f *frame, flags byte) error {
	f.seal(flags, j.end.prev)
	begin := time.Now()
	txn := j.db.NewTransaction(true)
	defer txn.Discard()
	err := txn.Set(f.key(), f.value())
	if err == nil {
		err = txn.Commit()
	}
	if err == nil && flags == 0 {
		err = j.head.Write(f.last, f.hash())
	}
	j.mu.Lock()
	j.syncs.Add(time.Since(begin))
	j.mu.Unlock()
	if err != nil {
		return j.fail(err)
	}
	j.end.pass(f)
	j.generation().last = f.last
	if flags == 0 {
		j.acked.Store(f.last)
		if !j.opt.NoSync {
			select {
			case j.sync <- struct{}{}:
			default:
			}
		}
	}
	j.db.NoteWrite()
	return nil
}

// generation returns the generation of the next frame.
func (j *Journal) generation() *generation { return &j.gens[len(j.gens)-1] }

// fail ends all writing, because after a failed write the content of the disk is unknown. The
// caller must hold j.writing.
func (j *Journal) fail(err error) error {
	if j.failed == nil {
		j.failed = fmt.Errorf("write failed, open the journal again: %w", err)
	}
	return fmt.Errorf("journal %s: %w", j.dir, j.failed)
}

// headLoop syncs the file head in the background, while the next frames are written. If the machine
// stops before the sync, the head on disk is one or a few frames old, and Open accepts it.
func (j *Journal) headLoop() {
	for range j.sync {
		if err := j.head.Sync(); err != nil {
			j.writing.Lock()
			_ = j.fail(err)
			j.writing.Unlock()
		}
	}
}
