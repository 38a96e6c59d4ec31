// Package outbox queues tasks that transactions of PostgreSQL write, each once after its commit.
//
// A migration makes a table, functions to write tasks with, and triggers for changed rows. A
// forwarder moves the rows of the table to the coordinator. It deletes them after the coordinator
// has them on disk. If it ends in between, it sends them again, with the same tokens, so the
// coordinator makes no second task.
package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/internal/report"
)

//go:embed install.sql
var install string

//go:embed uninstall.sql
var uninstall string

// version is the version of the migration, as in the comment of its schema.
const version = "outbox version 1"

// Migration returns the statements that make the outbox, with its functions in a schema such as
// public. They may run again on a database that has it.
func Migration(schema string) string {
	return strings.ReplaceAll(install, "{schema}", postgres.Ident(schema))
}

// Removal returns the statements that remove the outbox.
func Removal(schema string) string {
	return strings.ReplaceAll(uninstall, "{schema}", postgres.Ident(schema))
}

// Apply runs the statements of Migration or Removal in one transaction.
func Apply(ctx context.Context, database, statements string) error {
	c, err := postgres.Connect(ctx, database, postgres.Options{Purpose: "install"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Query(ctx, "BEGIN; "+statements+"; COMMIT")
	return err
}

// Status is the state of an outbox.
type Status struct {
	Waiting int64         `json:"waiting"`          // tasks that are not queued yet, counted up to 100,000
	Oldest  time.Duration `json:"oldest,omitempty"` // age of the oldest one
	Refused int64         `json:"refused"`          // tasks that the coordinator refused for good
	Reason  string        `json:"reason,omitempty"` // of the latest one
	Tables  []string      `json:"tables"`           // watched tables
	Slots   []report.Slot `json:"slots"`            // logical replication slots of this database
}

const statusQuery = `SELECT (SELECT count(*) FROM (SELECT FROM layshaft.outbox LIMIT 100000) AS w),
	(SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(created)), 0)::float8 FROM layshaft.outbox),
	(SELECT count(*) FROM layshaft.refused), (SELECT reason FROM layshaft.refused ORDER BY at DESC LIMIT 1),
	(SELECT string_agg(DISTINCT tgrelid::regclass::text, chr(31)) FROM pg_trigger
		WHERE tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'layshaft'::regnamespace AND proname LIKE 'changed\_%'))`

const slotQuery = `SELECT slot_name, active, COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
	FROM pg_replication_slots WHERE plugin = 'pgoutput' AND database = current_database() ORDER BY slot_name`

// Look returns the state of the outbox of a database.
func Look(ctx context.Context, database string) (Status, error) {
	c, err := postgres.Connect(ctx, database, postgres.Options{Purpose: "status"})
	if err != nil {
		return Status{}, err
	}
	defer c.Close()
	s := Status{Tables: []string{}, Slots: []report.Slot{}}
	rows, err := c.Query(ctx, slotQuery)
	if err != nil {
		return s, err
	}
	for _, row := range rows {
		lag, _ := strconv.ParseInt(string(row[2]), 10, 64)
		s.Slots = append(s.Slots, report.Slot{Name: string(row[0]), Active: string(row[1]) == "t", Lag: lag})
	}
	if err := check(ctx, c); err != nil && len(s.Slots) > 0 {
		return s, nil // only the log is read here
	} else if err != nil {
		return s, err
	}
	if rows, err = c.Query(ctx, statusQuery); err != nil {
		return s, err
	}
	row := rows[0]
	s.Reason = string(row[3])
	s.Waiting, _ = strconv.ParseInt(string(row[0]), 10, 64)
	seconds, _ := strconv.ParseFloat(string(row[1]), 64)
	s.Oldest = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	s.Refused, _ = strconv.ParseInt(string(row[2]), 10, 64)
	if len(row[4]) > 0 {
		s.Tables = strings.Split(string(row[4]), "\x1f")
	}
	return s, nil
}

// check returns an error unless the database has an outbox of this version.
func check(ctx context.Context, c *postgres.Conn) error {
	rows, err := c.Query(ctx, "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'layshaft'")
	if err != nil {
		return err
	}
	name := postgres.Display(c.Name)
	if len(rows) == 0 {
		return fmt.Errorf("database %s has no outbox; make it with: layshaft pg install %s", name, name)
	}
	if got := string(rows[0][0]); got != version {
		return fmt.Errorf("database %s: the schema layshaft is %q, this program needs %q; run: layshaft pg install %s", name, got, version, name)
	}
	return nil
}

// Watcher looks at the outboxes of databases every few seconds. Run must run.
type Watcher struct {
	databases []string

	// mu guards the fields below.
	mu     sync.Mutex
	states []report.Outbox
}

// NewWatcher returns a watcher of the outboxes of these databases.
func NewWatcher(databases []string) *Watcher {
	w := &Watcher{databases: databases, states: make([]report.Outbox, len(databases))}
	for i, d := range databases {
		w.states[i] = report.Outbox{Database: postgres.Display(d), Error: "not seen yet"}
	}
	return w
}

// watchEvery is the time between two looks.
const watchEvery = 5 * time.Second

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for {
		for i, d := range w.databases {
			within, stop := context.WithTimeout(ctx, watchEvery)
			s, err := Look(within, d)
			stop()
			o := report.Outbox{Database: postgres.Display(d), Waiting: s.Waiting, Oldest: s.Oldest, Refused: s.Refused, Reason: s.Reason, Slots: s.Slots}
			if err != nil {
				o.Error = err.Error()
			}
			w.mu.Lock()
			w.states[i] = o
			w.mu.Unlock()
		}
		if !sleep(ctx, watchEvery) {
			return
		}
	}
}

// States returns the states at the last look.
func (w *Watcher) States() []report.Outbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.states)
}
