// Package recorder keeps the histories of jobs: each attempt with its times, sizes and failure. A
// history stays as long as its job, also over restarts and on the next leader.
//
// The coordinator passes facts to a Recorder, which never blocks it. The recorder writes them a
// little later, in chunks; see package history. So the end of a process by kill -9 costs the
// attempts of the last two seconds, of the history only: the journal has the decisions.
package recorder

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/layshaft/layshaft/internal/history"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/report"
)

// Files stores the chunks by name; see package datadir.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, content []byte) error
	Remove(name string) error
	List(prefix string) ([]string, error)
}

const (
	// writeEvery is the time between two writes. The last chunk of a job is replaced until it is
	// full.
	writeEvery = 2 * time.Second
	// fullChunk is the number of attempts of a full chunk, of about 20 bytes each.
	fullChunk = 2048
	// maxCauses is the limit of distinct failures in one history. Later ones have no text.
	maxCauses = 200
	// maxText is the limit of the text of a failure, in bytes.
	maxText = 4 << 10
	// opened is the limit of histories of ended jobs in memory.
	opened = 4

	// Prefix begins the names of all files.
	Prefix = "history/"
)

// Recorder records the runs of jobs. Make one with New. Its methods are safe for many goroutines.
type Recorder struct {
	files Files // nil means memory only
	log   *slog.Logger
	life  string // is in the names of all files of this process

	// mu guards the fields below.
	mu   sync.Mutex
	jobs map[job.ID]*recording
	last []job.ID // jobs that may leave the memory, the latest last
	seq  int      // number of the last chunk of this process
	// dropped are the jobs whose files are to be removed, each with seq at that time.
	dropped map[job.ID]int

	writing sync.Mutex // is held while files change
}

// recording is the history of one job in memory.
type recording struct {
	run    report.Run
	causes map[report.Cause]int // numbers in run.Causes
	// complete means that run has what earlier processes wrote.
	complete bool
	// from is the first attempt of run that is not in a full chunk, and next the number of the
	// chunk that it belongs to. first is the number of the first chunk.
	from, next, first int
	dirty             bool
	// segments are the lines of this process, and obsolete the numbers of chunks to be removed.
	segments []segment
	obsolete []int
	postSize int // bytes of post-mortems of this process
	// keys are the samples of this process; keysBefore are the samples of earlier processes.
	keys, keysBefore report.Keys
}

// New returns a recorder that writes to files while Run runs. With nil files the histories are in
// memory only.
func New(files Files, log *slog.Logger) *Recorder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Recorder{files: files, log: log, life: fmt.Sprintf("%012x", time.Now().UnixMilli()), jobs: map[job.ID]*recording{}, dropped: map[job.ID]int{}}
}

// Run writes what is recorded until ctx ends, and then writes the rest.
func (r *Recorder) Run(ctx context.Context) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.write()
		case <-ctx.Done():
			r.write()
			return
		}
	}
}

// Submitted records a job. A known one stays unchanged.
func (r *Recorder) Submitted(spec *job.Spec, kinds []string, opt *report.Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(spec.ID)
	if x.run.Stages != nil {
		return
	}
	x.run.ID, x.run.Name, x.run.Owner, x.run.Hash, x.run.Plan, x.run.Submitted = spec.ID, spec.Name, opt.Owner, spec.Hash, spec.Plan, opt.Submitted
	x.run.Params, x.run.Explain = report.MaskSecrets(spec.Params), report.MaskText(spec.Explain)
	for i := range spec.Stages {
		st := &spec.Stages[i]
		s := report.RunStage{Name: st.Name, Places: st.Places, Kind: kinds[i], Tasks: st.Tasks, Inputs: st.Inputs}
		for k := range st.Splits {
			s.SourceBytes += st.Splits[k].Bytes
		}
		if len(st.Splits) > 0 {
			s.Source = st.Splits[0].Label
		}
		x.run.Stages = append(x.run.Stages, s)
	}
	x.dirty = true
}

// of returns the recording of a job. The caller holds mu.
func (r *Recorder) of(id job.ID) *recording {
	x := r.jobs[id]
	if x == nil {
		r.seq++
		x = &recording{run: report.Run{ID: id}, causes: map[report.Cause]int{}, first: r.seq, next: r.seq}
		r.jobs[id] = x
	}
	return x
}

// Ended records the end of an attempt. f is nil without a failure, and keys without output.
func (r *Recorder) Ended(id job.ID, a report.Attempt, f *job.Failure, keys []job.KeySample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(id)
	if f != nil {
		a.Cause = x.cause(f)
		x.postMortem(&a, f)
	}
	x.run.Attempts = append(x.run.Attempts, a)
	for i := range keys {
		x.keys.Add(a.Task.Stage, &keys[i])
	}
	x.dirty = true
}

// cause returns the number of a failure, or zero if there are too many.
func (x *recording) cause(f *job.Failure) int {
	line, more, _ := strings.Cut(cut(f.Message), "\n")
	key := report.Cause{Kind: f.Kind.String(), Message: line}
	n, ok := x.causes[key]
	if !ok && len(x.run.Causes) < maxCauses {
		c := key
		c.Detail, c.Record = cut(strings.TrimSpace(more+"\n"+f.Detail)), cut(f.Record)
		x.run.Causes = append(x.run.Causes, c)
		n = len(x.run.Causes)
		x.causes[key] = n
	}
	return n
}

func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// JobEnded records the end of a job with its final state.
func (r *Recorder) JobEnded(st *report.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(st.ID)
	x.run.Outcome, x.run.Failure, x.run.Ended = st.Outcome, st.Failure, st.Ended
	for i := range min(len(st.Stages), len(x.run.Stages)) {
		x.run.Stages[i].State = st.Stages[i]
	}
	x.dirty = true
}

// Reopened records that an ended job runs again.
func (r *Recorder) Reopened(id job.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(id)
	x.run.Outcome, x.run.Ended = report.JobRunning, time.Time{}
}

// Forget deletes the history of a job.
func (r *Recorder) Forget(id job.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, id)
	if r.files != nil {
		r.dropped[id] = r.seq
	}
}

// remove removes the files of a dropped job. The job may have been submitted again since chunk n.
// The caller holds writing.
func (r *Recorder) remove(id job.ID, n int) error {
	names, err := r.files.List(filesOf(id))
	if err != nil {
		return err
	}
	if err := r.files.Remove(profileOf(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		if name > r.file(id, n) {
			continue
		}
		if err := r.files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dropped[id] == n {
		delete(r.dropped, id)
	}
	return nil
}

// filesOf returns the common part of the names of all files of a job.
func filesOf(id job.ID) string {
	sum := xxh3.HashString128(string(id)).Bytes()
	return Prefix + hex.EncodeToString(sum[:]) + "."
}

// write writes the chunks of all jobs that have changed.
func (r *Recorder) write() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	dropped := maps.Clone(r.dropped)
	var ids []job.ID
	for id, x := range r.jobs {
		if x.dirty {
			ids = append(ids, id)
		}
	}
	r.mu.Unlock()
	for id, n := range dropped {
		if err := r.remove(id, n); err != nil {
			r.log.Warn("history of a dropped job not removed", "job", id, "err", err)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		r.mu.Lock()
		if x := r.jobs[id]; x != nil {
			x.dirty = r.files == nil // from here on, a change makes it dirty again, and an error too
		}
		r.mu.Unlock()
		if err := errors.Join(r.writeLines(id), r.writeJob(id)); err != nil {
			r.log.Warn("history not stored; a restart forgets a part of it", "job", id, "err", err)
		}
	}
}

// writeJob writes the new chunks of a job. The caller holds writing.
func (r *Recorder) writeJob(id job.ID) error {
	r.mu.Lock()
	x := r.jobs[id]
	if x == nil || r.files == nil {
		r.mu.Unlock()
		return nil
	}
	run := x.run // later attempts do not change its slices
	run.Stages = slices.Clone(run.Stages)
	keys := x.keys.Clone()
	from, next := x.from, x.next
	r.mu.Unlock()
	for last := false; !last; {
		to := min(from+fullChunk, len(run.Attempts))
		last = to < from+fullChunk
		var c history.Chunk
		if run.Stages != nil {
			c.Job(&run)
		}
		c.Attempts(run.Attempts[from:to], run.Causes)
		c.PostMortems(postsOf(run.PostMortems, from, to))
		c.Keys(r.life, keys)
		if run.Outcome != report.JobRunning {
			c.End(&run)
		}
		if err := r.files.Write(r.file(id, next), c.Bytes()); err != nil {
			r.mu.Lock()
			x.dirty = true
			r.mu.Unlock()
			return err
		}
		if !last {
			from, next = to, r.number()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x.from, x.next = from, next
	if x.mayLeave() {
		r.keepSome(id)
	}
	return nil
}

// number returns the number of a new chunk.
func (r *Recorder) number() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	return r.seq
}

// file returns the name of a chunk of this process.
func (r *Recorder) file(id job.ID, n int) string {
	return fmt.Sprintf("%s%s.%08d", filesOf(id), r.life, n)
}

// mayLeave reports whether the memory holds nothing that the files lack. The caller holds
// Recorder.mu.
func (x *recording) mayLeave() bool {
	return !x.dirty && (x.run.Outcome != report.JobRunning || x.run.Stages == nil)
}

// keepSome limits the histories of ended jobs in memory. The caller holds mu.
func (r *Recorder) keepSome(id job.ID) {
	r.last = append(slices.DeleteFunc(r.last, func(x job.ID) bool { return x == id }), id)
	if len(r.last) > opened {
		if old := r.jobs[r.last[0]]; old != nil && old.mayLeave() {
			delete(r.jobs, r.last[0])
		}
		r.last = r.last[1:]
	}
}

// Open returns the history of a job. The caller must not change it. It returns fs.ErrNotExist
// without one.
func (r *Recorder) Open(id job.ID) (*report.Run, error) {
	r.mu.Lock()
	x := r.jobs[id]
	if x == nil && r.files == nil {
		r.mu.Unlock()
		return nil, fs.ErrNotExist
	}
	if x == nil || !x.complete && r.files != nil {
		r.mu.Unlock()
		return r.complete(id)
	}
	defer r.mu.Unlock()
	return x.copy(), nil
}

// copy returns a run that stays unchanged. The caller holds Recorder.mu.
func (x *recording) copy() *report.Run {
	run := x.run
	run.Stages = slices.Clone(run.Stages)
	run.Keys = x.keys.Clone()
	run.Keys.Merge(x.keysBefore)
	return &run
}

// complete reads what earlier processes wrote, and returns the history.
func (r *Recorder) complete(id job.ID) (*report.Run, error) {
	r.writing.Lock() // no file changes while they are read
	defer r.writing.Unlock()
	r.mu.Lock()
	now := r.jobs[id]
	gone, wasDropped := r.dropped[id]
	if now != nil && now.complete { // by another call, meanwhile
		defer r.mu.Unlock()
		return now.copy(), nil
	}
	r.mu.Unlock()
	names, err := r.files.List(filesOf(id))
	if err != nil {
		return nil, err
	}
	var before history.Reader
	read := 0
	slices.Sort(names)
	for _, name := range names {
		if now != nil && name >= r.file(id, now.first) || wasDropped && name <= r.file(id, gone) {
			continue // it is in memory, or of a dropped job
		}
		b, err := r.files.Read(name)
		if err == nil {
			err = before.Add(b)
		} else {
			before.Miss()
		}
		if err != nil {
			r.log.Warn("part of a history cannot be read", "job", id, "file", name, "err", err)
		}
		read++
	}
	if now == nil && read == 0 {
		return nil, fs.ErrNotExist
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.of(id)
	x.complete = true
	x.prepend(before.Run())
	if x.mayLeave() {
		r.keepSome(id)
	}
	return x.copy(), nil
}

// prepend puts what earlier processes recorded before the attempts of this one.
func (x *recording) prepend(old *report.Run) {
	now := x.run
	x.run = *old
	if now.Stages != nil {
		x.run.Stages = now.Stages
		x.run.ID, x.run.Name, x.run.Owner, x.run.Hash, x.run.Plan, x.run.Submitted = now.ID, now.Name, now.Owner, now.Hash, now.Plan, now.Submitted
		x.run.Params, x.run.Explain = now.Params, now.Explain
		x.run.Outcome, x.run.Ended, x.run.Failure = now.Outcome, now.Ended, now.Failure
	}
	x.run.ID, x.keysBefore, x.run.Keys = now.ID, old.Keys, nil
	x.run.Lines = slices.Concat(old.Lines, now.Lines)
	for _, p := range now.PostMortems {
		p.Index += len(old.Attempts)
		x.run.PostMortems = append(x.run.PostMortems, p)
	}
	x.causes = map[report.Cause]int{}
	for i, c := range x.run.Causes {
		x.causes[report.Cause{Kind: c.Kind, Message: c.Message}] = i + 1
	}
	number := make([]int, len(now.Causes)+1)
	for i, c := range now.Causes {
		key := report.Cause{Kind: c.Kind, Message: c.Message}
		if x.causes[key] == 0 {
			x.run.Causes = append(x.run.Causes, c)
			x.causes[key] = len(x.run.Causes)
		}
		number[i+1] = x.causes[key]
	}
	for _, a := range now.Attempts {
		a.Cause = number[a.Cause]
		x.run.Attempts = append(x.run.Attempts, a)
	}
	x.from += len(old.Attempts)
}

// Bytes returns the history of a job as a file; see package history. It returns the errors of Open.
func (r *Recorder) Bytes(id job.ID) ([]byte, error) {
	run, err := r.Open(id)
	if err != nil {
		return nil, err
	}
	return history.Encode(run), nil
}
