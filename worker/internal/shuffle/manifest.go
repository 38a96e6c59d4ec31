package shuffle

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
)

const manifestVersion = 1

// byPlace is the order of extents in a manifest: runs of one partition of one port lie together.
func byPlace(a, b job.Extent) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Run, b.Run))
}

// AppendManifest appends the encoding of m, about 12 bytes for each extent. The extents must be in
// order of port, partition and run.
func AppendManifest(dst []byte, m *job.Manifest) []byte {
	at := len(dst)
	uv := func(n int64) { dst = binary.AppendUvarint(dst, uint64(n)) }
	str := func(s string) { uv(int64(len(s))); dst = append(dst, s...) }
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
			uv(int64(len(b.First)))
			dst = append(dst, b.First...)
		}
	}
	uv(int64(len(m.Counters)))
	for _, name := range slices.Sorted(maps.Keys(m.Counters)) {
		str(name)
		dst = binary.AppendVarint(dst, m.Counters[name])
	}
	uv(int64(len(m.Sink)))
	for _, b := range m.Sink {
		uv(int64(len(b)))
		dst = append(dst, b...)
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
	if n := d.count(8); n > 0 {
		m.Extents = make([]job.Extent, n)
	}
	for i := range m.Extents {
		e := &m.Extents[i]
		d.extent(e)
		d.failed = d.failed || i > 0 && byPlace(m.Extents[i-1], *e) >= 0
	}
	if n := d.count(2); n > 0 {
		m.Counters = make(map[string]int64, n)
		for range n {
			name := string(d.bytes())
			m.Counters[name] = d.varint()
		}
	}
	if n := d.count(1); n > 0 {
		m.Sink = make([][]byte, n)
		for i := range m.Sink {
			m.Sink[i] = d.bytes()
		}
	}
	if d.failed || len(d.b) > 0 {
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
	d := &decoder{b: b[1 : len(b)-4]}
	m := &job.Manifest{}
	m.Attempt.Job = job.ID(d.bytes())
	m.Attempt.Task = job.Task{Stage: d.int32(), Index: d.int32()}
	m.Attempt.N = d.int32()
	m.Segment = string(d.bytes())
	m.Sum = d.fixed64()
	if d.failed {
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
	d.failed = d.failed || e.Bytes > math.MaxInt64-e.Offset
	if n := d.count(3); n > cap(e.Blocks) {
		e.Blocks = make([]job.Block, n)
	} else {
		e.Blocks = e.Blocks[:n]
	}
	for j := range e.Blocks {
		k := &e.Blocks[j]
		*k = job.Block{Offset: d.int(), Records: d.int(), First: d.bytes()}
		d.failed = d.failed || k.Offset > e.Bytes || j > 0 && k.Offset < e.Blocks[j-1].Offset
	}
}

// decoder reads values from b. After an invalid one it returns zeros.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) int() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxInt64 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) int32() int {
	v := d.int()
	if v > math.MaxInt32 {
		d.failed = true
		return 0
	}
	return int(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed64() uint64 {
	if len(d.b) < 8 {
		d.failed, d.b = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.int()
	if n > int64(len(d.b)) {
		d.failed, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// count returns the number of elements that follow, each of at least size bytes; so a wrong number
// costs no memory.
func (d *decoder) count(size int64) int {
	n := d.int()
	if n > int64(len(d.b))/size {
		d.failed, d.b = true, nil
		return 0
	}
	return int(n)
}
