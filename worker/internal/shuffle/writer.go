package shuffle

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/order"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

const (
	// A smaller output lies in Badger, in bytes; for larger ones files are faster.
	maxInline = 64 << 10
	// Inline extents that start in the same chunk share a value in Badger; its size in bytes.
	inlineChunk      = 16 << 10
	maxPlainManifest = 256 << 10 // a longer manifest goes to the end of the segment
	flushBytes       = 512 << 10 // segment bytes to gather before a write
	maxKeptBuffer    = 2 << 20   // a larger buffer is not kept for the next attempt
)

var errEnded = errors.New("output was sealed or discarded")

// Writer writes the output of one attempt; it is the attempt's job.Output. Only one goroutine may
// use it. Seal or Discard must end it.
type Writer struct {
	s     *Store
	state *jobState
	m     job.Manifest
	seal  segment.Sum
	enc   record.Adaptive
	// isDirect reports that another process writes the segment; sum is then the hash of its blocks.
	isDirect bool
	sum      uint64

	buf       *[]byte  // bytes of the segment not yet in the file
	flushed   int64    // bytes of the segment in the file
	quotaUsed int64    // bytes of the segment counted against the quota
	file      *os.File // made with the first flush
	firstKeys []byte   // memory of Block.First
	err       error    // of an earlier Append
}

// Create starts the output of attempt a. It returns an error if the output is already sealed or
// being written, and one that wraps ErrDiskFull if the disk is full.
func (s *Store) Create(a job.Attempt) (*Writer, error) {
	if err := checkAttempt(a); err != nil {
		return nil, err
	}
	if err := s.CheckSpace(0); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	st := s.jobs[a.Job]
	if st == nil {
		st = &jobState{outputs: make(map[job.Attempt]int64)}
		s.jobs[a.Job] = st
	}
	if bytes, ok := st.outputs[a]; ok {
		return nil, fmt.Errorf("attempt %s of job %s has an output already (sealed: %v)", a, a.Job, bytes != unsealed)
	}
	st.outputs[a] = unsealed
	return &Writer{s: s, state: st, m: job.Manifest{Attempt: a}, buf: s.bufs.Get().(*[]byte)}, nil
}

// Append adds one block; see job.Output.
func (w *Writer) Append(port, run, part int, block []byte, records int, first []byte) error {
	if w.err != nil || len(block) == 0 {
		return w.err
	}
	if len(block) > record.MaxFrame {
		return fmt.Errorf("block of %d bytes exceeds %d: a single record or group this large cannot be shuffled", len(block), record.MaxFrame)
	}
	if w.isDirect {
		return errors.New("a block was appended to a segment that another process writes")
	}
	_ = w.seal.Append(port, run, part, block, records, first)
	at := w.flushed + int64(len(*w.buf))
	*w.buf = w.appendFrame(*w.buf, block)
	w.addBlock(port, run, part, at, w.flushed+int64(len(*w.buf))-at, int64(len(block)), records, first)
	if len(*w.buf) >= flushBytes {
		w.err = w.flush()
	}
	return w.err
}

// addBlock adds a block, whose frame of stored bytes is at an offset of the segment, to the
// extents.
func (w *Writer) addBlock(port, run, part int, at, stored, raw int64, records int, first []byte) {
	if n := len(w.m.Extents) - 1; n < 0 || w.m.Extents[n].Port != port || w.m.Extents[n].Run != run || w.m.Extents[n].Partition != part {
		w.m.Extents = append(w.m.Extents, job.Extent{Port: port, Run: run, Partition: part, Offset: at})
	}
	e := &w.m.Extents[len(w.m.Extents)-1]
	if first != nil {
		first = first[:min(len(first), job.MaxFirst)]
		at := len(w.firstKeys)
		w.firstKeys = append(w.firstKeys, first...)
		e.Blocks = append(e.Blocks, job.Block{Offset: e.Bytes, Records: int64(records), First: w.firstKeys[at:len(w.firstKeys):len(w.firstKeys)]})
	}
	e.Bytes += stored
	e.Records += int64(records)
	e.Raw += raw
}

// flush writes the buffer to the segment file.
func (w *Writer) flush() error {
	n := int64(len(*w.buf))
	if n == 0 {
		return nil
	}
	if err := w.s.table.Check(n); err != nil {
		return err
	}
	if w.file == nil {
		if err := w.makeFile(); err != nil {
			return err
		}
	}
	if err := w.s.takeQuota(n); err != nil {
		return err
	}
	w.quotaUsed += n
	if _, err := w.file.WriteAt(*w.buf, w.flushed); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return cmp.Or(w.s.table.Check(n), fmt.Errorf("%w: %w", ErrDiskFull, err))
		}
		return err
	}
	w.flushed += n
	*w.buf = (*w.buf)[:0]
	return nil
}

func (w *Writer) makeFile() error {
	w.s.mu.Lock() // DropJob may move the directory
	defer w.s.mu.Unlock()
	if w.state.dropped {
		return fmt.Errorf("job %s was dropped: %w", w.m.Attempt.Job, ErrGone)
	}
	err := os.Mkdir(w.s.jobDir(w.m.Attempt.Job), 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	w.file, err = os.OpenFile(w.s.segmentPath(w.m.Attempt), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	return err
}

// Seal makes the output exist and returns its manifest, which must not be changed. counters and
// sink become part of it. If the store is synced, Seal blocks until the manifest is durable; see
// Options.Sync for the segment. ctx can end the wait for the shared commit. After an error the
// output is removed.
func (w *Writer) Seal(ctx context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error) {
	m, err := w.sealOutput(ctx, counters, sink)
	if err != nil {
		w.Discard()
		return nil, fmt.Errorf("output of %s: %w", w.m.Attempt, err)
	}
	w.releaseBuffer()
	return m, nil
}

func (w *Writer) sealOutput(ctx context.Context, counters map[string]int64, sink [][]byte) (*job.Manifest, error) {
	if w.err != nil {
		return nil, w.err
	}
	m := w.m
	m.Counters, m.Sink, m.Sum = counters, sink, w.seal.Sum64()
	if w.isDirect {
		if err := w.endDirect(); err != nil {
			return nil, err
		}
		m.Sum = w.sum
	}
	c := &commit{kind: putManifest, attempt: m.Attempt, state: w.state}
	var head stored
	if w.file == nil && len(*w.buf) <= maxInline {
		head.chunks = w.putInline(c)
	} else {
		m.Segment = segmentName(m.Attempt)
	}
	order.Sort(m.Extents, byPlace)
	for i := 1; i < len(m.Extents); i++ {
		if byPlace(&m.Extents[i-1], &m.Extents[i]) == 0 {
			e := m.Extents[i]
			return nil, fmt.Errorf("port %d run %d partition %d was written twice", e.Port, e.Run, e.Partition)
		}
	}
	body := AppendManifest(nil, &m)
	if len(body) > maxPlainManifest {
		head.offset = w.flushed + int64(len(*w.buf))
		for piece := range slices.Chunk(body, 1<<20) {
			*w.buf = w.appendFrame(*w.buf, piece)
		}
		head.bytes = w.flushed + int64(len(*w.buf)) - head.offset
		body = nil
	}
	if w.flushed+int64(len(*w.buf)) > 0 {
		if err := w.endFile(); err != nil {
			return nil, err
		}
		w.returnRoom()
		c.segment, head.segment = true, w.flushed
	}
	c.addValue(manifestKey(m.Attempt), append(head.append(make([]byte, 4, 40+len(body))), body...))
	c.size = w.flushed + c.bytes
	if err := w.s.send(ctx, c); err != nil {
		return nil, err
	}
	return &m, nil
}

// putInline moves the whole output from the buffer to the commit and returns the number of values.
func (w *Writer) putInline(c *commit) (values int) {
	var v []byte
	chunk := int64(-1)
	flush := func() {
		if chunk >= 0 {
			c.addValue(inlineKey(w.m.Attempt, int(chunk)), v)
			values++
		}
	}
	for i := range w.m.Extents {
		e := &w.m.Extents[i]
		e.Inline = true
		if e.Offset/inlineChunk != chunk {
			flush()
			chunk = e.Offset / inlineChunk
			v = binary.AppendUvarint(make([]byte, 4, 2*inlineChunk), uint64(e.Offset))
		}
		v = append(v, (*w.buf)[e.Offset:e.Offset+e.Bytes]...)
	}
	flush()
	*w.buf = (*w.buf)[:0]
	return values
}

// endFile writes the rest of the segment.
func (w *Writer) endFile() error {
	if err := w.flush(); err != nil {
		return err
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// addValue adds a value. Its first 4 bytes must be free for the checksum.
func (c *commit) addValue(key, value []byte) {
	c.keys = append(c.keys, key)
	c.values = append(c.values, sealValue(key, value))
	c.bytes += int64(len(key) + len(value))
}

// Discard removes the written data. After Seal it does nothing.
func (w *Writer) Discard() {
	if w.state == nil {
		return
	}
	w.s.mu.Lock()
	dropped := w.state.dropped
	w.s.mu.Unlock()
	made := w.file != nil || w.flushed > 0
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
	if made && !dropped { // a dropped job's file is gone, and a new file may have its name
		_ = os.Remove(w.s.segmentPath(w.m.Attempt))
	}
	w.s.mu.Lock()
	delete(w.state.outputs, w.m.Attempt)
	w.s.used -= w.quotaUsed
	w.s.mu.Unlock()
	w.releaseBuffer()
}

func (w *Writer) releaseBuffer() {
	if w.buf != nil && cap(*w.buf) <= maxKeptBuffer {
		*w.buf = (*w.buf)[:0]
		w.s.bufs.Put(w.buf)
	}
	w.buf, w.state, w.err = nil, nil, errEnded
}

// appendFrame appends a block as a frame, compressed if the store compresses and the block shrinks.
func (w *Writer) appendFrame(dst, block []byte) []byte {
	if !w.s.compress {
		return record.AppendFrame(dst, block, record.None)
	}
	return w.enc.AppendFrame(dst, block)
}
