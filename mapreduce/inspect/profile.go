package inspect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/google/pprof/profile"

	"github.com/layshaft/layshaft/internal/dirs"
	"github.com/layshaft/layshaft/internal/flame"
	"github.com/layshaft/layshaft/internal/inspection"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/state"
)

// heapEvery is the interval of looks at the heap of a profiled run, and heapStep the growth from
// which its profile is taken again.
const (
	heapEvery = 250 * time.Millisecond
	heapStep  = 1.1
)

// profiler profiles this process during a run inside it; see mapreduce.Local.Profile.
type profiler struct {
	dir  string
	cpu  bytes.Buffer
	end  context.CancelFunc
	heap []byte // profile of the heap at its largest
	wait sync.WaitGroup
	once sync.Once
}

func (tools) StartProfile(dir string) (inspection.Profile, error) {
	err := dirs.MkdirAll(dir, 0o755)
	if err == nil {
		err = state.CheckDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w; name a directory that can be made and written", dir, err)
	}
	p := &profiler{dir: dir}
	if err := pprof.StartCPUProfile(&p.cpu); err != nil {
		return nil, fmt.Errorf("profile %s: %w; a process has one profile at a time, so profile one run after the other", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	p.wait.Go(func() { p.watchHeap(ctx) })
	return p, nil
}

// watchHeap takes a profile of the heap whenever it has grown.
func (p *profiler) watchHeap(ctx context.Context) {
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	var m runtime.MemStats
	for most := uint64(0); ; {
		if runtime.ReadMemStats(&m); float64(m.HeapInuse) > heapStep*float64(most) {
			var b bytes.Buffer
			if err := pprof.Lookup("heap").WriteTo(&b, 0); err == nil {
				most, p.heap = m.HeapInuse, b.Bytes()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the profiles. Only the first call has an effect.
func (p *profiler) Stop() {
	p.once.Do(func() {
		pprof.StopCPUProfile()
		p.end()
		p.wait.Wait()
	})
}

// Write ends the profiles and writes their files.
func (p *profiler) Write(spec *job.Spec) error {
	p.Stop()
	var heap [][]byte
	if len(p.heap) > 0 {
		heap = append(heap, p.heap)
	}
	return tools{}.WriteProfiles(p.dir, spec, [][]byte{p.cpu.Bytes()}, heap)
}

// WriteProfiles merges profiles and writes their files.
func (tools) WriteProfiles(dir string, spec *job.Spec, cpu, heap [][]byte) error {
	all, err := flame.Merge(string(spec.ID), cpu...)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	put := func(name string, content func(io.Writer) error) error {
		var b bytes.Buffer
		if err := content(&b); err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
		return state.Replace(filepath.Join(dir, name), b.Bytes(), 0o644)
	}
	if err := put(inspection.CPUProfile, all.Write); err != nil {
		return err
	}
	for k, part := range flame.ByStage(all) {
		if k >= 0 && k < len(spec.Stages) {
			if err := put(fmt.Sprintf("stage-%d.pprof", k), part.Write); err != nil {
				return err
			}
		}
	}
	graphs := flame.Graphs(all, func(stage int) string {
		if stage >= len(spec.Stages) {
			return ""
		}
		return spec.Stages[stage].Name
	})
	var heaps []*profile.Profile
	for _, b := range heap {
		if h, err := profile.ParseData(b); err == nil {
			heaps = append(heaps, h)
		}
	}
	if len(heaps) > 0 {
		h, err := profile.Merge(heaps)
		if err != nil {
			return fmt.Errorf("profile of the heap: %w", err)
		}
		if err := put("heap.pprof", h.Write); err != nil {
			return err
		}
		graphs = append(graphs, flame.Graph{Title: "memory in use when it was largest", Profile: h})
	}
	return put("flame.html", func(w io.Writer) error {
		return flame.WriteHTML(w, "Profile of job "+string(spec.ID), graphs...)
	})
}

// process profiles a process that runs attempts for a cluster.
type process struct {
	cpu  bytes.Buffer
	most uint64 // size of the largest heap so far
}

// ProfileProcess starts to profile this process.
func (tools) ProfileProcess() (inspection.ProcessProfile, error) {
	p := &process{}
	if err := pprof.StartCPUProfile(&p.cpu); err != nil {
		return nil, fmt.Errorf("%w; the program must not profile itself", err)
	}
	return p, nil
}

// Next returns the profiles since the call before.
func (p *process) Next() (cpu, heap []byte, err error) {
	pprof.StopCPUProfile()
	cpu = bytes.Clone(p.cpu.Bytes())
	p.cpu.Reset()
	if err := pprof.StartCPUProfile(&p.cpu); err != nil {
		return nil, nil, err
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); float64(m.HeapInuse) > heapStep*float64(p.most) {
		p.most = m.HeapInuse
		var b bytes.Buffer
		if err := pprof.Lookup("heap").WriteTo(&b, 0); err != nil {
			return nil, nil, err
		}
		heap = b.Bytes()
	}
	return cpu, heap, nil
}
