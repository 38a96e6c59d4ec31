// Package pgio reads tables and queries of PostgreSQL, one struct per row, and writes tables.
//
//	type Product struct {
//		ID      int64                       // column id
//		SKU     string                      // column sku
//		Price   int64     `decimal:"2"`      // numeric 12.34 is read as 1234, exactly
//		Stock   *int32    `db:"in_stock"`    // nil for NULL
//		Note    string    `db:",omitempty"`  // "" for NULL
//		Tags    []string                    // text[]
//		Extra   map[string]any              // jsonb
//		Updated time.Time                   // column updated_at would be UpdatedAt
//		Cache   any       `db:"-"`           // no column
//	}
//
//	products := mapreduce.Read(p, pgio.Rows[Product]("shop", "products"))
//	cheap := mapreduce.Read(p, pgio.Rows[Product]("shop", "SELECT * FROM products WHERE price < 10"))
//
// # Databases and secrets
//
// A program names a database by a word, such as shop. Each process that reads turns the word into a
// connection string: the environment variable LAYSHAFT_PG_shop (or LAYSHAFT_PG_SHOP) holds it, or
// the absolute path of a file with it. On a cluster, every worker needs the variable. Plans, logs,
// pages and errors show the word alone. The empty name stands for the variables of psql: PGHOST,
// PGDATABASE, PGSERVICE and so on. A connection string may stand in place of the name if it has no
// password; PGPASSWORD and ~/.pgpass give it then.
//
// A connection string may list several hosts, such as a primary and its replicas, and choose by
// target_session_attrs=prefer-standby. One run reads from one of them: two servers never show the
// same state.
//
// # One snapshot
//
// All splits, on all workers, and all tables of one database in a plan, are read on one snapshot:
// rows that change while the job runs are read as they were at its start. The process that starts
// the run holds the snapshot in a transaction; so a detached job is refused. If that transaction
// ends early, the job starts over on a new snapshot, and prints so. It never mixes two. The job
// fails instead if rows have been passed to the caller already. While a snapshot is held, VACUUM
// keeps the rows that it sees, as with every long transaction.
//
// The tables are locked as by every SELECT, until the job ends. An ALTER TABLE or TRUNCATE would
// wait for it, and later readers for that. So a reader that waits for five seconds makes the job
// start over, after that transaction.
//
// A job's identity includes the state of the database. While nothing writes to the database, the
// same command finds its earlier result or continues there.
//
// # Splits
//
// A table is cut by its primary key, or by another index, at the places that the histogram in
// pg_stats gives; a range without statistics is measured in the index. A table whose rows do not
// lie in the order of a key, as with random UUIDs, is cut by its pages. A partitioned table is cut
// partition by partition. Views, foreign tables and queries are one split, unless Key names an
// integer column. The flag -explain shows which.
//
// # Types
//
//   - integers and oid: any integer type, checked for range; float64 if exact; string.
//   - numeric: string, *big.Rat, float64 (nearest), or an integer. The tag decimal:"2" makes an
//     integer hold hundredths. A value with more decimals is an error.
//   - real and double precision: float64; real also float32.
//   - timestamptz, timestamp and date: time.Time in UTC. A timestamp without zone is taken as UTC.
//   - interval without days and months, and time: time.Duration.
//   - json and jsonb: structs, maps and slices through encoding/json, json.RawMessage or string.
//     The option json in the db tag does the same for text columns.
//   - uuid: string or [16]byte. bytea: []byte.
//   - arrays of one dimension: slices; of pointers if elements are NULL.
//   - every type: string, with the text that psql shows, []byte, or a type with UnmarshalText.
//   - NULL: a pointer, slice or map is nil; a field with the option omitempty is zero. Any other
//     field refuses the row.
//
// Strings of many rows share blocks of 64 KiB, and targets of pointers share blocks of 512 bytes. A
// string that is kept for long keeps its whole block in memory; strings.Clone makes an independent
// copy.
package pgio

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/internal/arena"
	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/mapreduce/connector"
)

// Connect connects to a database by its name, as sources and sinks do. It is for statements of a
// program itself: before a job, after it, or in a task. Errors have a way out and no secrets.
func Connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	c, err := postgres.Connect(ctx, database, postgres.Options{})
	if err != nil {
		return nil, err
	}
	return c.PgConn, nil
}

// Source reads rows from PostgreSQL. It is a connector.Source[T], made by Rows. Its methods return
// changed copies.
type Source[T any] struct{ in postgres.Input }

// Rows returns a source of all rows of a table, view or query in a database; see the package's
// comment. T is a struct. Only the columns of its fields are read.
//
// A table is named as in SQL: products, shop.products, "Odd Name". A text that begins with SELECT,
// WITH, TABLE or VALUES is a query.
func Rows[T any](database, tableOrQuery string) Source[T] {
	return Source[T]{postgres.Input{Database: database, From: tableOrQuery, Connections: postgres.Connections}}
}

// Connections sets how many connections to the database a job may have at once, on all workers
// together: 2 or more. The default is 8. One of them holds the snapshot; each running attempt has
// one more.
//
// The limit is the budget pg:DATABASE, such as pg:shop. All jobs share it, and `layshaft task
// budget pg:shop 20` (or -budget pg:shop=20 inside one process) sets it for all. Of several sources
// and sinks that name a limit, the smallest counts.
func (s Source[T]) Connections(n int) Source[T] {
	s.in.Connections = n
	return s
}

// Budget returns the budget of connections; see connector.BudgetUser.
func (s Source[T]) Budget() (name string, n, size int) {
	return postgres.Budget(s.in.Database, s.in.Connections)
}

// Key sets the column whose ranges are the splits. A table needs an index that begins with it. For
// a view or query it must be an integer, and should be one that the database can search by.
func (s Source[T]) Key(column string) Source[T] {
	s.in.Key = column
	return s
}

// Where adds a condition in SQL, such as "price > 10". The database checks it.
func (s Source[T]) Where(condition string) Source[T] {
	if s.in.Where != "" {
		condition = s.in.Where + "\n) AND (" + condition // a comment may end a condition
	}
	s.in.Where = condition
	return s
}

// StatementTimeout ends a statement of a split that runs longer than d; the attempt then fails.
// Zero, the default, keeps the setting of the server.
func (s Source[T]) StatementTimeout(d time.Duration) Source[T] {
	s.in.Timeout = d
	return s
}

// String returns the source, such as pgio.Rows[Product]("shop", "products").
func (s Source[T]) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pgio.Rows[%v](%q, %q)", reflect.TypeFor[T](), postgres.Display(s.in.Database), s.in.From)
	if s.in.Key != "" {
		fmt.Fprintf(&b, ".Key(%q)", s.in.Key)
	}
	if s.in.Where != "" {
		fmt.Fprintf(&b, ".Where(%q)", s.in.Where)
	}
	if s.in.Timeout != 0 {
		fmt.Fprintf(&b, ".StatementTimeout(%v)", s.in.Timeout)
	}
	return b.String()
}

// Splits connects, checks that the columns fit the fields of T, and cuts the table. A missing table
// or column, a missing right, and NULL that a field cannot hold are errors here, before the job.
func (s Source[T]) Splits(ctx context.Context, target int64) ([]connector.Split, error) {
	found, err := s.in.Splits(ctx, target, s.choose)
	splits := make([]connector.Split, len(found))
	for i := range found {
		splits[i] = connector.Split(found[i])
	}
	return splits, err
}

// choose selects the columns of T.
func (s Source[T]) choose(r *postgres.Relation) (chosen postgres.Selection, err error) {
	columns, err := columnsOf(reflect.TypeFor[T]())
	if err != nil {
		return chosen, err
	}
	names := r.Names()
	for i := range columns {
		c := &columns[i]
		name, err := c.find(names)
		if err != nil {
			return chosen, err
		}
		if name == "" {
			hint := "give the field a db tag with its name, or db:\"-\""
			if near := postgres.Nearest(c.name, names); near != "" {
				hint = fmt.Sprintf("did you mean %s? %s", near, hint)
			}
			return chosen, fmt.Errorf("there is no column %q for field %s; %s; the columns are %s", c.name, c.field, hint, columnList(names))
		}
		col := r.Column(name)
		_, asText, err := c.decoder(&col.Type, &arena.Arena{})
		if err != nil {
			return chosen, fmt.Errorf("column %s: %w", name, err)
		}
		if col.Nulls > 0 && s.in.Where == "" && !c.canBeNil() {
			return chosen, fmt.Errorf("column %s is NULL in about %.2g %% of the rows, which field %s %v cannot hold; make the field a pointer, tag it db:\"%s,omitempty\" to read zero, or add Where(%q)",
				name, 100*col.Nulls, c.field, c.typ, name, name+" IS NOT NULL")
		}
		item := postgres.Ident(name)
		if asText {
			item = col.Text()
		}
		chosen.List, chosen.Types = append(chosen.List, item), append(chosen.Types, col.Type)
	}
	return chosen, nil
}

// field is a column with its decoder.
type field struct {
	column
	decode decoder
	null   bool // NULL is allowed
}

func (s Source[T]) fields(types []postgres.Type) ([]field, error) {
	columns, err := columnsOf(reflect.TypeFor[T]())
	if err != nil {
		return nil, err
	}
	if len(types) != len(columns) {
		return nil, fmt.Errorf("the split has %s, and %v has %d: the program that made the split is another one", report.Plural(len(types), "column"), reflect.TypeFor[T](), len(columns))
	}
	a := &arena.Arena{}
	fields := make([]field, len(columns))
	for i, c := range columns {
		d, _, err := c.decoder(&types[i], a)
		if err != nil {
			return nil, err
		}
		fields[i] = field{c, d, c.canBeNil()}
	}
	return fields, nil
}

// counted is how many rows are read between two reports of the progress.
const counted = 256

// Read reads one split.
func (s Source[T]) Read(ctx context.Context, sp connector.Split, r *connector.Reader[T]) error {
	records, bytes := int64(0), int64(0)
	r.Path, r.Line = sp.Label, 0
	err := s.in.Read(ctx, sp.Label, sp.Data, func(types []postgres.Type) (postgres.Row, error) {
		fields, err := s.fields(types)
		if err != nil {
			return nil, err
		}
		var row, zero T
		base := unsafe.Pointer(&row)
		return func(values [][]byte) (bool, error) {
			row = zero
			r.Line++
			for i := range fields {
				f := &fields[i]
				v := values[i]
				if v == nil {
					if f.null {
						continue
					}
					return s.refuse(fields, i, base, r, errNull)
				}
				bytes += int64(len(v))
				if err := f.decode(unsafe.Add(base, f.offset), v); err != nil {
					return s.refuse(fields, i, base, r, err)
				}
			}
			r.Emit(&row)
			if records++; records == counted {
				r.Add(records, bytes)
				records, bytes = 0, 0
			}
			return !r.Stopped(), nil
		}, nil
	})
	r.Add(records, bytes)
	return permanent(err)
}

// refuse sets a row aside, or ends the read. fields before number at are decoded; the first one,
// most often a key, helps to find the row.
func (s Source[T]) refuse(fields []field, at int, row unsafe.Pointer, r *connector.Reader[T], err error) (bool, error) {
	place := fmt.Sprintf("%s, row %d", r.Path, r.Line)
	if k := &fields[0]; at > 0 {
		value := fmt.Sprint(reflect.NewAt(k.typ, unsafe.Add(row, k.offset)).Elem().Interface())
		place += fmt.Sprintf(" (%s %.60s)", k.name, value)
	}
	f := &fields[at]
	err = &postgres.Error{Database: postgres.Display(s.in.Database), Place: place, Text: fmt.Sprintf("column %s, field %s: %v", f.name, f.field, err), Err: err}
	if err := r.Bad(err, nil); err != nil {
		return false, err
	}
	return !r.Stopped(), nil
}

// permanent marks an error that another attempt would meet again.
func permanent(err error) error {
	if postgres.Permanent(err) {
		return connector.Fatal(err)
	}
	return err
}
