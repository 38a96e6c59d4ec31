package desk

import (
	"encoding/binary"
	"fmt"

	"github.com/layshaft/layshaft/coordinator/internal/bodies"
	"github.com/layshaft/layshaft/coordinator/internal/queue"
)

// Input is what a worker receives with a task: Data, the unique key Unique, and for Gearman reduce
// jobs the function Reducer. The last two may be empty.
type Input struct {
	// Gathered means that Data is an encoded GatheredResults.
	Gathered bool
	// final means that a failure reported by a worker is not retried, as Gearman clients expect.
	final bool

	Unique, Reducer string
	Trace           string // position of the submitter in a distributed trace
	Data            []byte
}

// Bits of the first byte of an encoded input.
const (
	gatheredBit = 1 << iota
	finalBit
	traceBit // a third text follows, the trace
)

// appendInput encodes an input: bits 1 | length and unique | length and reducer | data.
func appendInput[T string | []byte](dst []byte, bits byte, unique, reducer T, data []byte) []byte {
	dst = binary.AppendUvarint(append(dst, bits), uint64(len(unique)))
	dst = binary.AppendUvarint(append(dst, unique...), uint64(len(reducer)))
	return append(append(dst, reducer...), data...)
}

// appendTracedInput is appendInput with a trace, which may be empty.
func appendTracedInput(dst []byte, bits byte, unique, reducer, trace string, data []byte) []byte {
	if trace == "" {
		return appendInput(dst, bits, unique, reducer, data)
	}
	dst = appendInput(dst, bits|traceBit, unique, reducer, nil)
	dst = binary.AppendUvarint(dst, uint64(len(trace)))
	return append(append(dst, trace...), data...)
}

// decodeInput reverses appendTracedInput. Data is a part of b.
func decodeInput(b []byte) (in Input, err error) {
	text := func() (s string) {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			err = fmt.Errorf("input of a task: %w", bodies.ErrDamaged)
			return ""
		}
		s, b = string(b[k:k+int(n)]), b[k+int(n):]
		return s
	}
	if len(b) == 0 {
		return in, fmt.Errorf("input of a task: %w: it is empty", bodies.ErrDamaged)
	}
	traced := b[0]&traceBit != 0
	in.Gathered, in.final = b[0]&gatheredBit != 0, b[0]&finalBit != 0
	b = b[1:]
	in.Unique = text()
	if err == nil {
		in.Reducer = text()
	}
	if err == nil && traced {
		in.Trace = text()
	}
	in.Data = b
	return in, err
}

// Input returns the input of a task. It may block for the disk. It needs no lock. The error wraps
// bodies.ErrNotFound if the task no longer exists.
func (d *Desk) Input(id queue.ID) (Input, error) {
	b, err := d.store.Get(nil, bodies.Input, uint64(id))
	if err != nil {
		return Input{}, err
	}
	return decodeInput(b)
}

// Result returns the result of a task, or the last error of a dead letter. See Input.
func (d *Desk) Result(id queue.ID) ([]byte, error) {
	return d.store.Get(nil, bodies.Result, uint64(id))
}

// keep stores or drops the payload and record of one command.
func (d *Desk) keep(c *queue.Command, payload []byte) {
	id := uint64(c.Task)
	switch {
	case c.Op == queue.Write && c.Payload == queue.FromEvent:
		d.store.WriteTask(id, c.Key, c.Value, payload)
	case c.Op == queue.Write && c.Payload == queue.FromInput:
		if err := d.store.WriteKept(id, c.Key, c.Value); err != nil {
			d.failLocked(err)
		}
	case c.Op == queue.Write:
		d.store.Write(c.Key, c.Value)
	case c.Op == queue.Keep && c.Payload == queue.NoPayload:
		d.store.Keep(bodies.Input, id, appendInput(nil, 0, "", "", nil))
	case c.Op == queue.Keep:
		d.store.Keep(bodies.Input, id, payload)
	case c.Op == queue.KeepResult && c.N == 1:
		d.store.WriteResult(id, payload)
	case c.Op == queue.KeepResult:
		d.store.Keep(bodies.Result, id, payload)
	case c.Op == queue.KeepError:
		d.keepError(c, payload)
	case c.Op == queue.Drop && c.N == 0:
		d.store.Drop(id, false)
	case c.Op == queue.Drop:
		d.key = binary.BigEndian.AppendUint64(append(d.key[:0], 't'), id)
		if c.M == 0 {
			d.store.Drop(id, false, d.key)
			break
		}
		d.key = binary.BigEndian.AppendUint64(append(d.key, 'u'), id)
		d.store.Drop(id, true, d.key[:9], d.key[9:])
	}
}

// heldBack is the error of a call that could never start.
const heldBack = "the call waits for itself: all tasks that use up a limit (of its function, or a budget) wait for tasks that this limit holds back; raise the limit (layshaft task limit -concurrency, layshaft task budget), or call another function"

// keepError stores the error of a task that has failed finally, for readers of dead letters.
func (d *Desk) keepError(c *queue.Command, text []byte) {
	switch {
	case c.Notice == queue.TimedOut:
		text = []byte("took longer than its hard limit")
	case c.Notice == queue.Lost:
		text = []byte("its worker was lost")
	case c.Notice == queue.Circular:
		text = []byte(heldBack)
	case c.Notice == queue.TooLarge:
		text = fmt.Appendf(nil, "the results of the group have %d bytes together; the limit is %d; let the tasks store them elsewhere and return their places", c.M, d.cfg.MaxBody)
	}
	text = text[:min(len(text), maxError)]
	if c.N == 1 {
		d.store.WriteResult(uint64(c.Task), text)
	} else {
		d.store.Keep(bodies.Result, uint64(c.Task), text)
	}
}

// maxError is the number of stored bytes of an error.
const maxError = 16 << 10
