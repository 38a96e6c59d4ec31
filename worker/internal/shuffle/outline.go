package shuffle

import (
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/layshaft/layshaft/internal/cursor"
	"github.com/layshaft/layshaft/internal/job"
)

// outline is an encoded manifest with the places of some of its extents. A reader of one among ten
// thousands of partitions needs only a few extents. It finds them here in about a microsecond, and
// an extent takes a tenth of its decoded memory.
type outline struct {
	segment string
	body    []byte // the encoded manifest
	marks   []mark // one for each markEvery extents
	extents int
}

// mark is the start of an extent.
type mark struct {
	port, part int32
	at         int // index in body
}

// markEvery is how many extents findExtents decodes at most before it finds one.
const markEvery = 64

// parseOutline reads through an encoded manifest and verifies its checksum.
func parseOutline(body []byte, a job.Attempt) (*outline, error) {
	d, m, err := openManifest(body)
	if err != nil {
		return nil, err
	}
	if m.Attempt != a {
		return nil, wrongAttempt(a, m.Attempt)
	}
	o := &outline{segment: m.Segment, body: body, extents: d.Count(8)}
	end := len(body) - 4 // end of the decoder's input
	var e, last job.Extent
	for i := range o.extents {
		at := end - len(d.Rest())
		e = job.Extent{Blocks: e.Blocks[:0]}
		d.extent(&e)
		if d.Failed() || i > 0 && byPlace(&last, &e) >= 0 {
			return nil, errManifest
		}
		last = e
		if i%markEvery == 0 {
			o.marks = append(o.marks, mark{int32(e.Port), int32(e.Partition), at})
		}
	}
	return o, nil
}

// findExtents returns the extents of one partition of an output port, in run order.
func (o *outline) findExtents(port, part int) ([]job.Extent, error) {
	// The partition may begin before its first marked extent.
	i := max(0, sort.Search(len(o.marks), func(i int) bool {
		m := o.marks[i]
		return int(m.port) > port || int(m.port) == port && int(m.part) >= part
	})-1)
	if len(o.marks) == 0 {
		return nil, nil
	}
	d := decoder{cursor.Over(o.body[o.marks[i].at : len(o.body)-4])}
	var found []job.Extent
	for range o.extents - i*markEvery {
		var e job.Extent
		if d.extent(&e); d.Failed() {
			return nil, errManifest
		}
		if e.Port > port || e.Port == port && e.Partition > part {
			break
		}
		if e.Port == port && e.Partition == part {
			found = append(found, e)
		}
	}
	return found, nil
}

// cacheBytes returns the memory of the outline in the cache, in bytes.
func (o *outline) cacheBytes() int { return len(o.body) + 16*len(o.marks) + 128 }

// maxOutlines limits the cached outlines, in bytes: about three million extents.
const maxOutlines = 32 << 20

// PartitionManifest returns the manifest of a sealed output with the extents of one partition of
// one port, and without counters and sinks. Its cost does not grow with the number of partitions.
// Errors are as for Manifest.
func (s *Store) PartitionManifest(a job.Attempt, port, part int) (*job.Manifest, error) {
	o, err := s.outline(a)
	if err != nil {
		return nil, err
	}
	es, err := o.findExtents(min(port, math.MaxInt32), min(part, math.MaxInt32))
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", a, errors.Join(ErrGone, err))
	}
	return &job.Manifest{Attempt: a, Segment: o.segment, Extents: es}, nil
}

func (s *Store) outline(a job.Attempt) (*outline, error) {
	s.mu.Lock()
	o := s.outlines[a]
	s.mu.Unlock()
	if o != nil {
		return o, nil
	}
	if !s.Holds(a) {
		return nil, fmt.Errorf("output of %s: %w", a, ErrGone)
	}
	body, err := s.readManifest(a)
	if err == nil {
		o, err = parseOutline(body, a)
	}
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", a, errors.Join(ErrGone, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.jobs[a.Job]; st != nil && st.isSealed(a) && s.outlines[a] == nil {
		for other := range s.outlines { // in no particular order
			if s.outlinesSize+o.cacheBytes() <= maxOutlines {
				break
			}
			s.forgetOutline(other)
		}
		s.outlines[a] = o
		s.outlinesSize += o.cacheBytes()
	}
	return o, nil
}

// forgetOutline removes an outline from the cache. The caller holds mu.
func (s *Store) forgetOutline(a job.Attempt) {
	if o := s.outlines[a]; o != nil {
		delete(s.outlines, a)
		s.outlinesSize -= o.cacheBytes()
	}
}
