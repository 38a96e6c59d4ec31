package mapreduce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/layshaft/layshaft/internal/call"
	"github.com/layshaft/layshaft/internal/filesys"
	"github.com/layshaft/layshaft/internal/job"
	"github.com/layshaft/layshaft/internal/record"
	"github.com/layshaft/layshaft/internal/spill"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// env is the state that the operators of one attempt share. It belongs to the attempt's goroutine,
// except stopped.
type env struct {
	ctx     context.Context
	run     *job.Run
	stage   *stage
	shared  *shared
	plan    *Plan
	taken   map[*end]bool  // ends that have a writer
	pairs   map[*node]any  // what takes the pairs of a join whose right records are looked up
	closers []func()       // free resources at the end of the attempt
	ends    []func() error // called after the last record, the operator nearest to an output first
	memory  int64          // bytes for each operator that holds records
	stopped atomic.Bool
	err     error
	// position of the current record; nil in a reduce
	where      func() (path string, offset, line int64)
	inputPlace func() inputPlace // of the next record; nil outside of sources
	bad        int64
	quarantine *bursts
	// quarantineJob is the job in lines of the quarantine file.
	quarantineJob string
	selected      *selection // records of the sources to pass on; nil means all
	counted       *selection // records of a requeue among all records; nil counts none
	// keep writes an accumulator to the partial results; nil if the stage keeps none.
	keep      func(key, acc []byte) error
	kept      *keptPart // partial results of an earlier run; nil if there are none
	keptParts int       // number of partitions of these
	samplers  []keySampler
	numbers   map[*node]*uint64    // see counter
	random    map[*node]*rand.Rand // see draw
}

// fail ends the attempt with err. Only the first error counts.
func (e *env) fail(err error) {
	if e.err == nil && err != nil {
		e.err = err
		e.stopped.Store(true)
	}
}

// input returns the runs of an input of the attempt; none if no stage writes to it.
func (e *env) input(i int) []job.RunReader {
	if i >= len(e.run.Inputs) {
		return nil
	}
	return e.run.Inputs[i]
}

// port is one output of a stage.
type port struct {
	e      *env
	number int
	parts  int
	keys   bool // keep the first key of each block, for reading by range

	// run is the latest run of spill, and unspilled the bytes of it.
	run       int
	unspilled int64
}

func (p *port) append(run, part int, block []byte, records int, first []byte) error {
	if !p.keys {
		first = nil
	}
	return p.e.run.Output.Append(p.number, run, part, block, records, first)
}

// spill is append for a writer that begins another run only when its memory is full. All runs but
// the last one count as spilled. It costs nothing per record.
func (p *port) spill(run, part int, block []byte, records int, first []byte) error {
	if run > p.run {
		p.e.run.Progress.Spilled.Add(p.unspilled)
		p.run, p.unspilled = run, 0
	}
	p.unspilled += int64(len(block))
	return p.append(run, part, block, records, first)
}

// bursts packs records that need no sorting. An output takes all blocks of one run together, so
// bursts collects about a megabyte and writes it as one run. The runs, read one after the other,
// give the records in order.
type bursts struct {
	to  *port
	run int
	buf []byte
	n   int
	at  []int // ends of blocks in buf
	num []int // records in each
}

func (b *bursts) add(key, value []byte) error {
	if len(key)+len(value) > spill.BlockSize { // the record gets its own block
		if err := spill.Fits(key, len(value)); err != nil {
			return err
		}
		b.cut()
	}
	b.buf = record.AppendRecord(b.buf, key, value)
	b.n++
	if len(b.buf)-b.last() < spill.BlockSize {
		return nil
	}
	b.cut()
	if len(b.buf) < 1<<20 {
		return nil
	}
	return b.flush()
}

func (b *bursts) last() int {
	if len(b.at) == 0 {
		return 0
	}
	return b.at[len(b.at)-1]
}

func (b *bursts) cut() {
	if b.n > 0 {
		b.at, b.num, b.n = append(b.at, len(b.buf)), append(b.num, b.n), 0
	}
}

func (b *bursts) flush() error {
	b.cut()
	start := 0
	for i, end := range b.at {
		if err := b.to.append(b.run, 0, b.buf[start:end], b.num[i], nil); err != nil {
			return err
		}
		start = end
	}
	if len(b.at) > 0 {
		b.run++
	}
	b.buf, b.at, b.num = b.buf[:0], b.at[:0], b.num[:0]
	return nil
}

// Skip marks err so that the record is set aside in the quarantine and the attempt continues,
// within MaxBad. Skip(nil) is nil.
func Skip(err error) error { return connector.Skip(err) }

// Fatal marks err so that the job ends at once, because another attempt cannot help. Fatal(nil) is
// nil.
func Fatal(err error) error { return connector.Fatal(err) }

// userError handles an error of an operator's function for the record that record points to.
func userError(e *env, n *node, err error, record any) {
	var skip *call.SkipError
	if errors.As(err, &skip) {
		e.fail(e.setAside(n.label()+" at "+n.at, skip.Err, formatted(record), ""))
		return
	}
	if errors.As(err, new(interface{ Placed() })) { // it names the place itself
		e.fail(err)
		return
	}
	q := Quarantined{Operator: n.label() + " at " + n.at}
	if e.where != nil {
		q.Source, q.Offset, q.Line = e.where()
	}
	e.fail(located(q, err))
}

// formatted returns the record that record points to as text.
func formatted(record any) string { return fmt.Sprintf("%+v", reflect.ValueOf(record).Elem()) }

// Quarantined is one bad record in the quarantine file, which has one JSON object per line.
type Quarantined struct {
	Job      string `json:"job,omitempty"`    // job that set the record aside
	Source   string `json:"source,omitempty"` // file or other source of the record
	Offset   int64  `json:"offset"`           // bytes from the start of the decompressed file
	Line     int64  `json:"line,omitempty"`   // from 1; zero means unknown
	Operator string `json:"operator"`         // "read", or the operator and its file:line
	Error    string `json:"error"`            // text of the error
	Stack    string `json:"stack,omitempty"`  // of a panic
	Record   string `json:"record"`           // the first 4 KiB of the record
}

// setAside puts a record into the quarantine. It returns an error if there are too many bad
// records.
func (e *env) setAside(operator string, cause error, record, stack string) error {
	q := Quarantined{Job: e.quarantineJob, Operator: operator, Error: cause.Error(), Stack: stack}
	if e.where != nil {
		q.Source, q.Offset, q.Line = e.where()
	}
	e.bad++
	limit := e.plan.opts.maxBad
	if !e.plan.allowsBad() {
		return Fatal(fmt.Errorf("%w; mapreduce.MaxBad lets a job tolerate bad records", located(q, cause)))
	}
	q.Record = record[:min(len(record), 4<<10)]
	line, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if e.run.SetAside != nil {
		e.run.SetAside(line)
	}
	if limit > 0 && e.bad > limit && e.plan.opts.maxShare == 0 {
		return Fatal(fmt.Errorf("%w; this is bad record %d of one task, MaxBad is %d", located(q, cause), e.bad, limit))
	}
	return e.quarantine.add(nil, line)
}

func located(q Quarantined, cause error) error {
	switch {
	case q.Operator == "read": // errors of sources contain the place
		return cause
	case q.Source == "":
		return fmt.Errorf("%s: %w", q.Operator, cause)
	}
	return fmt.Errorf("%s: %s: %w", q.place(), q.Operator, cause)
}

// inputPlace is where a record begins in the input.
type inputPlace struct {
	path         string
	offset, line int64
}

// place returns the position of the current record, such as a.jsonl:1042.
func (q *Quarantined) place() string {
	if q.Line > 0 {
		return fmt.Sprintf("%s:%d", q.Source, q.Line)
	}
	return fmt.Sprintf("%s at byte %d", q.Source, q.Offset)
}

// allowsBad reports whether the job tolerates bad records.
func (p *Plan) allowsBad() bool { return p.opts.maxBad > 0 || p.opts.maxShare > 0 }

// traceFirst prints to standard error when the process reads its first record, for benchmarks of
// the start. It is nil unless the environment variable LAYSHAFT_BENCH_FIRST is set.
var traceFirst = func() func() {
	if os.Getenv("LAYSHAFT_BENCH_FIRST") == "" {
		return nil
	}
	return sync.OnceFunc(func() { fmt.Fprintf(os.Stderr, "trace: first record at %d\n", time.Now().UnixNano()) })
}()

// readSplit runs a source over the attempt's split.
func readSplit[T any](e *env, s connector.Source[T], push func(*T)) (err error) {
	if sp := e.run.Split; sp.Label == noInput && len(sp.Data) == 0 {
		return nil
	}
	r := &connector.Reader[T]{Emit: push}
	e.inputPlace = func() inputPlace { return inputPlace{r.Path, r.Offset, r.Line} }
	e.where = func() (string, int64, int64) { return filesys.DisplayText(r.Path), r.Offset, r.Line }
	bad := func(err error, raw []byte) error { return e.setAside("read", err, string(raw), "") }
	var number, current int64 // of records; current is zero while the source itself runs
	if skips := e.run.Skips; e.run.Isolated || len(skips) > 0 {
		mark := e.run.Mark
		if mark == nil {
			mark = func(int64, string, int64, int64) {}
		}
		r.Emit = func(t *T) {
			number++
			if len(skips) > 0 && skips[0].Number == number {
				e.fail(e.setAsideSkipped(&skips[0], fmt.Sprintf("%+v", *t)))
				skips = skips[1:]
				return
			}
			current = number
			mark(number, filesys.DisplayText(r.Path), r.Offset, r.Line)
			push(t)
			current = 0
			mark(0, "", 0, 0) // the source may die before its next record
		}
		defer mark(0, "", 0, 0)
	}
	if only := e.selected; only != nil {
		emit, all := r.Emit, bad
		r.Emit = func(t *T) {
			if only.has(r.Path, r.Offset) {
				emit(t)
			}
		}
		bad = func(err error, raw []byte) error {
			if !only.has(r.Path, r.Offset) {
				return nil
			}
			return all(err, raw)
		}
	}
	if all := e.counted; all != nil {
		emit := r.Emit
		r.Emit = func(t *T) {
			all.has(r.Path, r.Offset)
			emit(t)
		}
		refuse := bad
		bad = func(err error, raw []byte) error {
			all.has(r.Path, r.Offset)
			return refuse(err, raw)
		}
	}
	if trace := traceFirst; trace != nil {
		emit := r.Emit
		r.Emit = func(t *T) {
			trace()
			r.Emit = emit
			emit(t)
		}
	}
	r.Attach(e.run.Progress, &e.stopped, bad)
	defer func() {
		if v := recover(); v != nil {
			kind := job.Transient
			if e.plan.allowsBad() {
				kind = job.Poison // the coordinator finds the record by further attempts
			}
			q := Quarantined{}
			q.Source, q.Offset, q.Line = e.where()
			err = &job.Failure{Kind: kind, Message: fmt.Sprintf("%s%v", panicked, v), Detail: userStack(string(debug.Stack()), "mapreduce.readSplit["), Record: q.place(), Number: current}
		}
	}()
	if err := s.Read(e.ctx, connector.Split(*e.run.Split), r); err != nil {
		return sourceError{err}
	}
	return nil
}

// panicked begins the message of a failure by a panic.
const panicked = "panic: "

// setAsideSkipped puts a record into the quarantine at which two attempts ended.
func (e *env) setAsideSkipped(s *job.Skip, record string) error {
	if strings.HasPrefix(s.Reason, panicked) {
		return e.setAside("panic", errors.New(s.Reason), record, s.Detail)
	}
	return e.setAside("crash", fmt.Errorf("it ended two attempts: %s", s.Reason), record, s.Detail)
}

// sourceError is an error of a source, with file names in the form that the user gave.
type sourceError struct{ error }

func (e sourceError) Error() string { return filesys.DisplayText(e.error.Error()) }
func (e sourceError) Unwrap() error { return e.error }

// readStage runs the reading side of a wide operator and the operators fused behind it. A panic in
// one of their functions becomes an error with the name of the stage.
func readStage(e *env, read func(e *env, next any) error, next any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			var f *job.Failure
			if cause, ok := v.(error); ok && errors.As(cause, &f) {
				// passed through user code as a panic, for example by an iterator over a lost input
				err = f
				return
			}
			frames := userStack(string(debug.Stack()), "mapreduce.readStage(")
			err = &job.Failure{Kind: job.Transient, Message: fmt.Sprintf("%s at %s: panic: %v%s", e.stage.label, e.stage.head.at, v, call.Site(frames)), Detail: frames}
		}
	}()
	return read(e, next)
}

// userStack cuts a stack to the frames between the panic and the frame that contains below.
func userStack(stack, below string) string {
	lines := strings.SplitAfter(stack, "\n")
	start, end := 1, len(lines) // the first line names the goroutine
	for i, l := range lines {
		if start == 1 && strings.HasPrefix(l, "panic(") {
			start = i + 2
		}
		if start > 1 && i >= start && strings.Contains(l, below) {
			end = i
			break
		}
	}
	// Leave out runtime frames between the panic and user code, for example after a write to a nil
	// map.
	for start+2 < end && strings.HasPrefix(lines[start], "runtime.") {
		start += 2
	}
	return strings.Join(lines[min(start, end):end], "")
}
