package child

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
)

// output collects blocks. A small output is sent to the worker at its end. A larger one is written
// to the segment, if the worker allows it, so that its bytes cross no socket; else it is sent, too.
type output struct {
	attempt    *attempt
	isDirect   bool // the worker allows to write the segment, and nothing was sent
	compresses bool // the frames of the segment

	// blocks in buf or in frames, of which used are described
	blocks []*runnerv1.OutputBlock
	used   int

	buf *[]byte // blocks to send; nil when empty
	n   int     // bytes in it

	file   *os.File // segment; nil before its first use
	frames []byte   // not yet in file
	room   int64    // bytes that may be written without asking
	enc    record.Adaptive
	sum    segment.Sum
}

var buffers = new(batches)

const (
	// maxBlocks is the maximum number of blocks in one message, because descriptions of small
	// blocks are as long as the blocks.
	maxBlocks = 1 << 10
	// flushFrames is how many bytes of frames are written at once.
	flushFrames = 512 << 10
	// segmentAllowance is the number of bytes of the segment that are requested at once.
	segmentAllowance = 4 << 20
)

// Append adds one block; see job.Output. An error of the worker's output ends the attempt's
// context.
func (o *output) Append(port, run, part int, block []byte, records int, first []byte) error {
	if len(block) == 0 {
		return nil
	}
	if len(block) > record.MaxFrame {
		return fmt.Errorf("block of %d bytes exceeds %d: a single record or group this large cannot be shuffled", len(block), record.MaxFrame)
	}
	if o.file == nil && (o.n+len(block) > batch || o.used >= maxBlocks) {
		if err := o.makeRoom(); err != nil {
			return err
		}
	}
	b := o.describe()
	b.Port, b.Run, b.Partition, b.Size, b.Records, b.First, b.Stored = int64(port), int64(run), int64(part), int64(len(block)), int64(records), nil, 0
	if first != nil {
		b.First = bytes.Clone(first[:min(len(first), job.MaxFirst)])
	}
	switch {
	case o.file != nil:
		return o.write(b, block)
	case len(block) > batch:
		return o.sendBlocks(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(block))})
	}
	if o.buf == nil {
		o.buf = buffers.Get(batch)
	}
	o.n += copy((*o.buf)[o.n:], block)
	return nil
}

// describe returns the next description.
func (o *output) describe() *runnerv1.OutputBlock {
	if o.used == len(o.blocks) {
		o.blocks = append(o.blocks, new(runnerv1.OutputBlock))
	}
	o.used++
	return o.blocks[o.used-1]
}

// makeRoom empties the buffer: into the segment if possible.
func (o *output) makeRoom() error {
	if !o.isDirect {
		return o.sendBuffer()
	}
	path, err := o.ask(int64(o.n))
	if err != nil {
		return err
	}
	if o.file, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		o.file, o.isDirect = nil, false // this process has other files than the worker
		return o.sendBuffer()
	}
	o.frames = frames.get()
	if o.n == 0 {
		return nil
	}
	waiting := (*o.buf)[:o.n]
	for _, b := range o.blocks[:o.used] {
		o.frame(b, waiting[:b.Size])
		waiting = waiting[b.Size:]
	}
	buffers.Put(o.buf)
	o.buf, o.n = nil, 0
	return nil
}

// ask requests room for n more bytes, or for more than that if the worker has it.
func (o *output) ask(n int64) (path string, err error) {
	for _, want := range []int64{max(n, segmentAllowance), n} {
		if path, err = o.attempt.grow(want); err == nil {
			o.room += want
			return path, nil
		}
	}
	return "", err
}

// write adds a block to the segment. b is its description, the last one.
func (o *output) write(b *runnerv1.OutputBlock, block []byte) error {
	o.frame(b, block)
	if len(o.frames) >= flushFrames || o.used >= maxBlocks {
		return o.flushFrames()
	}
	return nil
}

// frame appends the frame of a block.
func (o *output) frame(b *runnerv1.OutputBlock, block []byte) {
	_ = o.sum.Append(int(b.Port), int(b.Run), int(b.Partition), block, int(b.Records), b.First)
	before := len(o.frames)
	if o.compresses {
		o.frames = o.enc.AppendFrame(o.frames, block)
	} else {
		o.frames = record.AppendFrame(o.frames, block, record.None)
	}
	b.Stored = int64(len(o.frames) - before)
}

// flushFrames writes the frames to the segment and describes them to the worker.
func (o *output) flushFrames() error {
	if len(o.frames) == 0 {
		return nil
	}
	if n := int64(len(o.frames)); o.room < n {
		if _, err := o.ask(n - o.room); err != nil {
			return err
		}
	}
	n, err := o.file.Write(o.frames)
	if err != nil {
		if _, full := o.attempt.grow(int64(len(o.frames) - n)); full != nil {
			return full // with the free space and the way out
		}
		return err
	}
	o.room -= int64(n)
	o.frames = o.frames[:0]
	return o.sendBlocks(nil)
}

// end sends or writes what is left, and returns the hash of the blocks if they are in the segment.
func (o *output) end() (sum uint64, err error) {
	if o.file == nil {
		return 0, o.sendBuffer()
	}
	if err := o.flushFrames(); err != nil {
		return 0, err
	}
	err = o.file.Close()
	o.file = nil
	return o.sum.Sum64(), err
}

// close frees what an output holds that may have failed.
func (o *output) close() {
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
	frames.put(o.frames)
	o.frames = nil
}

// sendBuffer sends the collected blocks.
func (o *output) sendBuffer() error {
	if o.n == 0 {
		return nil
	}
	*o.buf = (*o.buf)[:o.n]
	data := mem.NewBuffer(o.buf, buffers)
	o.buf, o.n = nil, 0
	return o.sendBlocks(mem.BufferSlice{data})
}

func (o *output) sendBlocks(data mem.BufferSlice) error {
	o.isDirect = o.file != nil
	m := &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Append{Append: &runnerv1.AppendBlocks{Blocks: o.blocks[:o.used]}}}
	o.used = 0
	return o.attempt.send(m, data)
}

// frames is a pool of memory for frames.
var frames frameBufs

type frameBufs struct{ pool sync.Pool }

func (f *frameBufs) get() []byte {
	if b, ok := f.pool.Get().(*[]byte); ok {
		return *b
	}
	return record.Uninitialized(flushFrames + batch)[:0]
}

// put keeps b, unless it is much larger than others.
func (f *frameBufs) put(b []byte) {
	if cap(b) > 0 && cap(b) <= 4*flushFrames {
		b = b[:0]
		f.pool.Put(&b)
	}
}
