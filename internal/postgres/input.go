package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/layshaft/layshaft/internal/hold"
	"github.com/layshaft/layshaft/internal/job"
)

// Connections is the default of Input.Connections.
const Connections = 8

// Input is a table or query to read.
type Input struct {
	Database, From string
	// Key is the column whose ranges are the splits; empty means that the best one is chosen.
	Key string
	// Where is a condition in SQL; empty means all rows.
	Where string
	// Timeout ends a statement that runs longer. Zero keeps the setting of the server.
	Timeout time.Duration
	// Connections is how many connections a job may have, the one of the snapshot included.
	Connections int
}

// part is the content of a split's Data.
type part struct {
	Snapshot Snapshot `json:"snapshot"`
	SQL      string   `json:"sql"`
	Types    []Type   `json:"types"` // of the columns
}

// Selection is what a reader wants of a relation.
type Selection struct {
	List  []string // expressions in SQL
	Types []Type   // of the values that arrive
	Where string   // a further condition
}

// Budget returns the budget of connections to a database; see connector.BudgetUser. The snapshot
// holds one of them.
func Budget(database string, connections int) (name string, n, size int) {
	return "pg:" + Display(database), 1, connections - 1
}

func (in *Input) options(purpose string) Options {
	return Options{Purpose: purpose, StatementTimeout: in.Timeout}
}

// Splits connects, looks the input up, lets choose select its columns, and cuts it into splits of
// about target bytes. An error of choose gets the names of database and input.
func (in *Input) Splits(ctx context.Context, target int64, choose func(*Relation) (Selection, error)) (splits []job.Split, err error) {
	if in.Timeout < 0 {
		return nil, fmt.Errorf("StatementTimeout(%v): use a positive duration, or 0 for the setting of the server", in.Timeout)
	}
	owner, release, err := OwnerOf(ctx, in.Database, in.options("plan"))
	if err != nil {
		return nil, err
	}
	defer release()
	err = owner.Do(func(c *Conn) error {
		splits, err = in.plan(ctx, c, owner.Snapshot, target, choose)
		return err
	})
	return splits, err
}

func (in *Input) plan(ctx context.Context, c *Conn, snapshot Snapshot, target int64, choose func(*Relation) (Selection, error)) ([]job.Split, error) {
	relation, err := c.Describe(ctx, in.From)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(relation)
	if err != nil {
		return nil, &Error{Database: Display(in.Database), Place: relation.Label, Text: err.Error(), Err: err}
	}
	if target >= 1<<60 { // the list that identifies the input; the name of an export changes each time
		snapshot.ID = ""
	}
	// This locks the tables as every SELECT does, until the end of the job. Otherwise a table that
	// is truncated or rewritten meanwhile would be empty in the snapshot.
	if _, err := c.Query(ctx, "SELECT FROM "+relation.From+" LIMIT 0"); err != nil {
		return nil, Explain(in.Database, relation.Label, err)
	}
	ranges, err := c.Ranges(ctx, relation, in.Key, target)
	if err != nil {
		return nil, err
	}
	var conditions []string
	if in.Where != "" {
		conditions = append(conditions, "(("+in.Where+"\n))") // a comment may end it
	}
	if chosen.Where != "" {
		conditions = append(conditions, chosen.Where)
	}
	splits := make([]job.Split, len(ranges))
	for i, r := range ranges {
		sql := "SELECT " + strings.Join(chosen.List, ", ") + " FROM " + r.From
		where := conditions
		if r.Where != "" {
			where = append(where[:len(where):len(where)], r.Where)
		}
		if len(where) > 0 {
			sql += " WHERE " + strings.Join(where, " AND ")
		}
		if r.Order != "" {
			sql += " ORDER BY " + r.Order
		}
		if i == 0 && len(conditions) > 0 {
			if _, err := c.Prepare(ctx, "", sql, nil); err != nil {
				return nil, Explain(in.Database, relation.Label, err)
			}
		}
		data, err := json.Marshal(part{snapshot, sql, chosen.Types})
		if err != nil {
			return nil, err
		}
		splits[i] = job.Split{Label: r.Label, Bytes: r.Bytes, Note: r.Note, Data: data}
	}
	return splits, nil
}

// Read passes the rows of a split to the function that open returns for the types of its columns.
// Its errors name the database.
func (in *Input) Read(ctx context.Context, label string, data []byte, open func(types []Type) (Row, error)) error {
	err := in.read(ctx, label, data, open)
	if ctx.Err() != nil {
		return err
	}
	return Explain(in.Database, label, err)
}

func (in *Input) read(ctx context.Context, label string, data []byte, open func(types []Type) (Row, error)) error {
	var p part
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("description of the split: %w", err)
	}
	row, err := open(p.Types)
	if err != nil {
		return err
	}
	o := in.options("read")
	o.At = p.Snapshot.Place
	c, err := connectPatiently(ctx, in.Database, o)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Begin(ctx, o, p.Snapshot); err != nil {
		return err
	}
	// An ALTER TABLE that waits for the end of the job holds up all later readers, also readers of
	// the job. So they must not wait for long.
	if _, err := c.Query(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", lockWait.Milliseconds())); err != nil {
		return err
	}
	err = c.Read(ctx, p.SQL, len(p.Types), row)
	if codeOf(err) == "55P03" {
		return fmt.Errorf("database %s: %s: %w: another transaction locks the table, or waits to do so, as ALTER TABLE, TRUNCATE and VACUUM FULL do; it goes first", Display(in.Database), label, hold.ErrLost)
	}
	return err
}

// lockWait is how long a reader waits for a transaction that locks its table.
const lockWait = 5 * time.Second

// Look describes the input, outside of a run.
func (in *Input) Look(ctx context.Context) (*Relation, error) {
	c, err := Connect(ctx, in.Database, in.options("plan"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.begin(ctx, in.options("plan"), ""); err != nil {
		return nil, err
	}
	return c.Describe(ctx, in.From)
}
