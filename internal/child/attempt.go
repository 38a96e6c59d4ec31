package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"

	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/wire"
	runnerv1 "github.com/layshaft/layshaft/proto/layshaft/runner/v1"
	layshaftv1 "github.com/layshaft/layshaft/proto/layshaft/v1"
)

// attempt is the child's end of one Run stream.
type attempt struct {
	stream   runnerv1.RunnerService_RunServer
	ctx      context.Context
	cancel   context.CancelCauseFunc
	memory   int64
	id       atomic.Pointer[job.Attempt] // nil before its start
	progress job.Progress
	out      output
	// partition has the runs that open returned last.
	partition []job.RunReader
	// sentStacks are the stacks that the worker has; only the sender of progress uses it.
	sentStacks *string

	sending sync.Mutex // held during the sending of a message

	// mu guards the fields below.
	mu sync.Mutex
	// waiting contains the receivers of answers, by run or by one of the numbers below.
	waiting map[int64]chan *answer
	runs    int64 // number of numbered runs
}

// Numbers for answers that belong to no run, in attempt.request.
const (
	checking = -1
	opening  = -2
	growing  = -3
)

// answer is the worker's answer to a question.
type answer struct {
	blocks [][]byte
	runs   []*runnerv1.InputRun
	path   string // of the segment
	err    error  // io.EOF after the last blocks
}

func (a *attempt) send(m *runnerv1.RunResponse, data mem.BufferSlice) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return a.stream.SendMsg(&outgoing{m, data})
}

// request sends a question and returns the channel for its answer.
func (a *attempt) request(what int64, m *runnerv1.RunResponse) (<-chan *answer, error) {
	c := make(chan *answer, 1)
	a.mu.Lock()
	a.waiting[what] = c
	a.mu.Unlock()
	return c, a.send(m, nil)
}

// await sends a question and waits for the answer or the end of the attempt.
func (a *attempt) await(what int64, m *runnerv1.RunResponse) (*answer, error) {
	c, err := a.request(what, m)
	if err != nil {
		return nil, err
	}
	select {
	case x := <-c:
		return x, x.err
	case <-a.ctx.Done():
		return nil, context.Cause(a.ctx)
	}
}

// listen passes the worker's answers to their receivers until the stream ends. It never blocks on a
// receiver, so the worker can always send.
func (a *attempt) listen() {
	for {
		var m runnerv1.RunRequest
		in := incoming{Message: &m}
		if err := a.stream.RecvMsg(&in); err != nil {
			a.cancel(fmt.Errorf("the worker ended the conversation: %w", err))
			return
		}
		switch msg := m.GetBody().(type) {
		case *runnerv1.RunRequest_Blocks:
			x := &answer{err: failureFrom(msg.Blocks.GetFailure())}
			for _, n := range msg.Blocks.GetSizes() {
				if n < 0 || n > int64(len(in.data)) {
					x.err = fmt.Errorf("the worker sent %d of %d bytes", len(in.data), n)
					break
				}
				x.blocks = append(x.blocks, in.data[:n:n])
				in.data = in.data[n:]
			}
			if x.err == nil && msg.Blocks.GetEnd() {
				x.err = io.EOF
			}
			a.answer(msg.Blocks.GetRun(), x)
		case *runnerv1.RunRequest_Granted:
			a.answer(checking, &answer{err: failureFrom(msg.Granted.GetFailure())})
		case *runnerv1.RunRequest_Grown:
			a.answer(growing, &answer{path: msg.Grown.GetPath(), err: failureFrom(msg.Grown.GetFailure())})
		case *runnerv1.RunRequest_Opened:
			a.answer(opening, &answer{runs: msg.Opened.GetRuns(), err: failureFrom(msg.Opened.GetFailure())})
		case *runnerv1.RunRequest_Cancel:
			err := failureFrom(msg.Cancel)
			a.keepStacks(err)
			a.cancel(err)
		}
	}
}

// keepStacks keeps the stacks of an attempt that is to end by a fault, such as its time limit, for
// its post-mortem.
func (a *attempt) keepStacks(why error) {
	var f *job.Failure
	if id := a.id.Load(); id != nil && errors.As(why, &f) && f.Kind != job.Cancelled {
		stacks, _ := stacksOf(*id)
		a.progress.Stacks.Store(&stacks)
	}
}

func (a *attempt) answer(what int64, x *answer) {
	a.mu.Lock()
	c := a.waiting[what]
	delete(a.waiting, what)
	a.mu.Unlock()
	if c != nil {
		c <- x
	}
}

// failureFrom converts a failure that may be nil.
func failureFrom(p *layshaftv1.Failure) error {
	if p == nil {
		return nil
	}
	f, err := wire.FailureFromProto(p)
	if err != nil {
		return err
	}
	return f
}

// check returns an error if the worker does not allow need bytes of scratch.
func (a *attempt) check(need int64) error {
	_, err := a.await(checking, &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Check{Check: &runnerv1.Check{Bytes: need}}})
	return err
}

// grow asks for n more bytes in the segment, and returns its path.
func (a *attempt) grow(n int64) (path string, err error) {
	x, err := a.await(growing, &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Grow{Grow: &runnerv1.GrowSegment{Bytes: n}}})
	if err != nil {
		return "", err
	}
	return x.path, nil
}

// inputs returns the input runs from the start of the attempt.
func (a *attempt) inputs(in []*runnerv1.InputRuns) [][]job.RunReader {
	total := 0
	for _, x := range in {
		total += len(x.GetRuns())
	}
	inputs := make([][]job.RunReader, len(in))
	for i, x := range in {
		inputs[i] = a.number(x.GetRuns(), total)
	}
	return inputs
}

// closeFiles closes the runs that are read from files. The worker closes its own runs by itself.
func closeFiles(runs []job.RunReader) {
	for _, r := range runs {
		if _, isPulled := r.(*input); !isPulled {
			_ = r.Close()
		}
	}
}

// open returns the runs of one partition, and closes the runs of the previous call; see
// job.Run.OpenPartition.
func (a *attempt) open(part int) ([]job.RunReader, error) {
	closeFiles(a.partition)
	a.partition = nil
	x, err := a.await(opening, &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Open{Open: &runnerv1.OpenRuns{Partition: int64(part)}}})
	if err != nil {
		return nil, err
	}
	a.partition = a.number(x.runs, len(x.runs))
	return slices.Clone(a.partition), nil
}

// number makes readers of further runs, out of total runs that are read together. A quarter of the
// attempt's memory is for their blocks in transit.
func (a *attempt) number(runs []*runnerv1.InputRun, total int) []job.RunReader {
	each := int64(2 * batch)
	if a.memory > 0 {
		each = min(each, a.memory/4/int64(max(total, 1)))
	}
	a.mu.Lock()
	first := a.runs
	a.runs += int64(len(runs))
	a.mu.Unlock()
	readers := make([]job.RunReader, len(runs))
	for i, r := range runs {
		pulled := &input{attempt: a, number: first + int64(i), records: r.GetRecords(), bytes: r.GetBytes(), want: each / 2, ahead: each >= smallest}
		readers[i] = openPlace(r, pulled) // no process is needed between it and the file
	}
	return readers
}

// smallest is the minimum number of bytes for which reading a run ahead is worthwhile.
const smallest = 128 << 10

// input reads one run of the worker.
type input struct {
	attempt        *attempt
	number         int64
	records, bytes int64
	want           int64 // bytes per request
	ahead          bool  // request the next batch when this one is first used
	coming         <-chan *answer
	ready          [][]byte
	err            error
}

func (r *input) Records() int64 { return r.records }
func (r *input) Bytes() int64   { return r.bytes }

// Next returns the next block; see job.RunReader. It returns the cause early when the attempt is
// cancelled.
func (r *input) Next() ([]byte, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return nil, r.err
		}
		r.pull()
		if r.err != nil {
			return nil, r.err
		}
		select {
		case x := <-r.coming:
			r.coming, r.ready, r.err = nil, x.blocks, x.err
		case <-r.attempt.ctx.Done():
			return nil, context.Cause(r.attempt.ctx)
		}
		if r.ahead && r.err == nil {
			r.pull()
		}
	}
	b := r.ready[0]
	r.ready[0] = nil
	r.ready = r.ready[1:]
	return b, nil
}

// pull requests the next batch, unless it is requested already.
func (r *input) pull() {
	if r.coming == nil {
		r.coming, r.err = r.attempt.request(r.number, &runnerv1.RunResponse{Body: &runnerv1.RunResponse_Pull{Pull: &runnerv1.Pull{Run: r.number, Bytes: r.want}}})
	}
}

// Close notifies the worker that the run is no longer needed.
func (r *input) Close() error {
	if r.err != nil {
		r.ready = nil
		return nil
	}
	r.ready, r.err = nil, io.EOF
	return r.attempt.send(&runnerv1.RunResponse{Body: &runnerv1.RunResponse_Close{Close: &runnerv1.CloseRun{Run: r.number}}}, nil)
}
