// Package remote makes file systems of files on other machines: datasets on workers, and files on
// the machine of the client that submitted a job.
//
// Everything uses one message, CallRequest of proto/layshaft/v1/files.proto, and its answer. A
// Caller carries it out:
//
//   - a Volume is a directory of this machine that others may use;
//   - a Router, in a worker or client, passes a call on: to its own volumes, other workers, or
//     clients that lend;
//   - a Lender answers only for the files of a job on the client's machine;
//   - Conn is a connection to a process with one of these.
//
// FS makes a file system of a Caller. A file that turns out to lie on this machine is opened
// directly. For example, an attempt on w1 reads dataset://catalog/a.txt, held by w2:
//
//	FS.Open -> Router of w1 -> Conn to w2 -> Router of w2 -> Volume "catalog"
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/retry"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// MaxPiece is the largest number of bytes that one call reads or writes.
const MaxPiece = 1 << 20

// Caller carries out one operation on one file. The answer contains errors of the file; the
// returned error is an error on the way to it. Call blocks until there is an answer or ctx ends.
type Caller interface {
	Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error)
}

// Conn returns the Caller at the other end of a connection.
func Conn(c grpc.ClientConnInterface) Caller { return conn{layshaftv1.NewFilesServiceClient(c)} }

type conn struct{ layshaftv1.FilesServiceClient }

func (c conn) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	// do not wait: the address is looked up again
	return c.FilesServiceClient.Call(ctx, req, grpc.WaitForReady(false))
}

// Prefixes of the volumes of datasets and of clients.
const (
	datasetVolume = "dataset/"
	clientVolume  = "client/"
)

// reasons maps errors to their codes in answers.
var reasons = []struct {
	err    error
	reason layshaftv1.FileError
}{
	{fs.ErrNotExist, layshaftv1.FileError_FILE_ERROR_NOT_EXIST},
	{fs.ErrPermission, layshaftv1.FileError_FILE_ERROR_PERMISSION},
	{fs.ErrExist, layshaftv1.FileError_FILE_ERROR_EXIST},
	{filesys.ErrAway, layshaftv1.FileError_FILE_ERROR_AWAY},
	{filesys.ErrGone, layshaftv1.FileError_FILE_ERROR_GONE},
	{fs.ErrInvalid, layshaftv1.FileError_FILE_ERROR_INVALID},
}

// errorResponse returns the answer for an error.
func errorResponse(req *layshaftv1.CallRequest, err error) *layshaftv1.CallResponse {
	out := &layshaftv1.CallResponse{Id: req.GetId(), Error: strings.ToValidUTF8(err.Error(), "\uFFFD")}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			out.Reason = r.reason
			break
		}
	}
	return out
}

// responseError returns the error in an answer, or the error of a failed call in its common form.
func responseError(resp *layshaftv1.CallResponse, err error) error {
	if err != nil {
		switch status.Code(err) {
		case codes.Unavailable:
			return &answerError{status.Convert(err).Message(), filesys.ErrGone}
		// one text for both: it depends only on the clocks which one comes
		case codes.DeadlineExceeded, codes.Canceled:
			return &answerError{"no answer came in time", filesys.ErrGone}
		}
		return err
	}
	if resp.GetError() == "" {
		return nil
	}
	for _, r := range reasons {
		if resp.Reason == r.reason {
			return &answerError{resp.Error, r.err}
		}
	}
	return errors.New(resp.Error)
}

// answerError is an error from an answer.
type answerError struct {
	text string
	is   error
}

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.is }

// FS is the file system behind a Caller. Dataset, Client and ClientFS make it.
type FS struct {
	// Patience is how long an operation is retried when nobody can be reached. Zero means 30 s.
	Patience time.Duration

	caller Caller
	scheme string // dataset, client, or none
	home   string // volume of paths without a scheme
}

// DatasetFS is the FS of dataset://NAME/path, or of dataset://WORKER@NAME/path for the copy on one
// worker.
type DatasetFS struct{ FS }

// Dataset returns the file system of dataset:// paths.
func Dataset(c Caller) *DatasetFS { return &DatasetFS{FS{caller: c, scheme: "dataset"}} }

// Client returns the file system of client://ID/path: the files on the machine of client ID.
func Client(c Caller) *FS { return &FS{caller: c, scheme: "client"} }

// ClientFS returns the file system of paths without a scheme in a process that works for client id:
// they are the client's files.
func ClientFS(c Caller, id string) *FS { return &FS{caller: c, home: clientVolume + id} }

// request returns a request for a path, without an operation.
func (f *FS) request(path string) (*layshaftv1.CallRequest, error) {
	if strings.ContainsRune(path, 0) || filesys.Scheme(path) != f.scheme {
		return nil, &filesys.Error{Path: fmt.Sprintf("%q", path), Err: fs.ErrInvalid, Help: "check the path"}
	}
	if f.scheme == "" {
		return &layshaftv1.CallRequest{Volume: f.home, Name: path}, nil
	}
	path = filesys.Clean(path)
	place, name := filesys.Cut(path)
	if f.scheme == "client" {
		if place == "" {
			return nil, &filesys.Error{Path: path, Err: fs.ErrInvalid, Help: "write client://ID/path"}
		}
		return &layshaftv1.CallRequest{Volume: clientVolume + place, Name: "/" + name}, nil
	}
	host := filesys.Host(path)
	if place = strings.TrimPrefix(place, host+"@"); place == "" {
		return nil, &filesys.Error{Path: path, Err: fs.ErrInvalid, Help: "write dataset://NAME/path"}
	}
	if name == "" {
		name = "."
	}
	return &layshaftv1.CallRequest{Volume: datasetVolume + place, Name: name, Holder: host}, nil
}

// path returns the full path for the name in an answer, in the form of path.
func (f *FS) path(path, name string) string {
	switch f.scheme {
	case "":
		return name
	case "client":
		place, _ := filesys.Cut(path)
		return filesys.Clean("client://" + place + "/" + strings.TrimPrefix(name, "/"))
	}
	place, _ := filesys.Cut(filesys.OnHost(path, ""))
	return filesys.Clean("dataset://" + place + "/" + name)
}

func (f *FS) info(path string, i *layshaftv1.FileInfo) filesys.Info {
	out := filesys.Info{Path: f.path(path, i.Name), Size: i.Size, ModTime: time.Unix(0, i.ModTimeNanos), Hosts: i.Holders, Difference: i.Difference, LeftOut: filesys.LeftOut(i.LeftOut)}
	if i.Dir {
		out.Mode = fs.ModeDir
	}
	return out
}

const (
	// tryTime limits one try. The lease of a machine that died in silence ends earlier.
	tryTime = 20 * time.Second
	// awayTime is how long an operation waits for a worker that is away while others answer: the
	// time of a restart.
	awayTime = 10 * time.Second
)

// call carries out an operation, and repeats it while nobody can be reached. It tries the hosts, if
// given, in turn.
func (f *FS) call(ctx context.Context, path string, req *layshaftv1.CallRequest, hosts ...string) (*layshaftv1.CallResponse, error) {
	resp, _, err := f.callWithRetries(ctx, path, req, hosts...)
	return resp, err
}

// patience returns Patience or its default.
func (f *FS) patience() time.Duration { return cmp.Or(f.Patience, 30*time.Second) }

// callWithRetries is call. It also reports whether there was more than one try.
func (f *FS) callWithRetries(ctx context.Context, path string, req *layshaftv1.CallRequest, hosts ...string) (resp *layshaftv1.CallResponse, repeated bool, err error) {
	patience := f.patience()
	var tries, away retry.Patience
	missing := false // a worker is away since the last tries of away
	for try := 0; ; try++ {
		if len(hosts) > 0 {
			req.Holder = hosts[try%len(hosts)]
		}
		one, cancel := awake.WithTimeout(ctx, tryTime)
		resp, err := f.caller.Call(one, req)
		cancel()
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		if err = responseError(resp, err); err == nil {
			return resp, try > 0, nil
		}
		wait := min(time.Millisecond<<min(try, 10), time.Second)
		late := tries.Spent()+wait > patience
		was := missing
		if missing = errors.Is(err, filesys.ErrAway); missing && !was {
			away = retry.Patience{}
		}
		if missing {
			late = late || away.Spent()+wait > min(patience, awayTime)
		}
		if !errors.Is(err, filesys.ErrGone) && !missing || late {
			return nil, try > 0, &filesys.Error{Path: path, Err: err, Help: f.help(err)}
		}
		select {
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func (f *FS) help(err error) string {
	switch {
	case errors.Is(err, filesys.ErrAway):
		return "" // the error itself has the advice
	case errors.Is(err, filesys.ErrGone) && f.scheme == "dataset":
		return "bring the worker back, or give the dataset to another one as well"
	case errors.Is(err, filesys.ErrGone):
		return "keep the command that submitted the job running, or put the files into a dataset, an object store or a shared file system"
	case errors.Is(err, fs.ErrNotExist):
		return "check the path"
	case errors.Is(err, fs.ErrPermission) && f.scheme != "dataset":
		return "a job may use only the files of its own sources and sinks"
	}
	return ""
}

// Glob lists files.
func (f *FS) Glob(ctx context.Context, pattern string) ([]filesys.Info, error) {
	return f.list(ctx, pattern, &layshaftv1.ListFiles{})
}

// ReadDir lists a directory.
func (f *FS) ReadDir(ctx context.Context, dir string) ([]filesys.Info, error) {
	return f.list(ctx, dir, &layshaftv1.ListFiles{Entries: true})
}

func (f *FS) list(ctx context.Context, path string, list *layshaftv1.ListFiles) ([]filesys.Info, error) {
	req, err := f.request(path)
	if err != nil {
		return nil, err
	}
	req.Operation = &layshaftv1.CallRequest_List{List: list}
	var out []filesys.Info
	for {
		resp, err := f.call(ctx, path, req)
		if err != nil {
			return nil, err
		}
		for _, i := range resp.Infos {
			out = append(out, f.info(path, i))
		}
		if !list.Entries {
			filesys.InputOf(ctx).Advance(len(resp.Infos))
		}
		if !resp.More || len(resp.Infos) == 0 {
			return out, nil
		}
		list.After = resp.Infos[len(resp.Infos)-1].Name
	}
}

// Stat returns a description of path.
func (f *FS) Stat(ctx context.Context, path string) (filesys.Info, error) {
	info, _, err := f.stat(ctx, path, nil)
	return info, err
}

func (f *FS) stat(ctx context.Context, path string, hints []string) (filesys.Info, *layshaftv1.FileInfo, error) {
	req, err := f.request(path)
	if err != nil {
		return filesys.Info{}, nil, err
	}
	req.Hints = hints
	req.Operation = &layshaftv1.CallRequest_Stat{Stat: &layshaftv1.StatFile{}}
	resp, err := f.call(ctx, path, req)
	if err != nil {
		return filesys.Info{}, nil, err
	}
	if len(resp.Infos) != 1 {
		return filesys.Info{}, nil, &filesys.Error{Path: path, Err: fmt.Errorf("stat has %d answers", len(resp.Infos))}
	}
	info := f.info(path, resp.Infos[0])
	info.Path = path
	return info, resp.Infos[0], nil
}

// Open opens a file; directly if it lies on this machine.
func (f *FS) Open(ctx context.Context, path string) (filesys.File, error) {
	info, raw, err := f.stat(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	return f.open(ctx, path, info, raw)
}

// open opens a file with a description.
func (f *FS) open(ctx context.Context, path string, info filesys.Info, raw *layshaftv1.FileInfo) (filesys.File, error) {
	if info.Mode.IsDir() {
		return nil, &filesys.Error{Path: path, Err: fmt.Errorf("is a directory: %w", fs.ErrInvalid)}
	}
	if file := openHere(raw); file != nil {
		return filesys.FromOS(file, path, info.Hosts), nil
	}
	out := &file{fs: f, path: path, info: info, isFresh: true}
	out.ctx, out.cancel = context.WithCancel(ctx)
	return out, nil
}

// OpenAt opens a file on one of the workers whose copies are known to be equal, or another copy
// with the same content. Without either it waits for one of these workers.
func (f *DatasetFS) OpenAt(ctx context.Context, path string, workers []string, isSame func(version string) bool) (filesys.File, error) {
	var tries retry.Patience
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		info, raw, err := f.stat(ctx, path, workers)
		if err != nil {
			return nil, err
		}
		isKnown := func(w string) bool { return slices.Contains(workers, w) }
		if known := slices.DeleteFunc(slices.Clone(info.Hosts), func(w string) bool { return !isKnown(w) }); len(known) > 0 {
			info.Hosts = known
			return f.open(ctx, path, info, raw)
		}
		if info.Mode.IsDir() || len(info.Hosts) == 0 || filesys.Host(path) != "" {
			return f.open(ctx, path, info, raw)
		}
		if isSame != nil {
			sums, err := f.digests(ctx, info.Hosts[0], []filesys.Info{{Path: path}}, []int{0})
			if err != nil && !errors.Is(err, filesys.ErrGone) {
				return nil, err
			}
			if err == nil && isSame(digestVersion([]byte(sums[0]))) {
				info.Hosts = info.Hosts[:1]
				return f.open(ctx, path, info, &layshaftv1.FileInfo{}) // raw may describe another copy
			}
		}
		if tries.Spent()+wait > f.patience() {
			err := fmt.Errorf("worker %s, which had it, %w, and the copy on worker %s is not known to be equal", strings.Join(workers, ", "), filesys.ErrGone, info.Hosts[0])
			return nil, &filesys.Error{Path: path, Err: err, Help: "bring the worker back, or run the job again over the other copy"}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// openHere opens a file that is also on this machine. It returns nil if it is not.
func openHere(i *layshaftv1.FileInfo) *os.File {
	if i.Identity == "" || i.Path == "" {
		return nil
	}
	fi, err := os.Stat(i.Path) // before opening it: a pipe would block
	if err != nil || identity(fi) != i.Identity {
		return nil
	}
	f, err := os.Open(i.Path)
	if err != nil {
		return nil
	}
	if fi, err := f.Stat(); err != nil || identity(fi) != i.Identity {
		f.Close()
		return nil
	}
	return f
}

// Create creates a file; directly if its directory lies on this machine.
func (f *FS) Create(ctx context.Context, path string) (filesys.Writer, error) {
	if w := f.createHere(ctx, path); w != nil {
		return w, nil
	}
	w := &writer{fs: f, ctx: ctx, path: path}
	return w, w.send(nil, false)
}

// createHere creates a file on this machine. It returns nil if that is not possible.
func (f *FS) createHere(ctx context.Context, path string) filesys.Writer {
	info, dir, err := f.stat(ctx, filesys.Dir(path), nil)
	if err != nil || !dir.Dir || f.scheme == "dataset" && len(info.Hosts) == 0 {
		return nil
	}
	same := openHere(dir)
	if same == nil {
		return nil
	}
	same.Close()
	file, err := os.Create(filepath.Join(dir.Path, filesys.Base(path)))
	if err != nil {
		return nil // the holder may have the permission
	}
	if f.scheme == "dataset" {
		path = filesys.OnHost(path, info.Hosts[0])
	}
	return filesys.CreatedOS(file, path)
}

// Rename renames a file, on the host in from.
func (f *FS) Rename(ctx context.Context, from, to string) error {
	req, err := f.request(from)
	if err != nil {
		return err
	}
	target, err := f.request(to)
	if err != nil {
		return err
	}
	if target.Volume != req.Volume || target.Holder != req.Holder && target.Holder != "" && req.Holder != "" {
		return &filesys.Error{Path: from, Err: fmt.Errorf("cannot be renamed to %s: %w", to, fs.ErrInvalid), Help: "both must lie in one place"}
	}
	req.Operation = &layshaftv1.CallRequest_Rename{Rename: &layshaftv1.RenameFile{To: target.Name}}
	_, again, err := f.callWithRetries(ctx, from, req)
	if again && errors.Is(err, fs.ErrNotExist) {
		// The answer to an earlier try may have been lost.
		if _, serr := f.Stat(ctx, filesys.OnHost(to, req.Holder)); serr == nil {
			return nil
		}
	}
	return err
}

// Remove deletes a file or an empty directory. In a dataset it deletes the copies of all workers if
// path has no host.
func (f *FS) Remove(ctx context.Context, path string) error { return f.remove(ctx, path, false) }

// RemoveAll deletes path and everything below it. In a dataset it does so on all workers if path
// has no host.
func (f *FS) RemoveAll(ctx context.Context, path string) error { return f.remove(ctx, path, true) }

func (f *FS) remove(ctx context.Context, path string, all bool) error {
	req, err := f.request(path)
	if err != nil {
		return err
	}
	req.Operation = &layshaftv1.CallRequest_Remove{Remove: &layshaftv1.RemoveFile{All: all}}
	_, err = f.call(ctx, path, req)
	return err
}

// MkdirAll makes a directory.
func (f *FS) MkdirAll(ctx context.Context, path string) error {
	req, err := f.request(path)
	if err != nil {
		return err
	}
	req.Operation = &layshaftv1.CallRequest_MakeDir{MakeDir: &layshaftv1.MakeDir{}}
	_, err = f.call(ctx, path, req)
	return err
}

// Sync does nothing: names are on disk when Rename returns.
func (f *FS) Sync(context.Context, string) error { return nil }

// Spread returns the workers that hold a dataset.
func (f *DatasetFS) Spread(ctx context.Context, path string) ([]string, error) {
	place, _ := filesys.Cut(filesys.OnHost(path, ""))
	info, err := f.Stat(ctx, "dataset://"+place)
	return info.Hosts, err
}

const (
	digestNames = 500 // files in one request for digests
	compareHelp = "make the copies equal, remove the wrong one, or offer the directories as different datasets"
)

// CheckCopies compares the copies of files on several workers, by their digests. It skips files
// with one holder. The error names a file with different copies and their holders. A holder that
// cannot be reached is removed if there is another.
func (f *DatasetFS) CheckCopies(ctx context.Context, infos []filesys.Info) error {
	byHost := map[string][]int{} // indexes of files, by worker
	for i := range infos {
		if infos[i].Difference != "" {
			return &filesys.Error{Path: infos[i].Path, Err: fmt.Errorf("its copies differ: %s", infos[i].Difference), Help: compareHelp}
		}
		if len(infos[i].Hosts) > 1 {
			for _, h := range infos[i].Hosts {
				byHost[h] = append(byHost[h], i)
			}
		}
	}
	hosts, copies := slices.Sorted(maps.Keys(byHost)), 0
	for _, of := range byHost {
		copies += len(of)
	}
	if copies > 0 {
		place, _ := filesys.Cut(filesys.OnHost(infos[0].Path, ""))
		filesys.InputOf(ctx).Begin("comparing copies of dataset://"+place, copies)
	}
	sums := make([][]string, len(hosts)) // by host and file, as in byHost
	errs := make([]error, len(hosts))
	forEach(hosts, func(k int) { sums[k], errs[k] = f.digests(ctx, hosts[k], infos, byHost[hosts[k]]) })
	// first copy of each file, and its digest
	from, sum := make([]string, len(infos)), make([]string, len(infos))
	for k, host := range hosts {
		for n, i := range byHost[host] {
			info := &infos[i]
			switch {
			case errors.Is(errs[k], filesys.ErrGone) && len(info.Hosts) > 1:
				info.Hosts = slices.DeleteFunc(slices.Clone(info.Hosts), func(h string) bool { return h == host })
			case errs[k] != nil:
				return errs[k]
			case from[i] == "":
				from[i], sum[i] = host, sums[k][n]
				info.Version = digestVersion([]byte(sum[i]))
			case sum[i] != sums[k][n]:
				return &filesys.Error{Path: info.Path, Err: fmt.Errorf("its copies on workers %s and %s are of one size and differ in content", from[i], host), Help: compareHelp}
			}
		}
	}
	return nil
}

// digests gets the digests of some files from one worker, without a time limit.
func (f *DatasetFS) digests(ctx context.Context, host string, infos []filesys.Info, files []int) ([]string, error) {
	var out []string
	for len(out) < len(files) {
		op := &layshaftv1.DigestFiles{}
		var req *layshaftv1.CallRequest
		for _, i := range files[len(out):min(len(out)+digestNames, len(files))] {
			one, err := f.request(infos[i].Path)
			if err != nil {
				return nil, err
			}
			if req != nil && req.Volume != one.Volume {
				break
			}
			req = one
			op.Names = append(op.Names, one.Name)
		}
		req.Name, req.Holder, req.Operation = ".", host, &layshaftv1.CallRequest_Digest{Digest: op}
		path := infos[files[len(out)]].Path
		resp, err := f.call(ctx, path, req)
		if err != nil {
			return nil, err
		}
		if n := len(resp.Infos); n > len(op.Names) || n < len(op.Names) && !resp.More {
			return nil, &filesys.Error{Path: path, Err: fmt.Errorf("worker %s: got %d digests, want %d", host, n, len(op.Names))}
		}
		for _, i := range resp.Infos {
			out = append(out, string(i.Digest))
		}
		filesys.InputOf(ctx).Advance(len(resp.Infos))
	}
	return out, nil
}
