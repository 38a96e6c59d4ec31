package shuffle

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

var _ segment.Output = (*Writer)(nil)

// Compresses reports that frames are compressed where that makes them smaller.
func (w *Writer) Compresses() bool { return w.s.compress }

// Grow makes room for n more bytes that another process writes; see segment.Output.
func (w *Writer) Grow(n int64) (path string, err error) {
	if n < 0 {
		return "", fmt.Errorf("a segment cannot grow by %d bytes", n)
	}
	if err := w.s.table.Check(n); err != nil {
		return "", err
	}
	if w.file == nil {
		if err := w.makeFile(); err != nil {
			return "", err
		}
	}
	if err := w.s.takeQuota(n); err != nil {
		return "", err
	}
	w.quotaUsed += n
	return filepath.Abs(w.s.segmentPath(w.m.Attempt))
}

// AppendStored adds a block that another process wrote to the segment; see segment.Output.
func (w *Writer) AppendStored(port, run, part int, raw, stored int64, records int, first []byte) error {
	switch {
	case w.err != nil:
		return w.err
	case !w.isDirect && len(w.m.Extents) > 0:
		return errors.New("a block was written to a segment that this process writes")
	case raw <= 0 || raw > record.MaxFrame || stored <= 0 || stored > raw+record.FrameOverhead:
		return fmt.Errorf("a block of %d bytes with a frame of %d", raw, stored)
	}
	w.isDirect = true
	w.addBlock(port, run, part, w.flushed, stored, raw, records, first)
	w.flushed += stored
	return nil
}

// SetSum sets the hash of the blocks that another process wrote.
func (w *Writer) SetSum(sum uint64) { w.sum = sum }

// endDirect checks that the segment has the bytes that were described.
func (w *Writer) endDirect() error {
	if w.file == nil {
		return errors.New("blocks in a segment that does not exist")
	}
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != w.flushed {
		return &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("the segment has %d bytes, its writer described %d", info.Size(), w.flushed)}
	}
	return nil
}

// returnRoom returns the quota that the segment does not use.
func (w *Writer) returnRoom() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.used -= w.quotaUsed - w.flushed
	w.quotaUsed = w.flushed
}
