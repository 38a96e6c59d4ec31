package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/grpc"

	"github.com/layshaft/layshaft/internal/postgres"
	"github.com/layshaft/layshaft/internal/report"
	"github.com/layshaft/layshaft/internal/retry"
	tasksv1 "github.com/layshaft/layshaft/proto/layshaft/tasks/v1"
)

// Config configures a forwarder. Database and Submit are required.
type Config struct {
	// Database is the name of the database; see postgres.Config.
	Database string
	// Submit queues tasks. An error means that none was queued, or that this is not known.
	Submit func(context.Context, *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error)
	// Log receives messages for the operator. Nil means none.
	Log *slog.Logger
}

// Over returns a Submit that calls a coordinator. A call takes at most a minute.
func Over(conn grpc.ClientConnInterface) func(context.Context, *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
	rpc := tasksv1.NewTasksServiceClient(conn)
	return func(ctx context.Context, r *tasksv1.SubmitTasksRequest) (*tasksv1.SubmitTasksResponse, error) {
		ctx, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		return rpc.SubmitTasks(ctx, r, grpc.WaitForReady(false))
	}
}

const (
	// windowRows limits the rows of one transaction. Rows that coalesce within it become one task.
	windowRows = 100_000
	// batchTasks and batchBytes limit the tasks of one message.
	batchTasks = 2000
	batchBytes = 2 << 20
	// busyPoll is the pause while a transaction that writes tasks is open.
	busyPoll, maxBusyPoll = 5 * time.Millisecond, 50 * time.Millisecond
	// fullPause is the pause before tasks of a function are offered again whose queue was full.
	fullPause = time.Second
	// minPause and maxPause limit the pause after a failure.
	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second
)

// idlePoll is the longest wait for a notification, which a pool between may swallow.
var idlePoll = time.Second

// Forward queues the tasks of an outbox until ctx ends, and then returns nil. It connects again
// after every failure. Several forwarders of one outbox share the work.
func Forward(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &forwarder{cfg: cfg, log: cfg.Log.With("database", postgres.Display(cfg.Database))}
	return repeat(ctx, f.log, func(ctx context.Context) (worked bool, err error) {
		f.worked = false
		err = f.session(ctx)
		return f.worked, err
	})
}

// errGivenUp ends repeat.
var errGivenUp = errors.New("given up")

// repeat runs sessions until ctx ends, and then returns nil, or until one fails with errGivenUp.
// Pauses grow until a session has worked.
func repeat(ctx context.Context, log *slog.Logger, session func(context.Context) (worked bool, err error)) error {
	pauses, logged := retry.Backoff{Min: minPause, Max: maxPause}, ""
	for {
		worked, err := session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errGivenUp):
			return err
		case worked:
			pauses.Reset()
			logged = ""
		}
		if text := err.Error(); text != logged { // once per reason
			log.Warn("tasks wait in the database", "err", err)
			logged = text
		}
		if pauses.Wait(ctx) != nil {
			return nil
		}
	}
}

// sleep reports whether the time has passed before the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// forwarder moves rows to the coordinator.
type forwarder struct {
	cfg    Config
	log    *slog.Logger
	source string
	worked bool // a batch was queued since the last failure
	// full has the functions whose queue is full; their rows stay until the next offer.
	full []string
	// notified means that a notification has come since the last wait.
	notified bool
}

// session works on one connection until it fails.
func (f *forwarder) session(ctx context.Context) error {
	c, err := postgres.Connect(ctx, f.cfg.Database, postgres.Options{Purpose: "outbox", OnNotify: func() { f.notified = true }})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := check(ctx, c); err != nil {
		return err
	}
	rows, err := c.Query(ctx, "LISTEN layshaft_outbox; SELECT id FROM layshaft.source")
	if err != nil {
		return err
	}
	f.source = string(rows[0][0])
	if err := f.prepare(ctx, c); err != nil {
		return err
	}
	f.log.Info("outbox connected")
	busy := busyPoll
	for {
		n, err := f.batch(ctx, c)
		if err != nil {
			return err
		}
		if n > 0 {
			busy = busyPoll
			continue
		}
		if len(f.full) > 0 {
			f.full = nil
			if err := f.wait(ctx, c, fullPause); err != nil {
				return err
			}
			continue
		}
		// A transaction that has written a task holds the shared lock until after its commit.
		rows, err := c.Query(ctx, lock)
		if err != nil {
			return err
		}
		if string(rows[0][0]) != "t" {
			pause := busy
			if busy = min(2*busy, maxBusyPoll); string(rows[0][1]) == "t" {
				pause = idlePoll // another forwarder waits, so that commits notify both
			}
			if err := f.wait(ctx, c, pause); err != nil {
				return err
			}
			continue
		}
		n, err = f.batch(ctx, c) // of transactions that committed before the lock was taken
		for n == 0 && err == nil && len(f.full) == 0 {
			if err = f.wait(ctx, c, idlePoll); err == nil {
				n, err = f.batch(ctx, c)
			}
		}
		if err != nil {
			return err
		}
		if _, err := c.Query(ctx, "SELECT pg_advisory_unlock(1279352652, 1)"); err != nil {
			return err
		}
	}
}

// lock tries to get the lock of a forwarder that waits, and asks if another one has it.
const lock = `SELECT pg_try_advisory_lock(1279352652, 1), EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1279352652 AND objid = 1
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND mode = 'ExclusiveLock' AND granted)`

// wait returns after a notification, also one that came during a statement, or the time.
func (f *forwarder) wait(ctx context.Context, c *postgres.Conn, d time.Duration) error {
	defer func() { f.notified = false }()
	if f.notified {
		return nil
	}
	within, stop := context.WithTimeout(ctx, d)
	defer stop()
	err := c.WaitForNotification(within)
	if within.Err() != nil && ctx.Err() == nil && pgconn.Timeout(err) {
		return nil
	}
	return err
}

// window opens a transaction, locks the next rows, and puts the rows that become one task into
// one group: the rows of changes that are brought up to date by the same task. Rows that another
// forwarder has are skipped. Groups are small, so payloads are read later, in batches. The commit
// needs no sync: rows that come back after a crash have the same tokens.
const window = `BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
DECLARE layshaft_window NO SCROLL CURSOR FOR
WITH picked AS (
	SELECT id, function, priority, size, created, payload, unique_key, coalesce_key AND due IS NULL AND size <= 1024 AS short
	FROM layshaft.outbox WHERE function <> ALL (string_to_array(%s, chr(31))) ORDER BY id LIMIT %d FOR UPDATE SKIP LOCKED
)
SELECT max(size), function, string_agg(id || ' ' || (extract(epoch FROM created) * 1000000)::bigint, ',')
FROM picked GROUP BY function, priority, CASE WHEN short THEN 0 ELSE id END, CASE WHEN short THEN unique_key END, CASE WHEN short THEN payload END ORDER BY max(id);`

// fetch returns the next groups of the window.
var fetch = fmt.Sprintf("FETCH %d FROM layshaft_window", batchTasks)

const read = `SELECT function, payload, unique_key, coalesce_key, priority, COALESCE((extract(epoch FROM due) * 1000000)::bigint, 0)
FROM layshaft.outbox WHERE id = ANY ($1) ORDER BY id`

const remove = `DELETE FROM layshaft.outbox WHERE id = ANY ($1)`

const refuse = `WITH gone AS (DELETE FROM layshaft.outbox WHERE id = ANY ($1) RETURNING id, function, payload, unique_key, coalesce_key, priority, due, created)
	INSERT INTO layshaft.refused (id, function, payload, unique_key, coalesce_key, priority, due, created, reason) SELECT gone.*, $2 FROM gone`

func (f *forwarder) prepare(ctx context.Context, c *postgres.Conn) error {
	for name, sql := range map[string]string{"read": read, "remove": remove, "refuse": refuse} {
		if _, err := c.Prepare(ctx, name, sql, nil); err != nil {
			return postgres.Explain(c.Name, "layshaft.outbox", err)
		}
	}
	return nil
}

// int8 returns a number in the binary format.
func int8(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// inBinary asks for all columns in the binary format.
var inBinary = []int16{1}

// group is the rows that become one task.
type group struct {
	ids      []int64 // the task is made from the last one
	size     int     // of its payload
	function string
	token    uint64
}

// batch queues one window of tasks, except tasks of full functions, and returns how many rows it
// offered. If it fails in the middle, what is queued so far is removed.
func (f *forwarder) batch(ctx context.Context, c *postgres.Conn) (n int, err error) {
	rows, err := c.Query(ctx, fmt.Sprintf(window, postgres.Literal(strings.Join(f.full, "\x1f")), windowRows)+fetch)
	for err == nil && len(rows) > 0 {
		groups := make([]group, len(rows))
		for i, row := range rows {
			groups[i] = f.group(row)
			n += len(groups[i].ids)
		}
		for len(groups) > 0 {
			size, k := 0, 0
			for k < len(groups) && (k == 0 || size+groups[k].size+256 <= batchBytes) {
				size += groups[k].size + 256
				k++
			}
			if err := f.submit(ctx, c, groups[:k]); err != nil {
				_, _ = c.Query(ctx, "COMMIT") // err ends the session anyway
				return 0, err
			}
			groups = groups[k:]
		}
		if len(rows) < batchTasks {
			break
		}
		rows, err = c.Query(ctx, fetch)
	}
	if err == nil {
		_, err = c.Query(ctx, "COMMIT")
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// submit queues tasks and removes their rows.
func (f *forwarder) submit(ctx context.Context, c *postgres.Conn, groups []group) error {
	groups = slices.DeleteFunc(groups, func(g group) bool { return slices.Contains(f.full, g.function) })
	if len(groups) == 0 {
		return nil
	}
	last := make([]int64, len(groups))
	for i, g := range groups {
		last[i] = g.ids[len(g.ids)-1]
	}
	r := c.ExecPrepared(ctx, "read", [][]byte{int8s(last)}, inBinary, inBinary).Read()
	if r.Err != nil {
		return postgres.Explain(c.Name, "layshaft.outbox", r.Err)
	}
	if len(r.Rows) != len(groups) {
		return fmt.Errorf("database %s: %d of %d locked rows of layshaft.outbox are gone; who else deletes them?", postgres.Display(c.Name), len(groups)-len(r.Rows), len(groups))
	}
	ask := &tasksv1.SubmitTasksRequest{Tasks: make([]*tasksv1.TaskSpec, len(r.Rows))}
	for i, row := range r.Rows {
		ask.Tasks[i] = spec(row, groups[i].token)
	}
	answer, err := f.cfg.Submit(ctx, ask)
	if err == nil && len(answer.GetAccepted()) != len(groups) {
		err = fmt.Errorf("the coordinator answered %d of %s", len(answer.GetAccepted()), report.Plural(len(groups), "task"))
	}
	if err != nil {
		return err
	}
	var queued []int64
	for i, a := range answer.GetAccepted() {
		switch g := groups[i]; {
		case a.GetFull():
			if !slices.Contains(f.full, g.function) {
				f.full = append(f.full, g.function)
			}
		case a.GetRefused() != "":
			f.log.Error("task refused; it is in layshaft.refused", "row", last[i], "function", g.function, "err", a.GetRefused())
			if err := c.ExecPrepared(ctx, "refuse", [][]byte{int8s(g.ids), []byte(a.GetRefused())}, []int16{1, 0}, nil).Read().Err; err != nil {
				return postgres.Explain(c.Name, "layshaft.refused", err)
			}
		default:
			queued = append(queued, g.ids...)
		}
	}
	if err := c.ExecPrepared(ctx, "remove", [][]byte{int8s(queued)}, inBinary, nil).Read().Err; err != nil {
		return postgres.Explain(c.Name, "layshaft.outbox", err)
	}
	f.worked = true
	return nil
}

// int8s returns an array of numbers in the binary format.
func int8s(all []int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, 1)             // dimensions
	b = binary.BigEndian.AppendUint32(b, 0)                // no NULL
	b = binary.BigEndian.AppendUint32(b, pgtype.Int8OID)   // type
	b = binary.BigEndian.AppendUint32(b, uint32(len(all))) // length
	b = binary.BigEndian.AppendUint32(b, 1)                // lower bound
	for _, n := range all {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

var taskPriority = map[string]tasksv1.TaskPriority{
	"high": tasksv1.TaskPriority_TASK_PRIORITY_HIGH,
	"low":  tasksv1.TaskPriority_TASK_PRIORITY_LOW,
}

// keep is how long outcomes are kept: at least as long as a row may come back after a crash.
const keep = 10 * time.Minute

// group returns a group from a row of the window. Its token is made from all its rows. A change
// that is seen later, after a failure, makes another group, so its task does not count as done. The
// times distinguish the rows from rows with the same numbers in a database that was restored.
func (f *forwarder) group(row [][]byte) group {
	g := group{function: string(row[1])}
	g.size, _ = strconv.Atoi(string(row[0])) // a number of the server, like all here
	times := map[int64]int64{}
	for pair := range strings.SplitSeq(string(row[2]), ",") {
		first, second, _ := strings.Cut(pair, " ")
		id, _ := strconv.ParseInt(first, 10, 64)
		times[id], _ = strconv.ParseInt(second, 10, 64)
	}
	h := sha256.New()
	h.Write([]byte(f.source))
	g.ids = slices.Sorted(maps.Keys(times))
	for _, id := range g.ids {
		h.Write(int8(id))
		h.Write(int8(times[id]))
	}
	g.token = binary.LittleEndian.Uint64(h.Sum(nil)) | 1
	return g
}

// spec returns the task of a row.
func spec(row [][]byte, token uint64) *tasksv1.TaskSpec {
	s := &tasksv1.TaskSpec{Function: string(row[0]), Input: row[1], Unique: string(row[2]), Fresh: row[3][0] != 0, Priority: taskPriority[string(row[4])], Token: token,
		Durability: tasksv1.Durability_DURABILITY_DISK, Background: true, Resubmitted: true, Policy: &tasksv1.TaskPolicy{KeepNanos: int64(keep)}}
	if due := int64(binary.BigEndian.Uint64(row[5])); due > 0 && due <= math.MaxInt64/1000 {
		s.DueNanos = due * 1000
	}
	return s
}
