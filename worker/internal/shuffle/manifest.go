package shuffle

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

const manifestVersion = 1

// byPlace is the order of extents in a manifest: runs of one partition of one port lie together.
func byPlace(a, b *job.Extent) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Run, b.Run))
}

// AppendManifest appends the encoding of m, about 12 bytes for each extent. The extents must be in
// order of port, partition and run.
func AppendManifest(dst []byte, m *job.Manifest) []byte {
	at := len(dst)
	uv := func(n int64) { dst = binary.AppendUvarint(dst, uint64(n)) }
	str := func(s string) { dst = cursor.AppendBytes(dst, s) }
	dst = append(dst, manifestVersion)
	str(string(m.Attempt.Job))
	uv(int64(m.Attempt.Task.Stage))
	uv(int64(m.Attempt.Task.Index))
	uv(int64(m.Attempt.N))
	str(m.Segment)
	dst = binary.LittleEndian.AppendUint64(dst, m.Sum)
	uv(int64(len(m.Extents)))
	for i := range m.Extents {
		e := &m.Extents[i]
		inline := int64(0)
		if e.Inline {
			inline = 1
		}
		uv(int64(e.Port)<<1 | inline)
		for _, n := range [...]int64{int64(e.Partition), int64(e.Run), e.Offset, e.Bytes, e.Records, e.Raw, int64(len(e.Blocks))} {
			uv(n)
		}
		for _, b := range e.Blocks {
			uv(b.Offset)
			uv(b.Records)
			dst = cursor.AppendBytes(dst, b.First)
		}
	}
	uv(int64(len(m.Counters)))
	for _, name := range slices.Sorted(maps.Keys(m.Counters)) {
		str(name)
		dst = binary.AppendVarint(dst, m.Counters[name])
	}
	uv(int64(len(m.Sink)))
	for _, b := range m.Sink {
		dst = cursor.AppendBytes(dst, b)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// DecodeManifest decodes a manifest written by AppendManifest. The result aliases b. Errors wrap
// record.ErrCorrupt.
func DecodeManifest(b []byte) (*job.Manifest, error) {
	d, m, err := openManifest(b)
	if err != nil {
		return nil, err
	}
	if n := d.Count(8); n > 0 {
		m.Extents = make([]job.Extent, n)
	}
	for i := range m.Extents {
		e := &m.Extents[i]
		d.extent(e)
		d.require(i == 0 || byPlace(&m.Extents[i-1], e) < 0)
	}
	if n := d.Count(2); n > 0 {
		m.Counters = make(map[string]int64, n)
		for range n {
			name := d.String()
			m.Counters[name] = d.Int()
		}
	}
	if n := d.Count(1); n > 0 {
		m.Sink = make([][]byte, n)
		for i := range m.Sink {
			m.Sink[i] = d.Bytes()
		}
	}
	if d.Failed() || len(d.Rest()) > 0 {
		return nil, errManifest
	}
	return m, nil
}

var errManifest = fmt.Errorf("manifest: %w", record.ErrCorrupt)

// wrongAttempt is the error for a manifest of another attempt under the key of a.
func wrongAttempt(a, found job.Attempt) error {
	return fmt.Errorf("manifest of %s: %w: it belongs to attempt %s", a, record.ErrCorrupt, found)
}

// openManifest verifies an encoded manifest and decodes the part before its extents.
func openManifest(b []byte) (*decoder, *job.Manifest, error) {
	if len(b) < 5 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, nil, fmt.Errorf("manifest: %w: checksum does not match", record.ErrCorrupt)
	}
	if b[0] != manifestVersion {
		return nil, nil, fmt.Errorf("manifest: %w: version %d, want %d", record.ErrCorrupt, b[0], manifestVersion)
	}
	d := &decoder{cursor.Over(b[1 : len(b)-4])}
	m := &job.Manifest{}
	m.Attempt.Job = job.ID(d.Bytes())
	m.Attempt.Task = job.Task{Stage: d.int32(), Index: d.int32()}
	m.Attempt.N = d.int32()
	m.Segment = d.String()
	m.Sum = d.Word()
	if d.Failed() {
		return nil, nil, errManifest
	}
	return d, m, nil
}

// extent decodes an extent into e. It uses the memory of e.Blocks if that is large enough.
func (d *decoder) extent(e *job.Extent) {
	port := d.int()
	e.Inline = port&1 != 0
	e.Port = int(min(port>>1, math.MaxInt32))
	e.Partition, e.Run = d.int32(), d.int32()
	e.Offset, e.Bytes, e.Records, e.Raw = d.int(), d.int(), d.int(), d.int()
	d.require(e.Bytes <= math.MaxInt64-e.Offset)
	if n := d.Count(3); n > cap(e.Blocks) {
		e.Blocks = make([]job.Block, n)
	} else {
		e.Blocks = e.Blocks[:n]
	}
	for j := range e.Blocks {
		k := &e.Blocks[j]
		*k = job.Block{Offset: d.int(), Records: d.int(), First: d.Bytes()}
		d.require(k.Offset <= e.Bytes && (j == 0 || k.Offset >= e.Blocks[j-1].Offset))
	}
}

// decoder reads the fields of a manifest.
type decoder struct{ cursor.Cursor }

func (d *decoder) int() int64 { return d.Upto(math.MaxInt64) }
func (d *decoder) int32() int { return int(d.Upto(math.MaxInt32)) }

// require fails if a condition between fields does not hold.
func (d *decoder) require(ok bool) {
	if !ok {
		d.Fail()
	}
}
