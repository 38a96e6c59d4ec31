package pgio_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce"
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
// form that is split in the same way and thrown away.
func BenchmarkRead(b *testing.B) {
	db := benchTable(b)
	b.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	s := pgio.Rows[catalogue]("shop", "products")
	ctx := context.Background()
	splits, err := s.Splits(ctx, 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	report := func(b *testing.B) {
		b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("rows", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var g errgroup.Group
			for k := range 2 {
				g.Go(func() error {
					n := 0
					for i := k; i < len(splits); i += 2 {
						if err := s.Read(ctx, splits[i], mapreduce.NewReader(func(*catalogue) { n++ }, nil)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
	for _, form := range []string{"text", "csv", "binary"} {
		b.Run("copy/"+form, func(b *testing.B) {
			for b.Loop() {
				var g errgroup.Group
				for k := range 2 {
					g.Go(func() error {
						for i := k; i < len(splits); i += 2 {
							c, err := pgconn.Connect(ctx, db.DSN())
							if err != nil {
								return err
							}
							sql := sqlOf(splits[i].Data)
							if _, err := c.CopyTo(ctx, discard{}, "COPY ("+sql+") TO STDOUT (FORMAT "+form+")"); err != nil {
								return err
							}
							_ = c.Close(ctx)
						}
						return nil
					})
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// sqlOf returns the SELECT of a split.
func sqlOf(data []byte) string {
	_, after, _ := strings.Cut(string(data), `"sql":"`)
	sql, _, _ := strings.Cut(after, `","types"`)
	return strings.NewReplacer(`\"`, `"`, `\u003e`, ">", `\u003c`, "<").Replace(sql)
}
