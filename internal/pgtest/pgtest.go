// Package pgtest starts a PostgreSQL server of Debian's packages for tests, in a temporary
// directory and as an ordinary user. Tests are skipped, with the reason, where it cannot be had.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestRows(t *testing.T) {
//		db := pgtest.New(t)             // a database of its own
//		db.Exec(t, "CREATE TABLE ...")
//		... pgio.Rows[Product](db.DSN(), "products")
//	}
//
// The tests of a package share one server. It starts with the first test that needs it, without
// fsync, and stops when the test process ends, however it ends.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layshaft/layshaft/internal/outside"
	"github.com/layshaft/layshaft/internal/porttest"
)

// Password is the password of every role that New and Role make. Tests look for it where it must
// not appear.
const Password = "s3cret-Layshaft-probe"

// Server is a running server.
type Server struct {
	// Dir holds the data directory, the socket and the certificate server.crt.
	Dir  string
	Port int

	stdin interface{ Close() error }
	done  chan struct{}
	log   *bytes.Buffer
	n     int // number of databases made
}

// shared is the server of this test process.
var shared struct {
	once   sync.Once
	server *Server
	why    string // reason to skip
}

// Main runs the tests of a package and stops the server. It does not return.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Stop()
	}
	os.Exit(code)
}

// Need returns the server of the package's tests, or skips the test with the reason.
func Need(t testing.TB) *Server {
	t.Helper()
	outside.Need(t, outside.Postgres)
	shared.once.Do(func() { shared.server, shared.why = start() })
	if shared.server == nil {
		t.Skipf("no PostgreSQL server: %s", shared.why)
	}
	return shared.server
}

// programs returns the directory of the newest installed server's programs.
func programs() string {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is valid
	slices.SortFunc(all, func(a, b string) int { return version(a) - version(b) })
	if len(all) == 0 {
		return ""
	}
	return filepath.Dir(all[len(all)-1])
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// ordinary returns the credentials to run the server with: nil for this process's own, unless it is
// root, which PostgreSQL refuses.
func ordinary() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, errU := strconv.ParseUint(u.Uid, 10, 32)
			gid, errG := strconv.ParseUint(u.Gid, 10, 32)
			if errU == nil && errG == nil {
				return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
			}
		}
	}
	return nil, fmt.Errorf("root may not run it, and neither user postgres nor nobody exists")
}

// Every connection over TCP needs a password, and the ones over the socket none.
const hba = `local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 scram-sha-256
`

const settings = `
listen_addresses = '127.0.0.1'
max_connections = 40
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = logical
max_wal_senders = 4
log_min_messages = warning
ssl = on
`

// start starts a server. It returns nil and the reason if that is impossible.
func start() (_ *Server, why string) {
	bin := programs()
	if bin == "" {
		return nil, "there is no initdb below /usr/lib/postgresql: install Debian's postgresql"
	}
	cred, err := ordinary()
	if err != nil {
		return nil, err.Error()
	}
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err.Error()
	}
	defer func() {
		if why != "" {
			_ = os.RemoveAll(dir)
		}
	}()
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err.Error()
		}
	}
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.Env = dir, []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
		return c
	}
	if out, err := run(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N").CombinedOutput(); err != nil {
		return nil, fmt.Sprintf("initdb: %v: %s", err, out)
	}
	port, err := porttest.Choose()
	if err != nil {
		return nil, err.Error()
	}
	crt, key, err := certificate()
	if err != nil {
		return nil, err.Error()
	}
	for name, text := range map[string]string{"data/pg_hba.conf": hba, "data/server.crt": crt, "data/server.key": key, "server.crt": crt} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err.Error()
		}
		if cred != nil {
			if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
				return nil, err.Error()
			}
		}
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err.Error()
	}
	_, err = fmt.Fprintf(conf, "%sport = %d\nunix_socket_directories = '%s'\n", settings, port, dir)
	if cerr := conf.Close(); err != nil || cerr != nil {
		return nil, fmt.Sprint(err, cerr)
	}
	// The shell stops the server when this process ends: its standard input is then at an end.
	s := &Server{Dir: dir, Port: port, done: make(chan struct{}), log: &bytes.Buffer{}}
	c := run("/bin/sh", "-c", `"$@" & p=$!; cat >/dev/null; kill -QUIT $p; wait $p; rm -rf "$0"`, dir, filepath.Join(bin, "postgres"), "-D", data)
	c.Stdout, c.Stderr = s.log, s.log
	if s.stdin, err = c.StdinPipe(); err != nil {
		return nil, err.Error()
	}
	if err := c.Start(); err != nil {
		return nil, err.Error()
	}
	go func() {
		_ = c.Wait()
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgconn.Connect(ctx, s.socket("postgres"))
		if err == nil {
			_ = conn.Close(ctx)
			return s, ""
		}
		select {
		case <-s.done:
			return nil, "it ended: " + s.log.String()
		case <-ctx.Done():
			s.Stop()
			return nil, "it did not start within 30 s: " + err.Error()
		case <-time.After(20 * time.Millisecond): // a server has no way to announce itself
		}
	}
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() {
	_ = s.stdin.Close()
	<-s.done
	_ = os.RemoveAll(s.Dir)
}

// socket returns the DSN of the superuser over the socket.
func (s *Server) socket(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", s.Dir, s.Port, database)
}

// DB is a database of one test.
type DB struct {
	Server *Server
	Name   string
}

// New makes a database, with a role of the same name as its owner. The end of the test drops both.
func New(t testing.TB) *DB {
	t.Helper()
	s := Need(t)
	s.n++
	db := &DB{s, fmt.Sprintf("t%d", s.n)}
	admin := &DB{s, "postgres"}
	admin.Exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", db.Name, Password))
	admin.Exec(t, fmt.Sprintf("CREATE DATABASE %s OWNER %[1]s", db.Name))
	t.Cleanup(func() {
		admin.Exec(t, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", db.Name))
		admin.Exec(t, fmt.Sprintf("DROP ROLE %s", db.Name))
	})
	return db
}

// DSN returns the DSN of the superuser over the socket, which needs no password.
func (db *DB) DSN() string { return db.Server.socket(db.Name) }

// TCP returns the DSN of the owner over TCP, with the password.
func (db *DB) TCP() string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%[1]s?sslmode=disable", db.Name, Password, db.Server.Port)
}

// Exec runs statements as the superuser and returns the rows of the last one as text, with NULL as
// an empty text.
func (db *DB) Exec(t testing.TB, sql string) [][]string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	if len(results) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range results[len(results)-1].Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows
}

// Connections returns the number of connections that a condition on pg_stat_activity selects. A
// process of the server ends a moment after its connection, so Connections looks again while there
// are more than most, for 20 s.
func (db *DB) Connections(t testing.TB, where string, most int) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := strconv.Atoi(db.Exec(t, "SELECT count(*) FROM pg_stat_activity WHERE "+where)[0][0])
		if err != nil {
			t.Fatal(err)
		}
		if n <= most || time.Now().After(deadline) {
			return n
		}
	}
}

// Crash kills a process of the server. The server then ends all others, and recovers. Crash returns
// when it accepts connections again.
func (db *DB) Crash(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connect := func() *pgconn.PgConn {
		for {
			c, err := pgconn.Connect(ctx, db.DSN())
			if err == nil {
				return c
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	victim, other := connect(), connect()
	defer victim.Close(ctx)
	defer other.Close(ctx)
	if err := syscall.Kill(int(victim.PID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; _, err = other.Exec(ctx, "SELECT pg_sleep(1)").ReadAll() {
	}
	_ = connect().Close(ctx)
}
