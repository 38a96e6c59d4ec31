package pgio_test

import (
	"context"
	"testing"

	"github.com/layshaft/layshaft/internal/pgtest"
	"github.com/layshaft/layshaft/mapreduce/connector"
	"github.com/layshaft/layshaft/mapreduce/pgio"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// rows reads all rows of a source, in splits of about target bytes.
func rows[T any](t testing.TB, s connector.Source[T], target int64) ([]T, []connector.Split) {
	t.Helper()
	all, splits, _ := rowsOf(t, s, target)
	return all, splits
}

// rowsOf is rows. It also returns the number of rows of each split.
func rowsOf[T any](t testing.TB, s connector.Source[T], target int64) (all []T, splits []connector.Split, counts []int) {
	t.Helper()
	ctx := context.Background()
	splits, err := s.Splits(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, sp := range splits {
		before := len(all)
		if err := s.Read(ctx, sp, connector.NewReader(func(x *T) { all = append(all, *x) }, nil)); err != nil {
			t.Fatal(err)
		}
		counts = append(counts, len(all)-before)
	}
	return all, splits, counts
}

type product struct {
	ID    int64
	SKU   string
	Price int64 `decimal:"2"`
	Note  *string
}

func TestRows(t *testing.T) {
	db := pgtest.New(t)
	db.Exec(t, `CREATE TABLE products (id bigint PRIMARY KEY, sku text NOT NULL, price numeric(10,2) NOT NULL, note text);
		INSERT INTO products SELECT i, 'sku-' || i, i / 100.0, CASE WHEN i % 2 = 0 THEN 'even' END FROM generate_series(1, 20000) i;
		ANALYZE products`)
	t.Setenv("LAYSHAFT_PG_SHOP", db.DSN())
	all, splits := rows(t, pgio.Rows[product]("shop", "products"), 100<<10)
	if len(all) != 20000 || len(splits) < 8 {
		t.Fatalf("%d rows in %d splits", len(all), len(splits))
	}
	for i, p := range all {
		if p.ID != int64(i+1) || p.Price != int64(i+1) || (p.Note == nil) != (p.ID%2 == 1) {
			t.Fatalf("row %d is %+v", i, p)
		}
	}
}
