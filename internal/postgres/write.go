package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/internal/report"
)

// A job writes a table in two steps. Each attempt copies its rows into a staging table of its own,
// which it creates in the same transaction: a killed attempt leaves nothing. At the end, one
// transaction moves the rows of all committed attempts into the table, and notes every task in the
// ledger. A job that is in the ledger moves nothing again.
//
//	layshaft.written              the ledger: job, sink, task, number of rows
//	layshaft.stage_HASH_3_1       rows of attempt 1 of task 3; HASH is of job and sink

const createLedger = `CREATE SCHEMA IF NOT EXISTS layshaft;
CREATE TABLE IF NOT EXISTS layshaft.written (job text, sink text, task int, rows bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (job, sink, task))`

// Target is a table to write.
type Target struct {
	Database string
	Sink     string // names the sink in the ledger
	Table    string // quoted, with its schema
	Columns  []Column
	// Keys are the columns of a unique index for upserts. Empty means that every row is new.
	Keys []string
}

// Stage is what an attempt has written: rows in a staging table. Without rows there is no table.
type Stage struct {
	Task int    `json:"task"`
	Name string `json:"name,omitempty"`
	Rows int64  `json:"rows"`
}

func (t *Target) prefix(job string) string {
	h := sha256.Sum256([]byte(job + "\x00" + t.Sink))
	return "stage_" + hex.EncodeToString(h[:8]) + "_"
}

// stale is how old a staging table may become. Its job was killed, and did not run again.
const stale = 7 * 24 * time.Hour

// dropStale removes the stale staging tables of this role.
func (c *Conn) dropStale(ctx context.Context) error {
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
		WHERE n.nspname = 'layshaft' AND c.relkind = 'r' AND r.rolname = current_user AND substring(obj_description(c.oid) FROM 'staged at (\d+)')::bigint < %d`, time.Now().Add(-stale).Unix()))
	if err != nil {
		return err
	}
	return c.dropTables(ctx, rows)
}

// dropped is how many tables one statement drops. Each takes a lock.
const dropped = 64

// dropTables drops tables of the schema layshaft. Each row is a quoted name.
func (c *Conn) dropTables(ctx context.Context, rows [][][]byte) error {
	for some := range slices.Chunk(rows, dropped) {
		tables := make([]string, len(some))
		for i, row := range some {
			tables[i] = "layshaft." + string(row[0])
		}
		if _, err := c.Query(ctx, "DROP TABLE IF EXISTS "+strings.Join(tables, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// list returns names for SQL, each quoted by quote.
func list(names []string, quote func(string) string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}

func names(columns []Column) []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].Name
	}
	return names
}

// PrepareWrite checks that the table can be written, and creates the ledger.
func (c *Conn) PrepareWrite(ctx context.Context, t *Target, r *Relation) error {
	fail := func(format string, args ...any) error {
		return &Error{Database: Display(c.Name), Place: r.Label, Text: fmt.Sprintf(format, args...)}
	}
	var rights []string
	for i := range t.Columns {
		rights = append(rights, "has_column_privilege("+Literal(r.From)+", "+Literal(t.Columns[i].Name)+", 'INSERT')")
		if len(t.Keys) > 0 && !slices.Contains(t.Keys, t.Columns[i].Name) {
			rights = append(rights, "has_column_privilege("+Literal(r.From)+", "+Literal(t.Columns[i].Name)+", 'UPDATE')")
		}
	}
	rows, err := c.Query(ctx, "SELECT "+strings.Join(rights, " AND ")+", current_user, to_regclass('layshaft.written') IS NOT NULL")
	if err != nil {
		return err
	}
	role, hasLedger := Ident(string(rows[0][1])), string(rows[0][2]) == "t"
	if string(rows[0][0]) != "t" {
		verb := "INSERT"
		if len(t.Keys) > 0 {
			verb = "INSERT, UPDATE, SELECT"
		}
		return fail("role %s may not write it; GRANT %s ON %s TO %[1]s", role, verb, r.From)
	}
	if len(t.Keys) > 0 {
		rows, err := c.Query(ctx, "SELECT 1 FROM pg_index i WHERE i.indrelid = "+Literal(r.From)+"::regclass AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND "+
			"(SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey[0:i.indnkeyatts - 1])) = "+
			"(SELECT array_agg(k ORDER BY k) FROM unnest(ARRAY["+list(t.Keys, Literal)+"]) k)")
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fail("Upsert(%s): no unique index has just these columns; create one, or name the columns of one", strings.Join(t.Keys, ", "))
		}
	}
	// A missing column without a default cannot be NULL.
	rows, err = c.Query(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = "+Literal(r.From)+"::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname NOT IN ("+list(names(t.Columns), Literal)+")")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fail("column %s is NOT NULL without a default, and no field has its name; add a field", rows[0][0])
	}
	rows, err = c.Query(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = "+Literal(r.From)+"::regclass AND (attgenerated <> '' OR attidentity = 'a') AND attname IN ("+list(names(t.Columns), Literal)+")")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fail("column %s is generated by the database; leave the field out with db:\"-\"", rows[0][0])
	}
	if hasLedger {
		return c.dropStale(ctx)
	}
	if _, err := c.Query(ctx, createLedger); err != nil {
		if codeOf(err) == "42501" {
			return fail("role %s may not create schema layshaft, where staged rows and the ledger live; once: CREATE SCHEMA layshaft AUTHORIZATION %[1]s", role)
		}
		return err
	}
	return nil
}

// Writer copies rows into the staging table of one attempt. One goroutine uses it.
type Writer struct {
	conn   *Conn
	stage  Stage
	rows   *io.PipeWriter
	cancel context.CancelFunc
	done   chan error // receives the end of the COPY
}

// Stage starts the staging table of an attempt.
func (t *Target) Stage(ctx context.Context, job string, task, attempt int) (*Writer, error) {
	c, err := connectPatiently(ctx, t.Database, Options{Purpose: "write"})
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("layshaft.%s%d_%d", t.prefix(job), task, attempt)
	// A run of the same job that was killed may have left a table of that name.
	sql := fmt.Sprintf("BEGIN; DROP TABLE IF EXISTS %[1]s; CREATE TABLE %[1]s AS SELECT %[2]s FROM %[3]s WITH NO DATA; COMMENT ON TABLE %[1]s IS %[4]s", name, list(names(t.Columns), Ident), t.Table, Literal(fmt.Sprintf("rows of job %s, staged at %d; its end removes them", job, time.Now().Unix())))
	for i := range t.Columns {
		if t.Columns[i].NotNull {
			sql += fmt.Sprintf("; ALTER TABLE %s ALTER %s SET NOT NULL", name, Ident(t.Columns[i].Name))
		}
	}
	if _, err := c.Query(ctx, sql); err != nil {
		c.Close()
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	from, to := io.Pipe()
	w := &Writer{conn: c, stage: Stage{Task: task, Name: name}, rows: to, cancel: cancel, done: make(chan error, 1)}
	go func() {
		_, err := c.CopyFrom(run, from, "COPY "+name+" FROM STDIN")
		_ = from.CloseWithError(cmp.Or(err, errCopyEnded)) // wakes a Write
		w.done <- err
	}()
	return w, nil
}

// errCopyEnded is the error of a write after the end of its COPY.
var errCopyEnded = errors.New("the COPY has ended")

// Write sends rows in the text form of COPY, n of them.
func (w *Writer) Write(text []byte, n int) error {
	w.stage.Rows += int64(n)
	_, err := w.rows.Write(text)
	return explainWrite(w.conn.Name, err)
}

// explainWrite adds the row and the column that the server refuses.
func explainWrite(name string, err error) error {
	var p *pgconn.PgError
	if errors.As(err, &p) && strings.HasPrefix(p.Where, "COPY ") {
		where := p.Where
		if _, after, ok := strings.Cut(where, ", "); ok {
			where = "row " + strings.TrimPrefix(after, "line ") // without the staging table
		}
		return &Error{Database: Display(name), Place: where, Text: text(name, err), Err: err}
	}
	return Explain(name, "", err)
}

// Close ends the COPY and commits the staging table.
func (w *Writer) Close(ctx context.Context) (Stage, error) {
	defer w.conn.Close()
	defer w.cancel()
	_ = w.rows.Close() // never fails
	if err := <-w.done; err != nil {
		w.done <- err // for Abort
		return Stage{}, explainWrite(w.conn.Name, err)
	}
	w.done <- nil
	// The end of an attempt must not leave a COMMIT under way: Abandon would overlook its table.
	_, err := w.conn.Query(context.WithoutCancel(ctx), "COMMIT")
	return w.stage, err
}

// Abort ends the connection, and with it the staging table.
func (w *Writer) Abort() {
	w.cancel()
	_ = w.rows.CloseWithError(context.Canceled) // never fails
	<-w.done
	w.conn.Close()
}

// Finish moves the rows of the stages into the table, unless the ledger has the job, and removes
// all staging tables of the job.
func (t *Target) Finish(ctx context.Context, job string, stages []Stage) error {
	c, err := connectPatiently(ctx, t.Database, Options{Purpose: "write"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := t.move(ctx, c, job, stages); err != nil {
		return err
	}
	return t.dropStages(ctx, c, job)
}

func (t *Target) move(ctx context.Context, c *Conn, job string, stages []Stage) error {
	// Another client may finish the same job; one goes first.
	rows, err := c.Query(ctx, fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(%s, 0)); SELECT count(*) FROM layshaft.written WHERE job = %s AND sink = %s", Literal("layshaft "+job), Literal(job), Literal(t.Sink)))
	if err != nil {
		return err
	}
	if string(rows[0][0]) != "0" {
		_, err := c.Query(ctx, "ROLLBACK")
		return err
	}
	for _, s := range stages {
		if s.Name != "" {
			results, err := c.Exec(ctx, t.insert(s.Name)).ReadAll()
			if err != nil {
				return t.explainMove(job, err)
			}
			if got := results[0].CommandTag.RowsAffected(); len(t.Keys) == 0 && got != s.Rows {
				return &Error{Database: Display(t.Database), Place: t.Table, Text: fmt.Sprintf("%s has %s instead of %d, so nothing was written; did another run of job %s write at the same time? run it again", s.Name, report.Plural(got, "row"), s.Rows, job)}
			}
		}
		if _, err := c.Query(ctx, fmt.Sprintf("INSERT INTO layshaft.written (job, sink, task, rows) VALUES (%s, %s, %d, %d)", Literal(job), Literal(t.Sink), s.Task, s.Rows)); err != nil {
			return err
		}
	}
	_, err = c.Query(ctx, "COMMIT")
	return err
}

func (t *Target) explainMove(job string, err error) error {
	if codeOf(err) == "42P01" {
		return &Error{Database: Display(t.Database), Place: t.Table, Text: fmt.Sprintf("the staged rows are gone, so nothing was written; did another run of job %s write at the same time? run it again", job), Err: err}
	}
	return Explain(t.Database, t.Table, err)
}

// insert returns the statement that moves the rows of a staging table. Of rows with equal keys, the
// one that was written last counts.
func (t *Target) insert(stage string) string {
	columns := list(names(t.Columns), Ident)
	if len(t.Keys) == 0 {
		return fmt.Sprintf("INSERT INTO %s (%s) SELECT %[2]s FROM %s", t.Table, columns, stage)
	}
	var set []string
	for i := range t.Columns {
		if n := t.Columns[i].Name; !slices.Contains(t.Keys, n) {
			set = append(set, fmt.Sprintf("%s = EXCLUDED.%[1]s", Ident(n)))
		}
	}
	action := "NOTHING"
	if len(set) > 0 {
		action = "UPDATE SET " + strings.Join(set, ", ")
	}
	keys := list(t.Keys, Ident)
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT DISTINCT ON (%s) %[2]s FROM %[4]s ORDER BY %[3]s, ctid DESC ON CONFLICT (%[3]s) DO %[5]s", t.Table, columns, keys, stage, action)
}

// Written reports whether the ledger has a job.
func (t *Target) Written(ctx context.Context, job string) (bool, error) {
	c, err := Connect(ctx, t.Database, Options{Purpose: "write"})
	if err != nil {
		return false, err
	}
	defer c.Close()
	rows, err := c.Query(ctx, fmt.Sprintf("SELECT count(*) FROM layshaft.written WHERE job = %s AND sink = %s", Literal(job), Literal(t.Sink)))
	if codeOf(err) == "42P01" {
		return false, nil
	}
	return err == nil && string(rows[0][0]) != "0", err
}

// Abandon removes all staging tables of a job.
func (t *Target) Abandon(ctx context.Context, job string) error {
	c, err := Connect(ctx, t.Database, Options{Purpose: "write"})
	if err != nil {
		return err
	}
	defer c.Close()
	return t.dropStages(ctx, c, job)
}

func (t *Target) dropStages(ctx context.Context, c *Conn, job string) error {
	prefix := t.prefix(job)
	rows, err := c.Query(ctx, "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'layshaft') AND left(relname, "+strconv.Itoa(len(prefix))+") = "+Literal(prefix)+" AND relkind = 'r'")
	if err != nil {
		return err
	}
	return c.dropTables(ctx, rows)
}
