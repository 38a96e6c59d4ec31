package csvcodec

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/files"
	"github.com/layshaft/layshaft/internal/machine"
)

// Cuts finds where to cut the files larger than a split of target bytes, 64 MiB if zero: the starts
// of rows, for each file, without 0. comma and quote are the bytes of New. noFeeds promises that no
// quoted cell contains a line feed.
//
// Whether a line feed ends a row depends on all quotes before it. So Cuts divides a file into
// segments and scans them in parallel. Each segment is scanned under two assumptions: that it
// starts between rows, and that it starts inside a quoted cell. Once all earlier segments are done,
// the right assumption is clear. The two scans mostly agree after a row or two, and then one scan
// continues for both.
func Cuts(ctx context.Context, fs []files.File, target int64, comma, quote byte, noFeeds bool) ([][]int64, error) {
	if target <= 0 {
		target = 64 << 20
	}
	cuts, segments := make([][]int64, len(fs)), make([][]segment, len(fs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(machine.Processors())
	for i, f := range fs {
		if f.Codec != files.Plain || f.Size <= target+target/8 {
			continue
		}
		n := (f.Size + target/2) / target
		segments[i] = make([]segment, n)
		for k := range segments[i] {
			from := int64(float64(f.Size) / float64(n) * float64(k))
			to := int64(float64(f.Size) / float64(n) * float64(k+1))
			group.Go(func() (err error) {
				segments[i][k], err = cutSegment(ctx, f, from, to, comma, quote, noFeeds || quote == 0)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
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
	return cuts, nil
}

// segment is the result of scanning one part of a file. The part starts and ends after a line feed.
type segment struct {
	start int64
	// second is the start of the first row if the segment starts inside a quoted cell; -1 when
	// there is none.
	second int64
	// outsideEnd reports whether the segment ends inside a quoted cell if it starts outside one;
	// insideEnd, if it starts inside.
	outsideEnd, insideEnd bool
}

// cutSegment scans the file from the first line that starts at or after from, to the first line
// that starts at or after to.
func cutSegment(ctx context.Context, f files.File, from, to int64, comma, quote byte, anyLine bool) (g segment, err error) {
	r, err := f.Open(ctx)
	if err != nil {
		return g, err
	}
	defer r.Close()
	size := min(256<<10, max(4<<10, to-from))
	block := make([]byte, size, size+Slack)
	if from, err = nextLine(r, from, f.Size, block); err != nil {
		return g, fmt.Errorf("%s: %w", f.Path, err)
	}
	g = segment{start: from, second: -1}
	if anyLine {
		return g, nil
	}
	if to, err = nextLine(r, to, f.Size, block); err != nil {
		return g, fmt.Errorf("%s: %w", f.Path, err)
	}
	outside, inside, same := newScanner(comma, quote, from, false), newScanner(comma, quote, from, true), from == 0
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
	g.second, g.outsideEnd, g.insideEnd = inside.first, outside.isQuoted(), inside.isQuoted()
	if same {
		g.insideEnd = g.outsideEnd
	}
	return g, nil
}

// nextLine returns the start of the first line that starts at or after at, or size when there is
// none.
func nextLine(r io.ReaderAt, at, size int64, block []byte) (int64, error) {
	if at == 0 || at >= size {
		return min(at, size), nil
	}
	for at--; at < size; { // a line may start exactly at this byte
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
