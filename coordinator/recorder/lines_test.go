package recorder

import (
	"fmt"
	"strings"
	"testing"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/report"
)

// Lines of user code survive restarts within their limit, and leave with their job.
func TestLines(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}}
	r := New(files, nil)
	submit(r)
	wrote := func(r *Recorder, from, to int) {
		for i := from; i < to; i++ {
			r.Wrote("j", []report.Line{{Worker: "w", Attempts: []string{"0/1#1"}, Text: fmt.Sprintf("line %d \xff%s", i, strings.Repeat("x", 900))}})
		}
	}
	wrote(r, 0, 10)
	r.write()
	r = New(files, nil)
	r.life += "x" // of a later time
	submit(r)
	wrote(r, 10, 10_000)
	if lines, err := r.Lines("j", 0); err != nil || !strings.HasPrefix(lines[0].Text, "line 0 \uFFFDx") {
		t.Fatal(err)
	}
	wrote(r, 10_000, 10_010)
	r.write()
	r.write() // removes nothing twice
	end(r)
	for range 2 {
		lines, err := r.Lines("j", 0)
		if err != nil {
			t.Fatal(err)
		}
		kept, omitted, size := int64(len(lines)), int64(0), 0
		for i, l := range lines {
			omitted += l.Omitted
			size += len(l.Text)
			if i > 0 && l.Number <= lines[i-1].Number {
				t.Fatalf("line %d has the number %d after %d", i, l.Number, lines[i-1].Number)
			}
		}
		if kept+omitted != 10_010 || size > maxLines || !strings.HasPrefix(lines[0].Text, "line 0 ") || !strings.HasPrefix(lines[kept-1].Text, "line 10009 ") {
			t.Errorf("%d lines of %d bytes, %d omitted, from %.10q to %.10q", kept, size, omitted, lines[0].Text, lines[kept-1].Text)
		}
		if some, err := r.Lines("j", lines[kept-3].Number); err != nil || len(some) != 2 {
			t.Errorf("%d lines after the third last, %v", len(some), err)
		}
		run, err := r.Open("j")
		if err != nil {
			t.Fatal(err)
		}
		again, err := history.Decode(history.Encode(run))
		if err != nil || int64(len(again.Lines)) != kept || again.Lines[3].Text != lines[3].Text || !again.Lines[3].By("0/1") || again.Lines[3].By("0/11") {
			t.Errorf("as a file: %d lines, %v", len(again.Lines), err)
		}
		r.write()
		r = New(files, nil)
	}
	r.Forget("j")
	r.write()
	if len(files.files) != 0 {
		t.Errorf("%d files of a dropped job", len(files.files))
	}
}

// The names of attempts count, too: a short line may be of many.
func TestLinesOfManyAttempts(t *testing.T) {
	t.Parallel()
	r := New(nil, nil)
	submit(r)
	var all []string
	for i := range 64 {
		all = append(all, fmt.Sprintf("0/%d#1", i))
	}
	for range 20_000 {
		r.Wrote("j", []report.Line{{Worker: "w", Attempts: all}})
	}
	lines, err := r.Lines("j", 0)
	size := 0
	for i := range lines {
		size += lineSize(&lines[i])
	}
	if err != nil || size > maxLines+fullSegment || len(lines) < 100 {
		t.Errorf("%d lines of about %d bytes, %v", len(lines), size, err)
	}
}

// A history that several callers open at once is read once.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	files := &memory{files: map[string][]byte{}}
	r := New(files, nil)
	submit(r)
	r.Wrote("j", []report.Line{{Worker: "w", Text: "once"}})
	end(r)
	r.write()
	r = New(files, nil)
	r.life += "x" // of a later time
	for range 2 { // both have seen that it is not in memory
		run, err := r.complete("j")
		if err != nil || len(run.Lines) != 1 {
			t.Errorf("%d lines, %v", len(run.Lines), err)
		}
	}
}

// lateFiles calls wrote during the first write of a file, which may fail.
type lateFiles struct {
	*memory
	wrote func()
	err   error
}

func (f *lateFiles) Write(name string, content []byte) error {
	if wrote := f.wrote; wrote != nil {
		f.wrote = nil
		wrote()
		if f.err != nil {
			return f.err
		}
	}
	return f.memory.Write(name, content)
}

// Lines that come while others are written, and lines whose write failed, are written next.
func TestLinesDuringWrite(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errDisk} {
		files := &lateFiles{memory: &memory{files: map[string][]byte{}}, err: err}
		r := New(files, nil)
		submit(r)
		end(r)
		r.Wrote("j", []report.Line{{Worker: "w", Text: "first"}})
		files.wrote = func() {
			if err == nil {
				r.Wrote("j", []report.Line{{Worker: "w", Text: "second"}})
			}
		}
		r.write()
		r.write()
		want := map[error]int{nil: 2, errDisk: 1}[err]
		r = New(files, nil)
		r.life += "x" // of a later time
		if lines, lerr := r.Lines("j", 0); lerr != nil || len(lines) != want {
			t.Errorf("after %v: %d lines, %v; want %d", err, len(lines), lerr, want)
		}
	}
}
