package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// file is a file of another machine. Nothing is open there: every piece is read by its own call.
type file struct {
	fs      *FS
	path    string
	info    filesys.Info
	ctx     context.Context
	cancel  context.CancelFunc
	isFresh bool           // info is new
	reads   sync.WaitGroup // reads ahead of the caller
}

// Stat returns a description of the file as it is now, from a host that has it.
func (f *file) Stat() (filesys.Info, error) {
	if f.isFresh {
		f.isFresh = false
		return f.info, nil
	}
	req, err := f.fs.request(f.path)
	if err != nil {
		return filesys.Info{}, err
	}
	req.Operation = &layshaftv1.CallRequest_Stat{Stat: &layshaftv1.StatFile{}}
	resp, err := f.fs.call(f.ctx, f.path, req, f.info.Hosts...)
	if err == nil && (len(resp.Infos) != 1 || resp.Infos[0].Dir) {
		err = &filesys.Error{Path: f.path, Err: fmt.Errorf("is not a file now: %w", fs.ErrInvalid)}
	}
	if err != nil {
		return filesys.Info{}, err
	}
	info := f.fs.info(f.path, resp.Infos[0])
	info.Path = f.path
	return info, nil
}

// ReadAt reads exactly len(p) bytes, without read-ahead.
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		data, err := f.piece(off+int64(n), min(int64(len(p)-n), MaxPiece))
		if n += copy(p[n:], data); err != nil {
			return n, err
		}
	}
	return n, nil
}

// piece reads n bytes. With fewer it returns io.EOF.
func (f *file) piece(off, n int64) ([]byte, error) {
	if n = min(n, f.info.Size-off); n <= 0 {
		return nil, io.EOF
	}
	req, err := f.fs.request(f.path)
	if err != nil {
		return nil, err
	}
	req.Operation = &layshaftv1.CallRequest_Read{Read: &layshaftv1.ReadFile{Offset: off, Length: n}}
	resp, err := f.fs.call(f.ctx, f.path, req, f.info.Hosts...)
	switch {
	case err != nil:
		return nil, err
	case int64(len(resp.Data)) > n:
		return nil, &filesys.Error{Path: f.path, Err: fmt.Errorf("got %d bytes, want %d", len(resp.Data), n)}
	case int64(len(resp.Data)) < n:
		return resp.Data, io.EOF
	}
	return resp.Data, nil
}

func (f *file) Close() error {
	f.cancel()
	f.reads.Wait()
	return nil
}

// Stream reads ahead: one piece first, then two, then four, so that an early stop costs little.
func (f *file) Stream(from, n int64) io.Reader {
	return &stream{file: f, next: from, end: min(from+n, f.info.Size)}
}

const maxAhead = 4

type stream struct {
	file      *file
	next, end int64 // range not yet requested
	ahead     int
	pieces    []chan piece // requested, in order
	data      []byte
	err       error
}

type piece struct {
	data []byte
	err  error
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.data) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.ahead = min(max(2*s.ahead, 1), maxAhead)
		for len(s.pieces) < s.ahead && s.next < s.end {
			off, n, out := s.next, min(MaxPiece, s.end-s.next), make(chan piece, 1)
			s.next += n
			s.pieces = append(s.pieces, out)
			s.file.reads.Go(func() {
				data, err := s.file.piece(off, n)
				out <- piece{data, err}
			})
		}
		if len(s.pieces) == 0 {
			return 0, io.EOF
		}
		got := <-s.pieces[0]
		s.pieces = s.pieces[1:]
		s.data, s.err = got.data, got.err
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// writer writes a file of another machine, in pieces.
type writer struct {
	fs   *FS
	ctx  context.Context
	path string
	off  int64 // bytes sent
	buf  []byte
	err  error
}

func (w *writer) Path() string { return w.path }

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, MaxPiece)
		}
		m := copy(w.buf[len(w.buf):MaxPiece], p)
		w.buf, p = w.buf[:len(w.buf)+m], p[m:]
		if len(w.buf) == MaxPiece {
			if err := w.flush(false); err != nil {
				return n, err
			}
		}
		n += m
	}
	return n, nil
}

func (w *writer) flush(sync bool) error {
	err := w.send(w.buf, sync)
	w.buf = w.buf[:0]
	return err
}

// send writes one piece. The first one creates the file, and its answer names the host.
func (w *writer) send(data []byte, sync bool) error {
	if w.err != nil {
		return w.err
	}
	req, err := w.fs.request(w.path)
	if err != nil {
		return err
	}
	req.Operation = &layshaftv1.CallRequest_Write{Write: &layshaftv1.WriteFile{Offset: w.off, Data: data, Sync: sync}}
	resp, err := w.fs.call(w.ctx, w.path, req)
	if err != nil {
		w.err = err
		return err
	}
	if w.fs.scheme == "dataset" && filesys.Host(w.path) == "" {
		w.path = filesys.OnHost(w.path, resp.Holder)
	}
	w.off += int64(len(data))
	return nil
}

func (w *writer) Sync() error { return w.flush(true) }

func (w *writer) Close() error {
	if len(w.buf) > 0 {
		return w.flush(false)
	}
	return w.err
}

// Abort removes the file, even after the end of the job's context.
func (w *writer) Abort() {
	w.err = errors.New("aborted")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), tryTime)
	defer cancel()
	_ = w.fs.Remove(ctx, w.path) // remains are removed with the temporary directory of the job
}
