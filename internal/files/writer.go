package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
)

// Task identifies the attempt that writes an output file. It has the fields of connector.SinkTask,
// so the types convert.
type Task struct {
	Job     string // job ID, safe in file names
	Index   int    // task number, from 0
	Of      int    // number of tasks
	Attempt int    // attempt number, from 1
}

// Output is a destination of output files: a *Dir or a *One. Check, Finish and Abandon implement
// connector.Sink.
type Output interface {
	String() string
	// WithCodec returns a copy with codec c.
	WithCodec(c Codec) Output
	// Check returns an error with the place and a way to correct it if the place cannot take
	// output.
	Check(ctx context.Context) error
	// Create starts the file of one attempt.
	Create(ctx context.Context, t Task) (*Writer, error)
	// Finish makes the files of the committed attempts visible. parts are the results of Close, in
	// task order. Finish may be killed at any point and called again.
	Finish(ctx context.Context, job string, parts [][]byte) error
	// Published reports whether the output of the job is still in place. ended is the time when the
	// job ended.
	Published(ctx context.Context, job string, ended time.Time) (bool, error)
	// Abandon removes every temporary file of the job.
	Abandon(ctx context.Context, job string) error
}

// Part describes the file of one committed attempt.
type Part struct {
	Name    string `json:"name"`           // final name: part-00003.txt, with its folders
	Temp    string `json:"temp,omitempty"` // name until Finish: part-00003.attempt-2.txt
	Host    string `json:"host,omitempty"` // host of the file, for a file system with several hosts
	Bytes   int64  `json:"bytes"`          // on disk
	Records int64  `json:"records"`        // number of records
	XXH3    string `json:"xxh3"`           // of the bytes on disk, 64 bits, hex
	// Head is the number of bytes at the beginning that a file has once, such as a row of column
	// names. It is set where files may be joined.
	Head int64 `json:"head,omitempty"`
	// Joined is a hash of the parts of which Finish made this one; empty if it is the file of a
	// task.
	Joined string `json:"joined,omitempty"`
	// Requeued marks a part that a later run has added; see FinishRequeue.
	Requeued bool `json:"requeued,omitempty"`
}

// bufferSize is the number of bytes collected before a write.
const bufferSize = 256 << 10

// Writer writes the file of one attempt. It must not be used by several goroutines at once.
type Writer struct {
	// Records is set by the format, for the manifest.
	Records int64

	dest     *hashedFile
	zip      compressor // compresses into dest; nil when plain
	buf      []byte
	part     Part
	noSync   bool
	packed   int64 // bytes given to zip
	joinable bool  // its head is kept apart
	noHead   bool  // its head is left out
}

// compressor is a writer of gzip or zstd.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// WriteHead writes the beginning that a file has once. It is left out where another file of the
// output has it. It comes before everything else.
func (w *Writer) WriteHead(head []byte) error {
	if w.noHead || len(head) == 0 {
		return nil
	}
	if _, err := w.Write(head); err != nil || !w.joinable {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.zip != nil { // a frame of its own can be left out later
		if err := w.zip.Close(); err != nil {
			return withPath(w.dest.Path(), err)
		}
		w.zip.Reset(w.dest)
	}
	w.part.Head = w.dest.n
	return nil
}

// size returns how many bytes the file has on disk, with an estimate for those in buffers.
func (w *Writer) size() int64 {
	n := int64(len(w.buf))
	if w.zip != nil && w.packed > 0 {
		n = int64(float64(n) * float64(w.dest.n) / float64(w.packed))
	}
	return w.dest.n + n
}

// Write appends p.
func (w *Writer) Write(p []byte) (int, error) {
	if len(w.buf)+len(p) > cap(w.buf) {
		if err := w.flush(); err != nil {
			return 0, err
		}
		if len(p) >= cap(w.buf) {
			return len(p), w.emit(p)
		}
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (w *Writer) flush() error {
	err := w.emit(w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *Writer) emit(p []byte) (err error) {
	if w.zip != nil {
		w.packed += int64(len(p))
		_, err = w.zip.Write(p)
	} else {
		_, err = w.dest.Write(p)
	}
	return err
}

// Close flushes and syncs the file and returns its Part as JSON. After an error, the caller must
// call Abort.
func (w *Writer) Close() (part []byte, err error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	if w.zip != nil {
		if err := w.zip.Close(); err != nil {
			return nil, withPath(w.dest.Path(), err)
		}
	}
	if !w.noSync {
		if err := w.dest.Sync(); err != nil {
			return nil, err
		}
	}
	if err := w.dest.Close(); err != nil {
		return nil, err
	}
	w.part.Host = filesys.Host(w.dest.Path())
	w.part.Bytes, w.part.Records, w.part.XXH3 = w.dest.n, w.Records, fmt.Sprintf("%016x", w.dest.hash.Sum64())
	return json.Marshal(w.part)
}

// Abort removes the file. It is called instead of Close, or after Close failed.
func (w *Writer) Abort() { w.dest.Abort() }

// hashedFile counts and hashes the bytes written to a file.
type hashedFile struct {
	filesys.Writer
	n    int64
	hash *xxh3.Hasher
}

func (h *hashedFile) Write(p []byte) (int, error) {
	n, err := h.Writer.Write(p)
	h.n += int64(n)
	h.hash.Write(p[:n])
	return n, err
}

// NewFile starts a file, and makes its directory. Neither is synced to disk.
func NewFile(ctx context.Context, path string, c Codec) (*Writer, error) {
	return newWriter(ctx, path, c, Part{Name: filesys.Base(path)}, true)
}

// newWriter creates the file path.
func newWriter(ctx context.Context, path string, c Codec, part Part, noSync bool) (*Writer, error) {
	fsys, err := filesys.Of(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := makeDirs(ctx, fsys, filesys.Dir(path), noSync); err != nil {
		return nil, err
	}
	f, err := fsys.Create(ctx, path)
	if err != nil {
		return nil, err
	}
	w := &Writer{dest: &hashedFile{f, 0, xxh3.New()}, buf: make([]byte, 0, bufferSize), part: part, noSync: noSync}
	switch c {
	case Gzip:
		w.zip, err = gzip.NewWriterLevel(w.dest, gzip.BestSpeed)
	case Zstd:
		w.zip, err = zstd.NewWriter(w.dest, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	}
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Appender writes records of type T through a function that appends the encoded record to dst. It
// is a connector.Writer[T].
type Appender[T any] struct {
	w      *Writer
	append func(dst []byte, r *T) ([]byte, error)
	buf    []byte
}

// NewAppender starts the file of one attempt. head is written first, such as a row of column names;
// it may be nil.
func NewAppender[T any](ctx context.Context, out Output, t Task, head []byte, app func(dst []byte, r *T) ([]byte, error)) (*Appender[T], error) {
	w, err := out.Create(ctx, t)
	if err != nil {
		return nil, err
	}
	a, err := startAppender(w, head, app)
	if err != nil {
		w.Abort()
		return nil, err
	}
	return a, nil
}

func startAppender[T any](w *Writer, head []byte, app func(dst []byte, r *T) ([]byte, error)) (*Appender[T], error) {
	if err := w.WriteHead(head); err != nil {
		return nil, err
	}
	return &Appender[T]{w, app, make([]byte, 0, bufferSize+bufferSize/8)}, nil
}

// Write writes one record.
func (a *Appender[T]) Write(r *T) error {
	buf, err := a.append(a.buf, r)
	if err != nil {
		return err
	}
	a.buf = buf
	a.w.Records++
	if len(buf) < bufferSize {
		return nil
	}
	return a.flush()
}

func (a *Appender[T]) flush() error {
	_, err := a.w.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}

// End writes what is left to the file.
func (a *Appender[T]) End() error { return a.flush() }

// Held returns the bytes of the records that are not written yet.
func (a *Appender[T]) Held() int64 { return int64(len(a.buf)) }

// Flush writes them.
func (a *Appender[T]) Flush() error { return a.flush() }

// Close flushes and syncs the file and returns its Part as JSON.
func (a *Appender[T]) Close() ([]byte, error) {
	if err := a.flush(); err != nil {
		return nil, err
	}
	return a.w.Close()
}

// Abort removes the file.
func (a *Appender[T]) Abort() { a.w.Abort() }

// formatTime formats a modification time.
func formatTime(nanos int64) string { return time.Unix(0, nanos).UTC().Format(time.RFC3339Nano) }

// parseParts decodes the results of Close. Each has the files of a task.
func parseParts(parts [][]byte) ([]Part, error) {
	out := make([]Part, 0, len(parts))
	for i, p := range parts {
		for d := json.NewDecoder(bytes.NewReader(p)); ; {
			var part Part
			if err := d.Decode(&part); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("output part %d: its description cannot be read: %w", i, err)
			}
			out = append(out, part)
		}
	}
	return out, nil
}
