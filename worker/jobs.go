package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

const (
	specLimit = time.Minute      // to fetch a job from the coordinator
	codeLimit = 10 * time.Minute // to fetch a program
	maxSpec   = 1 << 30          // bytes of an encoded job
)

// jobs holds the jobs whose attempts were launched here, and their programs. Both are fetched
// from the coordinator once per job.
type jobs struct {
	coord  *coordinatorConn
	code   *codeStore
	runner Runner
	// address of the file service for programs; empty without one
	files string
	roots string // value of child.RootsEnv

	// mu guards the fields below.
	mu   sync.Mutex
	byID map[job.ID]*knownJob
}

// knownJob is a job on this worker. loaded is a lock for fetching its missing parts.
type knownJob struct {
	loaded chan struct{} // capacity 1
	spec   *job.Spec     // nil until it is fetched
	// volume of the files of the submitting client; may be empty
	client string
	hash   string // hash of the program, in hex; empty if the job names none
	size   int64  // size of the program, in bytes
	// path of the program, which is kept for this job; empty until it is fetched
	path string
}

func newJobs(coord *coordinatorConn, code *codeStore, runner Runner) *jobs {
	return &jobs{coord: coord, code: code, runner: runner, byID: map[job.ID]*knownJob{}}
}

func (j *jobs) listIDs() []job.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.byID))
}

// lock returns a job whose parts no other goroutine loads until unlock.
func (j *jobs) lock(id job.ID) *knownJob {
	j.mu.Lock()
	k := j.byID[id]
	if k == nil {
		k = &knownJob{loaded: make(chan struct{}, 1)}
		j.byID[id] = k
	}
	j.mu.Unlock()
	k.loaded <- struct{}{}
	return k
}

func (k *knownJob) unlock() { <-k.loaded }

// spec is the Worker's Config.Spec.
func (j *jobs) spec(id job.ID) (*job.Spec, error) {
	k := j.lock(id)
	defer k.unlock()
	return k.spec, j.load(id, k)
}

// load fetches a job. The caller holds its lock.
func (j *jobs) load(id job.ID, k *knownJob) error {
	if k.spec != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), specLimit)
	defer cancel()
	var data []byte
	err := j.pieces(ctx, func(c layshaftv1.CoordinatorServiceClient) (piecer, error) {
		return asPiecer(c.GetSpec(ctx, &layshaftv1.GetSpecRequest{Job: string(id)}))
	}, func(piece []byte) error {
		if data = append(data, piece...); len(data) > maxSpec {
			return fmt.Errorf("the job has more than %d bytes", maxSpec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var m layshaftv1.JobCode
	if err := proto.Unmarshal(data, &m); err != nil {
		return err
	}
	spec, err := wire.SpecFromProto(m.GetSpec())
	if err == nil && spec.ID != id {
		err = fmt.Errorf("the coordinator sent job %s", spec.ID)
	}
	if err != nil {
		return err
	}
	k.spec, k.client, k.hash, k.size = spec, m.GetClient(), m.GetCode().GetSha256(), m.GetCode().GetSize()
	return nil
}

// program is the Worker's Config.Program.
func (j *jobs) program(id job.ID, slot int) (*job.Program, error) {
	k := j.lock(id)
	err := j.load(id, k)
	if err == nil && k.path == "" && k.hash != "" {
		k.path, err = j.code.take(k.hash, func(w io.Writer) error { return j.fetchCode(k.hash, k.size, w) })
	}
	spec, path, client := k.spec, k.path, k.client
	k.unlock()
	if err != nil {
		return nil, err
	}
	return j.runner.Program(id, slot, spec, path, []string{child.FilesEnv + "=" + j.files + " " + client, child.RootsEnv + "=" + j.roots})
}

// fetchCode writes a program to w. The caller checks its hash.
func (j *jobs) fetchCode(hash string, size int64, w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), codeLimit)
	defer cancel()
	return j.pieces(ctx, func(c layshaftv1.CoordinatorServiceClient) (piecer, error) {
		return asPiecer(c.GetCode(ctx, &layshaftv1.GetCodeRequest{Sha256: hash}))
	}, func(piece []byte) error {
		if size -= int64(len(piece)); size < 0 {
			return errors.New("the coordinator sent more than the program's size")
		}
		_, err := w.Write(piece)
		return err
	})
}

// end removes a job without running attempts.
func (j *jobs) end(id job.ID) {
	j.mu.Lock()
	k := j.byID[id]
	delete(j.byID, id)
	j.mu.Unlock()
	if k == nil {
		return
	}
	k.loaded <- struct{}{}
	defer k.unlock()
	j.runner.End(id)
	if k.path != "" {
		j.code.release(k.hash)
	}
}

// piecer returns the next piece of a stream.
type piecer func() ([]byte, error)

func asPiecer[M interface{ GetData() []byte }](stream interface{ Recv() (M, error) }, err error) (piecer, error) {
	return func() ([]byte, error) {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return m.GetData(), nil
	}, err
}

// pieces requests something large from the coordinator and passes its pieces to take.
func (j *jobs) pieces(ctx context.Context, ask func(layshaftv1.CoordinatorServiceClient) (piecer, error), take func([]byte) error) error {
	conn, err := j.coord.current()
	if err != nil {
		return err
	}
	next, err := ask(layshaftv1.NewCoordinatorServiceClient(conn))
	for err == nil {
		var piece []byte
		if piece, err = next(); err == nil {
			err = take(bytes.Clone(piece))
		}
	}
	if err == io.EOF {
		return nil
	}
	return wire.FromStatus(err)
}
