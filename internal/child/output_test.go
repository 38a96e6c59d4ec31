package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

// fileOutput is an output whose segment the child may write. It reads each block when it is
// described.
type fileOutput struct {
	memOutput
	path       string
	compresses bool
	most       int64 // bytes that may be granted at once; zero means any
	file       *os.File
	at         int64
	granted    int64
	stored     int // blocks in the segment
	sum        uint64
	err        error
}

func (o *fileOutput) Compresses() bool  { return o.compresses }
func (o *fileOutput) SetSum(sum uint64) { o.sum = sum }

func (o *fileOutput) Grow(n int64) (string, error) {
	if o.most > 0 && n > o.most {
		return "", fmt.Errorf("%w: no room for %d bytes", job.ErrDiskFull, n)
	}
	if o.file == nil && filepath.IsAbs(o.path) {
		f, err := os.Create(o.path)
		if err != nil {
			return "", err
		}
		o.file = f
	}
	o.granted += n
	return o.path, nil
}

func (o *fileOutput) AppendStored(port, run, part int, raw, stored int64, records int, first []byte) error {
	block, err := record.NewFrameReader(o.file, o.at, o.at+stored, 0).Next()
	o.at += stored
	o.stored++
	if err != nil || int64(len(block)) != raw || o.at > o.granted {
		o.err = fmt.Errorf("block of %d bytes, want %d, at %d of %d granted bytes: %v", len(block), raw, o.at, o.granted, err)
		return o.err
	}
	return o.Append(port, run, part, block, records, first)
}

// A large output is written to the segment by the child, a small one is sent. Both have the blocks
// in their order, and the hash that the worker would compute.
func TestOutputInSegment(t *testing.T) {
	for _, test := range []struct {
		name       string
		blocks     int
		size       int
		change     func(o *fileOutput)
		wantStored bool
		wantError  string
	}{
		{"small", 5, 1000, func(*fileOutput) {}, false, ""},
		{"large", 300, 10_000, func(*fileOutput) {}, true, ""},
		{"compressed", 300, 10_000, func(o *fileOutput) { o.compresses = true }, true, ""},
		{"many tiny", 3000, 5, func(*fileOutput) {}, true, ""},
		{"one huge", 1, 3 * batch, func(*fileOutput) {}, true, ""},
		{"huge ones", 20, 3 * batch, func(*fileOutput) {}, true, ""},
		{"little room at once", 300, 10_000, func(o *fileOutput) { o.most = 600_000 }, true, ""},
		{"no room", 300, 10_000, func(o *fileOutput) { o.most = 1000 }, true, "disk full: no room for"},
		{"other files", 300, 10_000, func(o *fileOutput) { o.path = "not/here" }, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want memOutput
			var sum segment.Sum
			rng := rand.New(rand.NewPCG(1, 0))
			var blocks [][]byte
			for i := range test.blocks {
				b := bytes.Repeat([]byte{byte(rng.Uint32())}, test.size)
				blocks = append(blocks, b)
				_ = want.Append(i%2, 1, 2, b, i, []byte{byte(i)})
				_ = sum.Append(i%2, 1, 2, b, i, nil)
			}
			c := pair(t, func(_ context.Context, r *job.Run) error {
				for i, b := range blocks {
					own := bytes.Clone(b)
					if err := r.Output.Append(i%2, 1, 2, own, i, []byte{byte(i)}); err != nil {
						return err
					}
					clear(own) // the caller may reuse it
				}
				return nil
			})
			out := &fileOutput{path: filepath.Join(t.TempDir(), "0.seg")}
			test.change(out)
			r, _ := newRun()
			r.Output = out
			err := run(t, c, r)
			if out.file != nil {
				_ = out.file.Close()
			}
			if test.wantError != "" {
				var f *job.Failure
				if !errors.As(err, &f) || !strings.Contains(f.Message, test.wantError) {
					t.Errorf("error %v, want %q", err, test.wantError)
				}
				return
			}
			if err != nil || out.err != nil {
				t.Fatal(err, out.err)
			}
			if !reflect.DeepEqual(out.blocks, want.blocks) || !reflect.DeepEqual(out.firsts, want.firsts) {
				t.Errorf("%d blocks differ from the %d that were appended", len(out.blocks), len(want.blocks))
			}
			switch {
			case test.wantStored && (out.stored != test.blocks || out.sum != sum.Sum64()):
				t.Errorf("%d of %d blocks in the segment, sum %x, want %x", out.stored, test.blocks, out.sum, sum.Sum64())
			case !test.wantStored && out.stored != 0:
				t.Errorf("%d blocks in the segment, want none", out.stored)
			}
		})
	}
}
