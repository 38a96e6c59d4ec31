package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/layshaft/layshaft/internal/filesys"
)

// A task writes one file, unless its sink has a layout: files of about a size, or files in folders
// named after values of the records, as Hive has them:
//
//	sales/year=2026/part-00000-00000.csv
//	sales/year=2026/part-00000-00001.csv
//	sales/year=2025/part-00001-00000.csv
//
// The files of a task depend on its records alone, so every attempt writes the same ones. Finish
// joins small files of neighbouring tasks; see join.go.

// Missing is the value of a folder for records without a value.
const Missing = "__HIVE_DEFAULT_PARTITION__"

// layout is how the records of a task are spread over files. The zero value means one file.
type layout struct {
	size    int64    // bytes on disk of a file; zero means no limit
	folders []string // names of the folders, outermost first
	by      []any    // func(T) string for each folder
}

func (l layout) isPlain() bool { return l.size == 0 && len(l.folders) == 0 }

// check returns an error for a layout that out cannot have.
func (l layout) check(out Output) error {
	if _, ok := out.(*Dir); !ok && !l.isPlain() {
		return errors.New("a single file has neither FileSize nor Folder; write to a directory")
	}
	if l.size < 0 {
		return errors.New("FileSize must be positive: give a number of bytes, such as 128<<20")
	}
	for i, name := range l.folders {
		switch {
		case name == "":
			return errors.New(`a folder is named ""; give it a name, such as year`)
		case name[0] == '.' || name[0] == '_':
			return fmt.Errorf("a folder is named %q, and readers leave out names that begin with . or _; give it another name, such as year", name)
		case slices.Contains(l.folders[:i], name):
			return fmt.Errorf("two folders are named %q; give each its own name", name)
		case l.by[i] == nil:
			return fmt.Errorf("the function of the folder %q is nil", name)
		}
	}
	return nil
}

// SizeSink returns a copy of s that writes files of about size bytes, for the method FileSize of
// sinks.
func SizeSink(s Sink, size int64) Sink {
	s.name = fmt.Sprintf("%s.FileSize(%d)", s.name, size)
	s.layout.size = size
	if size <= 0 {
		s.layout.size = -1 // Check refuses it
	}
	return s.place()
}

// FolderSink returns a copy of s with one more level of folders, for the method Folder of sinks.
func FolderSink[T any](s Sink, name string, value func(T) string) Sink {
	s.name = fmt.Sprintf("%s.Folder(%q)", s.name, name)
	s.layout.folders = append(slices.Clip(s.layout.folders), name)
	s.layout.by = append(slices.Clip(s.layout.by), nil)
	if value != nil {
		s.layout.by[len(s.layout.by)-1] = value
	}
	return s.place()
}

// JoinSink returns a copy of s whose files are joined by join instead of one after the other. count
// counts the records of a joined file.
func JoinSink(s Sink, join Joiner, count Counter) Sink {
	switch o := s.out.(type) {
	case *Dir:
		out := *o
		out.join, s.out = join, &out
	case *One:
		out := *o
		out.join, out.count, s.out = join, count, &out
	}
	return s
}

// place gives the output the layout of the sink.
func (s Sink) place() Sink {
	if d, ok := s.out.(*Dir); ok {
		out := *d
		out.size, out.folders = max(s.layout.size, 0), s.layout.folders
		s.out = &out
	}
	return s
}

// EscapeFolder escapes a name or a value for the name of a folder, as Spark and Hive do: readers
// decode %XX. Text of other languages stays readable. The result is valid UTF-8, so it survives
// JSON.
func EscapeFolder(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if c := s[i]; c < 0x20 || c == 0x7f || strings.IndexByte("\"#%'*/:=?\\{}[]^<>|", c) >= 0 || r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// An Encoder writes records to a file in its format.
type Encoder[T any] interface {
	// Write adds one record, and counts it in Writer.Records.
	Write(v *T) error
	// End writes the remaining records. The caller closes the file.
	End() error
}

// A Holder is an Encoder that holds much in memory.
type Holder interface {
	// Held returns the bytes of the records that it has not written yet.
	Held() int64
	// Flush writes these records.
	Flush() error
}

// RecordWriter is a connector.Writer.
type RecordWriter[T any] interface {
	Write(v *T) error
	Close() ([]byte, error)
	Abort()
}

// OpenEncoded starts the output of one attempt. start makes the encoder of a file. limit is how
// many bytes all Holders of the attempt may hold together; zero means any number.
func OpenEncoded[T any](ctx context.Context, s Sink, t Task, limit int64, start func(w *Writer) (Encoder[T], error)) (RecordWriter[T], error) {
	if s.layout.isPlain() {
		w, err := s.out.Create(ctx, t)
		if err != nil {
			return nil, err
		}
		return newEncoded(w, start)
	}
	d, ok := s.out.(*Dir)
	if err := s.layout.check(s.out); err != nil || !ok {
		return nil, err
	}
	p := &parts[T]{ctx: ctx, dir: d, task: t, size: s.layout.size, limit: limit, start: start, open: map[string]*encoded[T]{}, next: map[string]int{}}
	for i, name := range s.layout.folders {
		by, ok := s.layout.by[i].(func(T) string)
		if !ok {
			return nil, fmt.Errorf("%s: the function of the folder %q is %T; it needs a func(%T) string", s, name, s.layout.by[i], *new(T))
		}
		p.names, p.by = append(p.names, EscapeFolder(name)+"="), append(p.by, by)
	}
	return p, nil
}

// encoded is one file of an attempt.
type encoded[T any] struct {
	w    *Writer
	enc  Encoder[T]
	used int64 // number of the last record, over all files of the attempt
	has  int64 // bytes that enc held after the last record
}

func newEncoded[T any](w *Writer, start func(w *Writer) (Encoder[T], error)) (*encoded[T], error) {
	enc, err := start(w)
	if err != nil {
		w.Abort()
		return nil, err
	}
	return &encoded[T]{w: w, enc: enc}, nil
}

// Write writes one record.
func (e *encoded[T]) Write(v *T) error { return e.enc.Write(v) }

// Close completes the file and returns its Part as JSON.
func (e *encoded[T]) Close() ([]byte, error) {
	if err := e.enc.End(); err != nil {
		return nil, err
	}
	return e.w.Close()
}

// Abort removes the file.
func (e *encoded[T]) Abort() { e.w.Abort() }

func (e *encoded[T]) heldBytes() int64 {
	if h, ok := e.enc.(Holder); ok {
		return h.Held()
	}
	return 0
}

// mostOpen is how many files an attempt has open at once. One more folder closes the file that was
// written to the longest time ago; a later record of that folder begins another file.
const mostOpen = 16

// parts writes the files of one attempt.
type parts[T any] struct {
	ctx   context.Context
	dir   *Dir
	task  Task
	size  int64
	limit int64 // of what the encoders hold
	names []string
	by    []func(T) string
	start func(w *Writer) (Encoder[T], error)

	open  map[string]*encoded[T] // by folder
	next  map[string]int         // number of the next file, by folder
	files int
	last  *encoded[T] // of folder at
	at    string
	n     int64
	held  int64    // by the encoders of open
	done  [][]byte // parts of the complete files
	buf   []byte
}

// Write writes one record to the file of its folder.
func (p *parts[T]) Write(v *T) error {
	folder := p.buf[:0]
	for i, f := range p.by {
		value := f(*v)
		if value == "" {
			value = Missing
		} else {
			value = EscapeFolder(value)
		}
		if len(p.names[i])+len(value) > 255 {
			return fmt.Errorf("the folder %s%.60s… is longer than the 255 bytes of a name; choose a shorter value", p.names[i], value)
		}
		folder = append(append(append(folder, p.names[i]...), value...), '/')
	}
	p.buf = folder
	if p.last == nil || string(folder) != p.at {
		if err := p.turn(string(folder)); err != nil {
			return err
		}
	}
	e := p.last
	p.n++
	e.used = p.n
	if err := e.enc.Write(v); err != nil {
		return err
	}
	p.note(e)
	// Records and not time decide, so that all attempts write the same files.
	if p.size > 0 && (p.size <= 1<<20 || e.w.Records%64 == 0) && e.w.size()+e.has >= p.size {
		return p.end(p.at)
	}
	if p.limit > 0 && p.held > p.limit {
		return p.relieve()
	}
	return nil
}

// note updates what the encoder of e holds.
func (p *parts[T]) note(e *encoded[T]) {
	now := e.heldBytes()
	p.held, e.has = p.held+now-e.has, now
}

// turn makes the file of a folder the current one.
func (p *parts[T]) turn(folder string) error {
	if e := p.open[folder]; e != nil {
		p.last, p.at = e, folder
		return nil
	}
	if len(p.open) == mostOpen {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(p.open)), func(a, b string) int { return int(p.open[a].used - p.open[b].used) })
		if err := p.end(oldest); err != nil {
			return err
		}
	}
	w, err := p.dir.create(p.ctx, p.task, folder, p.next[folder], p.files)
	if err != nil {
		return err
	}
	e, err := newEncoded(w, p.start)
	if err != nil {
		return err
	}
	p.next[folder]++
	p.files++
	p.open[folder], p.last, p.at = e, e, folder
	return nil
}

// relieve flushes the encoder that holds most.
func (p *parts[T]) relieve() error {
	var most *encoded[T]
	for _, folder := range slices.Sorted(maps.Keys(p.open)) {
		if e := p.open[folder]; most == nil || e.has > most.has {
			most = e
		}
	}
	err := most.enc.(Holder).Flush()
	p.note(most)
	return err
}

// end completes the file of a folder.
func (p *parts[T]) end(folder string) error {
	e := p.open[folder]
	part, err := e.Close()
	if err != nil {
		return err
	}
	p.held -= e.has
	delete(p.open, folder)
	if p.done = append(p.done, part); p.at == folder {
		p.last = nil
	}
	return nil
}

// Close completes all files and returns their Parts, one JSON value after the other. A task without
// records has one empty file, which Finish needs if no task has any.
func (p *parts[T]) Close() ([]byte, error) {
	if p.files == 0 {
		folder := ""
		for _, name := range p.names {
			folder += name + Missing + "/"
		}
		if err := p.turn(folder); err != nil {
			return nil, err
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(p.open)) {
		if err := p.end(folder); err != nil {
			return nil, err
		}
	}
	return slices.Concat(p.done...), nil
}

// Abort removes the open files. Finish removes the complete ones, with the job's temporary
// directory.
func (p *parts[T]) Abort() {
	for _, e := range p.open {
		e.Abort()
	}
}

// joinedName is the temporary name of the joined file number i.
func joinedName(i int) string { return fmt.Sprintf("joined-%05d", i) }

// A Joiner writes the content of several files to w as one file.
type Joiner func(w io.Writer, files []JoinFile) error

// A Counter returns the number of records of a file of size bytes.
type Counter func(f io.ReaderAt, size int64) (int64, error)

// JoinFile is a file to join.
type JoinFile struct {
	Part Part
	Path string // for errors
	open func(path string) (filesys.File, error)
}

// Open opens the file.
func (f JoinFile) Open() (filesys.File, error) { return f.open(f.Path) }
