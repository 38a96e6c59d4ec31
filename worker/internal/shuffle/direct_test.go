package shuffle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

// child writes the segment of w as a child process does.
type child struct {
	w    *Writer
	path string
	enc  record.Adaptive
	sum  segment.Sum
}

func (c *child) Append(port, run, part int, block []byte, records int, first []byte) (err error) {
	frame := record.AppendFrame(nil, block, record.None)
	if c.w.Compresses() {
		frame = c.enc.AppendFrame(nil, block)
	}
	if c.path, err = c.w.Grow(int64(len(frame)) + 1000); err != nil {
		return err
	}
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(frame)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_ = c.sum.Append(port, run, part, block, records, first)
	c.w.SetSum(c.sum.Sum64())
	return c.w.AppendStored(port, run, part, int64(len(block)), int64(len(frame)), records, first)
}

// An output whose segment another process wrote is what it would be if the store had written it,
// and takes no more of the quota.
func TestDirect(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprint("compress=", compress), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{Compress: compress, Quota: 1 << 30})
			w := create(t, s, attempt("j", 0, 1))
			fill(t, w, 3, 10, 5_000, 200_000)
			want := seal(t, w)
			used, _ := s.Space()
			w = create(t, s, attempt("j", 1, 1))
			content := fill(t, &child{w: w}, 3, 10, 5_000, 200_000)
			got := seal(t, w)
			both, _ := s.Space()
			if both-used != used {
				t.Errorf("the output takes %d bytes of the quota, want %d", both-used, used)
			}
			if got.Sum != want.Sum || len(got.Extents) != len(want.Extents) {
				t.Errorf("sum %x with %d extents, want %x with %d", got.Sum, len(got.Extents), want.Sum, len(want.Extents))
			}
			for i := range got.Extents {
				if g, w := got.Extents[i], want.Extents[i]; g.Offset != w.Offset || g.Bytes != w.Bytes || g.Raw != w.Raw || g.Records != w.Records {
					t.Errorf("extent %d is %+v, want %+v", i, g, w)
				}
			}
			check(t, s, attempt("j", 1, 1), content)
		})
	}
}

// A manifest that is too long for Badger follows the blocks of the other process.
func TestDirectLargeManifest(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w := create(t, s, attempt("j", 0, 1))
	c := &child{w: w}
	first := bytes.Repeat([]byte("k"), 900)
	for i := range 600 {
		if err := c.Append(0, 0, 0, []byte("block"), 1, fmt.Appendf(nil, "%04d%s", i, first)); err != nil {
			t.Fatal(err)
		}
	}
	m := seal(t, w)
	read, err := s.Manifest(m.Attempt)
	if err != nil || len(read.Extents) != 1 || len(read.Extents[0].Blocks) != 600 {
		t.Errorf("%v, %v", read, err)
	}
}

// What a process did not write as it said is no output, and leaves no file.
func TestDirectRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(w *Writer, c *child) error
		want string
	}{
		{"more described than written", func(w *Writer, _ *child) error { return w.AppendStored(0, 0, 0, 10, 20, 1, nil) }, "described"},
		{"more written than described", func(_ *Writer, c *child) error {
			return os.WriteFile(c.path, make([]byte, 1000), 0o600)
		}, "described"},
		{"no size", func(w *Writer, _ *child) error { return w.AppendStored(0, 0, 0, 0, 20, 1, nil) }, "a block of 0 bytes"},
		{"frame too long", func(w *Writer, _ *child) error { return w.AppendStored(0, 0, 0, 10, 100, 1, nil) }, "a frame of 100"},
		{"a block appended too", func(w *Writer, _ *child) error { return w.Append(0, 0, 0, []byte("x"), 1, nil) }, "another process"},
		{"negative room", func(w *Writer, _ *child) error { _, err := w.Grow(-1); return err }, "cannot grow"},
		{"written twice", func(_ *Writer, c *child) error {
			return errors.Join(c.Append(0, 0, 1, []byte("x"), 1, nil), c.Append(0, 0, 0, []byte("x"), 1, nil))
		}, "written twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{Quota: 1 << 30})
			w := create(t, s, attempt("j", 0, 1))
			c := &child{w: w}
			if err := c.Append(0, 0, 0, []byte("block"), 1, nil); err != nil {
				t.Fatal(err)
			}
			err := test.do(w, c)
			if err == nil {
				_, err = w.Seal(t.Context(), nil, nil)
			}
			w.Discard()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if used, _ := s.Space(); used != 0 {
				t.Errorf("%d bytes of the quota are used after it", used)
			}
			if files := segments(t, dir); len(files) > 0 {
				t.Errorf("left: %q", files)
			}
		})
	}
	s := open(t, t.TempDir(), Options{})
	w := create(t, s, attempt("j", 0, 1))
	defer w.Discard()
	if err := w.Append(0, 0, 0, []byte("x"), 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.AppendStored(0, 0, 0, 10, 20, 1, nil); err == nil {
		t.Error("a block was written behind the store's own")
	}
}

// A quota that is reached refuses more room.
func TestDirectQuota(t *testing.T) {
	s := open(t, t.TempDir(), Options{Quota: 1 << 20})
	w := create(t, s, attempt("j", 0, 1))
	defer w.Discard()
	if _, err := w.Grow(2 << 20); !errors.Is(err, job.ErrDiskFull) {
		t.Errorf("error %v, want a full disk", err)
	}
	if _, err := w.Grow(1 << 19); err != nil {
		t.Errorf("half of the quota is refused: %v", err)
	}
}
