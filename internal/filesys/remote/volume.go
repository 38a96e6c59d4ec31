package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Volume serves a directory of this machine. No name and no link leads out of it. It is a Caller,
// and safe for concurrent use. It does not check the volume name in a request; the caller must do
// that.
type Volume struct {
	// Audit, if set before the first call, is called for each change and each refusal.
	Audit func(ctx context.Context, action string, attrs ...any)

	dir    string // absolute path
	holder string
	access Access
	root   *os.Root
	lists  pager
	sums   *digests
}

// OpenVolume opens a directory. holder is the worker that serves it, or empty. The error describes
// the problem with dir.
func OpenVolume(dir, holder string, access Access) (*Volume, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a directory that is there and can be read", dir, filesys.Cause(err))
	}
	v := &Volume{dir: abs, holder: holder, access: access, root: root}
	v.sums = newDigests(v.openFile)
	return v, nil
}

// Close closes the volume. Later calls fail.
func (v *Volume) Close() error {
	v.sums.close()
	return v.root.Close()
}

// openFile opens a regular file.
func (v *Volume) openFile(name string) (*os.File, error) {
	local, ok := filesys.Local(name)
	if !ok {
		return nil, fmt.Errorf("name %q is outside the directory: %w", name, fs.ErrInvalid)
	}
	fi, err := v.root.Stat(local) // before opening it: a pipe would block
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
	}
	return v.root.Open(local)
}

// Call carries out one operation.
func (v *Volume) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	name, ok := filesys.Local(req.GetName())
	if !ok {
		return errorResponse(req, fmt.Errorf("name %q is outside the directory: %w", req.GetName(), fs.ErrInvalid)), nil
	}
	resp := &layshaftv1.CallResponse{}
	var err error
	switch op := req.GetOperation().(type) {
	case *layshaftv1.CallRequest_List:
		resp, err = v.list(ctx, name, op.List)
	case *layshaftv1.CallRequest_Stat:
		var fi fs.FileInfo
		if fi, err = v.root.Stat(name); err == nil {
			resp.Infos = []*layshaftv1.FileInfo{v.info(name, fi)}
			err = checkType(fi)
		}
	case *layshaftv1.CallRequest_Read:
		resp.Data, err = readPiece(func() (fs.FileInfo, error) { return v.root.Stat(name) }, func() (*os.File, error) { return v.root.Open(name) }, op.Read)
	case *layshaftv1.CallRequest_Write, *layshaftv1.CallRequest_Rename, *layshaftv1.CallRequest_Remove, *layshaftv1.CallRequest_MakeDir:
		err = v.change(ctx, req, name)
	case *layshaftv1.CallRequest_Digest:
		resp, err = v.sums.digestFiles(ctx, op.Digest.GetNames())
	case *layshaftv1.CallRequest_Head:
		resp, err = v.headFiles(op.Head)
	default:
		err = fmt.Errorf("this version has no such operation: %w", fs.ErrInvalid)
	}
	if err != nil {
		resp = errorResponse(req, v.addHolder(err))
	}
	resp.Id, resp.Holder = req.GetId(), v.holder
	return resp, nil
}

// change carries out an operation that changes the volume, if it is permitted.
func (v *Volume) change(ctx context.Context, req *layshaftv1.CallRequest, name string) error {
	action, to, ok := "write", "", true
	switch op := req.Operation.(type) {
	case *layshaftv1.CallRequest_Rename:
		action = "rename"
		if to, ok = filesys.Local(op.Rename.GetTo()); !ok || to == "." || name == "." {
			return fmt.Errorf("name %q: %w", op.Rename.GetTo(), fs.ErrInvalid)
		}
	case *layshaftv1.CallRequest_Remove:
		action = "remove"
	case *layshaftv1.CallRequest_MakeDir:
		action = "make directory"
	}
	err := v.checkChange(req, name, to)
	if err == nil {
		switch op := req.Operation.(type) {
		case *layshaftv1.CallRequest_Write:
			err = v.write(name, op.Write)
		case *layshaftv1.CallRequest_Rename:
			err = v.rename(name, to)
		case *layshaftv1.CallRequest_Remove:
			err = v.remove(name, op.Remove.GetAll())
		case *layshaftv1.CallRequest_MakeDir:
			err = v.makeDir(name)
		}
	}
	if v.Audit != nil && (err != nil || req.GetWrite().GetOffset() == 0) { // one line per file
		attrs := []any{"file", name}
		if to != "" {
			attrs = append(attrs, "to", to)
		}
		if err != nil {
			attrs = append(attrs, "err", err)
		}
		v.Audit(ctx, action, attrs...)
	}
	return err
}

// addHolder adds the worker's name to an error.
func (v *Volume) addHolder(err error) error {
	if err = filesys.Cause(err); v.holder == "" {
		return err
	}
	return fmt.Errorf("worker %s: %w", v.holder, err)
}

// checkType returns an error if a file is neither regular nor a directory.
func checkType(fi fs.FileInfo) error {
	if fi.IsDir() || fi.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
}

func (v *Volume) info(name string, fi fs.FileInfo) *layshaftv1.FileInfo {
	out := infoOf(name, fi, v.holder)
	if fi.IsDir() && v.access == ReadOnly {
		return out // processes of this machine create files in a directory with an identity
	}
	if out.Identity = identity(fi); out.Identity != "" {
		out.Path = filepath.Join(v.dir, filepath.FromSlash(name))
	}
	return out
}

func infoOf(name string, fi fs.FileInfo, holder string) *layshaftv1.FileInfo {
	out := &layshaftv1.FileInfo{Name: name, Size: fi.Size(), ModTimeNanos: fi.ModTime().UnixNano(), Dir: fi.IsDir()}
	if holder != "" {
		out.Holders = []string{holder}
	}
	return out
}

// readPiece reads from the file opened by open. stat must describe a regular file.
func readPiece(stat func() (fs.FileInfo, error), open func() (*os.File, error), req *layshaftv1.ReadFile) ([]byte, error) {
	if req.GetOffset() < 0 || req.GetLength() < 0 || req.GetLength() > MaxPiece {
		return nil, fmt.Errorf("%d bytes at %d cannot be read at once: %w", req.GetLength(), req.GetOffset(), fs.ErrInvalid)
	}
	fi, err := stat() // before opening it: a pipe would block
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, min(req.GetLength(), max(fi.Size()-req.GetOffset(), 0)))
	n, err := f.ReadAt(data, req.GetOffset())
	if err == io.EOF {
		err = nil
	}
	return data[:n], err
}

// write writes a piece.
func (v *Volume) write(name string, req *layshaftv1.WriteFile) error {
	off, data := req.GetOffset(), req.GetData()
	if off < 0 || len(data) > MaxPiece {
		return fmt.Errorf("%d bytes at %d cannot be written at once: %w", len(data), off, fs.ErrInvalid)
	}
	if fi, err := v.root.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
	}
	flags := os.O_RDWR
	if off == 0 {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	f, err := v.root.OpenFile(name, flags, 0o666)
	if off == 0 && errors.Is(err, fs.ErrNotExist) {
		if err := v.makeDir(path.Dir(name)); err != nil {
			return err
		}
		f, err = v.root.OpenFile(name, flags, 0o666)
	}
	if err != nil {
		return err
	}
	err = appendAt(f, off, data)
	if err == nil && req.GetSync() {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// appendAt appends data to f. The end of f must be at off. If the data is there already, it does
// nothing.
func appendAt(f *os.File, off int64, data []byte) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if size := fi.Size(); size != off {
		there := make([]byte, len(data))
		if size == off+int64(len(data)) {
			if _, err := f.ReadAt(there, off); err == nil && bytes.Equal(there, data) {
				return nil
			}
		}
		return fmt.Errorf("has %s, but a piece for byte %d arrived; another process writes it too: %w", report.Plural(size, "byte"), off, fs.ErrInvalid)
	}
	_, err = f.WriteAt(data, off)
	return err
}

// sync writes the names in a directory to disk.
func (v *Volume) sync(dir string) error {
	f, err := v.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (v *Volume) list(ctx context.Context, name string, req *layshaftv1.ListFiles) (*layshaftv1.CallResponse, error) {
	return v.lists.page(name, req, func() ([]*layshaftv1.FileInfo, error) {
		if req.GetEntries() {
			return v.entries(name)
		}
		found, err := filesys.Find(ctx, v.root.FS(), name)
		if err != nil {
			return nil, err
		}
		out := make([]*layshaftv1.FileInfo, 0, len(found))
		for _, i := range found {
			if !i.Mode.IsRegular() && i.LeftOut == "" {
				return nil, fmt.Errorf("%s: not a regular file: %w", i.Path, fs.ErrInvalid)
			}
			info := &layshaftv1.FileInfo{Name: i.Path, Size: i.Size, ModTimeNanos: i.ModTime.UnixNano(), LeftOut: string(i.LeftOut)}
			if v.holder != "" {
				info.Holders = []string{v.holder}
			}
			out = append(out, info)
		}
		return out, nil
	})
}

// entries lists a directory.
func (v *Volume) entries(name string) ([]*layshaftv1.FileInfo, error) {
	entries, err := fs.ReadDir(v.root.FS(), name)
	if err != nil {
		return nil, err
	}
	out := make([]*layshaftv1.FileInfo, 0, len(entries))
	for _, e := range entries {
		if e.Name() == recordsDir {
			continue
		}
		full := path.Join(name, e.Name())
		fi, err := v.root.Stat(full)
		if err != nil {
			if fi, err = e.Info(); err != nil {
				continue // removed in between
			}
		}
		out = append(out, infoOf(full, fi, v.holder))
	}
	return out, nil
}

// pager returns long lists in answers of limited size. It remembers the last list for a while, so
// that not every answer searches the disk.
type pager struct {
	// mu guards the fields below.
	mu       sync.Mutex
	key      string
	infos    []*layshaftv1.FileInfo
	listedAt time.Time
}

// pageBytes is the approximate size of an answer. It is a variable for tests.
var pageBytes = 1 << 20

// page returns the part of a list that req requests.
func (p *pager) page(name string, req *layshaftv1.ListFiles, find func() ([]*layshaftv1.FileInfo, error)) (*layshaftv1.CallResponse, error) {
	key := fmt.Sprint(req.GetEntries(), name)
	p.mu.Lock()
	infos := p.infos
	fresh := p.key == key && time.Since(p.listedAt) < time.Minute
	p.mu.Unlock()
	if req.GetAfter() == "" || !fresh {
		var err error
		if infos, err = find(); err != nil {
			return nil, err
		}
	}
	from, found := slices.BinarySearchFunc(infos, req.GetAfter(), func(i *layshaftv1.FileInfo, name string) int { return strings.Compare(i.Name, name) })
	if found {
		from++
	}
	resp, size := &layshaftv1.CallResponse{}, 0
	to := from
	for ; to < len(infos) && size < pageBytes; to++ {
		size += proto.Size(infos[to]) + 4
	}
	resp.Infos, resp.More = infos[from:to:to], to < len(infos)
	if resp.More && req.GetAfter() == "" || !resp.More && req.GetAfter() != "" {
		p.mu.Lock()
		if p.key, p.infos, p.listedAt = key, infos, time.Now(); !resp.More {
			p.infos, p.key = nil, "\x00"
		}
		p.mu.Unlock()
	}
	return resp, nil
}
