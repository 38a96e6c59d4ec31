package pgio

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Sink writes records into a table. It is a connector.Sink[T], made by Write. Its methods return
// changed copies.
type Sink[T any] struct {
	database, table string
	keys            []string
	connections     int
	described       *described // by Check, or the first Open
}

// described is the table of a sink, looked up once.
type described struct {
	// mu guards the fields below.
	mu     sync.Mutex
	known  bool
	target postgres.Target
	fields []column // in the order of the target's columns
}

// Write returns a sink that adds all records to a table of a database; see the package's comment
// for names of databases. The fields of T are columns, as for Rows. Columns without a field get
// their default.
//
// Attempts copy their rows into staging tables in the schema layshaft, which Write creates. When
// the job is done, one transaction moves them into the table: all rows of the job, or none. The
// same transaction notes the job in the table layshaft.written. If the same job runs again, with
// the same input and parameters, it changes nothing; delete its rows from layshaft.written to
// write it once more. A job that reads tables of the same server is another job each time, because
// its own writes change the state that it reads: use Upsert there.
//
// Killed attempts leave nothing, and a job that fails removes its staging tables. If the whole run
// is killed and never repeated, a later Write removes them after a week.
func Write[T any](database, table string) Sink[T] {
	return Sink[T]{database: database, table: table, connections: postgres.Connections, described: &described{}}
}

// Upsert replaces rows with equal keys instead of adding rows. The table needs a unique index of
// just these columns. Of records with equal keys in one task, the last counts.
func (s Sink[T]) Upsert(keys ...string) Sink[T] {
	s.keys, s.described = keys, &described{}
	return s
}

// Connections is like Source.Connections.
func (s Sink[T]) Connections(n int) Sink[T] {
	s.connections = n
	return s
}

// Budget returns the budget of connections; see connector.BudgetUser.
func (s Sink[T]) Budget() (name string, n, size int) {
	return postgres.Budget(s.database, s.connections)
}

// String returns the sink, such as pgio.Write[Product]("shop", "products").
func (s Sink[T]) String() string {
	text := fmt.Sprintf("pgio.Write[%v](%q, %q)", reflect.TypeFor[T](), postgres.Display(s.database), s.table)
	if len(s.keys) > 0 {
		quoted := make([]string, len(s.keys))
		for i, k := range s.keys {
			quoted[i] = strconv.Quote(k)
		}
		text += ".Upsert(" + strings.Join(quoted, ", ") + ")"
	}
	return text
}

// Place names the table, so that a plan writes it once.
func (s Sink[T]) Place() string {
	return "postgres://" + postgres.Display(s.database) + "/" + s.table
}

// describe looks the table up.
func (s Sink[T]) describe(ctx context.Context, prepare bool) (*described, error) {
	d := s.described
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known {
		return d, nil
	}
	d.target.Columns, d.fields = nil, nil
	err := s.lookUp(ctx, d, prepare)
	d.known = err == nil
	return d, err
}

func (s Sink[T]) lookUp(ctx context.Context, d *described, prepare bool) error {
	c, err := postgres.Connect(ctx, s.database, postgres.Options{Purpose: "write"})
	if err != nil {
		return err
	}
	defer c.Close()
	fail := func(format string, args ...any) error {
		return &postgres.Error{Database: postgres.Display(s.database), Place: s.table, Text: fmt.Sprintf(format, args...)}
	}
	if postgres.IsQuery(s.table) {
		return fail("rows are written to a table, not to a query")
	}
	r, err := c.Describe(ctx, s.table)
	if err != nil {
		return err
	}
	columns, err := columnsOf(reflect.TypeFor[T]())
	if err != nil {
		return err
	}
	d.target = postgres.Target{Database: s.database, Sink: s.String(), Table: r.From, Keys: s.keys}
	for _, f := range columns {
		name, err := f.find(r.Names())
		if err != nil {
			return fail("%v", err)
		}
		if name == "" {
			return fail("there is no column %q for field %s; add it, or tag the field db:\"-\"; the columns are %s", f.name, f.field, columnList(r.Names()))
		}
		col := r.Column(name)
		if f.encoder(&col.Type) == nil {
			return fail("column %s %s: it cannot hold field %s %v; %s", name, col.Type.Name, f.field, f.typ, wayOut(&col.Type))
		}
		d.target.Columns, d.fields = append(d.target.Columns, *col), append(d.fields, f)
	}
	for _, k := range s.keys {
		found := false
		for i := range d.target.Columns {
			found = found || d.target.Columns[i].Name == k
		}
		if !found {
			return fail("Upsert(%q): no field is that column", k)
		}
	}
	if !prepare {
		return nil
	}
	return c.PrepareWrite(ctx, &d.target, r)
}

// Check looks the table up and creates the schema layshaft.
func (s Sink[T]) Check(ctx context.Context) error {
	_, err := s.describe(ctx, true)
	return err
}

// Open starts the output of one attempt. The staging table is made with the first record.
func (s Sink[T]) Open(ctx context.Context, t connector.SinkTask) (connector.Writer[T], error) {
	d, err := s.describe(ctx, false)
	if err != nil {
		return nil, permanent(err)
	}
	w := &writer[T]{ctx: ctx, target: &d.target, task: t}
	for i := range d.fields {
		w.fields = append(w.fields, output{d.fields[i], d.fields[i].encoder(&d.target.Columns[i].Type)})
	}
	return w, nil
}

// Finish moves the rows of the committed attempts into the table.
func (s Sink[T]) Finish(ctx context.Context, job string, parts [][]byte) error {
	d, err := s.describe(ctx, false)
	if err != nil {
		return err
	}
	stages := make([]postgres.Stage, len(parts))
	for i, p := range parts {
		if err := json.Unmarshal(p, &stages[i]); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	return permanent(d.target.Finish(ctx, job, stages))
}

// Published reports whether the ledger has the job.
func (s Sink[T]) Published(ctx context.Context, job string, _ time.Time) (bool, error) {
	d, err := s.describe(ctx, false)
	if err != nil {
		return false, err
	}
	return d.target.Written(ctx, job)
}

// Abandon removes the staging tables of a job.
func (s Sink[T]) Abandon(ctx context.Context, job string) error {
	d, err := s.describe(ctx, false)
	if err != nil {
		return err
	}
	return d.target.Abandon(ctx, job)
}

// output is a column with its encoder.
type output struct {
	column
	encode encoder
}

// burst is how many bytes of rows a writer collects before it sends them.
const burst = 64 << 10

// writer writes the output of one attempt.
type writer[T any] struct {
	ctx    context.Context
	target *postgres.Target
	task   connector.SinkTask
	fields []output
	to     *postgres.Writer // nil before the first record
	buf    []byte           // rows to send
	n      int              // number of them
	value  []byte
}

func (w *writer[T]) Write(r *T) (err error) {
	base := unsafe.Pointer(r)
	for i := range w.fields {
		f := &w.fields[i]
		if i > 0 {
			w.buf = append(w.buf, '\t')
		}
		value, null, err := f.encode(w.value[:0], unsafe.Add(base, f.offset))
		w.value = value
		switch {
		case err == nil && null:
			w.buf = append(w.buf, `\N`...)
		case err == nil:
			w.buf, err = appendField(w.buf, value)
		}
		if err != nil {
			return connector.Fatal(fmt.Errorf("column %s, field %s: %w", f.name, f.field, err))
		}
	}
	w.buf = append(w.buf, '\n')
	if w.n++; len(w.buf) < burst {
		return nil
	}
	return w.flush()
}

func (w *writer[T]) flush() (err error) {
	if w.to == nil {
		if w.to, err = w.target.Stage(w.ctx, w.task.Job, w.task.Index, w.task.Attempt); err != nil {
			return permanent(err)
		}
	}
	err = w.to.Write(w.buf, w.n)
	w.buf, w.n = w.buf[:0], 0
	return permanent(err)
}

// Close commits the staging table.
func (w *writer[T]) Close() (part []byte, err error) {
	stage := postgres.Stage{Task: w.task.Index}
	if w.n > 0 {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	if w.to != nil {
		if stage, err = w.to.Close(w.ctx); err != nil {
			return nil, permanent(err)
		}
	}
	return json.Marshal(stage)
}

// Abort drops the staging table.
func (w *writer[T]) Abort() {
	if w.to != nil {
		w.to.Abort()
	}
}
