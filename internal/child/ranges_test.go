package child

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/segment"
)

// segmentOf writes blocks with these keys to a file, after some other bytes, and returns its place.
func segmentOf(t *testing.T, blocks ...[]string) segment.File {
	t.Helper()
	f := segment.File{Path: filepath.Join(t.TempDir(), "1.seg"), From: 3, Attempt: job.Attempt{Job: "j", Task: job.Task{Stage: 1, Index: 2}, N: 7}, Port: 1, Number: 2, Partition: 3, IsWhole: true}
	stored := []byte("???")
	for _, keys := range blocks {
		var block []byte
		for _, k := range keys {
			block = record.AppendRecord(block, []byte(k), []byte("v"))
		}
		stored = record.AppendFrame(stored, block, record.S2)
		f.Records += int64(len(keys))
		f.Bytes += int64(len(block))
	}
	f.To = int64(len(stored))
	if err := os.WriteFile(f.Path, append(stored, "???"...), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// A child reads runs in files of its machine by itself, with the limits of a range, and with the
// errors that the worker would return.
func TestInputInFile(t *testing.T) {
	whole := segmentOf(t, []string{"a", "c"}, []string{"e", "g"}, []string{"i"})
	part := whole
	part.Lo, part.Hi, part.Blocks = []byte("b"), []byte("h"), 2
	short := whole
	short.Bytes++
	gone := whole
	gone.Path += ".gone"
	cut := whole
	cut.To--
	// here the worker has the file, and the child does not
	elsewhere := whole
	elsewhere.Path = "not/here"
	elsewherePart := part
	elsewherePart.Path = "not/here"
	for _, test := range []struct {
		name     string
		file     segment.File // as the child gets it
		worker   segment.File // what the worker reads; zero if it must not
		want     []string
		wantLost string
	}{
		{"whole", whole, segment.File{}, []string{"a", "c", "e", "g", "i"}, ""},
		{"range", part, segment.File{}, []string{"c", "e", "g"}, ""},
		{"fewer bytes", short, segment.File{}, []string{"a", "c", "e", "g", "i"}, "corrupt data"},
		{"no file", gone, gone, nil, "no such file"},
		{"cut", cut, segment.File{}, []string{"a", "c", "e", "g"}, "corrupt data"},
		{"other files", elsewhere, whole, []string{"a", "c", "e", "g", "i"}, ""},
		{"range in other files", elsewherePart, part, []string{"c", "e", "g"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := make(chan []string, 1)
			c := pair(t, func(_ context.Context, r *job.Run) error {
				var keys []string
				defer func() { got <- keys }()
				in := r.Inputs[0][0]
				if in.Records() != test.file.Records || in.Bytes() != test.file.Bytes {
					return errors.New("the totals differ")
				}
				for {
					block, err := in.Next()
					if err == io.EOF {
						return in.Close()
					}
					if err != nil {
						return err
					}
					for len(block) > 0 {
						key, _, rest, err := record.Cut(block)
						if err != nil {
							return err
						}
						keys, block = append(keys, string(key)), rest
					}
				}
			})
			r, _ := newRun()
			in := placed{RunReader: test.worker.Open(), file: test.file}
			if test.worker.Path == "" {
				in.RunReader = unread{t, test.file.Open()}
			}
			r.Inputs = [][]job.RunReader{{in}}
			err := run(t, c, r)
			if keys := <-got; !reflect.DeepEqual(keys, test.want) {
				t.Errorf("keys %q, want %q", keys, test.want)
			}
			var f *job.Failure
			switch {
			case test.wantLost == "" && err != nil:
				t.Error(err)
			case test.wantLost != "" && (!errors.As(err, &f) || f.Kind != job.InputLost || !reflect.DeepEqual(f.Lost, []job.Attempt{test.file.Attempt}) ||
				!strings.Contains(f.Message, "port 1 run 2 partition 3") || !strings.Contains(f.Message, test.wantLost)):
				t.Errorf("%v; want a lost input with %q", err, test.wantLost)
			}
		})
	}
}

// unread is a run that the worker must not read.
type unread struct {
	t *testing.T
	job.RunReader
}

func (u unread) Next() ([]byte, error) {
	u.t.Error("the worker read the run")
	return nil, io.EOF
}

// placed is a run of which the child gets a place.
type placed struct {
	job.RunReader
	file segment.File
}

func (p placed) Local() (segment.File, bool) { return p.file, true }

// An attempt that stops in the middle of its inputs leaves no file open in its process, which runs
// many attempts. So do partitions that another one follows.
func TestInputFilesAreClosed(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip(err)
	}
	file := segmentOf(t, []string{"a"}, []string{"b"})
	open := func() (n int) {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == file.Path {
				n++
			}
		}
		return n
	}
	during := make(chan int, 2)
	c := pair(t, func(_ context.Context, r *job.Run) error {
		if _, err := r.Inputs[0][0].Next(); err != nil {
			return err
		}
		for range 2 {
			runs, err := r.OpenPartition(0)
			if err == nil {
				_, err = runs[0].Next()
			}
			if err != nil {
				return err
			}
			during <- open()
		}
		return errors.New("stopped")
	})
	r, _ := newRun()
	r.Inputs = [][]job.RunReader{{placed{RunReader: file.Open(), file: file}}}
	r.OpenPartition = func(int) ([]job.RunReader, error) {
		return []job.RunReader{placed{RunReader: file.Open(), file: file}}, nil
	}
	if err := run(t, c, r); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Fatal(err)
	}
	if first, second, after := <-during, <-during, open(); first != 2 || second != 2 || after != 0 {
		t.Errorf("%d and %d files open during the attempt, %d after it; want 2, 2 and 0", first, second, after)
	}
}
