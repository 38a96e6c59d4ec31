package shuffle

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

// Copy copies an output of another store into this one, under the same attempt. m is its manifest,
// and from reads its bytes. Frames are read in the order of their writing, so the hash over the
// content must equal the hash in m. An error that wraps a *job.Failure of kind job.InputLost means
// a damaged or unreadable output. After any error the copy is removed.
func (s *Store) Copy(ctx context.Context, m *job.Manifest, from Remote) error {
	w, err := s.Create(m.Attempt)
	if err != nil {
		return err
	}
	defer w.Discard()
	var extents []*job.Extent
	for i := range m.Extents {
		extents = append(extents, &m.Extents[i])
	}
	slices.SortFunc(extents, func(a, b *job.Extent) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	for _, e := range extents {
		if err := w.copyExtent(ctx, e, from.run(m, e, 0, e.Bytes)); err != nil {
			return err
		}
	}
	if sum := w.seal.Sum64(); sum != m.Sum {
		return &job.Failure{Kind: job.InputLost, Message: fmt.Sprintf("output of %s: %v: its content has hash %x, want %x", m.Attempt, record.ErrCorrupt, sum, m.Sum),
			Lost: []job.Attempt{m.Attempt}}
	}
	_, err = w.Seal(ctx, m.Counters, m.Sink)
	return err
}

func (w *Writer) copyExtent(ctx context.Context, e *job.Extent, r *segment.Run) error {
	defer func() { _ = r.Close() }()
	for i := 0; ctx.Err() == nil; i++ {
		block, err := r.Next()
		if err == io.EOF && (len(e.Blocks) == 0 || i == len(e.Blocks)) {
			return nil
		}
		if err == nil && len(e.Blocks) > 0 && i >= len(e.Blocks) || err == io.EOF {
			return r.Lost(fmt.Errorf("%w: frame %d of %d blocks", record.ErrCorrupt, i, len(e.Blocks)))
		}
		if err != nil {
			return err
		}
		records, first := 0, []byte(nil)
		switch {
		case len(e.Blocks) > 0:
			records, first = int(e.Blocks[i].Records), append([]byte{}, e.Blocks[i].First...)
		case i == 0: // the number of records in each frame is not known
			records = int(e.Records)
		}
		if err := w.Append(e.Port, e.Run, e.Partition, block, records, first); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
