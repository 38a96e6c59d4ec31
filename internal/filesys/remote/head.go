package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	headNames   = 250              // files in one request for heads
	maxHead     = filesys.MaxSmall // limit of the bytes of one file in an answer
	headsAtOnce = 4                // files of one request that are read at the same time
	// smallDigest is up to which size heads come with a digest, in bytes. The identity of a job
	// then does not depend on which holders are there.
	smallDigest = 64 << 10
)

// headFiles reads the beginnings and ends of files, for planning: thousands of small files with one
// call for each take longer than the job.
func (v *Volume) headFiles(req *layshaftv1.HeadFiles) (*layshaftv1.CallResponse, error) {
	names, head, tail := req.GetNames(), req.GetHead(), req.GetTail()
	if head < 0 || tail < 0 || head+tail > maxHead || len(names) > headNames {
		return nil, fmt.Errorf("%d and %d bytes of %d files: at most %d bytes of %d files are read at once: %w", head, tail, len(names), maxHead, headNames, fs.ErrInvalid)
	}
	resp := &layshaftv1.CallResponse{Infos: make([]*layshaftv1.FileInfo, len(names))}
	var group errgroup.Group
	group.SetLimit(headsAtOnce)
	for i, name := range names {
		group.Go(func() error {
			info, err := v.headFile(name, head, tail)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			resp.Infos[i] = info
			return nil
		})
	}
	return resp, group.Wait()
}

func (v *Volume) headFile(name string, head, tail int64) (*layshaftv1.FileInfo, error) {
	f, err := v.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	first, err := readAt(f, 0, min(head, fi.Size()))
	if err != nil {
		return nil, err
	}
	tail = min(tail, fi.Size())
	last, err := readAt(f, fi.Size()-tail, tail)
	if err != nil {
		return nil, err
	}
	sum := v.sums.recall(name, f)
	if sum == nil && fi.Size() <= smallDigest {
		all, err := readAt(f, 0, fi.Size())
		if err != nil {
			return nil, err
		}
		b := xxh3.Hash128(all).Bytes()
		sum = b[:]
	}
	if _, changed := filesys.StateOf(f); sum == nil && !changed.IsZero() {
		time.Sleep(filesys.UntilSettled(changed)) // its time tells contents apart
	}
	if fi, err = f.Stat(); err != nil { // a change while the file was read shows in its time
		return nil, err
	}
	out := infoOf(name, fi, v.holder)
	out.Head, out.Tail, out.Digest = first, last, sum
	if _, changed := filesys.StateOf(f); !changed.IsZero() {
		out.ChangedNanos = changed.UnixNano()
	}
	return out, nil
}

func readAt(f *os.File, off, n int64) ([]byte, error) {
	b := make([]byte, n)
	m, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil // the caller compares the size with the listed one
	}
	return b[:m], err
}

// Heads reads the first and last bytes of files, from the first host of each. A file whose host
// cannot be reached, or that has another size than in infos, has no head.
func (f *DatasetFS) Heads(ctx context.Context, infos []filesys.Info, head, tail int) ([]filesys.Head, error) {
	out := make([]filesys.Head, len(infos))
	return out, f.eachHead(ctx, infos, func(hosts []string, req *layshaftv1.CallRequest, op *layshaftv1.HeadFiles) {
		req.Holder, op.Head, op.Tail = hosts[0], int64(head), int64(tail)
	}, func(i int, got *layshaftv1.FileInfo) {
		if got.Size == infos[i].Size && len(got.Head) == min(head, int(got.Size)) {
			out[i] = filesys.Head{First: got.Head, Last: got.Tail}
			switch {
			case infos[i].Version != "":
				out[i].Version = infos[i].Version
			case len(got.Digest) > 0:
				out[i].Version = digestVersion(got.Digest)
			case got.ChangedNanos != 0:
				out[i].Version = fmt.Sprint("changed ", got.ChangedNanos)
			}
		}
	})
}

// digestVersion is the Version of a file with a digest. It is equal for all its copies.
func digestVersion(sum []byte) string { return fmt.Sprintf("digest %x", sum) }

// OpenSmall reads small files whole, of this worker if it is a host of all, or of the first host of
// each.
func (f *DatasetFS) OpenSmall(ctx context.Context, infos []filesys.Info) ([]filesys.File, error) {
	out := make([]filesys.File, len(infos))
	return out, f.eachHead(ctx, infos, func(hosts []string, req *layshaftv1.CallRequest, op *layshaftv1.HeadFiles) {
		req.Hints, op.Head = hosts, maxHead
	}, func(i int, got *layshaftv1.FileInfo) {
		if int64(len(got.Head)) == got.Size {
			info := f.info(infos[i].Path, got)
			info.Path = infos[i].Path
			out[i] = &smallFile{bytes.NewReader(got.Head), info}
		}
	})
}

// smallFile is a file that was read whole. Its description is of that time.
type smallFile struct {
	*bytes.Reader
	info filesys.Info
}

// Stat returns the description of the file when it was read.
func (s *smallFile) Stat() (filesys.Info, error) { return s.info, nil }

// Stream reads n bytes from offset from on.
func (s *smallFile) Stream(from, n int64) io.Reader { return io.NewSectionReader(s.Reader, from, n) }

// Close does nothing.
func (s *smallFile) Close() error { return nil }

// eachHead calls set for the files of which a host reads the beginning. ask completes a request to
// the first of hosts, which all have the files of the request. A host that cannot be reached is no
// error.
func (f *DatasetFS) eachHead(ctx context.Context, infos []filesys.Info, ask func(hosts []string, req *layshaftv1.CallRequest, op *layshaftv1.HeadFiles),
	set func(i int, got *layshaftv1.FileInfo)) error {
	byHost := map[string][]int{}
	for i := range infos {
		if h := infos[i].Hosts; len(h) > 0 {
			byHost[h[0]] = append(byHost[h[0]], i)
		}
	}
	hosts := slices.Sorted(maps.Keys(byHost))
	errs := make([]error, len(hosts))
	forEach(hosts, func(k int) {
		for files := range slices.Chunk(byHost[hosts[k]], headNames) {
			if errs[k] = f.heads(ctx, hosts[k], infos, files, ask, set); errs[k] != nil {
				return
			}
		}
	})
	for _, err := range errs {
		if err != nil && !errors.Is(err, filesys.ErrGone) {
			return err
		}
	}
	return nil
}

// heads calls set for some files of one host.
func (f *DatasetFS) heads(ctx context.Context, host string, infos []filesys.Info, files []int, ask func(hosts []string, req *layshaftv1.CallRequest, op *layshaftv1.HeadFiles),
	set func(i int, got *layshaftv1.FileInfo)) error {
	op := &layshaftv1.HeadFiles{}
	var req *layshaftv1.CallRequest
	hosts := slices.Clone(infos[files[0]].Hosts) // the first is host
	for _, i := range files {
		hosts = slices.DeleteFunc(hosts, func(h string) bool { return !slices.Contains(infos[i].Hosts, h) })
		one, err := f.request(infos[i].Path)
		if err != nil {
			return err
		}
		if req != nil && req.Volume != one.Volume {
			return nil // of another dataset; it is opened alone
		}
		req = one
		op.Names = append(op.Names, one.Name)
	}
	req.Name, req.Operation = ".", &layshaftv1.CallRequest_Head{Head: op}
	ask(hosts, req, op)
	resp, err := f.call(ctx, infos[files[0]].Path, req)
	if err != nil {
		return err
	}
	if len(resp.Infos) != len(files) {
		return &filesys.Error{Path: infos[files[0]].Path, Err: fmt.Errorf("worker %s: got %d heads, want %d", host, len(resp.Infos), len(files))}
	}
	for n, i := range files {
		set(i, resp.Infos[n])
	}
	filesys.InputOf(ctx).Advance(len(files))
	return nil
}
