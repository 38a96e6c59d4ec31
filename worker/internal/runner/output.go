package runner

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/report"
)

const (
	linesPerSecond = 20      // maximum lines of a child's output in the worker's log
	maxLine        = 4 << 10 // maximum bytes of one line
)

// output keeps the start and the end of a child's output, up to limit bytes each. It logs the
// output, up to linesPerSecond, and passes each line to lines.
type output struct {
	limit int
	log   *slog.Logger
	lines func(Line) // may be nil
	// running returns the attempts of the child, for a child without tags.
	running func() []string

	tags    child.Untagger
	line    []byte    // incomplete line
	rest    []byte    // the end of what was cut off line
	second  time.Time // start of the second counted by printed and dropped
	printed int
	dropped int

	// mu guards the fields below.
	mu    sync.Mutex
	head  []byte
	tail  []byte // output after head, at least its last limit bytes
	total int64
}

// read reads all output of the child until its end. The child waits for read only while read logs a
// few lines.
func (o *output) read(r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		o.keep(buf[:n])
		o.split(buf[:n])
		if err != nil {
			if len(o.line) > 0 {
				o.print(o.line)
			}
			o.newSecond(time.Now())
			return
		}
	}
}

func (o *output) keep(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += int64(len(p))
	n := min(len(p), o.limit-len(o.head))
	o.head = append(o.head, p[:n]...)
	o.tail = append(o.tail, p[n:]...)
	if len(o.tail) > 2*o.limit {
		o.tail = append(o.tail[:0], o.tail[len(o.tail)-o.limit:]...)
	}
}

// split logs the complete lines of the output and keeps an incomplete one in o.line.
func (o *output) split(p []byte) {
	for {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		fits := min(len(part), maxLine-len(o.line))
		o.line = append(o.line, part[:fits]...)
		if part = part[fits:]; len(part) > 0 {
			o.rest = append(o.rest, part[max(0, len(part)-child.MaxTag):]...)
			o.rest = o.rest[max(0, len(o.rest)-child.MaxTag):]
		}
		if i < 0 {
			return
		}
		if len(o.rest) > 0 { // an attempt may begin or end there
			o.line = child.KeepTag(o.line, o.rest)
		}
		o.print(o.line)
		o.line, o.rest = o.line[:0], o.rest[:0]
		p = p[i+1:]
	}
}

func (o *output) print(line []byte) { o.tags.Line(bytes.TrimSuffix(line, []byte("\r")), o.emit) }

// emit logs a line and passes it on.
func (o *output) emit(w child.Written) {
	now := time.Now()
	if w.Attempts == nil {
		w.Attempts = o.running()
	}
	if o.lines != nil {
		o.lines(Line{At: now, Attempts: w.Attempts, Text: w.Text})
	}
	if now.Sub(o.second) >= time.Second {
		o.newSecond(now)
	}
	if o.printed++; o.printed > linesPerSecond {
		o.dropped++
		return
	}
	log := o.log
	switch a := w.Attempts; {
	case len(a) == 1:
		task, _, _ := strings.Cut(a[0], "#")
		stage, _, _ := strings.Cut(task, "/")
		log = log.With("stage", stage, "task", task, "attempt", a[0])
	case len(a) > 1:
		log = log.With("attempts", strings.Join(a, ","))
	}
	log.Info("child output", "line", string(bytes.ToValidUTF8(w.Text, []byte("\uFFFD"))))
}

func (o *output) newSecond(now time.Time) {
	if o.dropped > 0 {
		o.log.Warn("child output dropped, too many lines a second", "lines", o.dropped)
	}
	o.second, o.printed, o.dropped = now, 0, 0
}

// String returns the start and the end of the output, without tags, and with a note about the
// omitted part.
func (o *output) String() string { return child.Untag(o.tagged()) }

func (o *output) tagged() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	tail := o.tail[max(0, len(o.tail)-o.limit):]
	if missing := o.total - int64(len(o.head)+len(tail)); missing > 0 {
		return fmt.Sprintf("%s\n... %s omitted ...\n%s", o.head, report.Plural(missing, "byte"), tail)
	}
	return string(o.head) + string(tail)
}
