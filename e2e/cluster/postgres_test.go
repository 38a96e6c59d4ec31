//go:build unix

package cluster

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/layshaft/layshaft/internal/pgtest"
)

// TestTables copies two tables on three workers, while every row of both changes again and again,
// the connection that holds the snapshot is cut, and a worker and the coordinator are killed. The
// copy is one state of both tables. There are never more connections than allowed, and nothing shows the password.
func TestTables(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.TCP())
	const n = 20000
	db.Exec(t, fmt.Sprintf(`CREATE TABLE a AS SELECT i AS id, 0::bigint AS version, repeat('x', 200) AS text FROM generate_series(1, %d) i; ALTER TABLE a ADD PRIMARY KEY (id); CREATE TABLE b AS TABLE a; ALTER TABLE b ADD PRIMARY KEY (id);
		CREATE TABLE copied (tab text, id bigint, version bigint NOT NULL, PRIMARY KEY (tab, id)); CREATE SCHEMA layshaft AUTHORIZATION %s; ALTER TABLE a OWNER TO %[2]s; ALTER TABLE b OWNER TO %[2]s; ALTER TABLE copied OWNER TO %[2]s; ANALYZE`, n, db.Name))
	m := startMembers(t, config{workers: 3, slots: 2})
	r := launch(t, "tables", "tables", "-cluster", m.grpc, "-pause", "300ms")

	most := 0
	var arguments []byte // of all processes
	look := func() {
		most = max(most, db.Connections(t, "usename = '"+db.Name+"'", 8))
		all, err := exec.Command("ps", "axww", "-o", "args").Output()
		if err == nil {
			arguments = append(arguments, all...)
		}
	}
	version := 0
	change := func() {
		version++
		db.Exec(t, fmt.Sprintf("BEGIN; UPDATE a SET version = %d; UPDATE b SET version = %[1]d; COMMIT", version))
	}
	cut := sync.OnceFunc(func() {
		db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'layshaft plan'")
		change()
	})
	die := sync.OnceFunc(func() {
		m.die(0)
		m.coord.Kill()
		m.startCoordinator()
	})
	until(t, "the copy has ended", func() bool {
		look()
		if jobs := m.look().Jobs; len(jobs) > 0 && jobs[0].Done >= 1 && r.IsAlive() {
			cut()
			change()
			if r.Count("starts over on a new snapshot") > 0 {
				die()
			}
		}
		return !r.IsAlive()
	})
	if code := r.Wait(t); code != 0 || r.Count("starts over on a new snapshot") != 1 {
		t.Errorf("exit code %d, and the job started over %d times:\n%s", code, r.Count("starts over on a new snapshot"), r.Err.String())
	}
	got := db.Exec(t, "SELECT count(*), count(DISTINCT version) FROM copied")[0]
	if want := fmt.Sprint([]string{fmt.Sprint(2 * n), "1"}); fmt.Sprint(got) != want {
		t.Errorf("rows and states in the copy: %v, want %s", got, want)
	}
	if most < 2 || most > 8 {
		t.Errorf("there were %d connections at once, want 2 to 8", most)
	}
	if left := db.Exec(t, "SELECT count(*) FROM pg_class WHERE relname LIKE 'stage%'")[0][0]; left != "0" {
		t.Errorf("%s staging tables are left", left)
	}

	m.searchSecret(pgtest.Password, map[string][]byte{"arguments": arguments, "client": []byte(r.Err.String())})
}

// searchSecret checks that a secret is in none of shown, the output of the members, the command
// line's tables, and the files of the cluster.
func (m *members) searchSecret(secret string, shown map[string][]byte) {
	m.t.Helper()
	shown["coordinator"] = []byte(m.coord.Err.String())
	for i, w := range m.workers {
		shown[fmt.Sprint("worker ", i)] = []byte(w.Err.String())
	}
	for _, page := range []string{"job list", "job list -o json", "worker list -o json", "status"} {
		out, _, _ := m.layshaft(strings.Fields(page)...)
		shown[page] = []byte(out)
	}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			shown[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		m.t.Error(err)
	}
	for where, text := range shown {
		if bytes.Contains(text, []byte(secret)) {
			m.t.Errorf("%s has the secret", where)
		}
	}
	if len(shown) < 12 {
		m.t.Errorf("only %d places were searched", len(shown))
	}
}
