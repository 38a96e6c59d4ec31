package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/retry"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Lender answers calls for files of this machine, on behalf of one client. It lets others read the
// lent files, and write below the lent directories under names with their prefix. It refuses
// everything else. It is the client's half of WorkerService.Lend, and a Caller.
type Lender struct {
	id  string
	dir string // base of relative names

	// mu guards the fields below.
	mu    sync.Mutex
	files map[string]bool // absolute paths
	dirs  []lentDir
}

// lentDir is a directory in which names with a prefix may be written.
type lentDir struct {
	path, prefix string
	volume       *Volume
}

// NewLender returns a Lender without files. id is the ID of the client; it must be hard to guess.
func NewLender(id string) (*Lender, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	return &Lender{id: id, dir: dir, files: map[string]bool{}}, nil
}

// Volume returns the volume of the files, as in SubmitHeader.client.
func (l *Lender) Volume() string { return clientVolume + l.id }

// Files returns the file systems of the client. Paths without a scheme are its own files; if a
// source or sink lends one, its path becomes client://ID/path. So listing the input of a job and
// checking its sinks lends the job's files.
func (l *Lender) Files() filesys.Set {
	return filesys.Set{"": lendingFS{lender: l}, "client": filesys.OS{As: "client://" + l.id}}
}

// Adopt makes Run lend the files under the volume of a client that left. An empty volume changes
// nothing.
func (l *Lender) Adopt(volume string) {
	if id, ok := strings.CutPrefix(volume, clientVolume); ok && id != "" {
		l.id = id
	}
}

// Count returns the number of readable files and of writable directories.
func (l *Lender) Count() (files, dirs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.files), len(l.dirs)
}

// Size returns the number of readable files and their size in bytes.
func (l *Lender) Size() (files int, bytes int64) {
	l.mu.Lock()
	paths := slices.Collect(maps.Keys(l.files))
	l.mu.Unlock()
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil {
			bytes += fi.Size()
		}
	}
	return len(paths), bytes
}

// Close ends the lending and closes the directories.
func (l *Lender) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, d := range l.dirs {
		errs = append(errs, d.volume.Close())
	}
	l.dirs, l.files = nil, map[string]bool{}
	return errors.Join(errs...)
}

// lendingFS is the file system of the machine; Lend and LendDir add to the Lender.
type lendingFS struct {
	filesys.OS
	lender *Lender
}

func (f lendingFS) Lend(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", &filesys.Error{Path: path, Err: err, Help: "give an absolute path"}
	}
	f.lender.mu.Lock()
	f.lender.files[abs] = true
	f.lender.mu.Unlock()
	return filesys.Clean("client://" + f.lender.id + "/" + strings.TrimPrefix(filepath.ToSlash(abs), "/")), nil
}

func (f lendingFS) LendDir(dir, prefix string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return &filesys.Error{Path: dir, Err: err, Help: "give an absolute path"}
	}
	v, err := OpenVolume(abs, "", Unlimited)
	if err != nil {
		return err
	}
	f.lender.mu.Lock()
	defer f.lender.mu.Unlock()
	f.lender.dirs = append(f.lender.dirs, lentDir{abs, prefix, v})
	return nil
}

// Call answers a call, or refuses it.
func (l *Lender) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	name := filepath.FromSlash(req.GetName())
	if req.GetVolume() != l.Volume() || strings.ContainsRune(name, 0) || name == "" {
		return errorResponse(req, fmt.Errorf("%s has no %q: %w", l.Volume(), req.GetName(), fs.ErrInvalid)), nil
	}
	abs := l.abs(name)
	l.mu.Lock()
	file := l.files[abs]
	dirs := slices.Clone(l.dirs)
	l.mu.Unlock()
	for _, d := range dirs {
		if resp, ok, err := d.answerCall(ctx, l, abs, req); ok {
			return resp, err
		}
	}
	if !file {
		return errorResponse(req, fmt.Errorf("%s was not lent: %w", abs, fs.ErrPermission)), nil
	}
	resp := &layshaftv1.CallResponse{Id: req.GetId()}
	var err error
	switch op := req.GetOperation().(type) {
	case *layshaftv1.CallRequest_Stat:
		var fi fs.FileInfo
		if fi, err = os.Stat(abs); err == nil {
			err = checkType(fi)
			info := infoOf(req.GetName(), fi, "")
			if info.Identity = identity(fi); info.Identity != "" {
				info.Path = abs
			}
			resp.Infos = []*layshaftv1.FileInfo{info}
		}
	case *layshaftv1.CallRequest_Read:
		resp.Data, err = readPiece(func() (fs.FileInfo, error) { return os.Stat(abs) }, func() (*os.File, error) { return os.Open(abs) }, op.Read)
	default:
		err = fmt.Errorf("%s was lent to be read: %w", abs, fs.ErrPermission)
	}
	if err != nil {
		resp = errorResponse(req, filesys.Cause(err))
	}
	return resp, nil
}

func (l *Lender) abs(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(l.dir, name)
}

// answerCall answers if abs lies in the directory, under a name with its prefix; ok is false if
// not.
func (d *lentDir) answerCall(ctx context.Context, l *Lender, abs string, req *layshaftv1.CallRequest) (resp *layshaftv1.CallResponse, ok bool, err error) {
	name, ok := d.name(abs)
	if !ok {
		return nil, false, nil
	}
	inner := &layshaftv1.CallRequest{Id: req.Id, Name: name, Operation: req.Operation}
	switch op := req.Operation.(type) {
	case *layshaftv1.CallRequest_Rename:
		to, ok := d.name(l.abs(filepath.FromSlash(op.Rename.GetTo())))
		if !ok {
			return errorResponse(req, fmt.Errorf("%s was not lent: %w", op.Rename.GetTo(), fs.ErrPermission)), true, nil
		}
		inner.Operation = &layshaftv1.CallRequest_Rename{Rename: &layshaftv1.RenameFile{To: to}}
	case *layshaftv1.CallRequest_Digest, *layshaftv1.CallRequest_Head: // the names in the request were not checked
		return errorResponse(req, fmt.Errorf("%s was not lent for digests: %w", req.Name, fs.ErrPermission)), true, nil
	case *layshaftv1.CallRequest_List:
		inner.Operation = &layshaftv1.CallRequest_List{List: &layshaftv1.ListFiles{Entries: op.List.GetEntries(), After: op.List.GetAfter()}}
		if after := op.List.GetAfter(); after != "" {
			inner.GetList().After, _ = d.name(l.abs(filepath.FromSlash(after)))
		}
	}
	resp, err = d.volume.Call(ctx, inner)
	// The answer has names in the form of the request.
	base := strings.TrimSuffix(req.Name, "/")
	if name != "." {
		base = strings.TrimSuffix(req.Name, name)
	} else if base != "" {
		base += "/"
	}
	infos := make([]*layshaftv1.FileInfo, len(resp.GetInfos()))
	for i, info := range resp.GetInfos() {
		infos[i] = &layshaftv1.FileInfo{Name: base + info.Name, Size: info.Size, ModTimeNanos: info.ModTimeNanos, Dir: info.Dir, Identity: info.Identity, Path: info.Path, LeftOut: info.LeftOut}
	}
	resp.Infos = infos
	return resp, true, err
}

// name returns the name of abs inside the directory; ok is false if it was not lent.
func (d *lentDir) name(abs string) (string, bool) {
	rel, err := filepath.Rel(d.path, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	rel = filepath.ToSlash(rel)
	return rel, strings.HasPrefix(rel, d.prefix)
}

// LendStream is the client's end of a stream. The worker sends calls for files over it.
type LendStream = grpc.BidiStreamingClient[layshaftv1.LendRequest, layshaftv1.LendResponse]

// OpenLend opens a stream to the worker at the other end of conn, for Run.
func OpenLend(ctx context.Context, conn grpc.ClientConnInterface) (LendStream, error) {
	return layshaftv1.NewWorkerServiceClient(conn).Lend(ctx)
}

// Run offers the files to every worker, until ctx ends. It calls workers every second for the
// present workers. open opens a stream to one of them; the stream ends with its context.
func (l *Lender) Run(ctx context.Context, workers func(ctx context.Context) ([]string, error),
	open func(ctx context.Context, worker string) (grpc.BidiStreamingClient[layshaftv1.LendRequest, layshaftv1.LendResponse], error)) error {
	var group errgroup.Group
	ends := make(map[string]context.CancelFunc)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		names, err := workers(ctx)
		if err == nil { // after an error the known workers stay
			for name, end := range ends {
				if !slices.Contains(names, name) {
					end()
					delete(ends, name)
				}
			}
			for _, name := range names {
				if ends[name] != nil {
					continue
				}
				one, end := context.WithCancel(ctx)
				ends[name] = end
				group.Go(func() error {
					l.keepStream(one, name, open)
					return nil
				})
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	for _, end := range ends {
		end()
	}
	group.Wait()
	return context.Cause(ctx)
}

// keepStream keeps a stream to one worker, until ctx ends.
func (l *Lender) keepStream(ctx context.Context, worker string, open func(ctx context.Context, worker string) (grpc.BidiStreamingClient[layshaftv1.LendRequest, layshaftv1.LendResponse], error)) {
	pauses := retry.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for ctx.Err() == nil {
		one, end := context.WithCancel(ctx)
		if stream, err := open(one, worker); err == nil {
			if l.answerCalls(one, stream) {
				pauses.Reset()
			}
		}
		end()
		_ = pauses.Wait(ctx) // the loop ends with ctx
	}
}

// answerCalls answers the calls of one stream until it ends, several at the same time. It reports
// whether there were any.
func (l *Lender) answerCalls(ctx context.Context, stream grpc.BidiStreamingClient[layshaftv1.LendRequest, layshaftv1.LendResponse]) (any bool) {
	if stream.Send(&layshaftv1.LendRequest{Volume: l.Volume()}) != nil {
		return false
	}
	var group errgroup.Group
	group.SetLimit(8)
	defer group.Wait()
	var mu sync.Mutex // guards Send
	for {
		in, err := stream.Recv()
		if err != nil {
			return any
		}
		any = true
		group.Go(func() error {
			resp, err := l.Call(ctx, in.GetCall())
			if err != nil {
				resp = errorResponse(in.GetCall(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			return stream.Send(&layshaftv1.LendRequest{Answer: resp})
		})
	}
}
