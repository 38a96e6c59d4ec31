package pgio_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

type id struct{ ID int64 }

// planError returns the error of listing splits. It fails the test if the error shows the password.
func planError[T any](t *testing.T, s connector.Source[T]) string {
	t.Helper()
	_, err := s.Splits(t.Context(), 1<<30)
	if err == nil {
		return ""
	}
	if strings.Contains(err.Error(), pgtest.Password) || strings.Contains(s.String(), pgtest.Password) {
		t.Errorf("the password is shown: %v, %s", err, s)
	}
	return err.Error()
}

// Each mistake is found before the job starts, and its error names the thing, the value and the way
// out.
func TestErrorsOfPlanning(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, `CREATE TABLE products (id bigint PRIMARY KEY, price numeric, stock int, sku text);
		INSERT INTO products SELECT i, i, CASE WHEN i % 4 <> 0 THEN i END, 'x' FROM generate_series(1, 100) i;
		CREATE TABLE secrets (id bigint); CREATE SCHEMA other; CREATE TABLE other.hidden (id bigint); GRANT USAGE ON SCHEMA other TO public; GRANT SELECT ON other.hidden TO public;
		CREATE TABLE partly (id bigint, salary bigint); GRANT SELECT (id) ON partly TO public; GRANT SELECT ON products TO public; ANALYZE products`)
	t.Setenv("LAYSHAFT_PG_SHOP", db.TCP())
	port := fmt.Sprint(db.Server.Port)
	for _, tt := range []struct {
		name, dsn, from string
		read            func(database, from string) string
		want            []string
	}{
		{name: "no table", from: "product", want: []string{"database shop: product: there is no such table; did you mean products?"}},
		{name: "other schema", from: "hidden", want: []string{"did you mean other.hidden?"}},
		{name: "no right", from: "secrets", want: []string{`secrets: role "` + db.Name + `" may not read it; GRANT SELECT ON public.secrets TO "` + db.Name + `"`}},
		{name: "no right to a column", from: "partly", read: planOf[struct{ Salary int64 }](t), want: []string{`there is no column "salary" for field .Salary`, "the columns are id"}},
		{name: "no column", from: "products", read: planOf[struct{ Prise string }](t), want: []string{`there is no column "prise"`, "did you mean price?", "the columns are id, price, stock, sku"}},
		{name: "wrong type", from: "products", read: planOf[struct{ SKU int64 }](t), want: []string{"column sku: field .SKU int64 cannot hold text; make it string"}},
		{name: "NULL into an int", from: "products", read: planOf[struct{ Stock int32 }](t), want: []string{"column stock is NULL in about 25 % of the rows", "make the field a pointer", `db:"stock,omitempty"`, "stock IS NOT NULL"}},
		{name: "bad query", from: "SELECT * FROM nowhere", want: []string{"database shop: query:", `relation "nowhere" does not exist`}},
		{name: "wrong password", dsn: strings.Replace(db.TCP(), pgtest.Password, "wrong-"+pgtest.Password, 1), want: []string{"database shop: 127.0.0.1:" + port + " refuses user " + db.Name, "correct the user or the password in LAYSHAFT_PG_SHOP"}},
		{name: "no database", dsn: strings.Replace(db.TCP(), "/"+db.Name+"?", "/nothing?", 1), want: []string{`has no database "nothing"; correct dbname`}},
		{name: "no server", dsn: "postgres://u:" + pgtest.Password + "@127.0.0.1:1/x?sslmode=disable", want: []string{"127.0.0.1:1 cannot be reached", "connection refused", "check host and port"}},
		{name: "certificate of another CA", dsn: strings.Replace(db.TCP(), "sslmode=disable", "sslmode=verify-ca", 1), want: []string{"the certificate of 127.0.0.1:" + port + " is not trusted", "sslrootcert=FILE"}},
		{name: "certificate for another name", dsn: strings.Replace(db.TCP(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+db.Server.Dir+"/server.crt", 1), want: []string{"is for another name", "correct the host"}},
		{name: "password in the program", read: func(string, string) string { return planError(t, pgio.Rows[id](db.TCP(), "products")) }, want: []string{"has a password", "use PGPASSWORD or ~/.pgpass"}},
		{name: "unknown name", read: func(string, string) string { return planError(t, pgio.Rows[id]("warehouse", "products")) }, want: []string{"database warehouse: its connection string is unknown", "set LAYSHAFT_PG_warehouse"}},
		{name: "no connection string", dsn: "host=" + pgtest.Password + " nonsense", want: []string{"LAYSHAFT_PG_SHOP is not a valid connection string"}},
		{name: "key without index", from: "products", read: func(d, f string) string { return planError(t, pgio.Rows[id](d, f).Key("sku")) }, want: nil}, // one split needs no key
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.dsn != "" {
				t.Setenv("LAYSHAFT_PG_SHOP", tt.dsn)
			}
			if tt.from == "" {
				tt.from = "products"
			}
			read := tt.read
			if read == nil {
				read = planOf[id](t)
			}
			got := read("shop", tt.from)
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("the error is %q, without %q", got, w)
				}
			}
			if tt.want == nil && got != "" {
				t.Error(got)
			}
		})
	}
}

func planOf[T any](t *testing.T) func(database, from string) string {
	return func(database, from string) string { return planError(t, pgio.Rows[T](database, from)) }
}

// A full server is an error with the way out.
func TestServerFull(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE products (id bigint); ALTER ROLE "+db.Name+" CONNECTION LIMIT 0; ALTER TABLE products OWNER TO "+db.Name)
	t.Setenv("LAYSHAFT_PG_SHOP", db.TCP())
	if got := planError(t, pgio.Rows[id]("shop", "products")); !strings.Contains(got, "the server is full") || !strings.Contains(got, "CONNECTION LIMIT") {
		t.Error(got)
	}
}

// A value that a field cannot hold, and that no statistics show before, is an error with the row;
// MaxBad sets such rows aside.
func TestErrorsOfRows(t *testing.T) {
	db := pgtest.New(t)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	db.Exec(t, `CREATE TABLE t (id bigint PRIMARY KEY, stock int, large bigint, price numeric, at timestamptz, tags text[], took interval);
		INSERT INTO t VALUES (1, 1, 1, 1, now(), '{a}', '1 s'), (42, NULL, 300, 1.005, 'infinity', '{{a},{b}}', '1 day')`)
	for _, tt := range []struct {
		err  string
		want string
	}{
		{readError[struct {
			ID    int64
			Stock int32
		}](t), "database shop: t, row 2 (id 42): column stock, field .Stock: it is NULL; make the field a pointer"},
		{readError[struct {
			ID    int64
			Large int8
		}](t), "300 is out of the range of int8; make the field wider"},
		{readError[struct {
			ID    int64
			Price int64 `decimal:"2"`
		}](t), "more decimals than the field"},
		{readError[struct {
			ID int64
			At time.Time
		}](t), "it is infinite"},
		{readError[struct {
			ID   int64
			Tags []string
		}](t), "the array has 2 dimensions"},
		{readError[struct {
			ID   int64
			Took time.Duration
		}](t), "has days or months"},
	} {
		if !strings.Contains(tt.err, tt.want) {
			t.Errorf("the error is %q, want %q", tt.err, tt.want)
		}
	}
}

// readError reads table t, in which the second row does not fit, and returns the error.
func readError[T any](t *testing.T) string {
	t.Helper()
	s := pgio.Rows[T]("shop", "t")
	splits, err := s.Splits(t.Context(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	n, bad := 0, 0
	if err := s.Read(t.Context(), splits[0], connector.NewReader(func(*T) { n++ }, func(error, []byte) error { bad++; return nil })); err != nil || n != 1 || bad != 1 {
		t.Errorf("%d rows and %d bad ones, %v", n, bad, err)
	}
	err = s.Read(t.Context(), splits[0], connector.NewReader(func(*T) {}, nil))
	return fmt.Sprint(err)
}

// A table that is altered or emptied while a job runs waits for the job. The job would wait for
// that, too; it starts over instead, on the new state: a missing column is an error with its name.
func TestTableAltered(t *testing.T) {
	for sql, want := range map[string]string{
		"ALTER TABLE b RENAME COLUMN n TO number": `column "n"`, // there is none when the job plans, or when it reads
		"TRUNCATE b": "",
	} {
		db := pairs(t)
		altered := make(chan struct{})
		alter := sync.OnceFunc(func() { // table a is read, b is not
			go func() {
				defer close(altered)
				db.Exec(t, sql)
			}()
			for db.Exec(t, "SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] == "0" {
			}
		})
		var printed bytes.Buffer
		got, err := sums(alter).Collect(t.Context(), mapreduce.Local{Slots: 1, Reporting: mapreduce.Reporting{Progress: "none", Err: &printed}}, 0)
		<-altered
		if !strings.Contains(printed.String(), "another transaction locks the table") || !strings.Contains(printed.String(), "starts over on a new snapshot") {
			t.Errorf("%s: printed %q", sql, &printed)
		}
		if want == "" && (err != nil || len(got) != 1 || got[0].Value != 30000) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v", sql, got, err)
		}
	}
}

// A server that restarts while a job runs costs time, not the attempt.
func TestServerRestarts(t *testing.T) {
	db := pairs(t)
	s := pgio.Rows[pair]("shop", "a")
	splits, err := s.Splits(t.Context(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // the first connections break, the next one reaches the server
		for n := 0; ; n++ {
			from, err := l.Accept()
			if err != nil {
				return
			}
			if n < 3 {
				from.Close()
				continue
			}
			to, err := net.Dial("unix", fmt.Sprintf("%s/.s.PGSQL.%d", db.Server.Dir, db.Server.Port))
			if err != nil {
				from.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, from); to.Close() }()
			go func() { _, _ = io.Copy(from, to); from.Close() }()
		}
	}()
	t.Setenv("LAYSHAFT_PG_SHOP", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%s sslmode=disable", l.Addr().(*net.TCPAddr).Port, db.Name))
	n := 0
	if err := s.Read(t.Context(), splits[0], connector.NewReader(func(*pair) { n++ }, nil)); err != nil || n != 30000 {
		t.Errorf("%d rows, %v", n, err)
	}
}
