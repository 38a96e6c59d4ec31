package remote

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/filesys"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	// digestWait limits the time for an answer with digests; then it contains only the known ones.
	digestWait = 5 * time.Second
	// digestsAtOnce is how many files of a volume are read at the same time.
	digestsAtOnce = 2
	// maxDigests limits the remembered digests.
	maxDigests = 1 << 20
)

// settled is filesys.Settled; a variable for tests.
var settled = filesys.Settled

// digests reads each file of a volume once, and again after a change. A read continues after the
// end of the call that started it.
type digests struct {
	open func(name string) (*os.File, error)
	ctx  context.Context // of all reads
	end  context.CancelFunc
	work sync.WaitGroup
	slot chan struct{} // held while a file is read

	// mu guards the fields below.
	mu      sync.Mutex
	known   map[string]knownDigest // by name
	reading map[string]*digest     // by name; in progress
}

type knownDigest struct {
	state string // see filesys.StateOf
	sum   []byte
}

// digest is the reading of one file.
type digest struct {
	done chan struct{} // closed when the fields below are set
	sum  []byte
	err  error
}

func newDigests(open func(name string) (*os.File, error)) *digests {
	d := &digests{open: open, slot: make(chan struct{}, digestsAtOnce), known: map[string]knownDigest{}, reading: map[string]*digest{}}
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

func (d *digests) close() {
	d.end()
	d.work.Wait()
}

// digestFiles returns the digests of the first of the names, as many as the time allows.
func (d *digests) digestFiles(ctx context.Context, names []string) (*layshaftv1.CallResponse, error) {
	late := time.NewTimer(digestWait)
	defer late.Stop()
	resp := &layshaftv1.CallResponse{}
	asked := make([]*digest, 0, digestsAtOnce)
	for i, name := range names {
		for k := i + len(asked); k < min(i+digestsAtOnce, len(names)); k++ {
			asked = append(asked, d.startDigest(names[k]))
		}
		select {
		case <-asked[0].done:
			if err := asked[0].err; err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			resp.Infos = append(resp.Infos, &layshaftv1.FileInfo{Name: name, Digest: asked[0].sum})
			asked = asked[1:]
		case <-late.C:
			resp.More = true
			return resp, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return resp, nil
}

// startDigest returns the digest of a file. It starts to read the file unless a read is in
// progress.
func (d *digests) startDigest(name string) *digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.reading[name]; x != nil {
		return x
	}
	x := &digest{done: make(chan struct{})}
	if d.ctx.Err() != nil {
		x.err = fs.ErrClosed
		close(x.done)
		return x
	}
	d.reading[name] = x
	d.work.Go(func() {
		x.sum, x.err = d.read(name)
		d.mu.Lock()
		delete(d.reading, name)
		d.mu.Unlock()
		close(x.done)
	})
	return x
}

// recall returns the digest of an open file if it is known; else nil.
func (d *digests) recall(name string, f *os.File) []byte {
	state, _ := filesys.StateOf(f)
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[name]; state != "" && k.state == state {
		return k.sum
	}
	return nil
}

// read returns the digest of a file, from memory if the file has not changed.
func (d *digests) read(name string) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	state, changed := filesys.StateOf(f)
	d.mu.Lock()
	k := d.known[name]
	d.mu.Unlock()
	if state != "" && k.state == state {
		return k.sum, nil
	}
	select {
	case d.slot <- struct{}{}:
		defer func() { <-d.slot }()
	case <-d.ctx.Done():
		return nil, fs.ErrClosed
	}
	old := time.Since(changed) > settled
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// to allocate a large buffer takes longer than to read a small file
	h, buf := xxh3.New(), make([]byte, min(fi.Size()+512, 1<<20))
	for {
		if d.ctx.Err() != nil {
			return nil, fs.ErrClosed
		}
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n]) // a hash never fails
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	b := h.Sum128().Bytes()
	if again, _ := filesys.StateOf(f); old && state != "" && again == state {
		d.mu.Lock()
		if len(d.known) >= maxDigests {
			clear(d.known)
		}
		d.known[name] = knownDigest{state, b[:]}
		d.mu.Unlock()
	}
	return b[:], nil
}
