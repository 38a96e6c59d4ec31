package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/report"
)

// watcher runs a statement again when its files change. It looks at the files in short intervals,
// because not every file system reports changes.
type watcher struct {
	c     *reportCmd
	text  string
	out   io.Writer
	err   io.Writer
	every time.Duration
	// size is the size of the terminal on which the table is drawn in place; nil elsewhere.
	size func() (width, height int, err error)

	lines int               // drawn last time
	last  *report.Statement // of the last run
	table []byte            // the last result
	files map[string]string // at the beginning of the last run; nil if they are unknown
}

// retryAfter is when a statement is tried again whose files are unknown, such as missing ones.
const retryAfter = 2 * time.Second

// settleFor is how long a run waits for files that keep changing.
const settleFor = 2 * time.Second

// runWatch watches the statement until ctx ends.
func (c *reportCmd) runWatch(ctx context.Context, text string) error {
	switch {
	case c.format() == "html" || c.format() == "parquet":
		return usageError{fmt.Errorf("-watch writes one result after the other, which %s cannot; use another format", c.format())}
	case c.Schema || c.Explain:
		return usageError{errors.New("-watch runs the query; leave out -schema and -explain")}
	}
	if c.State == "" {
		dir, err := os.MkdirTemp("", "layshaft-watch-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // the system removes temporary files, too
		c.State = dir
	}
	w := &watcher{c: c, text: text, out: os.Stdout, err: os.Stderr, every: 500 * time.Millisecond}
	if c.Cluster != "" {
		w.every = 5 * time.Second
	}
	if fd := int(os.Stdout.Fd()); c.format() == "table" && term.IsTerminal(fd) {
		w.size = func() (int, int, error) { return term.GetSize(fd) }
	}
	return w.run(ctx)
}

// run runs the statement, waits for a change, and so on. The end of ctx is no error.
func (w *watcher) run(ctx context.Context) error {
	why := "first result"
	for first := true; ; first = false {
		began := time.Now()
		result, err := w.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case first && errors.As(err, new(*report.Error)):
			return withCaret(err)
		case err != nil:
			w.show(fmt.Sprintf("no new result: %s; this tries again after a change", strings.ReplaceAll(withCaret(err).Error(), "\n", " ")))
		case len(w.files) == 0:
			return usageError{errors.New("-watch needs files: the query reads none")}
		default:
			w.table = result
			if w.size == nil {
				if _, err := w.out.Write(result); err != nil {
					return err
				}
			}
			w.show(fmt.Sprintf("%s, %v", why, time.Since(began).Round(10*time.Millisecond)))
		}
		if why = w.wait(ctx); why == "" {
			return nil
		}
	}
}

// once runs the statement and returns its output.
func (w *watcher) once(ctx context.Context) ([]byte, error) {
	w.files = nil
	s, err := w.c.prepare(ctx, w.text)
	if err != nil {
		return nil, err
	}
	w.last = s // without standard input, there is nothing to close
	if w.files, err = s.Inputs(ctx); err != nil {
		return nil, err
	}
	o := report.WriteOptions{MaxRows: w.c.MaxRows}
	if w.size != nil {
		if o.Width, _, err = w.size(); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	err = s.Run(ctx).Write(&out, w.c.format(), o)
	return out.Bytes(), err
}

// wait returns what changed, once it has changed. It returns "" at the end of ctx.
func (w *watcher) wait(ctx context.Context) string {
	before, began := w.files, time.Now()
	changed := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(w.every):
		}
		if before == nil {
			if time.Since(began) >= retryAfter {
				return "another try"
			}
			continue
		}
		now, err := w.last.Inputs(ctx)
		switch {
		case ctx.Err() != nil:
			return ""
		case err != nil:
			return "another try"
		}
		what := difference(before, now)
		switch {
		case what == "":
			changed = time.Time{}
		case changed.IsZero():
			changed, w.files = time.Now(), now
		case difference(w.files, now) == "" || time.Since(changed) > settleFor:
			return what
		default:
			w.files = now
		}
	}
}

// difference returns the difference of two sets of files for people; empty if there is none.
func difference(before, after map[string]string) string {
	var added, changed, removed []string
	for name, stamp := range after {
		if old, ok := before[name]; !ok {
			added = append(added, name)
		} else if old != stamp {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			removed = append(removed, name)
		}
	}
	var parts []string
	for _, set := range []struct {
		what  string
		names []string
	}{{"new", added}, {"changed", changed}, {"removed", removed}} {
		slices.Sort(set.names)
		switch n := len(set.names); {
		case n > 3:
			parts = append(parts, fmt.Sprintf("%s: %d files", set.what, n))
		case n > 0:
			for i, name := range set.names {
				set.names[i] = filepath.Base(name)
			}
			parts = append(parts, set.what+": "+strings.Join(set.names, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// show draws the last result and a line about it in place; without a terminal it writes the line to
// standard error.
func (w *watcher) show(status string) {
	status = time.Now().Format(time.TimeOnly) + "  " + plain.Text(status)
	if w.size == nil {
		fmt.Fprintf(w.err, "layshaft: %s\n", status)
		return
	}
	width, height, err := w.size()
	if err != nil || width < 10 || height < 4 {
		width, height = 80, 24
	}
	lines := strings.Split(strings.TrimSuffix(string(w.table), "\n"), "\n")
	if len(w.table) == 0 {
		lines = nil
	}
	if more := len(lines) - (height - 3); more > 0 { // scrolled lines cannot be drawn again
		last := lines[len(lines)-1]
		lines = append(lines[:height-4], fmt.Sprintf("… %d more", more), last)
	}
	status, _ = plain.Cut(status+"; ^C ends", width-1)
	var b strings.Builder
	if w.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", w.lines)
	}
	for _, line := range append(lines, status) {
		b.WriteString(plain.Text(line) + "\n")
	}
	w.lines = len(lines) + 1
	_, _ = io.WriteString(w.out, b.String())
}
