package worker

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/child"
	"github.com/layshaft/layshaft/internal/filesys/remote"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
	"github.com/layshaft/layshaft/worker/internal/attempt"
	"github.com/layshaft/layshaft/worker/internal/runner"
)

// Replay runs an attempt again with its exact input, alone, in a program in the foreground. Its
// output is counted and dropped, and sinks write nothing.
type Replay struct {
	// Spec is the job. Its plan may differ from the plan of the program in places of operators, so
	// that a person can add a print.
	Spec *job.Spec
	// Launch is the attempt and its input.
	Launch *job.Launch
	// Command is the program with its arguments.
	Command []string
	// Peer returns the outputs of a worker, or nil for an unknown worker.
	Peer func(worker string) Outputs
	// Files answers for datasets and for the files of the client of the job.
	Files remote.Caller
	// Client is the volume of the client's files; it may be empty.
	Client string
	// SetAside receives the records that the attempt sets aside, as lines of a quarantine file.
	SetAside func(line []byte)
}

// Replayed is what a replayed attempt did.
type Replayed struct {
	// Read and ReadBytes are the records and bytes that it read. They are not complete if its
	// program died.
	Read, ReadBytes int64
	// Wrote and WroteBytes are the records and bytes that it passed to later stages.
	Wrote, WroteBytes int64
	// Counters are the counters of the attempt, if it succeeded.
	Counters map[string]int64
}

// replayMemory is how many bytes an attempt may hold if its job does not set it.
const replayMemory = 256 << 20

// Run runs the attempt. It returns after the end of the program. The error is a *job.Failure if the
// attempt failed or its program died.
func (r *Replay) Run() (out Replayed, err error) {
	stage := r.Launch.Attempt.Task.Stage
	if stage < 0 || stage >= len(r.Spec.Stages) {
		return out, fmt.Errorf("job %s has no stage %d, only %d", r.Spec.ID, stage, len(r.Spec.Stages))
	}
	dir, err := os.MkdirTemp("", "layshaft-replay-")
	if err != nil {
		return out, err
	}
	defer os.RemoveAll(dir)
	for _, sub := range []string{"child", "scratch"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return out, err
		}
	}
	local, remove, err := listenLocal(dir)
	if err != nil {
		return out, err
	}
	defer remove()
	files := grpc.NewServer(wire.ServerOptions(nil, nil)...)
	layshaftv1.RegisterFilesServiceServer(files, &callerService{caller: r.Files})
	served := make(chan struct{})
	go func(l net.Listener) { defer close(served); _ = files.Serve(l) }(local)
	defer func() { files.Stop(); <-served }()

	spec := *r.Spec
	spec.Plan = "" // it has the places of operators
	launch := *r.Launch
	launch.Timeout, launch.Isolated = 0, true
	progress, counted := new(job.Progress), &countOutput{}
	program := &runner.Foreground{Command: r.Command, Spec: &spec, Dir: filepath.Join(dir, "child"), Stdout: os.Stdout, Stderr: os.Stderr,
		Env: []string{child.FilesEnv + "=unix:" + local.Addr().String() + " " + r.Client, child.RootsEnv + "=" + string(filepath.Separator)}}
	err = program.Run(func(p *job.Program) error {
		m, _, err := attempt.Run(context.Background(), attempt.Config{Launch: launch, Stage: spec.Stages[stage], Program: p, Fetch: fetcher{r.Peer},
			Output: counted, Dir: filepath.Join(dir, "scratch"), Memory: cmp.Or(spec.Memory, replayMemory), Slots: 1, Progress: progress, SetAside: r.SetAside})
		if err == nil {
			out.Counters = m.Counters
		}
		return err
	})
	out.Read, out.ReadBytes = progress.Records.Load(), progress.Bytes.Load()
	out.Wrote, out.WroteBytes = counted.records, counted.bytes
	return out, err
}

// callerService serves a Caller to a child.
type callerService struct {
	layshaftv1.UnimplementedFilesServiceServer
	caller remote.Caller
}

func (s *callerService) Call(ctx context.Context, req *layshaftv1.CallRequest) (*layshaftv1.CallResponse, error) {
	return s.caller.Call(ctx, req)
}

// countOutput counts blocks and drops them.
type countOutput struct{ records, bytes int64 }

func (o *countOutput) Append(_, _, _ int, block []byte, records int, _ []byte) error {
	o.records += int64(records)
	o.bytes += int64(len(block))
	return nil
}

func (o *countOutput) Seal(_ context.Context, counters map[string]int64, _ [][]byte) (*job.Manifest, error) {
	return &job.Manifest{Counters: counters}, nil
}

func (o *countOutput) Discard() {}
