package files

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
)

// SplitsAt is Splits for formats whose records cannot be found by a delimiter. cuts contains the
// offsets of the cuts in each file, ascending and without 0. Small files are packed together.
// Compressed files must have no cuts.
func SplitsAt(ctx context.Context, fs []File, target int64, cuts [][]int64) ([]job.Split, error) {
	if target <= 0 {
		target = defaultTarget
	}
	p := newPacker(target)
	for i, f := range fs {
		s, err := WholeFile(ctx, f)
		if err != nil {
			return nil, err
		}
		note, at := "", []cut{{}}
		if f.Codec != Plain && f.Raw > target+target/8 {
			note = f.Codec.String() + ": cannot be cut"
		}
		for _, offset := range cuts[i] {
			at = append(at, cut{offset: offset})
		}
		if err := p.add(f, s, at, note); err != nil {
			return nil, err
		}
	}
	if err := p.bins.Flush(); err != nil {
		return nil, err
	}
	return p.out, nil
}

// WholeFile returns a slice for the whole file. From then on, other processes of the job may read
// the file.
func WholeFile(ctx context.Context, f File) (Slice, error) {
	path, err := filesys.Lend(ctx, f.Path)
	if err != nil {
		return Slice{}, err
	}
	s := Slice{Path: path, Length: -1, Codec: f.Codec, Size: f.Size, ModTime: f.ModTime.UnixNano(), Version: f.Version, Hosts: f.Hosts}
	return s, nil
}

// exactSize is the read size of Exact in bytes. Such a block stays in the processor's cache while
// yield processes it.
const exactSize = 256 << 10

// Exact reads a slice that starts and ends exactly at record boundaries, in chunks that may end
// anywhere. yield returns how many bytes of c.Data it processed. The rest comes again with more
// bytes after it, so a chunk always starts with a record. When last is set, yield must process all
// bytes. It may end early by returning ErrStop.
//
// Unlike in Chunks, c.Data is overwritten after yield returns. A format that keeps little of a
// record is faster if it copies that part than if all input is fresh memory.
func Exact(ctx context.Context, s Slice, yield func(c Chunk, last bool) (int, error)) error {
	return readExact(ctx, s, exactSize, true, yield)
}

// ExactBytes is Exact for content that is not text: it neither checks the first bytes nor removes a
// byte order mark.
func ExactBytes(ctx context.Context, s Slice, yield func(c Chunk, last bool) (int, error)) error {
	return readExact(ctx, s, exactSize, false, yield)
}

// cutBlock is the size of a block in which CutsAt looks for the start of a record, in bytes.
const cutBlock = 64 << 10

// CutsAt finds places for SplitsAt: in each plain file, about one after every target bytes. start
// receives blocks of a file that begin anywhere. It returns the position of a record that starts in
// the block, or -1. It must return real starts only, but may overlook some.
func CutsAt(ctx context.Context, fs []File, target int64, start func(block []byte) int) ([][]int64, error) {
	if target <= 0 {
		target = defaultTarget
	}
	cuts := make([][]int64, len(fs))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, f := range fs {
		if f.Codec != Plain || f.Size <= target+target/8 {
			continue
		}
		group.Go(func() (err error) {
			cuts[i], err = cutsOf(groupCtx, f, target, start)
			return err
		})
	}
	return cuts, group.Wait()
}

func cutsOf(ctx context.Context, f File, target int64, start func(block []byte) int) (cuts []int64, err error) {
	r, err := f.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	block := make([]byte, cutBlock)
	for want := target; want < f.Size; want += target {
		if len(cuts) > 0 {
			want = max(want, cuts[len(cuts)-1]+1)
		}
		found := false
		for at := want; at < f.Size; {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			n, err := r.ReadAt(block, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			if n == 0 {
				break
			}
			if next := start(block[:n]); next > 0 && at+int64(next) < f.Size {
				cuts, found = append(cuts, at+int64(next)), true
				break
			}
			if n < len(block) {
				break // the end of the file
			}
			at += int64(n / 2) // a start may lie across blocks
		}
		if !found { // there is none further on either
			break
		}
	}
	return cuts, nil
}

func readExact(ctx context.Context, s Slice, size int, text bool, yield func(c Chunk, last bool) (int, error)) (err error) {
	st, err := s.open(ctx, s.Offset)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := st.close(); err == nil {
			err = cerr
		}
	}()
	left := int64(1 << 62) // remaining bytes of the slice, as far as known
	switch {
	case s.Length >= 0:
		left = s.Length
	case s.Codec == Plain:
		left = s.Size - s.Offset
	}
	buf := allocate(int(max(min(int64(size), left), 3))) // room for a byte order mark
	// buf[:n], at offset base, are the bytes that yield has not processed.
	base, n := s.Offset, 0
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		m, eof, err := st.fill(buf[n : n+int(min(left, int64(len(buf)-n)))])
		n += m
		left -= int64(m)
		if err != nil {
			return fmt.Errorf("%s: byte %d: %w", s.Path, base+int64(n), err)
		}
		last := left == 0 || eof
		data, first := buf[:n], base == 0
		if text && first && n == m {
			if err := checkText(s.Path, s.Codec, data, last || n >= exactSize); err != nil {
				return err
			}
		}
		if text && first && len(data) >= 3 && string(data[:3]) == "\xef\xbb\xbf" {
			data, base = data[3:], 3
		}
		took := 0
		if len(data) > 0 {
			took, err = yield(Chunk{Path: s.Path, Codec: s.Codec, Offset: base, First: first, Data: data}, last)
			if errors.Is(err, ErrStop) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		rest := data[took:]
		base += int64(took)
		if len(rest) > MaxRecord {
			return fmt.Errorf("%s: the record at byte %d is longer than %d bytes", s.Path, base, MaxRecord)
		}
		if 2*len(rest) > len(buf) {
			buf = allocate(2 * len(buf))
		}
		n = copy(buf, rest)
	}
}
