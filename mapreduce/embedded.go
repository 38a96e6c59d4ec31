package mapreduce

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"

	"github.com/layshaft/layshaft/internal/job"
)

type memOut struct {
	mu    sync.Mutex
	runs  map[[3]int][][]byte // port, run, part
	max   map[int]int
	first map[[3]int][][]byte
}

func (m *memOut) Append(port, run, part int, block []byte, records int, first []byte) error {
	k := [3]int{port, run, part}
	m.runs[k] = append(m.runs[k], bytes.Clone(block))
	m.max[port] = max(m.max[port], run+1)
	return nil
}

type memRun struct{ b [][]byte }

func (r *memRun) Next() ([]byte, error) {
	if len(r.b) == 0 {
		return nil, io.EOF
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b, nil
}
func (r *memRun) Records() int64 { return 0 }
func (r *memRun) Bytes() int64   { return 0 }
func (r *memRun) Close() error   { return nil }

type engine struct {
	outs map[job.Task]*memOut
	mans map[job.Task]*job.Manifest
	end  map[job.Task]chan struct{}
}

type scratchFile struct{ *os.File }

func (s scratchFile) Close() error { s.File.Close(); return os.Remove(s.Name()) }

func startEmbedded(ctx context.Context, t Target, name string, raw []byte, c *compiled, build func(context.Context) (*compiled, error)) (*Job, error) {
	t, err := t.withDefaults(name)
	if err != nil {
		return nil, err
	}
	splits := map[int][]Split{}
	var total int64
	for _, s := range c.stages {
		if s.head.read != nil {
			sp, err := s.head.read.splits(1 << 60)
			if err != nil {
				return nil, err
			}
			for _, x := range sp {
				total += x.Bytes
			}
		}
	}
	target := min(max(total/int64(4*t.Slots), 4<<20), 128<<20)
	for _, s := range c.stages {
		if s.head.read != nil {
			if splits[s.number], err = s.head.read.splits(target); err != nil {
				return nil, err
			}
		}
	}
	spec := c.spec(name, "0123456789abcdef", raw, splits, t.Slots)
	j := &Job{name: name, c: c, spec: spec, target: t, done: make(chan struct{}), counters: map[string]int64{}}
	e := &engine{outs: map[job.Task]*memOut{}, mans: map[job.Task]*job.Manifest{}}
	j.engine = e
	sh := &shared{}
	var progs []*job.Program
	for range t.Slots {
		c, err := build(ctx)
		if err != nil {
			return nil, err
		}
		progs = append(progs, c.program(spec, sh))
	}
	var mu sync.Mutex
	defer close(j.done)
	for si := range spec.Stages {
		st := &spec.Stages[si]
		next := make(chan int)
		var wg sync.WaitGroup
		for _, p := range progs {
			wg.Go(func() {
				for i := range next {
					run := &job.Run{Attempt: job.Attempt{Job: spec.ID, Task: job.Task{Stage: si, Index: i}, N: 1}, Tasks: st.Tasks, Memory: t.Memory / int64(t.Slots),
						Counters: map[string]int64{}, Progress: &job.Progress{}, Temp: func() job.Scratch {
							f, _ := os.CreateTemp("", "scratch")
							return scratchFile{f}
						}}
					if st.Splits != nil {
						run.Split = &st.Splits[i]
					}
					run.Inputs = make([][]job.RunReader, c.stages[si].inputs)
					for _, ed := range st.Inputs {
						for k := range spec.Stages[ed.From].Tasks {
							mu.Lock()
							o := e.outs[job.Task{Stage: ed.From, Index: k}]
							mu.Unlock()
							for r := range o.max[ed.Port] {
								part := i
								if ed.Mode == job.Broadcast {
									part = 0
								}
								if ed.Mode == job.Range {
									part = 0
									if i != 0 {
										continue
									}
								}
								run.Inputs[ed.Input] = append(run.Inputs[ed.Input], &memRun{o.runs[[3]int{ed.Port, r, part}]})
							}
						}
					}
					o := &memOut{runs: map[[3]int][][]byte{}, max: map[int]int{}}
					run.Output = o
					err := p.Stages[si](ctx, run)
					mu.Lock()
					if err != nil && j.err == nil {
						j.err = err
					}
					e.outs[run.Attempt.Task] = o
					e.mans[run.Attempt.Task] = &job.Manifest{Attempt: run.Attempt, Counters: run.Counters, Sink: run.Sink}
					mu.Unlock()
				}
			})
		}
		for i := range st.Tasks {
			next <- i
		}
		close(next)
		wg.Wait()
		if j.err != nil {
			return j, nil
		}
	}
	j.err = j.finish(ctx)
	return j, nil
}

func (e *engine) close(*Job) error { return nil }
func (e *engine) commits(j *Job, s int) (ps []job.Producer) {
	for i := range j.spec.Stages[s].Tasks {
		ps = append(ps, job.Producer{Attempt: job.Attempt{Task: job.Task{Stage: s, Index: i}}})
	}
	return
}
func (e *engine) manifest(p job.Producer) (*job.Manifest, error) { return e.mans[p.Attempt.Task], nil }
func (e *engine) open(m *job.Manifest, port int) (rs []job.RunReader, err error) {
	o := e.outs[m.Attempt.Task]
	for r := range o.max[port] {
		rs = append(rs, &memRun{o.runs[[3]int{port, r, 0}]})
	}
	return
}
func (e *engine) rows(j *Job, stage, task, port int, each func([]byte) (bool, error)) (bool, error) {
	if j.err != nil {
		return false, errEnded
	}
	rs, _ := e.open(e.mans[job.Task{Stage: stage, Index: task}], port)
	for _, r := range rs {
		if more, err := values(r, each); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}
