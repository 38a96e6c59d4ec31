package outbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/layshaft/layshaft/internal/postgres"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Replication configures Replicate. Database, Submit, Function, Slot and Publication are required.
type Replication struct {
	Config
	// Function is the function of the tasks.
	Function string
	// Slot is the logical replication slot. It belongs to one process at a time.
	Slot string
	// Publication names the tables.
	Publication string
	// Create makes the slot if it is missing. It begins with the changes from now on.
	Create bool
	// MaxLag is how many bytes of its log the database may keep for the slot. Beyond it, the slot
	// is dropped, so that the log does not fill the disk of the database. Zero means 10 GiB.
	MaxLag int64
}

const (
	// flushKeys is the number of changed rows after which tasks are submitted, within a
	// transaction.
	flushKeys = 2000
	// flushWait is how long more changes are awaited before tasks are submitted.
	flushWait = 5 * time.Millisecond
	// statusEvery is the time between two reports to the database, and two looks at the lag.
	statusEvery = 2 * time.Second
)

// ErrSlot means that the slot is missing or was given up. Changes are lost: all data must be read
// once, after a slot is made.
var ErrSlot = errors.New("changes are lost")

// Replicate queues one task for each changed row of the tables of a publication, until ctx ends,
// and then returns nil. It needs no triggers, only a slot. The tasks are like tasks of the SQL
// function layshaft.watch. After a failure a change may be queued again; tasks of one row are
// coalesced. The error wraps ErrSlot.
func Replicate(ctx context.Context, cfg Replication) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.MaxLag = cmp.Or(cfg.MaxLag, 10<<30)
	log := cfg.Log.With("database", postgres.Display(cfg.Database), "slot", cfg.Slot)
	created := false
	return repeat(ctx, log, func(ctx context.Context) (worked bool, err error) {
		r := &replicator{cfg: cfg, log: log, relations: map[uint32]*relation{}, pending: map[string]bool{}}
		r.cfg.Create = cfg.Create && !created
		err = r.session(ctx)
		created = created || r.began
		return r.worked, err
	})
}

// relation is a table as the stream describes it.
type relation struct {
	name string
	// key has the columns of the key, by number, in the order of their names in JSON.
	key []keyColumn
}

type keyColumn struct {
	at     int
	prefix string // the name in JSON, with a colon
	bare   bool   // the value is a JSON value as it is
}

// replicator streams changes over one connection.
type replicator struct {
	cfg       Replication
	log       *slog.Logger
	stream    *postgres.Conn
	side      *postgres.Conn // for questions
	relations map[uint32]*relation
	// pending has the payloads of changes that are not queued.
	pending map[string]bool
	inside  bool          // a transaction of the stream has not ended
	done    pglogrepl.LSN // end of the last whole transaction whose changes are queued or pending
	flushed pglogrepl.LSN // everything before is queued
	looked  time.Time     // last status and look at the lag
	began   bool          // the stream has begun
	worked  bool
}

func (r *replicator) session(ctx context.Context) (err error) {
	if r.side, err = postgres.Connect(ctx, r.cfg.Database, postgres.Options{Purpose: "replication status"}); err != nil {
		return err
	}
	defer r.side.Close()
	if r.stream, err = postgres.Connect(ctx, r.cfg.Database, postgres.Options{Purpose: "replication", Replication: true}); err != nil {
		return err
	}
	defer r.stream.Close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	args := []string{"proto_version '1'", "publication_names " + postgres.Literal(postgres.Ident(r.cfg.Publication))}
	if err := pglogrepl.StartReplication(ctx, r.stream.PgConn, r.cfg.Slot, 0, pglogrepl.StartReplicationOptions{PluginArgs: args}); err != nil {
		return postgres.Explain(r.stream.Name, "slot "+r.cfg.Slot, err)
	}
	r.began, r.looked = true, time.Now()
	r.log.Info("replication begun", "publication", r.cfg.Publication)
	for {
		wait := time.Until(r.looked.Add(statusEvery))
		if len(r.pending) > 0 || r.done > r.flushed {
			wait = flushWait
		}
		within, stop := context.WithTimeout(ctx, max(wait, 0))
		m, err := r.stream.ReceiveMessage(within)
		stop()
		switch {
		case err == nil:
			err = r.receive(ctx, m)
		case ctx.Err() != nil || !pgconn.Timeout(err):
			return postgres.Explain(r.stream.Name, "slot "+r.cfg.Slot, err)
		default: // nothing came
			if err = r.flush(ctx); err == nil && time.Since(r.looked) >= statusEvery {
				err = r.look(ctx)
			}
		}
		if err != nil {
			return err
		}
		if time.Since(r.looked) >= 2*statusEvery { // the stream is busy
			if err := r.look(ctx); err != nil {
				return err
			}
		}
	}
}

// prepare checks the publication and the slot, and makes the slot if that is wanted.
func (r *replicator) prepare(ctx context.Context) error {
	name := postgres.Display(r.cfg.Database)
	rows, err := r.side.Query(ctx, "SELECT FROM pg_publication WHERE pubname = "+postgres.Literal(r.cfg.Publication))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("database %s has no publication %s; its owner makes it with: CREATE PUBLICATION %s FOR TABLE …", name, r.cfg.Publication, postgres.Ident(r.cfg.Publication))
	}
	lag, known, err := r.lag(ctx)
	switch {
	case err != nil:
		return err
	case known:
		return r.checkLag(ctx, lag)
	case !r.cfg.Create:
		return fmt.Errorf("%w: database %s: %w: there is no slot %s; make it with -create, then read all data once: changes before it are not seen", errGivenUp, name, ErrSlot, r.cfg.Slot)
	}
	_, err = r.side.Query(ctx, fmt.Sprintf("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", postgres.Literal(r.cfg.Slot)))
	return err
}

// lag returns how many bytes of log the database keeps for the slot.
func (r *replicator) lag(ctx context.Context) (bytes int64, known bool, err error) {
	rows, err := r.side.Query(ctx, "SELECT COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint FROM pg_replication_slots WHERE slot_name = "+postgres.Literal(r.cfg.Slot))
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	bytes, err = strconv.ParseInt(string(rows[0][0]), 10, 64)
	return bytes, true, err
}

// checkLag gives the slot up if it lags too much.
func (r *replicator) checkLag(ctx context.Context, lag int64) error {
	if lag <= r.cfg.MaxLag {
		return nil
	}
	r.stream.Close() // a slot in use cannot be dropped
	var err error
	for range 50 {
		if _, err = r.side.Query(ctx, "SELECT pg_drop_replication_slot("+postgres.Literal(r.cfg.Slot)+")"); err == nil || !sleep(ctx, minPause) {
			break
		}
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: database %s: %w: slot %s was dropped, because it kept %d bytes of log, more than %d (-max-lag); read all data once, and begin again with -create",
		errGivenUp, postgres.Display(r.cfg.Database), ErrSlot, r.cfg.Slot, lag, r.cfg.MaxLag)
}

// look reports the position to the database and checks the lag.
func (r *replicator) look(ctx context.Context) error {
	r.looked = time.Now()
	if r.flushed > 0 {
		if err := pglogrepl.SendStandbyStatusUpdate(ctx, r.stream.PgConn, pglogrepl.StandbyStatusUpdate{WALWritePosition: r.flushed}); err != nil {
			return err
		}
	}
	lag, known, err := r.lag(ctx)
	if err != nil || !known {
		return err
	}
	return r.checkLag(ctx, lag)
}

// receive handles one message of the stream.
func (r *replicator) receive(ctx context.Context, m pgproto3.BackendMessage) error {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		return postgres.Explain(r.stream.Name, "slot "+r.cfg.Slot, pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CopyData:
		switch m.Data[0] {
		case pglogrepl.PrimaryKeepaliveMessageByteID:
			k, err := pglogrepl.ParsePrimaryKeepaliveMessage(m.Data[1:])
			if err != nil {
				return err
			}
			if !r.inside && len(r.pending) == 0 { // the log has only changes of other tables
				r.done, r.flushed = max(r.done, k.ServerWALEnd), max(r.flushed, k.ServerWALEnd)
			}
			if k.ReplyRequested {
				return r.look(ctx)
			}
		case pglogrepl.XLogDataByteID:
			x, err := pglogrepl.ParseXLogData(m.Data[1:])
			if err != nil {
				return err
			}
			return r.change(ctx, x.WALData)
		}
	}
	return nil
}

// change handles one message of pgoutput.
func (r *replicator) change(ctx context.Context, data []byte) error {
	m, err := pglogrepl.Parse(data)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *pglogrepl.RelationMessage:
		r.relations[m.RelationID], err = r.relation(ctx, m)
		return err
	case *pglogrepl.BeginMessage:
		r.inside = true
	case *pglogrepl.InsertMessage:
		err = r.row(m.RelationID, m.Tuple)
	case *pglogrepl.UpdateMessage:
		if err = r.row(m.RelationID, m.NewTuple); err == nil && m.OldTuple != nil {
			err = r.row(m.RelationID, m.OldTuple)
		}
	case *pglogrepl.DeleteMessage:
		err = r.row(m.RelationID, m.OldTuple)
	case *pglogrepl.CommitMessage:
		r.inside, r.done = false, m.TransactionEndLSN
	}
	if err == nil && len(r.pending) >= flushKeys {
		err = r.flush(ctx)
	}
	return err
}

// relation returns a table with its key: its replica identity or, if that is the whole row, its
// primary key.
func (r *replicator) relation(ctx context.Context, m *pglogrepl.RelationMessage) (*relation, error) {
	out := &relation{name: m.RelationName}
	if m.Namespace != "public" {
		out.name = m.Namespace + "." + m.RelationName
	}
	var primary map[string]bool
	if m.ReplicaIdentity == 'f' {
		rows, err := r.side.Query(ctx, fmt.Sprintf("SELECT attname FROM pg_attribute JOIN pg_index ON attrelid = indrelid AND attnum = ANY (indkey) WHERE indrelid = %d AND indisprimary", m.RelationID))
		if err != nil {
			return nil, err
		}
		primary = map[string]bool{}
		for _, row := range rows {
			primary[string(row[0])] = true
		}
	}
	for i, c := range m.Columns {
		if c.Flags&1 == 0 || primary != nil && !primary[c.Name] {
			continue
		}
		k := keyColumn{at: i, prefix: quoted(c.Name) + ": "}
		switch c.DataType {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID:
			k.bare = true
		}
		out.key = append(out.key, k)
	}
	if len(out.key) == 0 {
		return nil, fmt.Errorf("%w: table %s has neither a primary key nor a replica identity; give it one, or take it out of the publication", errGivenUp, out.name)
	}
	// jsonb puts short names first.
	slices.SortFunc(out.key, func(a, b keyColumn) int {
		return cmp.Or(cmp.Compare(len(a.prefix), len(b.prefix)), strings.Compare(a.prefix, b.prefix))
	})
	return out, nil
}

// quoted returns a text in JSON, as jsonb writes it.
func quoted(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text can be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

// row notes that a row has changed.
func (r *replicator) row(id uint32, tuple *pglogrepl.TupleData) error {
	t := r.relations[id]
	if t == nil || tuple == nil {
		return fmt.Errorf("the stream of slot %s has a change of an unknown table %d", r.cfg.Slot, id)
	}
	b := []byte(`{"key": {`)
	for i, k := range t.key {
		if k.at >= len(tuple.Columns) || tuple.Columns[k.at].DataType == 'u' {
			return fmt.Errorf("%w: table %s: the stream lacks a long value of its key, which has not changed; use a shorter key, or REPLICA IDENTITY FULL", errGivenUp, t.name)
		}
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, k.prefix...)
		switch c := tuple.Columns[k.at]; {
		case c.DataType == 'n':
			b = append(b, "null"...)
		case k.bare && string(c.Data) != "NaN":
			b = append(b, c.Data...)
		default:
			b = append(b, quoted(string(c.Data))...)
		}
	}
	b = append(append(append(b, `}, "table": `...), quoted(t.name)...), '}')
	r.pending[string(b)] = true
	return nil
}

// flush queues the pending changes. It repeats until the coordinator has them.
func (r *replicator) flush(ctx context.Context) error {
	for len(r.pending) > 0 {
		ask := &tasksv1.SubmitTasksRequest{}
		size := 0
		for _, payload := range slices.Sorted(maps.Keys(r.pending)) {
			if size += len(payload) + 256; size > batchBytes && len(ask.Tasks) > 0 {
				break
			}
			ask.Tasks = append(ask.Tasks, r.spec(payload))
		}
		answer, err := r.cfg.Submit(ctx, ask)
		left := 0
		for i, a := range answer.GetAccepted() {
			switch {
			case a.GetFull():
				left++
				continue
			case a.GetRefused() != "":
				r.log.Error("task refused", "payload", string(ask.Tasks[i].GetInput()), "err", a.GetRefused())
			}
			delete(r.pending, string(ask.Tasks[i].GetInput()))
		}
		if err == nil && left == 0 {
			r.worked = true
			continue
		}
		if err != nil {
			r.log.Warn("tasks wait in the database", "err", err)
		}
		if !sleep(ctx, fullPause) {
			return context.Cause(ctx)
		}
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	if !r.inside {
		r.flushed = max(r.flushed, r.done)
	}
	return nil
}

// spec returns the task of a changed row, like the SQL function layshaft.watch.
func (r *replicator) spec(payload string) *tasksv1.TaskSpec {
	key := payload
	if len(key) > 512 {
		key = fmt.Sprintf("%x", sha256.Sum256([]byte(payload)))
	}
	return &tasksv1.TaskSpec{Function: r.cfg.Function, Input: []byte(payload), Unique: key, Fresh: true, Background: true, Durability: tasksv1.Durability_DURABILITY_DISK,
		Policy: &tasksv1.TaskPolicy{KeepNanos: int64(keep)}}
}
