// Package history stores the record of a job's run in few bytes: about 20 for each attempt.
//
// A history is a sequence of chunks. Each chunk can be read without the others, so a lost one costs
// only its attempts:
//
//	chunk   = "LSH1" | length of the payload, 4 bytes | its CRC-32C, 4 bytes | payload
//	payload = zstd(parts)
//	part    = kind, 1 byte | length, uvarint | content
//
// The parts 'J' and 'E' are JSON: the job as submitted, and its end. The part 'A' has attempts as
// columns of varints, with the names of workers and the causes of failures that they refer to. The
// part 'L' has lines that user code wrote, and 'P' what was seen at the end of attempts without
// output. The part 'K' has samples of keys.
//
// The package does no I/O. It imports package report and the compressor alone.
package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	magic = "LSH1"
	// headSize is the size of magic, length and checksum.
	headSize = len(magic) + 8
	// maxChunk is the limit of a chunk before and after compression, in bytes.
	maxChunk = 64 << 20
)

// ErrDamaged means that a part of a history is missing or was changed.
var ErrDamaged = errors.New("damaged history")

// head is the part 'J'.
type head struct {
	ID, Name, Owner, Hash, Plan string
	Explain                     string          `json:",omitempty"`
	Params                      json.RawMessage `json:",omitempty"`
	Submitted                   time.Time
	Stages                      []report.RunStage
}

// end is the part 'E'.
type end struct {
	Outcome report.Outcome
	Failure *job.Failure `json:",omitempty"`
	At      time.Time
	Stages  []report.Stage
}

// causes is the part 'C'. It comes before the attempts that refer to it.
type causes []report.Cause

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decoder is safe for many goroutines. An error of its options is impossible.
var decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk))

// Chunk builds one chunk. The zero value is empty.
type Chunk struct{ parts []byte }

func (c *Chunk) appendPart(kind byte, content []byte) {
	c.parts = append(c.parts, kind)
	c.parts = binary.AppendUvarint(c.parts, uint64(len(content)))
	c.parts = append(c.parts, content...)
}

func (c *Chunk) json(kind byte, v any) {
	b, err := json.Marshal(v)
	if err != nil { // parameters that are not JSON were refused at the submit
		b = []byte("{}")
	}
	c.appendPart(kind, b)
}

// Job adds the job of r as submitted.
func (c *Chunk) Job(r *report.Run) {
	h := head{ID: string(r.ID), Name: r.Name, Owner: r.Owner, Hash: r.Hash, Plan: r.Plan, Explain: r.Explain, Submitted: r.Submitted, Stages: slices.Clone(r.Stages)}
	if json.Valid(r.Params) {
		h.Params = r.Params
	}
	for i := range h.Stages {
		h.Stages[i].State = report.Stage{}
	}
	c.json('J', h)
}

// End adds the end of the job of r.
func (c *Chunk) End(r *report.Run) {
	e := end{Outcome: r.Outcome, Failure: r.Failure, At: r.Ended}
	for i := range r.Stages {
		e.Stages = append(e.Stages, r.Stages[i].State)
	}
	c.json('E', e)
}

// columns is the number of columns of varints in part 'A'.
const columns = 13

// Attempts adds attempts. all are the causes that Attempt.Cause refers to.
func (c *Chunk) Attempts(attempts []report.Attempt, all []report.Cause) {
	if len(attempts) == 0 {
		return
	}
	workers, names := map[string]uint64{}, []string{}
	numbers, used := map[int]uint64{}, causes{}
	var cols [columns][]byte
	var last report.Attempt
	base := attempts[0].Ended.UnixMicro()
	at := base
	for i := range attempts {
		a := &attempts[i]
		w, ok := workers[a.Worker]
		if !ok {
			w = uint64(len(names))
			workers[a.Worker], names = w, append(names, a.Worker)
		}
		cause := uint64(0)
		if a.Cause > 0 && a.Cause <= len(all) {
			if cause, ok = numbers[a.Cause]; !ok {
				used = append(used, all[a.Cause-1])
				cause = uint64(len(used))
				numbers[a.Cause] = cause
			}
		}
		flags := uint64(a.End) << 2
		if a.Speculative {
			flags |= 1
		}
		if a.Started.IsZero() {
			flags |= 2
		}
		ended := a.Ended.UnixMicro()
		for k, v := range [columns]uint64{
			zigzag(int64(a.Task.Stage - last.Task.Stage)), zigzag(int64(a.Task.Index - last.Task.Index)), zigzag(int64(a.N - last.N)), w, cause, flags,
			zigzag(ended - at), uint64(a.Took().Microseconds()),
			uint64(a.ReadRecords), uint64(a.ReadBytes), uint64(a.WroteRecords), uint64(a.WroteBytes), uint64(a.SpilledBytes),
		} {
			cols[k] = binary.AppendUvarint(cols[k], v)
		}
		last, at = *a, ended
	}
	if len(used) > 0 {
		c.json('C', used)
	}
	b := binary.AppendUvarint(nil, uint64(len(attempts)))
	b = binary.AppendVarint(b, base)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	for _, col := range cols {
		b = append(b, col...)
	}
	c.appendPart('A', b)
}

// PostMortems adds what was seen of attempts.
func (c *Chunk) PostMortems(p []report.PostMortem) {
	if len(p) > 0 {
		c.json('P', p)
	}
}

// keys is the part 'K'. Life names the process that took the samples. A later part of one process
// replaces the earlier ones.
type keys struct {
	Life string
	Keys report.Keys
}

// Keys adds the samples of keys that the process life has taken so far.
func (c *Chunk) Keys(life string, k report.Keys) {
	if len(k) > 0 {
		c.json('K', keys{life, k})
	}
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// Bytes returns the chunk.
func (c *Chunk) Bytes() []byte {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // an error of the options
	}
	payload := encoder.EncodeAll(c.parts, make([]byte, headSize, headSize+len(c.parts)/4+64))
	copy(payload, magic)
	binary.BigEndian.PutUint32(payload[len(magic):], uint32(len(payload)-headSize))
	binary.BigEndian.PutUint32(payload[len(magic)+4:], crc32.Checksum(payload[headSize:], castagnoli))
	return payload
}

// Encode returns r as one history.
func Encode(r *report.Run) []byte {
	var out []byte
	var c Chunk
	c.Job(r)
	const some = 1 << 16 // attempts per chunk
	for i := 0; i < len(r.Attempts); i += some {
		c.Attempts(r.Attempts[i:min(i+some, len(r.Attempts))], r.Causes)
		out = append(out, c.Bytes()...)
		c = Chunk{}
	}
	c.PostMortems(r.PostMortems)
	for lines := range slices.Chunk(r.Lines, 1<<13) {
		c.Lines(lines)
	}
	c.Keys("", r.Keys)
	if r.Outcome != report.JobRunning {
		c.End(r)
	}
	return append(out, c.Bytes()...)
}

// Reader collects chunks into a Run.
type Reader struct {
	run     report.Run
	known   bool // part 'J' was read
	names   map[string]string
	causes  map[report.Cause]int
	local   []int // indexes plus 1 of the causes of the current chunk
	missing int
	keys    map[string]report.Keys // by process
}

// Run returns what was read so far. It stays valid.
func (r *Reader) Run() *report.Run {
	run := r.run
	run.Lines = sortedLines(run.Lines)
	for _, life := range slices.Sorted(maps.Keys(r.keys)) {
		run.Keys.Merge(r.keys[life])
	}
	if r.missing > 0 {
		run.Damaged = report.Plural(r.missing, "part") + " of the history cannot be read; attempts are missing"
	}
	return &run
}

// Miss counts a chunk that cannot be read at all.
func (r *Reader) Miss() { r.missing++ }

// Decode returns the run in a history. With an error that wraps ErrDamaged it returns what is
// readable before the damage.
func Decode(b []byte) (*report.Run, error) {
	var r Reader
	err := r.Add(b)
	return r.Run(), err
}

// Add reads whole chunks. An error wraps ErrDamaged; later chunks can still be added.
func (r *Reader) Add(b []byte) (err error) {
	defer func() {
		if err != nil {
			r.missing++
		}
	}()
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < headSize || string(rest[:len(magic)]) != magic {
			return fmt.Errorf("%w: no chunk at byte %d; this is not a history, or it was cut", ErrDamaged, at)
		}
		n := int(binary.BigEndian.Uint32(rest[len(magic):]))
		if n > maxChunk || n > len(rest)-headSize {
			return fmt.Errorf("%w: the chunk at byte %d is cut", ErrDamaged, at)
		}
		payload := rest[headSize : headSize+n]
		if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(rest[len(magic)+4:]) {
			return fmt.Errorf("%w: wrong checksum of the chunk at byte %d", ErrDamaged, at)
		}
		parts, err := decoder.DecodeAll(payload, nil)
		if err == nil {
			err = r.readParts(parts)
		}
		if err != nil {
			return fmt.Errorf("%w: chunk at byte %d: %w", ErrDamaged, at, err)
		}
		at += headSize + n
	}
	return nil
}

func (r *Reader) readParts(b []byte) error {
	r.local = nil
	for len(b) > 0 {
		kind := b[0]
		n, k := binary.Uvarint(b[1:])
		if k <= 0 || n > uint64(len(b)-1-k) {
			return errors.New("a part is cut")
		}
		content := b[1+k : 1+k+int(n)]
		b = b[1+k+int(n):]
		var err error
		switch kind {
		case 'J':
			var h head
			if err = json.Unmarshal(content, &h); err == nil {
				stages := h.Stages
				for i := range min(len(stages), len(r.run.Stages)) {
					stages[i].State = r.run.Stages[i].State
				}
				r.known = true
				r.run.ID, r.run.Name, r.run.Owner, r.run.Hash, r.run.Plan = job.ID(h.ID), h.Name, h.Owner, h.Hash, h.Plan
				r.run.Params, r.run.Explain, r.run.Submitted, r.run.Stages = h.Params, h.Explain, h.Submitted, stages
			}
		case 'E':
			var e end
			if err = json.Unmarshal(content, &e); err == nil {
				r.run.Outcome, r.run.Failure, r.run.Ended = e.Outcome, e.Failure, e.At
				for i := range min(len(e.Stages), len(r.run.Stages)) {
					r.run.Stages[i].State = e.Stages[i]
				}
			}
		case 'C':
			var c causes
			if err = json.Unmarshal(content, &c); err == nil {
				r.addCauses(c)
			}
		case 'A':
			err = r.readAttempts(content)
		case 'P':
			var p []report.PostMortem
			if err = json.Unmarshal(content, &p); err == nil {
				r.run.PostMortems = append(r.run.PostMortems, p...)
			}
		case 'K':
			var k keys
			if err = json.Unmarshal(content, &k); err == nil {
				if r.keys == nil {
					r.keys = map[string]report.Keys{}
				}
				r.keys[k.Life] = k.Keys
			}
		case 'L':
			err = r.readLines(content)
		}
		if err != nil {
			return fmt.Errorf("part %q: %w", kind, err)
		}
	}
	return nil
}

func (r *Reader) addCauses(c causes) {
	if r.causes == nil {
		r.causes = map[report.Cause]int{}
	}
	for _, x := range c {
		key := report.Cause{Kind: x.Kind, Message: x.Message}
		n, ok := r.causes[key]
		if !ok {
			r.run.Causes = append(r.run.Causes, x)
			n = len(r.run.Causes)
			r.causes[key] = n
		}
		r.local = append(r.local, n)
	}
}

func (r *Reader) readAttempts(b []byte) error {
	cut := false
	next := func() uint64 {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			cut, b = true, nil
			return 0
		}
		b = b[k:]
		return v
	}
	n := next()
	base := unzigzag(next())
	names := next()
	if cut || n > uint64(len(b))/columns || names > uint64(len(b)) {
		return errCut
	}
	workers := make([]string, names)
	if r.names == nil {
		r.names = map[string]string{}
	}
	for i := range workers {
		k := next()
		if k > uint64(len(b)) {
			return errCut
		}
		name, ok := r.names[string(b[:k])]
		if !ok {
			name = string(b[:k])
			r.names[name] = name
		}
		workers[i], b = name, b[k:]
	}
	if n > uint64(len(b))/columns {
		return errCut
	}
	had := len(r.run.Attempts)
	all := slices.Grow(r.run.Attempts, int(n))[:had+int(n)]
	added := all[had:]
	clear(added)
	started := make([]bool, n)
	var last int64
	at := base
	for k := range columns {
		last = 0
		for i := range added {
			a := &added[i]
			v := next()
			switch k {
			case 0:
				last += unzigzag(v)
				a.Task.Stage = int(last)
			case 1:
				last += unzigzag(v)
				a.Task.Index = int(last)
			case 2:
				last += unzigzag(v)
				a.N = int(last)
			case 3:
				if v >= uint64(len(workers)) {
					return errors.New("a worker is not named")
				}
				a.Worker = workers[v]
			case 4:
				if v > uint64(len(r.local)) {
					return errors.New("a cause is not described")
				}
				if v > 0 {
					a.Cause = r.local[v-1]
				}
			case 5:
				a.Speculative, started[i], a.End = v&1 != 0, v&2 == 0, report.End(min(v>>2, uint64(report.Ends)))
			case 6:
				at += unzigzag(v)
				a.Ended = time.UnixMicro(at)
			case 7:
				if started[i] {
					a.Started = a.Ended.Add(-time.Duration(min(v, 1<<53)) * time.Microsecond)
				}
			case 8:
				a.ReadRecords = int64(v)
			case 9:
				a.ReadBytes = int64(v)
			case 10:
				a.WroteRecords = int64(v)
			case 11:
				a.WroteBytes = int64(v)
			case 12:
				a.SpilledBytes = int64(v)
			}
		}
	}
	if cut {
		return errCut
	}
	r.run.Attempts = all
	return nil
}

var errCut = errors.New("it is cut")
