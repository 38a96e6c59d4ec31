package pgio_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

// catalogue is a row of the benchmark's table.
type catalogue struct {
	ID       int64
	SKU      string
	Title    string
	BrandID  int32
	Category int32
	Price    int64 `decimal:"2"`
	Stock    *int32
	Rating   float64
	Active   bool
	Updated  time.Time `db:"updated_at"`
}

const benchRows = 1_000_000

func benchTable(b *testing.B) *pgtest.DB {
	db := pgtest.New(b)
	db.Exec(b, fmt.Sprintf(`CREATE TABLE products (id bigint PRIMARY KEY, sku text NOT NULL, title text NOT NULL, brand_id int NOT NULL, category int NOT NULL,
		price numeric(10,2) NOT NULL, stock int, rating float8 NOT NULL, active bool NOT NULL, updated_at timestamptz NOT NULL, description text);
		INSERT INTO products SELECT i, 'SKU-' || lpad(i::text, 9, '0'), 'Product number ' || i || ' of the catalogue', i %% 5000, i %% 300, (i %% 100000) / 100.0,
		CASE WHEN i %% 7 <> 0 THEN i %% 500 END, (i %% 50) / 10.0, i %% 3 <> 0, '2024-01-01'::timestamptz + i * interval '1 second', repeat('description ', 4) FROM generate_series(1, %d) i`, benchRows))
	db.Exec(b, "VACUUM ANALYZE products")
	db.Exec(b, "CHECKPOINT")
	return db
}

// BenchmarkRead reads a million products on two connections: as typed rows, and by a COPY in text
// form that is split in the same way and thrown away. compare alternates the two, so that the ratio
// of their speeds depends less on what else the machine does.
func BenchmarkRead(b *testing.B) {
	db := benchTable(b)
	b.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	s := pgio.Rows[catalogue]("shop", "products")
	ctx := context.Background()
	splits, err := s.Splits(ctx, 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	// both reads every second split with each of two workers.
	both := func(read func(sp connector.Split) error) time.Duration {
		begun := time.Now()
		var g errgroup.Group
		for k := range 2 {
			g.Go(func() error {
				for i := k; i < len(splits); i += 2 {
					if err := read(splits[i]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(begun)
	}
	rows := func(sp connector.Split) error {
		return s.Read(ctx, sp, connector.NewReader(func(*catalogue) {}, nil))
	}
	textCopy := func(sp connector.Split) error {
		c, err := pgconn.Connect(ctx, db.DSN())
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.CopyTo(ctx, io.Discard, "COPY ("+sqlOf(sp.Data)+") TO STDOUT")
		return err
	}
	for _, x := range []struct {
		name string
		read func(connector.Split) error
	}{{"rows", rows}, {"copy", textCopy}} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				both(x.read)
			}
			b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
	b.Run("compare", func(b *testing.B) {
		var typed, text time.Duration
		for b.Loop() {
			typed += both(rows)
			text += both(textCopy)
		}
		b.ReportMetric(text.Seconds()/typed.Seconds(), "x-of-copy")
	})
}

// BenchmarkWrite writes 200,000 products in one attempt.
func BenchmarkWrite(b *testing.B) {
	db := benchTable(b)
	b.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	db.Exec(b, "CREATE TABLE copied AS SELECT id, sku, title, brand_id, category, price, stock, rating, active, updated_at FROM products WITH NO DATA")
	list, _ := rows(b, pgio.Rows[catalogue]("shop", "products").Where("id <= 200000"), 1<<30)
	sink := pgio.Write[catalogue]("shop", "copied")
	ctx := context.Background()
	if err := sink.Check(ctx); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		task := connector.SinkTask{Job: fmt.Sprint("bench-", n), Of: 1, Attempt: 1}
		w, err := sink.Open(ctx, task)
		for i := 0; err == nil && i < len(list); i++ {
			err = w.Write(&list[i])
		}
		if err != nil {
			b.Fatal(err)
		}
		part, err := w.Close()
		if err == nil {
			err = sink.Finish(ctx, task.Job, [][]byte{part})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(list))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// sqlOf returns the SELECT of a split.
func sqlOf(data []byte) string {
	_, after, _ := strings.Cut(string(data), `"sql":"`)
	sql, _, _ := strings.Cut(after, `","types"`)
	return strings.NewReplacer(`\"`, `"`, `\u003e`, ">", `\u003c`, "<").Replace(sql)
}
