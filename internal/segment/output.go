package segment

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/job"
)

// Output is an output whose segment another process may write. Either all blocks of an output are
// appended, or that process writes all of them: it asks for room with Grow, writes frames of
// package record behind those before, and describes them. Grow may be called while another
// goroutine calls AppendStored.
type Output interface {
	job.Output
	// Compresses reports that frames are compressed where that makes them smaller.
	Compresses() bool
	// Grow makes room for n more bytes and returns the absolute path of the segment, which exists.
	// Its error wraps job.ErrDiskFull if the disk has no room.
	Grow(n int64) (path string, err error)
	// AppendStored adds a block of raw bytes whose frame of stored bytes is in the segment. The
	// job.Output describes the other arguments.
	AppendStored(port, run, part int, raw, stored int64, records int, first []byte) error
	// SetSum sets the hash of all blocks; see Sum.
	SetSum(sum uint64)
}

// Sum is an output that keeps only a hash over ports, runs, partitions and content, in the given
// order. The division into blocks and the compression of the content do not change it. The zero
// value is ready; it is a job.Output.
type Sum struct {
	h       xxh3.Hasher
	at      [3]int
	hasData bool
}

// Append adds one block to the hash. It never fails.
func (s *Sum) Append(port, run, part int, block []byte, _ int, _ []byte) error {
	if at := [3]int{port, run, part}; !s.hasData || at != s.at {
		s.at, s.hasData = at, true
		var b [24]byte
		for i, n := range at {
			binary.LittleEndian.PutUint64(b[8*i:], uint64(n))
		}
		_, _ = s.h.Write(b[:])
	}
	_, _ = s.h.Write(block)
	return nil
}

// Sum64 returns the hash of all data so far, as in Manifest.Sum.
func (s *Sum) Sum64() uint64 { return s.h.Sum64() }
