package csvio

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/mapreduce/internal/files"
)

// survey reads the header of every file, and finds where to cut those that are larger than a split.
//
// Whether a line feed ends a row depends on all quotes before it. So a file is taken in segments, side by side, and each
// segment is followed twice, once as if its start were in a row and once as if it were in a quoted cell; when the segments before it
// are done, it is known which was right. The two mostly agree after a row or two, and then one goes on for both.
func (s Source[T]) survey(ctx context.Context, fs []files.File, target int64) (headers [][]string, cuts [][]int64, err error) {
	if target <= 0 {
		target = 64 << 20
	}
	headers, cuts = make([][]string, len(fs)), make([][]int64, len(fs))
	segments := make([][]segment, len(fs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range fs {
		group.Go(func() (err error) {
			headers[i], err = s.header(ctx, f)
			return err
		})
		if f.Codec != files.Plain || f.Size <= target+target/8 {
			continue
		}
		n := (f.Size + target/2) / target
		segments[i] = make([]segment, n)
		for k := range segments[i] {
			from := int64(float64(f.Size) / float64(n) * float64(k))
			to := int64(float64(f.Size) / float64(n) * float64(k+1))
			group.Go(func() (err error) {
				segments[i][k], err = s.segment(ctx, f, from, to)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i := range fs {
		inside, last := false, int64(0)
		for _, g := range segments[i] {
			at := g.start
			if inside {
				at = g.second
				inside = g.insideEnd
			} else {
				inside = g.outsideEnd
			}
			if at > last && at < fs[i].Size {
				cuts[i] = append(cuts[i], at)
				last = at
			}
		}
	}
	return headers, cuts, nil
}

// segment is what is known of a part of a file that starts and ends behind a line feed.
type segment struct {
	start                 int64
	second                int64 // the first row, when the start is inside a quoted cell; -1 when there is none
	outsideEnd, insideEnd bool  // whether the end is inside a quoted cell, when the start is outside or inside one
}

// segment looks at the file from the first line to start at or behind from to the first to start at or behind to.
func (s Source[T]) segment(ctx context.Context, f files.File, from, to int64) (g segment, err error) {
	r, err := f.Open(ctx)
	if err != nil {
		return g, err
	}
	defer r.Close()
	size := min(256<<10, max(4<<10, to-from))
	block := make([]byte, size, size+slack)
	if from, err = nextLine(r, from, f.Size, block); err != nil {
		return g, fmt.Errorf("%s: %w", f.Path, err)
	}
	g = segment{start: from, second: -1}
	if s.noQuotes || s.noFeeds {
		return g, nil
	}
	if to, err = nextLine(r, to, f.Size, block); err != nil {
		return g, fmt.Errorf("%s: %w", f.Path, err)
	}
	outside, inside, same := newScanner(s.comma, from, false), newScanner(s.comma, from, true), from == 0
	for at := from; at < to; {
		if err := context.Cause(ctx); err != nil {
			return g, err
		}
		data := block[:min(int64(len(block)), to-at)]
		if _, err := io.ReadFull(io.NewSectionReader(r, at, int64(len(data))), data); err != nil {
			return g, fmt.Errorf("%s: byte %d: %w", f.Path, at, err)
		}
		at += int64(len(data))
		if outside.at == 0 && bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
			data = data[3:]
			outside.at = 3
		}
		outside.scan(data)
		if !same {
			inside.scan(data)
			same = inside.state == outside.state && inside.first >= 0
		}
	}
	g.second, g.outsideEnd, g.insideEnd = inside.first, outside.quoted(), inside.quoted()
	if same {
		g.insideEnd = g.outsideEnd
	}
	return g, nil
}

// nextLine returns where the first line starts that starts at or behind at. It is size when there is none.
func nextLine(r io.ReaderAt, at, size int64, block []byte) (int64, error) {
	if at == 0 || at >= size {
		return min(at, size), nil
	}
	for at--; at < size; { // a line may start exactly there
		n, err := r.ReadAt(block[:min(int64(len(block)), 64<<10)], at)
		if i := bytes.IndexByte(block[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		if at += int64(n); err != nil && err != io.EOF {
			return 0, err
		}
		if n == 0 {
			break
		}
	}
	return size, nil
}
