package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/retry"
)

// file is an object in the version that was opened.
type file struct {
	fs          *FS
	ctx         context.Context
	cancel      context.CancelFunc
	core        *minio.Core
	path        string
	bucket, key string
	etag        string
	size        int64
	streams     []*stream
}

// Open opens an object for reading.
func (f *FS) Open(ctx context.Context, p string) (filesys.File, error) {
	c, bucket, key, err := f.splitPath(p)
	if err != nil {
		return nil, err
	}
	o, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return nil, f.explain(ctx, p, err)
	}
	out := &file{fs: f, core: c, path: p, bucket: bucket, key: key, etag: o.ETag, size: o.Size}
	out.ctx, out.cancel = context.WithCancel(ctx)
	return out, nil
}

func (f *file) Stat() (filesys.Info, error) { return f.fs.Stat(f.ctx, f.path) }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), f.size-off)
	if n <= 0 {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	s := &stream{file: f, next: off, end: off + n}
	defer s.close()
	m, err := io.ReadFull(s, p[:n])
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return m, err
}

func (f *file) Stream(from, n int64) io.Reader {
	s := &stream{file: f, next: from, end: min(from+n, f.size)}
	f.streams = append(f.streams, s)
	return s
}

func (f *file) Close() error {
	f.cancel()
	for _, s := range f.streams {
		s.close()
	}
	return nil
}

// stream reads a range of an object by one request. If it breaks off, another request continues
// there.
type stream struct {
	file      *file
	next, end int64
	body      io.ReadCloser
	stop      context.CancelFunc // of the request
	stalled   *time.Timer        // cancels a stalled request
	failing   retry.Patience     // since reading failed
	tries     int
}

// stall is how long a request may deliver nothing.
const stall = 20 * time.Second

func (s *stream) Read(p []byte) (int, error) {
	if s.next >= s.end {
		return 0, io.EOF
	}
	for {
		n, err := s.read(p[:min(int64(len(p)), s.end-s.next)])
		s.next += int64(n)
		if n > 0 {
			s.failing, s.tries = retry.Patience{}, 0
			return n, nil
		}
		if err == nil {
			continue
		}
		s.close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		err = s.file.fs.explain(s.file.ctx, s.file.path, err)
		if !errors.Is(err, filesys.ErrGone) {
			return 0, err
		}
		patience := s.file.fs.Patience
		if patience == 0 {
			patience = 30 * time.Second
		}
		wait := min(20*time.Millisecond<<min(s.tries, 6), time.Second)
		if s.tries++; s.failing.Spent()+wait > patience {
			return 0, err
		}
		select {
		case <-s.file.ctx.Done():
			return 0, context.Cause(s.file.ctx)
		case <-time.After(wait):
		}
	}
}

// read continues reading, with a new request if there is none.
func (s *stream) read(p []byte) (int, error) {
	if s.body == nil {
		var opts minio.GetObjectOptions
		if err := errors.Join(opts.SetRange(s.next, s.end-1), opts.SetMatchETag(s.file.etag)); err != nil {
			return 0, err
		}
		ctx, stop := context.WithCancel(s.file.ctx)
		s.stop, s.stalled = stop, time.AfterFunc(stall, stop)
		body, _, _, err := s.file.core.GetObject(ctx, s.file.bucket, s.file.key, opts)
		if err != nil {
			return 0, err
		}
		s.body = body
	}
	s.stalled.Reset(stall)
	return s.body.Read(p)
}

func (s *stream) close() {
	if s.stop != nil {
		s.stalled.Stop()
		s.stop()
		s.stop = nil
	}
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
}

// partSize is the size of one part of an upload, in bytes. A writer holds up to two parts. Stores
// allow 10,000 parts, so an object has at most 160 GB.
const partSize = 16 << 20

// putOptions send an MD5 of every part, since all stores can check it, unlike newer checksums.
var putOptions = minio.PutObjectOptions{PartSize: partSize, SendContentMd5: true, DisableContentSha256: true}

// writer collects a part, and starts an upload when there is more.
type writer struct {
	fs          *FS
	ctx         context.Context
	core        *minio.Core
	path        string
	bucket, key string
	buf         []byte
	pipe        *io.PipeWriter
	done        chan error // ends the upload
}

// Create creates an object; it appears when the writer is closed.
func (f *FS) Create(ctx context.Context, p string) (filesys.Writer, error) {
	c, bucket, key, err := f.splitPath(p)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return &writer{fs: f, ctx: ctx, core: c, path: p, bucket: bucket, key: key}, nil
}

func (w *writer) Path() string { return w.path }

func (w *writer) Write(p []byte) (int, error) {
	if w.pipe == nil {
		if len(w.buf)+len(p) <= partSize {
			w.buf = append(w.buf, p...)
			return len(p), nil
		}
		w.start()
	}
	n, err := w.pipe.Write(p)
	return n, w.fs.explain(w.ctx, w.path, err)
}

// start begins an upload of the collected and the following data.
func (w *writer) start() {
	r, pipe := io.Pipe()
	w.pipe, w.done = pipe, make(chan error, 1)
	first := w.buf
	w.buf = nil
	go func() {
		_, err := w.core.Client.PutObject(w.ctx, w.bucket, w.key, io.MultiReader(bytes.NewReader(first), r), -1, putOptions)
		if err != nil {
			r.CloseWithError(err) // so that Write returns it
		}
		w.done <- err
	}()
}

// Sync does nothing: when Close returns, the object is on disk or does not exist.
func (w *writer) Sync() error { return nil }

func (w *writer) Close() error {
	var err error
	if w.pipe != nil {
		w.pipe.Close()
		err = <-w.done
	} else {
		_, err = w.core.Client.PutObject(w.ctx, w.bucket, w.key, bytes.NewReader(w.buf), int64(len(w.buf)), putOptions)
	}
	w.pipe, w.buf = nil, nil
	return w.fs.explain(w.ctx, w.path, err)
}

var errAborted = errors.New("aborted")

// Abort ends the upload; the library removes its parts. If the object was complete, it is removed.
func (w *writer) Abort() {
	if w.pipe != nil {
		w.pipe.CloseWithError(errAborted)
		<-w.done
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), stall)
	defer cancel()
	_ = w.fs.Remove(ctx, w.path) // remains are removed with the temporary files of the job
}
