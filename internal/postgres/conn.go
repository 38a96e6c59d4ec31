package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/layshaft/layshaft/internal/hold"
	"github.com/layshaft/layshaft/internal/retry"
)

// Place is the server of a connection, if the connection string names several; else zero. A
// snapshot can be read only on the server that exported it.
type Place struct {
	Host string `json:"host,omitempty"`
	Port uint16 `json:"port,omitempty"`
}

// Conn is a connection to a database. One goroutine uses it at a time.
type Conn struct {
	*pgconn.PgConn
	Name  string // of the database, as given
	Place Place
	// from is what the driver reads from. After a slow write the driver reads the connection ahead,
	// until the answer to the next statement, so nobody else may read it directly.
	from io.Reader
}

// Options are settings of a connection.
type Options struct {
	// At is the only server to connect to; zero means the first that answers.
	At Place
	// Purpose is a part of the application name, unless the connection string sets one.
	Purpose string
	// StatementTimeout ends a statement that runs longer. Zero keeps the setting of the server.
	StatementTimeout time.Duration
	// OnNotify is called for each notification, also for one that comes during a statement. Nil
	// means that only WaitForNotification sees notifications.
	OnNotify func()
	// Replication makes a connection that can stream changes.
	Replication bool
}

// connect connects as cfg says.
func (c *Conn) connect(ctx context.Context, cfg *pgconn.Config) (err error) {
	cfg = cfg.Copy()
	build := cfg.BuildFrontend
	cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		c.from = r
		return build(r, w)
	}
	c.PgConn, err = pgconn.ConnectConfig(ctx, cfg)
	return err
}

// errNotPreferred means that a later server may be a better choice.
var errNotPreferred = errors.New("not the preferred kind of server")

// Connect connects to a database. A failure is explained, with a way out and without secrets.
func Connect(ctx context.Context, name string, o Options) (*Conn, error) {
	cfg, err := Config(name)
	if err != nil {
		return nil, err
	}
	if o.Purpose != "" && cfg.RuntimeParams["application_name"] == "layshaft" {
		cfg.RuntimeParams["application_name"] = "layshaft " + o.Purpose
	}
	if o.Replication {
		cfg.RuntimeParams["replication"] = "database"
	}
	if o.OnNotify != nil {
		cfg.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { o.OnNotify() }
	}
	servers := serversOf(cfg)
	if len(servers) == 1 {
		c := &Conn{Name: name}
		if err := c.connect(ctx, cfg); err != nil {
			return nil, Explain(name, "", err)
		}
		return c, nil
	}
	// The driver does not report which server it has chosen, so each one is tried by itself. Only
	// the second round accepts a server of another kind than target_session_attrs prefers.
	var first error
	for _, last := range []bool{false, true} {
		for _, s := range servers {
			at := Place{s[0].Host, s[0].Port}
			if o.At != (Place{}) && at != o.At {
				continue
			}
			one := cfg.Copy()
			one.Host, one.Port, one.TLSConfig, one.Fallbacks = at.Host, at.Port, s[0].TLSConfig, s[1:]
			switch {
			case o.At != (Place{}):
				one.ValidateConnect = nil // the snapshot is there, whatever its kind is
			case !last && cfg.ValidateConnect != nil:
				one.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
					err := cfg.ValidateConnect(ctx, c)
					var not *pgconn.NotPreferredError
					if errors.As(err, &not) {
						return errNotPreferred
					}
					return err
				}
			}
			c := &Conn{Name: name, Place: at}
			err := c.connect(ctx, one)
			if err == nil {
				return c, nil
			}
			if first == nil && !errors.Is(err, errNotPreferred) {
				first = err
			}
		}
	}
	if first == nil {
		return nil, fmt.Errorf("database %s: its connection string does not name the server %s:%d that the job reads from; give this process the same servers as the one that started the job", Display(name), o.At.Host, o.At.Port)
	}
	return nil, Explain(name, "", first)
}

// patience is how long the attempts of a running job try to connect to a server that restarts or is
// full for a moment. Planning does not wait: a wrong address is then likelier.
const patience = 20 * time.Second

// connectPatiently is Connect for a server that answered before.
func connectPatiently(ctx context.Context, name string, o Options) (*Conn, error) {
	pause := retry.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	var waited retry.Patience
	waited.Reset()
	for {
		c, err := Connect(ctx, name, o)
		if err == nil || !isTemporary(err) || waited.Spent() > patience {
			return c, err
		}
		if err := pause.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// isTemporary reports whether a connection may succeed in a moment: the server starts, stops, is
// full, or cannot be reached.
func isTemporary(err error) bool {
	switch codeOf(err) {
	case "57P01", "57P02", "57P03", "53300":
		return true
	case "":
		var network *net.OpError
		return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	return false
}

// serversOf returns the servers of a configuration. Several settings of one server differ in TLS.
func serversOf(cfg *pgconn.Config) [][]*pgconn.FallbackConfig {
	all := append([]*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}, cfg.Fallbacks...)
	var servers [][]*pgconn.FallbackConfig
	for _, f := range all {
		if n := len(servers) - 1; n >= 0 && servers[n][0].Host == f.Host && servers[n][0].Port == f.Port {
			servers[n] = append(servers[n], f)
			continue
		}
		servers = append(servers, []*pgconn.FallbackConfig{f})
	}
	return servers
}

// Close ends the connection. It waits for the server at most a second.
func (c *Conn) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.PgConn.Close(ctx) // the server ends the transaction anyway
}

// Query runs statements and returns the rows of the last one as text. NULL is nil.
func (c *Conn) Query(ctx context.Context, sql string) ([][][]byte, error) {
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, Explain(c.Name, "", err)
	}
	if len(results) == 0 {
		return nil, nil
	}
	return results[len(results)-1].Rows, nil
}

// settings make the text of values the same on all servers, keep a long read from starting parallel
// processes, and make it return rows in the same order each time.
const settings = "SET LOCAL datestyle = ISO; SET LOCAL intervalstyle = postgres; SET LOCAL bytea_output = hex; SET LOCAL extra_float_digits = 1; " +
	"SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL synchronize_seqscans = off; SET LOCAL idle_in_transaction_session_timeout = 0"

// begin starts a transaction that reads one snapshot: its own, or an exported one.
func (c *Conn) begin(ctx context.Context, o Options, snapshot string) error {
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
	if snapshot != "" {
		sql += "SET TRANSACTION SNAPSHOT " + Literal(snapshot) + "; "
	}
	if o.StatementTimeout > 0 {
		sql += fmt.Sprintf("SET LOCAL statement_timeout = %d; ", max(o.StatementTimeout.Milliseconds(), 1))
	}
	_, err := c.Query(ctx, sql+settings)
	return err
}

// Snapshot identifies the state of a database that all readers of a job see.
type Snapshot struct {
	Place
	// ID is the name under which the snapshot was exported. Empty means that readers need not
	// agree.
	ID string `json:"id,omitempty"`
	// State lists the transactions that the snapshot sees. Two snapshots with equal lists show the
	// same rows.
	State string `json:"state,omitempty"`
}

// Begin starts a transaction on a snapshot. If the export is gone, but nothing has been written
// since, a new snapshot shows the same rows and takes its place.
func (c *Conn) Begin(ctx context.Context, o Options, s Snapshot) error {
	err := c.begin(ctx, o, s.ID)
	// 22023: no such export; 55000: its transaction is just ending
	if code := codeOf(err); s.ID == "" || code != "22023" && code != "55000" {
		return err
	}
	if _, err := c.Query(ctx, "ROLLBACK"); err != nil {
		return err
	}
	if err := c.begin(ctx, o, ""); err != nil {
		return err
	}
	state, err := c.state(ctx)
	if err != nil {
		return err
	}
	if state != s.State {
		return fmt.Errorf("database %s: %w: the connection that exported it ended, and the database has changed since; the job must start over", Display(c.Name), hold.ErrLost)
	}
	return nil
}

func (c *Conn) state(ctx context.Context) (string, error) {
	rows, err := c.Query(ctx, "SELECT txid_current_snapshot()")
	if err != nil {
		return "", err
	}
	return string(rows[0][0]), nil
}
