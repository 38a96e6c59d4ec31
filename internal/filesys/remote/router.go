package remote

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/awake"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/retry"
	"github.com/layshaft/layshaft/internal/spelling"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// Router passes calls to the process that can answer them. A worker has one for its own code and
// its children; a client has one without volumes. Its fields are set before its first use and never
// changed. Workers are named by worker ID, so a file keeps its path when its holder restarts.
//
// Of several copies of a file, those with the size of the newest one count; DatasetFS.CheckCopies
// compares their content. If a worker that should have a dataset cannot be reached, every operation
// on the whole dataset fails: no answer is cut short in silence.
type Router struct {
	// Self is the ID of this worker; empty in a client.
	Self string
	// Datasets are the volumes offered by this worker, by name.
	Datasets map[string]*Volume
	// Holders returns the IDs of the workers with a dataset: possibly alive ones, and ones that are
	// away. A worker is away if it offered the dataset, was lost, and may come back.
	Holders func(ctx context.Context, dataset string) (here, away []string, err error)
	// Peer returns the connection to another worker, without waiting for it. anew means the last
	// connection did not lead to the worker: it may have restarted elsewhere.
	Peer func(ctx context.Context, worker string, anew bool) (Caller, error)
	// Find lists the files of a dataset with the help of the coordinator, which remembers the files
	// of holders that are away. Nil means all holders are called.
	Find func(ctx context.Context, dataset, glob string) ([]*layshaftv1.FileInfo, error)
	// Lenders are the clients that offer files to this worker; nil in a client.
	Lenders *Lenders
	// Patience is how long a dataset that nobody offers is looked for, such as a dataset of a
	// worker that is starting. It is then an error that is not retried. Zero means that callers
	// retry.
	Patience time.Duration

	lists pager
}

// Serve answers a call from the network, only for the datasets of this worker.
func (r *Router) Serve(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	name, ok := strings.CutPrefix(req.GetVolume(), datasetVolume)
	if req.GetHolder() != "" && req.GetHolder() != r.Self {
		return errorResponse(req, fmt.Errorf("%w: its address now belongs to worker %s", filesys.ErrGone, r.Self)), nil
	}
	if v := r.Datasets[name]; ok && v != nil {
		return v.Call(ctx, req)
	}
	return errorResponse(req, fmt.Errorf("worker %s does not offer %s: %w", r.Self, req.GetVolume(), fs.ErrNotExist)), nil
}

// Call answers a call of this process or of one of its children, for all datasets and all clients.
func (r *Router) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if strings.HasPrefix(req.GetVolume(), clientVolume) {
		if r.Lenders == nil {
			return errorResponse(req, fmt.Errorf("%s is the machine of another client: %w", req.Volume, fs.ErrPermission)), nil
		}
		return r.Lenders.Call(ctx, req)
	}
	dataset, ok := strings.CutPrefix(req.GetVolume(), datasetVolume)
	if !ok || dataset == "" {
		return errorResponse(req, fmt.Errorf("volume %q is unknown: %w", req.GetVolume(), fs.ErrInvalid)), nil
	}
	var tries retry.Patience
	tries.Reset()
	for {
		resp, err := r.dataset(ctx, dataset, req)
		switch {
		case err == nil:
			return resp, nil
		case r.Patience == 0 || !errors.Is(err, wire.ErrUnknownDataset):
			return errorResponse(req, err), nil
		case tries.Spent() >= r.Patience:
			_, text, _ := strings.Cut(err.Error(), filesys.ErrGone.Error()+": ")
			return errorResponse(req, &answerError{text, fs.ErrNotExist}), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(r.Patience / 8):
		}
	}
}

func (r *Router) dataset(ctx context.Context, dataset string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if holder := req.GetHolder(); holder != "" {
		return r.ask(ctx, holder, req)
	}
	if op := req.GetList(); op != nil && !op.GetEntries() {
		return r.lists.page(dataset+"/"+req.Name, op, func() ([]*layshaftv1.FileInfo, error) {
			if r.Find != nil {
				return r.Find(ctx, dataset, req.Name)
			}
			holders, away, err := r.holders(ctx, dataset)
			if err != nil {
				return nil, err
			}
			infos, err := Gather(ctx, holders, r.ask, dataset, req.Name)
			if len(away) > 0 && !IsComplete(infos, err, req.Name) {
				return nil, AwayError(away[0], dataset, "may hold some of it")
			}
			return infos, err
		})
	}
	name, _ := filesys.Local(req.GetName())
	local := r.Datasets[dataset]
	if _, ok := req.Operation.(*layshaftv1.CallRequest_Head); ok {
		return r.heads(ctx, local, req)
	}
	// This worker serves its own files, and creates files, itself.
	switch req.Operation.(type) {
	case *layshaftv1.CallRequest_Stat, *layshaftv1.CallRequest_Read:
		// With hints, the caller wants one of the copies that were compared.
		if local != nil && name != "." && r.isHinted(req) {
			if resp, err := local.Call(ctx, req); err != nil || resp.Reason != layshaftv1.FileError_FILE_ERROR_NOT_EXIST {
				return resp, err
			}
		}
	case *layshaftv1.CallRequest_Write, *layshaftv1.CallRequest_MakeDir:
		if local != nil {
			resp, err := local.Call(ctx, req)
			if err != nil || resp.Reason != layshaftv1.FileError_FILE_ERROR_PERMISSION {
				return resp, err
			}
		}
	}
	for _, hint := range req.GetHints() {
		if resp, err := r.askWithin(ctx, hintTime, hint, req); err == nil && resp.Error == "" && len(resp.Infos) == 1 {
			out := proto.CloneOf(resp)
			out.Infos[0].Holders = slices.Compact(slices.Sorted(slices.Values(req.Hints)))
			return out, nil
		}
	}
	holders, away, err := r.holders(ctx, dataset)
	if err != nil {
		return nil, err
	}
	switch op := req.Operation.(type) {
	case *layshaftv1.CallRequest_List: // all entries of a directory, on any of the holders
		return r.lists.page(dataset+"/"+req.Name, op.List, func() ([]*layshaftv1.FileInfo, error) {
			return gather(ctx, holders, r.ask, listRequest(dataset, req.Name, true))
		})
	case *layshaftv1.CallRequest_Write, *layshaftv1.CallRequest_MakeDir:
		// Some holders may offer the dataset read-only.
		h := fnv.New32a()
		h.Write([]byte(req.Name))
		for i := range holders {
			resp, err := r.ask(ctx, holders[(int(h.Sum32())+i)%len(holders)], req)
			if i == len(holders)-1 || err != nil || resp.Reason != layshaftv1.FileError_FILE_ERROR_PERMISSION {
				return resp, err
			}
		}
	case *layshaftv1.CallRequest_Remove:
		return r.askAll(ctx, holders, req)
	}
	info, err := r.statHinted(ctx, dataset, name, holders, req.GetHints())
	if errors.Is(err, fs.ErrNotExist) && len(away) > 0 {
		if i := slices.IndexFunc(away, func(w string) bool { return slices.Contains(req.GetHints(), w) }); i >= 0 {
			return nil, fmt.Errorf("worker %s, which had it, %w", away[i], filesys.ErrGone)
		}
		err = fmt.Errorf("%w: no present worker has it, and worker %s, which offers dataset %s, is away", fs.ErrNotExist, away[0], dataset)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := req.Operation.(*layshaftv1.CallRequest_Stat); ok {
		return &layshaftv1.CallResponse{Infos: []*layshaftv1.FileInfo{info}}, nil
	}
	return r.ask(ctx, info.Holders[0], req)
}

// isHinted reports whether this worker is one of the hints, or there are none.
func (r *Router) isHinted(req *layshaftv1.CallRequest) bool {
	return len(req.GetHints()) == 0 || slices.Contains(req.GetHints(), r.Self)
}

// statHinted is stat on the holders that are hints, and then on the others.
func (r *Router) statHinted(ctx context.Context, dataset, name string, holders, hints []string) (*layshaftv1.FileInfo, error) {
	var hinted, others []string
	for _, h := range holders {
		if slices.Contains(hints, h) {
			hinted = append(hinted, h)
		} else {
			others = append(others, h)
		}
	}
	var first error
	if len(hinted) > 0 {
		info, err := r.stat(ctx, dataset, name, hinted)
		if err == nil || len(others) == 0 {
			return info, err
		}
		first = err
	}
	info, err := r.stat(ctx, dataset, name, others)
	if errors.Is(err, fs.ErrNotExist) && first != nil {
		err = first
	}
	return info, err
}

// heads reads the beginnings of files on this worker, if it is hinted and has them all, or on the
// first hint.
func (r *Router) heads(ctx context.Context, local *Volume, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	if local != nil && r.isHinted(req) {
		if resp, err := local.Call(ctx, req); err != nil || resp.Error == "" {
			return resp, err
		}
	}
	if len(req.GetHints()) == 0 {
		return nil, fmt.Errorf("heads of %d files without a host: %w", len(req.GetHead().GetNames()), fs.ErrInvalid)
	}
	return r.askWithin(ctx, hintTime, req.GetHints()[0], req)
}

// IsComplete reports whether a list has all files of a dataset that match glob, although some
// worker is away. This is so if glob names one file and it was found.
func IsComplete(infos []*layshaftv1.FileInfo, err error, glob string) bool {
	name, _ := filesys.Local(glob)
	return err == nil && len(infos) == 1 && infos[0].Name == name
}

// AwayError returns the error for an answer that is incomplete while a worker is away. It wraps
// filesys.ErrAway.
func AwayError(worker, dataset, why string) error {
	return fmt.Errorf("worker %s, which offers dataset %s, is %w; it %s: start it again or, if it is gone for good, run: layshaft worker drain %s",
		worker, dataset, filesys.ErrAway, why, worker)
}

// UnknownDataset returns the error for a dataset that no worker offers. It wraps
// wire.ErrUnknownDataset. offered are the datasets that some worker offers.
func UnknownDataset(dataset string, offered []string) error {
	near := ""
	if len(offered) > 0 {
		near = "name one of " + strings.Join(spelling.Sort(dataset, offered), ", ") + ", or "
	}
	return fmt.Errorf("%w: no worker offers %s; %sstart a worker with -dataset %s=DIR", wire.ErrUnknownDataset, dataset, near, dataset)
}

// Finder returns a function for Router.Find: it lists the files of a dataset through a coordinator.
// coordinator returns the connection.
func Finder(coordinator func() (*grpc.ClientConn, error)) func(ctx context.Context, dataset, glob string) ([]*layshaftv1.FileInfo, error) {
	return func(ctx context.Context, dataset, glob string) ([]*layshaftv1.FileInfo, error) {
		conn, err := coordinator()
		if err != nil {
			return nil, unreachable(err)
		}
		return findFiles(ctx, conn, dataset, glob)
	}
}

func findFiles(ctx context.Context, conn *grpc.ClientConn, dataset, glob string) (files []*layshaftv1.FileInfo, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := layshaftv1.NewCoordinatorServiceClient(conn).FindFiles(ctx, &layshaftv1.FindFilesRequest{Dataset: dataset, Glob: glob})
	for err == nil {
		var part *layshaftv1.FindFilesResponse
		if part, err = stream.Recv(); err == nil {
			files = append(files, part.GetFiles()...)
		}
	}
	if err == io.EOF {
		return files, nil
	}
	if err = wire.FromStatus(err); errors.Is(err, wire.ErrUnavailable) || errors.Is(err, wire.ErrUnknownDataset) {
		err = fmt.Errorf("%w: %w", filesys.ErrGone, err)
	}
	return nil, err
}

// unreachable wraps the error of a look-up in filesys.ErrGone, which callers retry. A refusal stays
// a refusal: it does not pass, so nobody retries it.
func unreachable(err error) error {
	if errors.Is(err, wire.ErrForbidden) || errors.Is(err, wire.ErrUnauthenticated) {
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return fmt.Errorf("%w: %w", filesys.ErrGone, err)
}

// holders returns the workers that offer a dataset, sorted.
func (r *Router) holders(ctx context.Context, dataset string) (names, away []string, err error) {
	names, away, err = r.Holders(ctx, dataset)
	if err != nil {
		return nil, nil, unreachable(err)
	}
	slices.Sort(away)
	if names = slices.Sorted(slices.Values(names)); len(names) == 0 && len(away) > 0 {
		return nil, nil, fmt.Errorf("worker %s, the only one with dataset %s, %w", strings.Join(away, ", "), dataset, filesys.ErrGone)
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("%w: %w", filesys.ErrGone, UnknownDataset(dataset, nil))
	}
	return names, away, nil
}

const (
	// askTime limits the answer of one worker. It is shorter than tryTime, so that the caller
	// learns the name of the silent worker.
	askTime = tryTime * 3 / 4
	// hintTime is the limit for a worker that only may have a file; others may have it too.
	hintTime = 3 * time.Second
)

// ask carries out a call on one worker.
func (r *Router) ask(ctx context.Context, worker string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return r.askWithin(ctx, askTime, worker, req)
}

// askWithin is ask with a time limit. If the worker cannot be reached, it looks up its address
// again and retries once.
func (r *Router) askWithin(ctx context.Context, limit time.Duration, worker string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	own := proto.CloneOf(req)
	own.Holder = worker
	if r.Self != "" && worker == r.Self {
		return r.Serve(ctx, own)
	}
	limited, cancel := awake.WithTimeout(ctx, limit)
	defer cancel()
	for anew := false; ; anew = true {
		c, err := r.Peer(limited, worker, anew)
		if err != nil {
			return nil, fmt.Errorf("worker %s %w", worker, unreachable(err))
		}
		resp, err := c.Call(limited, own)
		f := responseError(resp, err)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("worker %s %w: %w", worker, filesys.ErrGone, context.Cause(ctx))
		case limited.Err() != nil:
			return nil, fmt.Errorf("worker %s %w: it did not answer for %v", worker, filesys.ErrGone, limit)
		case !errors.Is(f, filesys.ErrGone):
			if err != nil {
				err = fmt.Errorf("worker %s: %w", worker, err)
			}
			return resp, err
		case anew:
			return nil, fmt.Errorf("worker %s %w: %w", worker, filesys.ErrGone, f)
		}
	}
}

// askAll carries out a call on all holders.
func (r *Router) askAll(ctx context.Context, holders []string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	errs := make([]error, len(holders))
	forEach(holders, func(i int) {
		resp, err := r.ask(ctx, holders[i], req)
		errs[i] = responseError(resp, err)
	})
	// A permanent failure is more important than a holder that cannot be reached.
	for _, err := range errs {
		if err != nil && !errors.Is(err, filesys.ErrGone) {
			return nil, err
		}
	}
	return &layshaftv1.CallResponse{}, errors.Join(errs...)
}

// stat finds the current copies of a file; for the root, all holders.
func (r *Router) stat(ctx context.Context, dataset, name string, holders []string) (*layshaftv1.FileInfo, error) {
	req := &layshaftv1.CallRequest{Volume: datasetVolume + dataset, Name: name, Operation: &layshaftv1.CallRequest_Stat{Stat: &layshaftv1.StatFile{}}}
	lists, errs := make([][]*layshaftv1.FileInfo, len(holders)), make([]error, len(holders))
	forEach(holders, func(i int) {
		resp, err := r.ask(ctx, holders[i], req)
		if errs[i] = responseError(resp, err); errs[i] == nil {
			lists[i] = resp.Infos
		}
	})
	found := Merge(lists)
	if len(found) > 0 {
		return found[0], nil // any of them
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no worker has it: %w", fs.ErrNotExist)
}

// Gather lists the files of a dataset that match a glob, on all its holders: each file once, sorted
// by name, with its holders. The function ask carries out a call on one of them. The error contains
// the name of a worker without an answer.
func Gather(ctx context.Context, holders []string, ask func(ctx context.Context, worker string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error), dataset, glob string) ([]*layshaftv1.FileInfo, error) {
	return gather(ctx, holders, ask, listRequest(dataset, glob, false))
}

// listRequest returns a request for a list.
func listRequest(dataset, name string, entries bool) *layshaftv1.CallRequest {
	return &layshaftv1.CallRequest{Volume: datasetVolume + dataset, Name: name,
		Operation: &layshaftv1.CallRequest_List{List: &layshaftv1.ListFiles{Entries: entries}}}
}

func gather(ctx context.Context, holders []string, ask func(ctx context.Context, worker string, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error), req *layshaftv1.CallRequest) ([]*layshaftv1.FileInfo, error) {
	lists, errs := make([][]*layshaftv1.FileInfo, len(holders)), make([]error, len(holders))
	forEach(holders, func(i int) {
		own := proto.CloneOf(req)
		own.Holder = holders[i]
		for {
			resp, err := ask(ctx, holders[i], own)
			if errs[i] = responseError(resp, err); errs[i] != nil {
				return
			}
			lists[i] = append(lists[i], resp.Infos...)
			if !resp.More || len(resp.Infos) == 0 {
				return
			}
			own.GetList().After = resp.Infos[len(resp.Infos)-1].Name
		}
	})
	missing := 0
	for i, err := range errs {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing++
		case err != nil:
			return nil, fmt.Errorf("worker %s: %w", holders[i], err)
		}
	}
	if missing > 0 && missing == len(holders) {
		return nil, fmt.Errorf("no worker has it: %w", fs.ErrNotExist)
	}
	return Merge(lists), nil
}

// forEach calls f for every holder, several at the same time.
func forEach(holders []string, f func(i int)) {
	var group errgroup.Group
	group.SetLimit(32)
	for i := range holders {
		group.Go(func() error {
			f(i)
			return nil
		})
	}
	group.Wait()
}

// describeDifference returns a text about two different copies of a file.
func describeDifference(a, b *layshaftv1.FileInfo) string {
	say := func(i *layshaftv1.FileInfo) string {
		what := report.Plural(i.Size, "byte")
		if i.Dir {
			what = "a directory"
		}
		return what + " on worker " + strings.Join(i.Holders, ", ")
	}
	return say(a) + ", " + say(b)
}

// Merge merges the lists of several workers, sorted by name. Of each file it keeps the copies with
// the size of the newest one. Difference describes the others.
func Merge(lists [][]*layshaftv1.FileInfo) []*layshaftv1.FileInfo {
	byName := make(map[string]*layshaftv1.FileInfo)
	for _, l := range lists {
		for _, i := range l {
			have := byName[i.Name]
			switch {
			case have == nil:
				byName[i.Name] = proto.CloneOf(i)
			case have.Size == i.Size && have.Dir == i.Dir || have.Dir && i.Dir:
				have.Holders = append(have.Holders, i.Holders...)
				have.ModTimeNanos = max(have.ModTimeNanos, i.ModTimeNanos)
				if i.LeftOut == "" {
					have.LeftOut = ""
				}
			case i.ModTimeNanos > have.ModTimeNanos:
				byName[i.Name] = proto.CloneOf(i)
				byName[i.Name].Difference = describeDifference(have, i)
			default:
				have.Difference = describeDifference(have, i)
			}
		}
	}
	out := slices.SortedFunc(maps.Values(byName), func(a, b *layshaftv1.FileInfo) int { return strings.Compare(a.Name, b.Name) })
	for _, i := range out {
		slices.Sort(i.Holders)
		i.Holders = slices.Compact(i.Holders)
	}
	return out
}
