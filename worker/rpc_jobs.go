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
	specLimit = time.Minute      // for a job to come from the coordinator
	codeLimit = 10 * time.Minute // for a program to come
	maxSpec   = 1 << 30          // bytes of an encoded job
)

// jobs are the jobs of which attempts were launched here: what they are, and their programs. Both come from the coordinator, once per
// job.
type jobs struct {
	coord  *coordinatorConn
	code   *codeStore
	runner Runner
	files  string // the address of the files that programs reach; empty without

	// mu guards the fields below.
	mu   sync.Mutex
	byID map[job.ID]*knownJob
}

// knownJob is a job while it is known here. loaded is held by whoever fetches what is missing.
type knownJob struct {
	loaded chan struct{} // capacity 1
	spec   *job.Spec     // nil until it is fetched
	client string        // the volume of the files of the client that submitted it; may be empty
	hash   string        // of the program, in hex; empty when the job names none
	size   int64         // of the program, in bytes
	path   string        // of the program, which is kept for this job; empty until it is there
}

func newJobs(coord *coordinatorConn, code *codeStore, runner Runner) *jobs {
	return &jobs{coord: coord, code: code, runner: runner, byID: map[job.ID]*knownJob{}}
}

func (j *jobs) known() []job.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.byID))
}

// lock returns a job that nobody else loads meanwhile.
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

// spec is the Worker's Spec.
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
			return fmt.Errorf("it has more than %d bytes", maxSpec)
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

// program is the Worker's Program.
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
	return j.runner.Program(id, slot, spec, path, []string{child.FilesEnv + "=" + j.files + " " + client})
}

// fetchCode writes a program into w. Whether it is whole is seen by its hash.
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

// end forgets a job, none of whose attempts run any more.
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

// piecer is a stream of pieces.
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

// pieces asks the coordinator for something large and hands over its pieces.
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
